"""Conditional U-Net over time, for images and volumes: modulation by time and tokens, cross-attention over the tokens."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from counterbench.errors import ConfigError
from counterbench.networks.attention import CrossAttention
from counterbench.networks.field import FieldNetwork
from counterbench.networks.spatial import channels_last, convolution, everywhere, from_patches, with_channels_last


def groups(channels: int) -> int:
    """Groups of a group norm: at most 8, and a divisor of the channels.

    Examples:
        >>> groups(64), groups(12), groups(1)
        (8, 6, 1)
    """
    return next(count for count in range(min(8, channels), 0, -1) if channels % count == 0)


class TimeFeatures(nn.Module):
    """A time between 0 and 1 as sines and cosines, then two dense layers.

    Args:
        width: of the result, even.

    Examples:
        >>> tuple(TimeFeatures(16)(torch.tensor([0.0, 0.5])).shape)
        (2, 16)
    """

    def __init__(self, width: int):
        super().__init__()
        half = width // 2
        self.frequencies: Tensor
        self.register_buffer("frequencies", torch.logspace(-2, 4, half, base=2.0), persistent=False)
        self.layers = nn.Sequential(nn.Linear(2 * half, width), nn.SiLU(), nn.Linear(width, width))

    def forward(self, time: Tensor) -> Tensor:
        """(N,) -> (N, width)."""
        angles = 2 * math.pi * time[:, None] * self.frequencies
        features: Tensor = self.layers(torch.cat([angles.sin(), angles.cos()], 1))
        return features


class ModulatedBlock(nn.Module):
    """Two convolutions with group norms, of which the second is scaled and shifted by the condition.

    Args:
        dimensions: of the maps.
        before, after: channels.
        condition: length of the condition.
    """

    def __init__(self, dimensions: int, before: int, after: int, condition: int):
        super().__init__()
        self.norm = nn.GroupNorm(groups(before), before)
        self.first = convolution(dimensions, before, after, 3)
        self.modulation = nn.Linear(condition, 2 * after)
        self.second_norm = nn.GroupNorm(groups(after), after)
        self.second = convolution(dimensions, after, after, 3)
        self.skip = convolution(dimensions, before, after, 1) if before != after else nn.Identity()

    def forward(self, maps: Tensor, condition: Tensor) -> Tensor:
        """(N, before, *sides), (N, condition) -> (N, after, *sides)."""
        hidden = self.first(functional.silu(self.norm(maps)))
        scale, shift = everywhere(self.modulation(condition), maps).chunk(2, dim=1)
        hidden = torch.addcmul(shift, self.second_norm(hidden), 1 + scale)
        result: Tensor = self.skip(maps) + self.second(functional.silu(hidden))
        return result


class UNetStage(nn.Module):
    """What happens at one resolution: residual blocks, then attention over the tokens.

    Args:
        dimensions: of the maps.
        before, after: channels.
        blocks: how many residual blocks.
        condition: length of the condition, and of every token.
        heads: of the attention; 0 for none.
        sides: of the maps, for positions that know where they are; None for others.
    """

    def __init__(
        self,
        dimensions: int,
        before: int,
        after: int,
        *,
        blocks: int,
        condition: int,
        heads: int,
        sides: Sequence[int] | None = None,
    ):
        super().__init__()
        widths = [before, *[after] * blocks]
        self.blocks = nn.ModuleList(ModulatedBlock(dimensions, *pair, condition) for pair in pairwise(widths))
        self.attention = CrossAttention(after, condition, heads, sides=sides) if heads else None

    def forward(self, maps: Tensor, condition: Tensor, tokens: Tensor) -> Tensor:
        """(N, before, *sides), (N, condition), (N, T, condition) -> (N, after, *sides)."""
        for block in self.blocks:
            maps = block(maps, condition)
        return maps if self.attention is None else self.attention(maps, tokens)


class UNet(FieldNetwork):
    """A field over images or volumes that depends on time and on tokens: (image, time, tokens) -> image of the same shape.

    Positions of the finest level are patches of pixels. Time and the mean of the tokens modulate every block; at the levels
    with attention every position looks at the tokens. Words modulate nothing: they are heard by attention alone, which then looks at nothing
    else and whose positions know where they are, so that where the network looks for a word is where the word acts.

    Args:
        shape: (C, *sides).
        condition: length of the condition, and of every token.
        channels: per level, fine to coarse; every level halves the sides.
        blocks: residual blocks per level, on the way down and on the way up.
        patch: side of the patches.
        attention: levels, counted from the finest as 0, with cross-attention.
        heads: of the attention.
        words: how many of the last tokens are words.

    Raises:
        ConfigError: if the sides do not divide into patches and levels, or a level does not exist.

    Examples:
        >>> network = UNet((1, 8, 8, 8), condition=8, channels=[8, 8], patch=2, attention=[1], heads=2)
        >>> tuple(network(torch.zeros(2, 1, 8, 8, 8), torch.zeros(2), torch.zeros(2, 3, 8)).shape)
        (2, 1, 8, 8, 8)
    """

    def __init__(
        self,
        shape: Sequence[int],
        condition: int,
        *,
        channels: Sequence[int] = (48, 96, 128),
        blocks: int = 1,
        patch: int = 2,
        attention: Sequence[int] = (1, 2),
        heads: int = 4,
        words: int = 0,
    ):
        super().__init__()
        sides = tuple(shape[1:])
        _check(sides, channels, patch, attention)
        self.words = words
        self.dimensions, self.patch = len(sides), patch
        self.time = TimeFeatures(condition)
        make = _Maker(
            self.dimensions,
            blocks,
            condition,
            [heads * (level in attention) for level in range(len(channels))],
            [[side // (patch * 2**level) for side in sides] if words else None for level in range(len(channels))],
        )
        self.stem = convolution(self.dimensions, shape[0], channels[0], 3 * patch if patch > 1 else 3, stride=patch)
        befores = [channels[0], *channels]
        self.down = nn.ModuleList(make.stage(befores[level], width, level) for level, width in enumerate(channels))
        self.shrink = nn.ModuleList(convolution(self.dimensions, width, width, 4, stride=2) for width in channels[:-1])
        self.middle = make.stage(channels[-1], channels[-1], len(channels) - 1)
        self.grow = nn.ModuleList(convolution(self.dimensions, coarse, fine, 1) for fine, coarse in pairwise(channels))
        self.up = nn.ModuleList(make.stage(2 * width, width, level) for level, width in enumerate(channels[:-1]))
        self.norm = nn.GroupNorm(groups(channels[0]), channels[0])
        self.paint = convolution(self.dimensions, channels[0], shape[0] * patch**self.dimensions, 3)
        with torch.no_grad():  # an untrained field is zero
            for parameter in self.paint.parameters():
                parameter.zero_()
        with_channels_last(self, self.dimensions)

    def forward(self, image: Tensor, time: Tensor, tokens: Tensor) -> Tensor:
        """(N, C, *sides), (N,), (N, T, condition) -> (N, C, *sides)."""
        condition = self.time(time)
        numbers, tokens = tokens[:, : tokens.shape[1] - self.words], tokens[:, -self.words :] if self.words else tokens
        if numbers.shape[1]:
            condition = condition + numbers.mean(1)
        maps, skipped = self.stem(channels_last(image)), []
        for level, stage in enumerate(self.down):
            maps = stage(maps, condition, tokens)
            if level < len(self.shrink):
                skipped.append(maps)
                maps = self.shrink[level](maps)
        maps = self.middle(maps, condition, tokens)
        for level in reversed(range(len(self.up))):
            fine = functional.interpolate(self.grow[level](maps), scale_factor=2.0)
            maps = self.up[level](torch.cat([fine, skipped[level]], 1), condition, tokens)
        return from_patches(self.paint(functional.silu(self.norm(maps))), self.patch)


class _Maker:
    """What all stages of one network have in common."""

    def __init__(
        self,
        dimensions: int,
        blocks: int,
        condition: int,
        heads: Sequence[int],
        sides: Sequence[Sequence[int] | None],
    ):
        self.dimensions, self.blocks, self.condition = dimensions, blocks, condition
        self.heads, self.sides = heads, sides

    def stage(self, before: int, after: int, level: int) -> UNetStage:
        return UNetStage(
            self.dimensions,
            before,
            after,
            blocks=self.blocks,
            condition=self.condition,
            heads=self.heads[level],
            sides=self.sides[level],
        )


def _check(sides: Sequence[int], channels: Sequence[int], patch: int, attention: Sequence[int]) -> None:
    factor = patch * 2 ** (len(channels) - 1) if channels and patch > 0 else 0
    if not factor or any(side % factor for side in sides):
        raise ConfigError(
            f"{len(channels)} levels on patches of {patch} need sides that are divisible by {factor or 'them'}; "
            f"these are {' x '.join(map(str, sides))}. Give fewer channels or another patch."
        )
    if outside := [level for level in attention if not 0 <= level < len(channels)]:
        raise ConfigError(f"attention names level {outside[0]}; there are levels 0 (finest) to {len(channels) - 1}.")
