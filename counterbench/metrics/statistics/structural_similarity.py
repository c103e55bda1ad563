"""Multi-scale structural similarity of pairs of images or volumes."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
"""Of the scales, fine to coarse (Wang et al. 2003)."""
WINDOW, SIGMA = 11, 1.5
"""Side and standard deviation of the Gaussian window, in pixels."""
RANGE = 255.0
_STABLE = ((0.01 * RANGE) ** 2, (0.03 * RANGE) ** 2)
_BLOCK = 64
_CONVOLUTIONS = {2: functional.conv2d, 3: functional.conv3d}
_POOLS = {2: functional.avg_pool2d, 3: functional.avg_pool3d}


def scales_of(sides: Sequence[int]) -> tuple[tuple[float, ...], int]:
    """(weights of the scales, side of the window) for images of these sides.

    As many of the five scales as leave the shortest side no shorter than the window, their weights divided by their sum; an image
    with a side below 11 pixels has one scale and the largest odd window that fits.

    Examples:
        >>> [(len(weights), window) for weights, window in map(scales_of, [(192, 192), (64, 64), (32, 32), (28, 28), (16, 16, 16), (8, 8)])]
        [(5, 11), (3, 11), (2, 11), (2, 11), (1, 11), (1, 7)]
    """
    shortest = min(sides)
    count = max(1, sum(shortest // 2**scale >= WINDOW for scale in range(len(WEIGHTS))))
    total = sum(WEIGHTS[:count])
    return tuple(weight / total for weight in WEIGHTS[:count]), min(WINDOW, shortest - (shortest + 1) % 2)


def ms_ssim(first: Tensor, second: Tensor) -> Tensor:
    """Multi-scale structural similarity (Wang, Simoncelli & Bovik, Asilomar 2003), 0 to 1, in float64.

    The product over scales of the mean contrast and structure, at the coarsest scale times luminance, each to the power of the scale's weight;
    means are over positions and channels, below 0 they count as 0, and each scale is half the side of the one before. The window is a
    Gaussian. Equal to `MultiScaleSSIMMetric` of MONAI with the same weights and window.

    Args:
        first: grey levels, (N, C, H, W) or (N, C, D, H, W).
        second: the same.

    Returns:
        (N,).

    Examples:
        >>> images = torch.rand(2, 1, 16, 16, generator=torch.Generator().manual_seed(0)) * 255
        >>> ms_ssim(images, images).tolist(), bool((ms_ssim(images, 255 - images) < 0.1).all())
        ([1.0, 1.0], True)
    """
    blocks = zip(first.split(_BLOCK), second.split(_BLOCK), strict=True)
    return torch.cat([_of_block(one.double(), other.double()) for one, other in blocks])


def _of_block(first: Tensor, second: Tensor) -> Tensor:
    weights, window = scales_of(first.shape[2:])
    similarity = first.new_ones(len(first))
    for scale, weight in enumerate(weights):
        if scale:
            pool = _POOLS[first.ndim - 2]
            first, second = pool(first, 2), pool(second, 2)
        luminance, structure = _terms(first, second, window)
        seen = structure * luminance if scale == len(weights) - 1 else structure
        similarity = similarity * seen.flatten(1).mean(1).clamp(min=0) ** weight
    return similarity


def _terms(first: Tensor, second: Tensor, window: int) -> tuple[Tensor, Tensor]:
    """Luminance, and contrast times structure, at every position where the window fits; of each channel."""
    pairs = torch.stack([first, second, first * first, second * second, first * second])
    mean, other, square, other_square, product = _blurred(pairs.flatten(0, 1), window).unflatten(0, (5, -1))
    low, high = _STABLE
    luminance = (2 * mean * other + low) / (mean.square() + other.square() + low)
    variances = square - mean.square() + other_square - other.square()
    return luminance, (2 * (product - mean * other) + high) / (variances + high)


def _blurred(images: Tensor, window: int) -> Tensor:
    """Means under the window, where it fits: (N, C, *sides) -> (N, C, *(sides - window + 1))."""
    places = torch.arange(window, dtype=images.dtype, device=images.device) - (window - 1) / 2
    kernel = (-(places / SIGMA).square() / 2).exp()
    kernel = kernel / kernel.sum()
    count = images.ndim - 2
    maps = images.flatten(0, 1)[:, None]
    for axis in range(count):
        shape = [1, 1, *(window if axis == place else 1 for place in range(count))]
        maps = _CONVOLUTIONS[count](maps, kernel.view(shape))
    means: Tensor = maps[:, 0].unflatten(0, images.shape[:2])
    return means
