"""Layers over images and volumes alike: the number of spatial dimensions is an argument, 2 unless said otherwise."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

_CONVOLUTIONS = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
_TRANSPOSED = {1: nn.ConvTranspose1d, 2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}
_BATCH_NORMS = {1: nn.BatchNorm1d, 2: nn.BatchNorm2d, 3: nn.BatchNorm3d}
_AVERAGES = {1: nn.AvgPool1d, 2: nn.AvgPool2d, 3: nn.AvgPool3d}
_LARGEST = {1: nn.MaxPool1d, 2: nn.MaxPool2d, 3: nn.MaxPool3d}
_MEANS = {1: nn.AdaptiveAvgPool1d, 2: nn.AdaptiveAvgPool2d, 3: nn.AdaptiveAvgPool3d}
_FORMATS = {2: torch.channels_last, 3: torch.channels_last_3d}

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
"""Of any number of dimensions."""


def convolution(
    dimensions: int,
    before: int,
    after: int,
    kernel: int,
    *,
    stride: int = 1,
    padding: int | None = None,
    bias: bool = True,
) -> nn.Module:
    """A convolution over that many dimensions which keeps sides (divided by the stride), or with a padding of its own.

    Examples:
        >>> tuple(convolution(3, 1, 4, 3)(torch.zeros(1, 1, 8, 8, 8)).shape)
        (1, 4, 8, 8, 8)
    """
    padding = (kernel - stride + 1) // 2 if padding is None else padding
    layer: nn.Module = _CONVOLUTIONS[dimensions](before, after, kernel, stride=stride, padding=padding, bias=bias)
    return layer


def transposed_convolution(dimensions: int, before: int, after: int, kernel: int, *, stride: int) -> nn.Module:
    """The way back: a convolution which multiplies sides by its stride.

    Examples:
        >>> tuple(transposed_convolution(3, 4, 1, 4, stride=2)(torch.zeros(1, 4, 2, 2, 2)).shape)
        (1, 1, 4, 4, 4)
    """
    return _TRANSPOSED[dimensions](before, after, kernel, stride=stride, padding=(kernel - stride) // 2)


def batch_norm(dimensions: int, channels: int) -> nn.Module:
    """Normalisation of every channel over the batch."""
    return _BATCH_NORMS[dimensions](channels)


def average_pool(dimensions: int, side: int) -> nn.Module:
    """The mean of every square, or cube, of that side.

    Examples:
        >>> tuple(average_pool(3, 2)(torch.zeros(1, 1, 8, 8, 8)).shape)
        (1, 1, 4, 4, 4)
    """
    layer: nn.Module = _AVERAGES[dimensions](side)
    return layer


def maximum_pool(dimensions: int, side: int) -> nn.Module:
    """The largest number of every square, or cube, of that side."""
    return _LARGEST[dimensions](side)


def pooled_to(dimensions: int, side: int) -> nn.Module:
    """Maps of any sides to those of one side, by means."""
    return _MEANS[dimensions](side)


def with_channels_last(module: nn.Module, dimensions: int) -> nn.Module:
    """The same module, its weights laid out as :func:`channels_last` lays out maps: a third faster on a processor."""
    return module.to(memory_format=_FORMATS[dimensions]) if dimensions in _FORMATS else module


def channels_last(maps: Tensor) -> Tensor:
    """(N, C, *sides), the same numbers with the channels of a position side by side in memory."""
    dimensions = maps.ndim - 2
    return maps.contiguous(memory_format=_FORMATS[dimensions]) if dimensions in _FORMATS else maps


def everywhere(vector: Tensor, maps: Tensor) -> Tensor:
    """(N, C) -> (N, C, 1, ...): one number per channel, as maps like these add or multiply it at every position.

    Examples:
        >>> tuple(everywhere(torch.zeros(2, 3), torch.zeros(2, 3, 4, 4, 4)).shape)
        (2, 3, 1, 1, 1)
    """
    return vector.view(*vector.shape, *[1] * (maps.ndim - vector.ndim))


def from_patches(maps: Tensor, patch: int) -> Tensor:
    """(N, C patch^D, *sides) -> (N, C, *(patch x sides)): every position becomes a cube of pixels.

    Examples:
        >>> maps = torch.arange(4.0).reshape(1, 4, 1, 1)
        >>> from_patches(maps, 2)[0, 0].tolist()
        [[0.0, 1.0], [2.0, 3.0]]
    """
    sides = maps.shape[2:]
    count = len(sides)
    cubes = maps.reshape(len(maps), -1, *([patch] * count), *sides)
    # (N, C, patch..., sides...) -> (N, C, side, patch, side, patch, ...)
    order = [axis for place in range(count) for axis in (2 + count + place, 2 + place)]
    return cubes.permute(0, 1, *order).reshape(len(maps), -1, *(patch * side for side in sides))


class FromPatches(nn.Module):
    """:func:`from_patches` as a layer.

    Args:
        patch: side of the squares, or cubes.
    """

    def __init__(self, patch: int):
        super().__init__()
        self.patch = patch

    def forward(self, maps: Tensor) -> Tensor:
        """(N, C patch^D, *sides) -> (N, C, *(patch x sides))."""
        return functional.pixel_shuffle(maps, self.patch) if maps.ndim == 4 else from_patches(maps, self.patch)
