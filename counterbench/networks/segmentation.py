"""Networks that say which part of an image every pixel shows: a U-Net, and compositional features of von Mises-Fisher kernels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from counterbench.networks.spatial import convolution, maximum_pool

KERNELS, KAPPA = 12, 30.0
"""Number of kernels and their concentration (Liu et al. 2023)."""
TOLERANCE = 5e-5
"""Of the mixture: it has converged where the mean log-likelihood gains less."""
_GROUPS = 4


class SegmentationUNet(nn.Module):
    """Images -> maps at the same resolution, by a U-Net (Ronneberger et al., MICCAI 2015) whose input has the coordinates beside it.

    Args:
        channels: of the images.
        outputs: channels of the maps.
        widths: channels per level, fine to coarse; every level halves the sides.
        dimensions: of the images: 2, or 3 of volumes.

    Examples:
        >>> network = SegmentationUNet(1, 3, widths=(8, 8), dimensions=3)
        >>> tuple(network(torch.zeros(2, 1, 8, 8, 8)).shape)
        (2, 3, 8, 8, 8)
    """

    def __init__(self, channels: int, outputs: int, *, widths: Sequence[int] = (16, 32, 64), dimensions: int = 2):
        super().__init__()
        self.dimensions = dimensions
        befores = [channels + dimensions, *widths]
        self.down = nn.ModuleList(_block(dimensions, *pair) for pair in pairwise(befores))
        self.up = nn.ModuleList(_block(dimensions, coarse + fine, fine) for fine, coarse in pairwise(widths))
        self.shrink = maximum_pool(dimensions, 2)
        self.paint = convolution(dimensions, widths[0], outputs, 1)

    def forward(self, images: Tensor) -> Tensor:
        """(N, channels, *sides), from -1 to 1 -> (N, outputs, *sides)."""
        maps, kept = torch.cat([images, _coordinates(images)], 1), []
        for level, block in enumerate(self.down):
            maps = block(maps if level == 0 else self.shrink(maps))
            kept.append(maps)
        for block, fine in zip(reversed(self.up), reversed(kept[:-1]), strict=True):
            maps = block(torch.cat([functional.interpolate(maps, tuple(fine.shape[2:])), fine], 1))
        painted: Tensor = self.paint(maps)
        return painted


def _block(dimensions: int, before: int, after: int) -> nn.Module:
    layers: list[nn.Module] = []
    for width in (before, after):
        layers += [convolution(dimensions, width, after, 3), nn.GroupNorm(math.gcd(_GROUPS, after), after), nn.SiLU()]
    return nn.Sequential(*layers)


def _coordinates(images: Tensor) -> Tensor:
    """Where every pixel lies along each axis, from -1 to 1: (N, dimensions, *sides)."""
    sides = images.shape[2:]
    axes = [torch.linspace(-1, 1, side, dtype=images.dtype, device=images.device) for side in sides]
    return torch.stack(torch.meshgrid(*axes, indexing="ij")).expand(len(images), -1, *sides)


class Kernels(nn.Module):
    """Unit vectors that features are explained by.

    Args:
        count: of the kernels.
        size: of a feature.
        kappa: concentration.

    Examples:
        >>> kernels = Kernels(12, size=8)
        >>> likelihoods = kernels(torch.randn(2, 8, 4, 4))
        >>> tuple(likelihoods.shape), bool(torch.allclose(likelihoods.sum(1), torch.ones(())))
        ((2, 12, 4, 4), True)
    """

    def __init__(self, count: int = KERNELS, *, size: int = 32, kappa: float = KAPPA):
        super().__init__()
        self.kappa = kappa
        self.directions = nn.Parameter(functional.normalize(torch.randn(count, size), dim=1))

    def cosines(self, features: Tensor) -> Tensor:
        """(N, size, *sides) -> (N, count, *sides): of the angle between a feature and each kernel."""
        return torch.einsum(
            "nd...,kd->nk...", functional.normalize(features, dim=1), functional.normalize(self.directions, dim=1)
        )

    def forward(self, features: Tensor) -> Tensor:
        """Likelihoods of the kernels at every position, (N, count, *sides), which sum to 1 over them: exp(kappa cos) where cos > 0."""
        cosines = self.cosines(features)
        # exp(kappa cos) overflows; a common factor changes no share. Where no kernel is near, all are as likely.
        active = (self.kappa * (cosines - 1)).exp() * (cosines > 0) + 1e-12
        shares: Tensor = active / active.sum(1, keepdim=True)
        return shares

    def recomposed(self, likelihoods: Tensor) -> Tensor:
        """Features made of kernels: (N, count, *sides) -> (N, size, *sides)."""
        return torch.einsum("nk...,kd->nd...", likelihoods, functional.normalize(self.directions, dim=1))


class Compositional(nn.Module):
    """An encoder whose features are explained by kernels; a decoder recomposes the image from them, a head reads the parts (Liu et al. 2023).

    Args:
        channels: of the images.
        parts: how many there are.
        widths: of the encoder, a :class:`SegmentationUNet`.
        size: of a feature.
        kernels: how many.
        kappa: their concentration.
        dimensions: of the images: 2, or 3 of volumes.

    Examples:
        >>> network = Compositional(1, 3, widths=(8, 8), size=8)
        >>> tuple(network(torch.zeros(2, 1, 16, 16)).shape)
        (2, 3, 16, 16)
    """

    def __init__(
        self,
        channels: int,
        parts: int,
        *,
        widths: Sequence[int] = (16, 32, 64),
        size: int = 32,
        kernels: int = KERNELS,
        kappa: float = KAPPA,
        dimensions: int = 2,
    ):
        super().__init__()
        self.encoder = SegmentationUNet(channels, size, widths=widths, dimensions=dimensions)
        self.kernels = Kernels(kernels, size=size, kappa=kappa)
        self.decoder = nn.Sequential(
            _block(dimensions, size, widths[0]), convolution(dimensions, widths[0], channels, 1)
        )
        self.head = nn.Sequential(_block(dimensions, kernels, widths[0]), convolution(dimensions, widths[0], parts, 1))

    def forward(self, images: Tensor) -> Tensor:
        """(N, channels, *sides), from -1 to 1 -> (N, parts, *sides), logits."""
        read: Tensor = self.head(self.kernels(self.encoder(images)))
        return read

    def explained(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(logits of the parts, the image recomposed from kernels, how far each feature is from its nearest kernel (N,))."""
        features = self.encoder(images)
        likelihoods = self.kernels(features)
        nearest = 1 - self.kernels.cosines(features.detach()).amax(1).flatten(1).mean(1)
        return self.head(likelihoods), self.decoder(self.kernels.recomposed(likelihoods)), nearest


def fit_mixture(
    features: Tensor,
    count: int = KERNELS,
    *,
    kappa: float = KAPPA,
    generator: torch.Generator | None = None,
    rounds: int = 200,
    starts: int = 4,
) -> Tensor:
    """Mean directions of a mixture of von Mises-Fisher laws of one concentration, by expectation and maximisation.

    Begins with k-means++ on cosines; the best of several beginnings is kept.

    Args:
        features: (M, D), of any length.
        count: of the directions.
        kappa: concentration.
        generator: chance.
        rounds: at most.
        starts: how many beginnings.

    Returns:
        (count, D), of unit length.

    Examples:
        >>> planted = torch.eye(3).repeat_interleave(20, 0)
        >>> found = fit_mixture(planted, 3, generator=torch.Generator().manual_seed(0))
        >>> bool((found @ torch.eye(3)).amax(0).min() > 0.99)
        True
    """
    unit = functional.normalize(features.double(), dim=1)
    best, likelihood = unit[:count], -math.inf
    for _ in range(starts):
        found, gained = _one_mixture(unit, _seeds(unit, count, generator), kappa, rounds)
        if gained > likelihood:
            best, likelihood = found, gained
    return best.to(features.dtype)


def _seeds(unit: Tensor, count: int, generator: torch.Generator | None) -> Tensor:
    """k-means++: every further seed is drawn with a probability in proportion to its distance from those that are there."""
    chosen = [int(torch.randint(len(unit), (1,), generator=generator))]
    for _ in range(count - 1):
        away = (1 - (unit @ unit[chosen].T).amax(1)).clamp(min=1e-12)
        chosen.append(int(torch.multinomial(away, 1, generator=generator)))
    return unit[chosen]


def _one_mixture(unit: Tensor, directions: Tensor, kappa: float, rounds: int) -> tuple[Tensor, float]:
    weights = torch.full((len(directions),), 1 / len(directions), dtype=unit.dtype)
    before = -math.inf
    for _ in range(rounds):
        logits = kappa * (unit @ directions.T - 1) + weights.log()
        likelihood = float(logits.logsumexp(1).mean())
        shares = logits.softmax(1)
        directions = functional.normalize(shares.T @ unit, dim=1)
        weights = shares.mean(0).clamp(min=1e-12)
        if likelihood - before < TOLERANCE:
            break
        before = likelihood
    return directions, likelihood
