"""What renderers of parametric pictures share: soft shapes, textures, traits by name."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache

import torch
from torch import Tensor
from torch.nn import functional

_BANK = 16
"""How many textures there are to take pieces of."""


class Traits:
    """Numbers, uniform on [0, 1], that say who somebody is, read by name on a scale of their own.

    Args:
        names: of the columns.
        values: (N, len(names)).
    """

    def __init__(self, names: Sequence[str], values: Tensor):
        self.names, self.values = tuple(names), values.float()

    def __call__(self, name: str, low: float | Tensor = 0.0, high: float | Tensor = 1.0) -> Tensor:
        """One trait, from `low` at 0 to `high` at 1, (N, 1, 1)."""
        return low + (high - low) * self.values[:, self.names.index(name), None, None]


def blocks(count: int, side: int) -> Iterator[slice]:
    """Parts of a batch that are small enough for a processor's cache: twice as fast as all at once, and the same pixels."""
    size = max(4, 64 * 64**2 // side**2)
    yield from (slice(start, start + size) for start in range(0, max(count, 1), size))


def boxes_of(shown: Tensor) -> Tensor:
    """(N, H, W) bool -> (N, 4): left, top, right, bottom in pixels of what is shown; NaN where nothing is."""
    height, width = shown.shape[1:]
    columns, rows = shown.any(1), shown.any(2)
    near = [columns.int().argmax(1), rows.int().argmax(1)]
    far = [width - columns.flip(1).int().argmax(1), height - rows.flip(1).int().argmax(1)]
    boxes = torch.stack([*near, *far], 1).float()
    boxes[~shown.flatten(1).any(1)] = torch.nan
    return boxes


def cover(distance: Tensor, pixel: Tensor | float) -> Tensor:
    """Signed distance (negative inside) -> share of a pixel that is covered, 0 to 1."""
    return (0.5 - distance / pixel).clamp_(0, 1)


def band(value: Tensor, low: Tensor | float, high: Tensor | float, *, soft: float = 0.03) -> Tensor:
    """1 between two limits, with soft ends."""
    return ((value - low) / soft + 0.5).clamp_(0, 1) * ((high - value) / soft + 0.5).clamp_(0, 1)


@cache
def textures(side: int) -> tuple[Tensor, Tensor, Tensor]:
    """(white noise, fine grain, smooth blotches), each (bank, 2 side, 2 side), zero mean, unit deviation, the same for ever."""
    generator = torch.Generator().manual_seed(20240917)
    coarse = torch.randn(_BANK, 1, 9, 9, generator=generator)  # first: the same at every size
    white = torch.randn(_BANK, 1, 2 * side, 2 * side, generator=generator)
    fine = functional.avg_pool2d(white, 3, stride=1, padding=1, count_include_pad=False)
    coarse = functional.interpolate(coarse, (2 * side, 2 * side), mode="bicubic", align_corners=True)
    white, fine, coarse = ((bank[:, 0] - bank.mean()) / bank.std() for bank in (white, fine, coarse))
    return white, fine, coarse


def pieces(bank: Tensor, side: int, *, which: Tensor, row: Tensor, column: Tensor) -> Tensor:
    """A piece of a texture for everybody.

    Args:
        bank: (bank, 2 side, 2 side), one of :func:`textures`.
        side: of the pieces.
        which, row, column: (N, 1, 1), in [0, 1].

    Returns:
        (N, side, side).
    """
    texture = (which.flatten() * len(bank)).long().clamp(max=len(bank) - 1)
    top, left = ((place.flatten() * (side - 1)).long() for place in (row, column))
    return bank.unfold(1, side, 1).unfold(2, side, 1)[texture, top, left]
