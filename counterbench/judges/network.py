"""Trained networks as judges: what classifiers and regressors share."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from itertools import accumulate, pairwise
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from counterbench.causal.variables import Binary, Categorical, Variable
from counterbench.errors import ConfigError, UnknownNameError
from counterbench.judges.base import Judge
from counterbench.networks.classifiers import ARCHITECTURES
from counterbench.networks.spatial import BATCH_NORMS, CONVOLUTIONS, average_pool, channels_last, with_channels_last
from counterbench.storage.weights import load_pinned


def build(
    architecture: str, channels: int, outputs: int, *, stride: int = 1, pool: int = 1, dimensions: int = 2
) -> nn.Module:
    """An untrained network by name.

    Args:
        architecture: its name.
        channels: of the images.
        outputs: how many numbers it says of an image.
        stride: of its first convolution.
        pool: side of the squares (cubes) of pixels that are averaged before it.
        dimensions: of the images: 2, or 3 of volumes.

    Examples:
        >>> network = build("plain", 1, 3, dimensions=3)
        >>> tuple(network.eval()(torch.zeros(2, 1, 16, 16, 16)).shape)
        (2, 3)
    """
    if architecture not in ARCHITECTURES:
        raise UnknownNameError("judge architecture", architecture, ARCHITECTURES)
    network = ARCHITECTURES[architecture](channels, outputs, stride=stride, dimensions=dimensions)
    return network if pool == 1 else nn.Sequential(average_pool(dimensions, pool), network)


def reduction(side: int, dimensions: int = 2) -> dict[str, int]:
    """Stride and pool for images of a side, the shortest one of a volume: about 32 positions are left of it, of a volume some 24, and
    every pixel counts.

    Examples:
        >>> reduction(192), reduction(48, 3)
        ({'stride': 2, 'pool': 3}, {'stride': 2, 'pool': 1})
    """
    pool = max(1, side // (64 if dimensions == 2 else 48))
    return {"stride": 2 if side // pool >= (64 if dimensions == 2 else 32) else 1, "pool": pool}


def outputs_for(variable: Variable) -> int:
    """How many outputs of a network one variable needs: one per class, or mean and log deviation of a quantity."""
    return variable.cardinality if isinstance(variable, (Binary, Categorical)) else 2


def deviation(outputs: Tensor) -> Tensor:
    """Standard deviation, (N,), that a network says of a quantity, in those of the training images.

    Args:
        outputs: (N, 2), mean and log deviation.
    """
    return outputs[:, 1].clamp(-5, 2).exp()


def untrained(architecture: str, shape: Sequence[int], outputs: int) -> tuple[nn.Module, dict[str, int]]:
    """(a network for images of a shape, by how much it reduces them at first).

    Args:
        architecture: its name.
        shape: channels, then sides.
        outputs: how many numbers it says of an image.
    """
    channels, *sides = shape
    smaller = reduction(min(sides), len(sides))
    return build(architecture, channels, outputs, **smaller, dimensions=len(sides)), smaller


def columns(heads: Mapping[str, int]) -> dict[str, slice]:
    """Which of the network's outputs belong to which variable."""
    ends = list(accumulate(heads.values()))
    return {name: slice(end - count, end) for (name, count), end in zip(heads.items(), ends, strict=True)}


def fold_normalisation(network: nn.Module) -> None:
    """Put the fixed scale and shift of each batch normalisation into the convolution before it: the same function, with one pass less."""
    for part in network.modules():
        if not isinstance(part, nn.Sequential):
            continue
        for place, (first, second) in enumerate(pairwise(list(part))):
            if isinstance(first, CONVOLUTIONS) and isinstance(second, BATCH_NORMS):
                part[place], part[place + 1] = fuse_conv_bn_eval(first, second), nn.Identity()


def normalised(images: Tensor) -> Tensor:
    """Grey levels 0-255 -> [-1, 1], what the networks read."""
    return images / 127.5 - 1


class NetworkJudge(Judge):
    """A pinned network, always in evaluation mode and without gradients; it may tell several variables at one look.

    Args:
        variable: what this judge reads of it.
        architecture: name of the network.
        stride: of the network's first convolution.
        pool: side of the squares (cubes) of pixels that are averaged first.
        heads: name -> number of outputs, of all variables that the network was trained for together, in their order; default:
            this one alone.
        channels: of the images.
        dimensions: of the images: 2, or 3 of volumes.
        weights: safetensors file.
        sha256: what its hash must be.
        device: where it computes.

    Raises:
        ConfigError: without weights, or with heads that do not have the variable or give it another number of outputs.
    """

    def __init__(
        self,
        variable: Variable,
        architecture: str,
        *,
        stride: int = 1,
        pool: int = 1,
        heads: Mapping[str, int] | None = None,
        channels: int = 1,
        dimensions: int = 2,
        weights: Path | None = None,
        sha256: str | None = None,
        device: str | torch.device = "cpu",
    ):
        super().__init__(variable)
        if weights is None:
            raise ConfigError(f"The judge of {variable.name!r} is a trained network and needs the key 'weights'.")
        needed = outputs_for(variable)
        heads = heads or {variable.name: needed}
        if heads.get(variable.name) != needed:
            raise ConfigError(
                f"The judge of {variable.name!r} needs a head with {needed} outputs for it, but its heads are {dict(heads)}."
            )
        self.architecture, self.columns = architecture, columns(heads)[variable.name]
        self.network = build(
            architecture, channels, sum(heads.values()), stride=stride, pool=pool, dimensions=dimensions
        )
        self.sha256 = load_pinned(self.network, weights, sha256=sha256, device=device)
        fold_normalisation(self.network)
        with_channels_last(self.network, dimensions)
        self.device = device

    @property
    def eye(self) -> Hashable:
        return self.sha256

    def _look(self, images: Tensor) -> Tensor:
        outputs: Tensor = self.network(channels_last(normalised(images.to(self.device)))).to(images.device)
        return outputs
