"""Is an image a copy of one that was trained on? Distances to the nearest training image, and what they are compared with."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional

from counterbench.runtime.blocks import at_once

GRID = 4
"""Tiles along each side of an image."""
QUANTILE = 0.01
"""Share of held-out real images that count as copies."""
_ROOM = 1 << 26


def tile_distance(images: Tensor, others: Tensor, *, grid: int = GRID) -> Tensor:
    """The largest distance of any tile of two images, (N, M): root of the mean square over the tile, in grey levels.

    Two images that agree but for one corner are far apart (Carlini et al., USENIX Security 2023: the maximum over a grid of tiles, so that
    equal backgrounds do not make images alike).

    Args:
        images: (N, C, *sides).
        others: (M, C, *sides).
        grid: tiles along each side, fewer where a side is shorter.

    Examples:
        >>> black = torch.zeros(1, 1, 8, 8)
        >>> spot = black.clone()
        >>> spot[0, 0, 0, 0] = 40
        >>> tile_distance(black, torch.cat([black, spot])).tolist()
        [[0.0, 20.0]]
    """
    largest = images.new_zeros(len(images), len(others), dtype=torch.float32)
    for pixels in tiles(tuple(images.shape[1:]), grid):
        one, other = images.flatten(1)[:, pixels].float(), others.flatten(1)[:, pixels].float()
        squares = one.square().sum(1)[:, None] + other.square().sum(1) - 2 * one @ other.T
        # Whole grey levels: what rounding leaves of equal tiles is far below one.
        distance = (squares / len(pixels)).clamp(min=0).sqrt()
        largest = torch.maximum(largest, torch.where(distance < 0.05, torch.zeros_like(distance), distance))
    return largest


@lru_cache(maxsize=32)
def tiles(shape: Sequence[int], grid: int) -> tuple[Tensor, ...]:
    """Which numbers of a flattened image belong to each tile.

    Args:
        shape: of an image, (C, *sides).
        grid: tiles along each side.

    Examples:
        >>> [len(pixels) for pixels in tiles((1, 4, 6), 2)]
        [6, 6, 6, 6]
    """
    number = torch.zeros(tuple(shape), dtype=torch.long)
    for axis, side in enumerate(shape[1:], start=1):
        places = torch.arange(side) * min(grid, side) // side
        number = number * grid + places.view([-1 if axis == here else 1 for here in range(len(shape))])
    flat = number.flatten()
    return tuple((flat == tile).nonzero()[:, 0] for tile in flat.unique())


def nearest(images: Tensor, others: Tensor) -> tuple[Tensor, Tensor]:
    """(distance to the nearest of the others by :func:`tile_distance`, (N,), float64; which one it is, (N,)).

    Examples:
        >>> images = torch.tensor([0.0, 10.0, 40.0]).view(3, 1, 1, 1)
        >>> [value.tolist() for value in nearest(images, images[:2])]
        [[0.0, 0.0, 30.0], [0, 1, 1]]
    """
    least = torch.full((len(images),), torch.inf)
    which = torch.zeros(len(images), dtype=torch.long)
    for start, part in _blocks(others):
        distance, place = tile_distance(images, part).min(1)
        nearer = distance < least
        least, which = torch.where(nearer, distance, least), torch.where(nearer, place + start, which)
    return least.double(), which


def _blocks(others: Tensor) -> Iterator[tuple[int, Tensor]]:
    size = at_once(others[0].numel(), len(others), room=_ROOM)
    return ((start, others[start : start + size]) for start in range(0, len(others), size))


def copy_threshold(held_out: Tensor) -> float:
    """The distance up to which an image counts as a copy: that of the nearest 1 % of real images that were not trained on.

    With a fixed threshold, models that never saw the training images would be found guilty wherever images are alike.

    Args:
        held_out: (N,), distances of held-out real images to their nearest training images.

    Examples:
        >>> copy_threshold(torch.arange(1.0, 102.0))
        2.0
    """
    return float(held_out.double().quantile(QUANTILE))


def minimum_cosine_distance(features: Tensor, trained_on: Tensor) -> Tensor:
    """1 - cosine between each vector and the most similar one of the training images, (N,); its mean is the AMD (Bai et al. 2021).

    Args:
        features: (N, D).
        trained_on: (M, D).

    Examples:
        >>> minimum_cosine_distance(torch.eye(2), torch.tensor([[2.0, 0.0]])).tolist()
        [0.0, 1.0]
    """
    units = [functional.normalize(value.double(), dim=1) for value in (features, trained_on)]
    similarity: Tensor = (units[0] @ units[1].T).amax(1)
    return (1 - similarity).clamp(min=0)


def memorisation_penalised(frechet: float, distance: float, *, held_out: float) -> float:
    """A Frechet distance divided by how much nearer samples are to training images than held-out images are, where they are nearer.

    Bai et al. (2021) divide by the AMD itself below a threshold, so that a model that memorised nothing, whose AMD lies at the threshold, gets either number by
    chance; the ratio to held-out images has no such step.

    Args:
        frechet: against held-out real images.
        distance: the AMD.
        held_out: that of held-out real images.

    Examples:
        >>> memorisation_penalised(6.0, 0.5, held_out=0.4), memorisation_penalised(6.0, 0.2, held_out=0.4)
        (6.0, 12.0)
    """
    return frechet / max(min(1.0, distance / max(held_out, 1e-12)), 1e-12)
