"""Convolutional encoder and decoder with a context vector, for images and volumes whose sides are divisible by 2^stages."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from counterbench.errors import ConfigError
from counterbench.networks.spatial import (
    FromPatches,
    channels_last,
    convolution,
    everywhere,
    transposed_convolution,
    with_channels_last,
)

_SLOPE = 0.1  # units that are never quite dead


def _activate(hidden: Tensor) -> Tensor:
    return nn.functional.leaky_relu(hidden, _SLOPE, inplace=True)


def _grid(sides: Sequence[int], stages: int) -> tuple[int, ...]:
    factor = 2**stages
    if any(side % factor for side in sides):
        raise ConfigError(
            f"{stages} stages halve an image {stages} times, but {_words(sides)} is not divisible by {factor}; "
            "give fewer channels or pad the image."
        )
    return tuple(side // factor for side in sides)


def _patches(sides: Sequence[int], patch: int) -> tuple[int, ...]:
    if patch < 1 or any(side % patch for side in sides):
        what = "squares" if len(sides) == 2 else "cubes"
        raise ConfigError(f"patch is {patch}, but an image of {_words(sides)} does not divide into such {what}.")
    return tuple(side // patch for side in sides)


def _words(sides: Sequence[int]) -> str:
    return " x ".join(map(str, sides))


class Encoder(nn.Module):
    """Image and context -> features: one strided convolution of side 3 per stage, then two dense layers.

    Args:
        shape: (C, H, W) of the image, or (C, D, H, W) of the volume.
        context: length of the context vector.
        channels: one number per stage; every stage halves the image.
        features: length of the result.
    """

    def __init__(self, shape: Sequence[int], context: int, channels: Sequence[int], features: int):
        super().__init__()
        dimensions, grid = len(shape) - 1, _grid(shape[1:], len(channels))
        layers: list[nn.Module] = []
        for before, after in zip([shape[0], *channels], channels, strict=False):
            layers += [convolution(dimensions, before, after, 3, stride=2), nn.LeakyReLU(_SLOPE)]
        self.convolutions = with_channels_last(nn.Sequential(*layers), dimensions)
        self.project = nn.Linear(channels[-1] * math.prod(grid), features)
        self.mix = nn.Linear(features + context, features)

    def forward(self, image: Tensor, context: Tensor) -> Tensor:
        """(N, C, *sides), (N, context) -> (N, features)."""
        hidden = _activate(self.project(self.convolutions(channels_last(image)).flatten(1)))
        return _activate(self.mix(torch.cat([hidden, context], 1)))


class DecoderStage(nn.Module):
    """Double the image and convolve; the code shifts and scales the channels (FiLM, Perez et al. 2018)."""

    def __init__(self, before: int, after: int, code: int, *, dimensions: int = 2):
        super().__init__()
        # Of pictures, a strided transposed convolution costs 4/9 of upsampling followed by a 3x3 convolution; kernel 4 at stride 2
        # covers every pixel equally often, so it leaves no checkerboard.
        self.convolution = transposed_convolution(dimensions, before, after, 4, stride=2)
        self.modulation = nn.Linear(code, 2 * after)

    def forward(self, image: Tensor, code: Tensor) -> Tensor:
        hidden = self.convolution(image)
        scale, shift = everywhere(self.modulation(code), hidden).chunk(2, dim=1)
        return _activate(torch.addcmul(shift, hidden, 1 + scale))


class Decoder(nn.Module):
    """Latent and context -> feature map at full resolution.

    Args:
        shape: (C, H, W) of the image, or (C, D, H, W) of the volume.
        code: length of latent and context together.
        channels: one number per stage, coarse to fine.
        features: width of the dense layer.
        patch: side of the squares (cubes) of pixels that one position of the last stage makes; 1 for single pixels.
    """

    def __init__(self, shape: Sequence[int], code: int, channels: Sequence[int], features: int, *, patch: int = 1):
        super().__init__()
        dimensions = len(shape) - 1
        self.grid = (channels[0], *_grid(_patches(shape[1:], patch), len(channels)))
        self.embed = nn.Linear(code, features)
        self.project = nn.Linear(features, math.prod(self.grid))
        pairs = zip([channels[0], *channels], channels, strict=False)
        stages = [DecoderStage(before, after, features, dimensions=dimensions) for before, after in pairs]
        self.stages = nn.ModuleList(stages)
        with_channels_last(self.stages, dimensions)
        # Half the work of a decoder of single pixels is its last stage; a dense layer per patch costs a quarter of that.
        self.maps = channels[-1] if patch == 1 else max(channels[-1] // patch**dimensions, 8)
        """How many feature maps come out."""
        self.unpatch = (
            nn.Sequential(
                convolution(dimensions, channels[-1], self.maps * patch**dimensions, 1),
                FromPatches(patch),
                nn.LeakyReLU(_SLOPE),
            )
            if patch > 1
            else nn.Identity()
        )

    def forward(self, latent: Tensor, context: Tensor) -> Tensor:
        """(N, latent), (N, context) -> (N, maps, *sides)."""
        code = _activate(self.embed(torch.cat([latent, context], 1)))
        image = channels_last(_activate(self.project(code)).unflatten(1, self.grid))
        for stage in self.stages:
            image = stage(image, code)
        drawn: Tensor = self.unpatch(image)
        return drawn
