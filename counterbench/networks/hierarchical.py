"""Hierarchical variational autoencoder: latents at every resolution, coarse to fine, with a context vector.

After De Sousa Ribeiro et al. (ICML 2023) and Child (ICLR 2021); of images and of volumes, whose maps are squares or cubes. The context enters as projected features that are added to
the maps, one number per channel, never as image-sized maps: that is the same function class at a fraction of the work.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn

from counterbench.errors import ConfigError
from counterbench.networks.normal import normal_divergence
from counterbench.networks.spatial import FromPatches, convolution, everywhere, transposed_convolution

Level = tuple[int, int, int]
"""(resolution, blocks, width)."""


@dataclass(frozen=True)
class Layer:
    """What one stochastic block has inferred.

    Args:
        latent: (N, L, R, R), of a volume (N, L, R, R, R), and so are the other maps.
        prior: mean and log scale of p(z | coarser z), each (N, L, R, R).
        posterior: mean and log scale of q(z | image, context), or None where nothing was inferred.
    """

    latent: Tensor
    prior: tuple[Tensor, Tensor]
    posterior: tuple[Tensor, Tensor] | None

    @property
    def noise(self) -> Tensor:
        """The latent in units of its prior: what is standard normal if the prior is right."""
        mean, log_scale = self.prior
        return (self.latent - mean) * (-log_scale).exp()

    def divergence(self) -> Tensor:
        """KL(q || p), (N,), in nats."""
        assert self.posterior is not None
        mean, log_scale, prior_mean, prior_log_scale = (part.flatten(1) for part in (*self.posterior, *self.prior))
        return normal_divergence(mean, log_scale, other_mean=prior_mean, other_log_scale=prior_log_scale)


class Bottleneck(nn.Module):
    """Convolutions of sides 1, 3, 3, 1 on a quarter of the width, each after a GELU; at most 2 pixels wide, all are of side 1.

    Args:
        before, after: channels.
        resolution: side of the maps.
        inner: channels between.
        dimensions: of the maps, 2 or 3.
    """

    def __init__(self, before: int, after: int, resolution: int, *, inner: int, dimensions: int = 2):
        super().__init__()
        kernel = 3 if resolution > 2 else 1
        self.layers = nn.Sequential(
            nn.GELU(),
            convolution(dimensions, before, inner, 1),
            nn.GELU(),
            convolution(dimensions, inner, inner, kernel),
            nn.GELU(),
            convolution(dimensions, inner, inner, kernel),
            nn.GELU(),
            convolution(dimensions, inner, after, 1),
        )

    @property
    def last(self) -> nn.Module:
        """The convolution that decides how much the block says at first."""
        return self.layers[-1]

    def forward(self, maps: Tensor) -> Tensor:
        """(N, before, R, ...) -> (N, after, R, ...)."""
        result: Tensor = self.layers(maps)
        return result


def _inner(width: int, bottleneck: int) -> int:
    return max(width // bottleneck, 4)


def _check(levels: Sequence[Level], side: int) -> None:
    resolutions = [resolution for resolution, _, _ in levels]
    if resolutions != sorted(set(resolutions)):
        raise ConfigError(f"levels {list(map(list, levels))}: resolutions must rise from coarse to fine.")
    for coarse, fine in pairwise([*resolutions, side]):
        if fine % coarse:
            what = f"the image's side, {fine}," if fine == side else f"resolution {fine}"
            raise ConfigError(f"levels: {what} is no multiple of {coarse}.")


class HierarchicalEncoder(nn.Module):
    """Image -> maps at every resolution, fine to coarse.

    Args:
        channels: of the image.
        levels: (resolution, blocks, width), coarse to fine.
        patch: side of the squares (cubes) of pixels that make one position of the finest level.
        bottleneck: how many times narrower blocks are inside.
        dimensions: of the image, 2 or 3.
    """

    def __init__(
        self, channels: int, levels: Sequence[Level], *, patch: int = 1, bottleneck: int = 4, dimensions: int = 2
    ):
        super().__init__()
        finest = levels[-1]
        # A patch sees its neighbours too.
        kernel = 3 * patch if patch > 1 else 7
        self.stem = convolution(dimensions, channels, finest[2], kernel, stride=patch)
        count = sum(blocks for _, blocks, _ in levels)
        self.stages, self.shrink = nn.ModuleList(), nn.ModuleList()
        width, before = finest[2], finest[0]
        for resolution, blocks, after in reversed(levels):
            self.shrink.append(
                _shrink(width, after, before // resolution, dimensions) if before != resolution else nn.Identity()
            )
            before = resolution
            stage = nn.ModuleList(
                Bottleneck(after, after, resolution, inner=_inner(after, bottleneck), dimensions=dimensions)
                for _ in range(blocks)
            )
            for block in stage:
                block.last.weight.data *= count**-0.5  # type: ignore[union-attr]
            self.stages.append(stage)
            width = after
        self.resolutions = [resolution for resolution, _, _ in reversed(levels)]

    def forward(self, image: Tensor) -> dict[int, Tensor]:
        """(N, C, H, ...) -> resolution -> (N, width, R, ...)."""
        maps, activations = self.stem(image), {}
        for resolution, shrink, stage in zip(self.resolutions, self.shrink, self.stages, strict=True):
            maps = shrink(maps)
            for block in stage:  # type: ignore[attr-defined]
                maps = maps + block(maps)
            activations[resolution] = maps
        return activations


def _shrink(before: int, after: int, factor: int, dimensions: int) -> nn.Module:
    """Maps of one resolution to those of a coarser one: every position of a square has weights of its own. (A mean would not know
    what was where.)"""
    return convolution(dimensions, before, after, factor, stride=factor)


def _grow(before: int, after: int, factor: int, dimensions: int) -> nn.Module:
    """The way back."""
    return transposed_convolution(dimensions, before, after, factor, stride=factor)


class StochasticBlock(nn.Module):
    """One latent: its prior from coarser latents, its posterior from the image, and what it adds to the maps.

    Args:
        width: channels of the maps.
        resolution: their side.
        latent: channels of the latent.
        context: length of the context vector.
        conditional: whether the prior sees the context.
        count: how many such blocks there are.
        last: whether no latent follows, so that nothing has to be carried on.
        inner: channels inside its blocks.
        dimensions: of the maps, 2 or 3.
    """

    def __init__(
        self,
        width: int,
        resolution: int,
        *,
        latent: int,
        context: int,
        conditional: bool,
        count: int,
        last: bool,
        inner: int,
        dimensions: int = 2,
    ):
        super().__init__()

        def bottleneck(before: int, after: int) -> Bottleneck:
            return Bottleneck(before, after, resolution, inner=inner, dimensions=dimensions)

        self.latent, self.conditional = latent, conditional
        self.prior = bottleneck(width, 2 * latent + width)
        for part in self.prior.last.parameters():
            nn.init.zeros_(part)
        self.posterior = bottleneck(2 * width, 2 * latent)
        self.see = nn.Linear(context, 2 * width)
        self.expect = nn.Linear(context, width) if conditional else None
        self.show = convolution(dimensions, latent, width, 1)
        self.mix = nn.Linear(context, width)
        self.carry = None if last else convolution(dimensions, latent, width, 1)
        self.refine = bottleneck(width, width)
        for layer in filter(None, (self.refine.last, self.show, self.carry)):
            layer.weight.data *= count**-0.5

    def expected(self, path: Tensor, context: Tensor) -> tuple[tuple[Tensor, Tensor], Tensor]:
        """(mean and log scale of the prior, features that go with it)."""
        seen = path if self.expect is None else path + everywhere(self.expect(context), path)
        mean, log_scale, features = self.prior(seen).split((self.latent, self.latent, path.shape[1]), dim=1)
        return (mean, log_scale), features

    def inferred(self, maps: Tensor, activations: Tensor, context: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log scale of the posterior."""
        seen = torch.cat([maps, activations], 1) + everywhere(self.see(context), maps)
        mean, log_scale = self.posterior(seen).chunk(2, dim=1)
        return mean, log_scale

    def updated(
        self, maps: Tensor, path: Tensor, *, latent: Tensor, features: Tensor, context: Tensor
    ) -> tuple[Tensor, Tensor]:
        """(maps, path) with this latent: the maps know the context, the path only latents."""
        maps = maps + features + self.show(latent) + everywhere(self.mix(context), maps)
        maps = maps + self.refine(maps)
        return maps, path if self.carry is None else path + features + self.carry(latent)


class HierarchicalDecoder(nn.Module):
    """Latents and context -> features of the image, coarse to fine.

    Args:
        levels: (resolution, blocks, width), coarse to fine.
        latent: channels of every latent.
        context: length of the context vector.
        conditional: whether the priors see the context.
        patch: side of the squares (cubes) of pixels that one position of the finest level makes.
        bottleneck: how many times narrower blocks are inside.
        dimensions: of the image, 2 or 3.
    """

    def __init__(
        self,
        levels: Sequence[Level],
        latent: int,
        *,
        context: int,
        conditional: bool,
        patch: int = 1,
        bottleneck: int = 4,
        dimensions: int = 2,
    ):
        super().__init__()
        count = sum(blocks for _, blocks, _ in levels)
        self.levels, self.latent, self.dimensions = [tuple(level) for level in levels], latent, dimensions
        self.biases = nn.ParameterList(
            nn.Parameter(torch.zeros(1, width, *[resolution] * dimensions)) for resolution, _, width in levels
        )
        widths = [width for _, _, width in levels]
        steps = [(a[2], b[2], b[0] // a[0], dimensions) for a, b in pairwise(levels)]
        self.grow = nn.ModuleList(_grow(*step) for step in steps)
        self.grow_path = nn.ModuleList(_grow(*step) for step in steps)
        self.stages = nn.ModuleList(
            nn.ModuleList(
                StochasticBlock(
                    width,
                    resolution,
                    latent=latent,
                    context=context,
                    conditional=conditional,
                    count=count,
                    last=(level, block) == (len(levels) - 1, blocks - 1),
                    inner=_inner(width, bottleneck),
                    dimensions=dimensions,
                )
                for block in range(blocks)
            )
            for level, (resolution, blocks, width) in enumerate(levels)
        )

        finest = widths[-1]
        self.features = finest if patch == 1 else max(finest // patch**dimensions, 8)
        self.unpatch = (
            nn.Sequential(
                nn.GELU(),
                convolution(dimensions, finest, self.features * patch**dimensions, 1),
                FromPatches(patch),
                nn.GELU(),
            )
            if patch > 1
            else nn.Identity()
        )

    @property
    def shapes(self) -> list[tuple[int, ...]]:
        """(L, R, R), or (L, R, R, R) of a volume, of every latent, in order."""
        return [
            (self.latent, *[resolution] * self.dimensions)
            for resolution, blocks, _ in self.levels
            for _ in range(blocks)
        ]

    @property
    def size(self) -> int:
        """How many numbers all latents are."""
        return sum(math.prod(shape) for shape in self.shapes)

    def infer(
        self, activations: dict[int, Tensor], context: Tensor, noise: Sequence[Tensor], *, active: int | None = None
    ) -> tuple[Tensor, list[Layer]]:
        """Draw all latents from the posterior.

        Args:
            activations: of the encoder.
            context: (N, context).
            noise: per latent, how many standard deviations from the posterior's mean, (N, L, R, ...).
            active: how many levels, from the coarsest, have latents; those of the others are their prior's mean.

        Returns:
            (features of the image, what every block has inferred).
        """

        sides = [resolution for resolution, _, _ in self.levels[:active]]

        def latent(block: StochasticBlock, maps: Tensor, prior: tuple[Tensor, Tensor], number: int) -> Layer:
            if active is not None and maps.shape[-1] not in sides:
                return Layer(prior[0], prior, prior)
            posterior = block.inferred(maps, activations[maps.shape[-1]], context)
            drawn = posterior[0] + posterior[1].exp() * noise[number]
            return Layer(drawn, prior, posterior)

        return self._run(len(context), context, context, latent)

    def generate(
        self,
        noise: Sequence[Tensor],
        context: Tensor,
        *,
        prior_context: Tensor | None = None,
        held: Sequence[Tensor] | None = None,
        share: float = 0.0,
    ) -> tuple[Tensor, list[Layer]]:
        """Features of the image from exogenous noise.

        Args:
            noise: per latent, in units of its prior, (N, L, R, ...).
            context: (N, context), what the image's features see.
            prior_context: what the priors see, where they see anything; default: the same.
            held: latents that are kept instead, by their `share`.
            share: 0 takes the prior's latent, 1 the one that is held.
        """

        def latent(block: StochasticBlock, maps: Tensor, prior: tuple[Tensor, Tensor], number: int) -> Layer:
            drawn = prior[0] + prior[1].exp() * noise[number]
            if held is not None:
                drawn = share * held[number] + (1 - share) * drawn
            return Layer(drawn, prior, None)

        return self._run(len(context), context, context if prior_context is None else prior_context, latent)

    def _run(
        self,
        count: int,
        context: Tensor,
        prior_context: Tensor,
        latent: Callable[[StochasticBlock, Tensor, tuple[Tensor, Tensor], int], Layer],
    ) -> tuple[Tensor, list[Layer]]:
        layers: list[Layer] = []
        maps = path = self.biases[0].expand(count, *self.biases[0].shape[1:])
        for level in range(len(self.levels)):
            if level:
                maps = self.grow[level - 1](maps) + self.biases[level]
                path = self.grow_path[level - 1](path) + self.biases[level]
            for block in self.stages[level]:  # type: ignore[attr-defined]
                prior, features = block.expected(path, prior_context)
                layer = latent(block, maps, prior, len(layers))
                layers.append(layer)
                maps, path = block.updated(maps, path, latent=layer.latent, features=features, context=context)
        return self.unpatch(maps), layers


def check_levels(levels: Sequence[Sequence[int]], shape: Sequence[int]) -> list[Level]:
    """Levels as given in a recipe, checked against the image.

    Raises:
        ConfigError: if they do not fit it.
    """
    if len(set(shape[1:])) > 1:
        what = "square maps needs square images" if len(shape) == 3 else "cubic maps needs cubic volumes"
        raise ConfigError(f"a hierarchy of {what}, got {' x '.join(map(str, shape[1:]))}.")
    if not levels or any(len(level) != 3 or min(level) < 1 for level in levels):
        raise ConfigError("levels: give [resolution, blocks, width] for every level, each at least 1.")
    checked = [(int(resolution), int(blocks), int(width)) for resolution, blocks, width in levels]
    _check(checked, int(shape[1]))
    return checked
