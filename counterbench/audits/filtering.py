"""Is a filter of re-identified images any good? What it lets pass of planted near-duplicates, and what it takes of others (Koeken et al. 2025)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

LEVELS = (0, 5, 10, 20, 40, 80)
"""Standard deviations of the noise on planted training images, in grey levels."""
MOST = 500
"""Images of each kind."""


def filter_audit(
    linked: Callable[[Tensor], Tensor], trained_on: Tensor, others: Tensor, *, generator: torch.Generator
) -> dict[str, Any]:
    """What a filter removes of training images with more and more noise (sensitivity), and what it leaves of real images of others (specificity).

    Args:
        linked: images (N, C, *sides) -> whether the filter removes them, (N,).
        trained_on: (M, C, *sides), the training images.
        others: (H, C, *sides), real images of individuals that were not trained on, and that the filter is not calibrated on.
        generator: of the noise.

    Returns:
        `sensitivity`: noise in grey levels -> share of planted images that are removed; `specificity`: share of others that are left.

    Examples:
        >>> images = torch.arange(0.0, 250.0, 10).view(-1, 1, 1, 1)
        >>> is_known = lambda seen: (seen[:, None] == images).flatten(2).all(2).any(1)
        >>> audit = filter_audit(is_known, images, images + 5, generator=torch.Generator().manual_seed(0))
        >>> audit["sensitivity"]["0"], audit["specificity"]
        (1.0, 1.0)
    """

    def removed(images: Tensor) -> float:
        return round(float(linked(images).double().mean()), 4)

    planted = spread(trained_on, MOST).float()
    sensitivity = {}
    for level in LEVELS:
        noise = level * torch.randn(planted.shape, generator=generator)
        sensitivity[str(level)] = removed((planted + noise).round().clamp(0, 255))
    return {"sensitivity": sensitivity, "specificity": round(1 - removed(spread(others, MOST).float()), 4)}


def spread(images: Tensor, most: int) -> Tensor:
    """No more than so many images, evenly spread.

    Examples:
        >>> spread(torch.arange(10), 3).tolist()
        [0, 3, 6]
    """
    count = min(len(images), most)
    return images[torch.arange(count) * len(images) // max(count, 1)]
