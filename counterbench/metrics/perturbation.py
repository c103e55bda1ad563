"""A small perturbation of images that no reading of what they show hangs on, and most attacks on networks do."""

from __future__ import annotations

from functools import cached_property

import torch
from torch import Tensor
from torch.nn import functional

from counterbench.causal.chance import SampleNoise

LEVELS, PIXELS = 3.0, 0.5
"""Standard deviation of the noise in grey levels, and how far an image is moved at most in each direction, in pixels."""


class Perturbation:
    """A little noise and a shift by a part of a pixel, of every row its own, the same for whoever answers.

    Args:
        rows: (N,), of the test split.
        shape: of an image, (C, *sides).
        seed: of the exam.

    Examples:
        >>> shake = Perturbation(torch.tensor([3, 4]), (1, 8, 8), seed=0)
        >>> grey = torch.full((2, 1, 8, 8), 100.0)
        >>> bool((shake(grey) != grey).any()), float((shake(grey) - grey).abs().max()) < 20
        (True, True)
    """

    def __init__(self, rows: Tensor, shape: tuple[int, ...], *, seed: int = 0):
        self.rows, self.shape, self.seed = rows, tuple(shape), seed

    def __call__(self, images: Tensor) -> Tensor:
        """The images, one of each row, perturbed, in whole grey levels."""
        noise, shift = self._drawn
        moved = functional.grid_sample(images.float(), shift, padding_mode="border", align_corners=False)
        return (moved + noise).round().clamp(0, 255)

    @cached_property
    def _drawn(self) -> tuple[Tensor, Tensor]:
        """(noise in grey levels, (N, C, *sides); where each pixel comes from, (N, *sides, axes))."""
        drawn = SampleNoise(self.seed, [f"shake/{row}" for row in self.rows.tolist()])
        noise = LEVELS * drawn.normal(*self.shape).float()
        axes = len(self.shape) - 1
        pixel = torch.tensor([2 / side for side in reversed(self.shape[1:])])  # grids are told x first
        step = PIXELS * (2 * drawn.uniform(axes).float() - 1) * pixel
        matrix = torch.cat([torch.eye(axes).expand(len(step), axes, axes), step[:, :, None]], 2)
        return noise, functional.affine_grid(matrix, [len(step), *self.shape], align_corners=False)
