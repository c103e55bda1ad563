"""What happens to images while judges are trained: what a model's decoder may do to them without changing what they show."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from counterbench.judges.sensitivity import blurred
from counterbench.networks.spatial import everywhere

OFTEN = 0.5
"""How many of the images are blurred; as many, drawn anew, are lifted, and as many are noisy."""
_BLUR, _LEVELS, _NOISE = 1.0, (-10.0, 20.0), 15.0
"""Widest blur in pixels, offsets of the grey levels, strongest noise in grey levels."""


@dataclass(frozen=True)
class Augmented:
    """Images after augmentation, and what became of a grey level in them.

    Args:
        images: (N, C, *sides), whole grey levels 0-255.
        gain, offset: (N,): a grey level g of the image before is now gain * g + offset.
    """

    images: Tensor
    gain: Tensor
    offset: Tensor

    def level(self, before: Tensor) -> Tensor:
        """(N,) grey levels before -> now."""
        return (self.gain * before + self.offset).clamp(0, 255)


def augmented(images: Tensor, generator: torch.Generator, *, keeps_size: bool = False) -> Augmented:
    """Turn, slant, scale and shift a little; change the contrast; blur, lift and roughen half of the images each.

    A volume is turned, slanted and scaled within its axial planes, and shifted along all three axes.

    Args:
        images: (N, C, *sides), grey levels 0-255.
        generator: of all draws.
        keeps_size: turn and shift only, for quantities such as widths and volumes that slanting and scaling would change.
    """
    moved = _moved(images, generator, keeps_size)
    count, device = len(images), images.device
    often = torch.rand(count, 3, generator=generator, device=device) < OFTEN
    size = torch.rand(count, 3, generator=generator, device=device)
    gain = (0.15 * torch.randn(count, generator=generator, device=device)).exp()
    low, high = _LEVELS
    offset = torch.where(often[:, 1], low + (high - low) * size[:, 1], 0.0)
    noise = torch.where(often[:, 2], _NOISE * size[:, 2], 0.0)
    softened = blurred(moved, torch.where(often[:, 0], _BLUR * size[:, 0], 0.0))
    grain = torch.randn(images.shape, generator=generator, device=device)
    gains, offsets, noises = (everywhere(number[:, None], images) for number in (gain, offset, noise))
    changed = softened * gains + offsets + noises * grain
    return Augmented(changed.round().clamp(0, 255), gain, offset)


def _moved(images: Tensor, generator: torch.Generator, keeps_size: bool) -> Tensor:
    drawn: dict[str, Any] = {"generator": generator, "device": images.device}
    draw = torch.randn(len(images), 5, **drawn)
    rotation, slant, size = 0.12 * draw[:, 0], 0.12 * draw[:, 1], (0.08 * draw[:, 2]).exp()
    if keeps_size:
        slant, size = torch.zeros_like(slant), torch.ones_like(size)
    shift = 2 * 1.0 / images.shape[-1] * draw[:, 3:5]
    cosine, sine = rotation.cos() * size, rotation.sin() * size
    matrix = torch.stack(
        [torch.stack([cosine, slant - sine, shift[:, 0]], 1), torch.stack([sine, cosine, shift[:, 1]], 1)], 1
    )
    if images.ndim == 5:
        matrix = _of_volumes(matrix, 2 / images.shape[2] * torch.randn(len(images), **drawn))
    grid = functional.affine_grid(matrix, list(images.shape), align_corners=False)
    # What comes in at the edges continues the picture: black wedges would be cues on anything but black paper.
    return functional.grid_sample(images, grid, padding_mode="border", align_corners=False)


def _of_volumes(matrix: Tensor, up: Tensor) -> Tensor:
    """(N, 2, 3), (N,) -> (N, 3, 4): what a matrix does within a plane, with a shift along the axis across."""
    whole = matrix.new_zeros(len(matrix), 3, 4)
    whole[:, :2, :2], whole[:, :2, 3] = matrix[:, :, :2], matrix[:, :, 2]
    whole[:, 2, 2], whole[:, 2, 3] = 1.0, up
    return whole
