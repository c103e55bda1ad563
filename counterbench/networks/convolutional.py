"""Convolutional encoder and decoder with a context vector, for images whose sides are divisible by 2^stages."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from counterbench.errors import ConfigError

_SLOPE = 0.1  # units that are never quite dead


def _activate(hidden: Tensor) -> Tensor:
    return nn.functional.leaky_relu(hidden, _SLOPE, inplace=True)


def _grid(height: int, width: int, stages: int) -> tuple[int, int]:
    factor = 2**stages
    if height % factor or width % factor:
        raise ConfigError(
            f"{stages} stages halve an image {stages} times, but {height} x {width} is not divisible by {factor}; "
            "give fewer channels or pad the image."
        )
    return height // factor, width // factor


def _patches(shape: Sequence[int], patch: int) -> tuple[int, int]:
    if patch < 1 or shape[1] % patch or shape[2] % patch:
        raise ConfigError(
            f"patch is {patch}, but an image of {shape[1]} x {shape[2]} does not divide into such squares."
        )
    return shape[1] // patch, shape[2] // patch


class Encoder(nn.Module):
    """Image and context -> features: one strided 3x3 convolution per stage, then two dense layers.

    Args:
        shape: (C, H, W) of the image.
        context: length of the context vector.
        channels: one number per stage; every stage halves the image.
        features: length of the result.
    """

    def __init__(self, shape: Sequence[int], context: int, channels: Sequence[int], features: int):
        super().__init__()
        height, width = _grid(shape[1], shape[2], len(channels))
        layers: list[nn.Module] = []
        for before, after in zip([shape[0], *channels], channels, strict=False):
            layers += [nn.Conv2d(before, after, 3, stride=2, padding=1), nn.LeakyReLU(_SLOPE)]
        self.convolutions = nn.Sequential(*layers).to(memory_format=torch.channels_last)
        self.project = nn.Linear(channels[-1] * height * width, features)
        self.mix = nn.Linear(features + context, features)

    def forward(self, image: Tensor, context: Tensor) -> Tensor:
        """(N, C, H, W), (N, context) -> (N, features)."""
        image = image.contiguous(memory_format=torch.channels_last)
        hidden = _activate(self.project(self.convolutions(image).flatten(1)))
        return _activate(self.mix(torch.cat([hidden, context], 1)))


class DecoderStage(nn.Module):
    """Double the image and convolve; the code shifts and scales the channels (FiLM, Perez et al. 2018)."""

    def __init__(self, before: int, after: int, code: int):
        super().__init__()
        # A strided transposed convolution costs 4/9 of upsampling followed by a 3x3 convolution; kernel 4 at stride 2
        # covers every pixel equally often, so it leaves no checkerboard.
        self.convolution = nn.ConvTranspose2d(before, after, 4, stride=2, padding=1)
        self.modulation = nn.Linear(code, 2 * after)

    def forward(self, image: Tensor, code: Tensor) -> Tensor:
        hidden = self.convolution(image)
        scale, shift = self.modulation(code)[:, :, None, None].chunk(2, dim=1)
        return _activate(torch.addcmul(shift, hidden, 1 + scale))


class Decoder(nn.Module):
    """Latent and context -> feature map at full resolution.

    Args:
        shape: (C, H, W) of the image.
        code: length of latent and context together.
        channels: one number per stage, coarse to fine.
        features: width of the dense layer.
        patch: side of the squares of pixels that one position of the last stage makes; 1 for single pixels.
    """

    def __init__(self, shape: Sequence[int], code: int, channels: Sequence[int], features: int, *, patch: int = 1):
        super().__init__()
        self.grid = (channels[0], *_grid(*_patches(shape, patch), len(channels)))
        self.embed = nn.Linear(code, features)
        self.project = nn.Linear(features, self.grid[0] * self.grid[1] * self.grid[2])
        pairs = zip([channels[0], *channels], channels, strict=False)
        stages = [DecoderStage(before, after, features) for before, after in pairs]
        self.stages = nn.ModuleList(stages).to(memory_format=torch.channels_last)
        # Half the work of a decoder of single pixels is its last stage; a dense layer per patch costs a quarter of that.
        self.maps = channels[-1] if patch == 1 else max(channels[-1] // patch**2, 8)
        """How many feature maps come out."""
        self.unpatch = (
            nn.Sequential(
                nn.Conv2d(channels[-1], self.maps * patch**2, 1), nn.PixelShuffle(patch), nn.LeakyReLU(_SLOPE)
            )
            if patch > 1
            else nn.Identity()
        )

    def forward(self, latent: Tensor, context: Tensor) -> Tensor:
        """(N, latent), (N, context) -> (N, maps, H, W)."""
        code = _activate(self.embed(torch.cat([latent, context], 1)))
        image = _activate(self.project(code)).unflatten(1, self.grid)
        image = image.contiguous(memory_format=torch.channels_last)
        for stage in self.stages:
            image = stage(image, code)
        drawn: Tensor = self.unpatch(image)
        return drawn
