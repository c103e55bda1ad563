"""A trained classifier as a judge."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from itertools import accumulate
from pathlib import Path

import torch
from torch import Tensor, nn

from counterbench.causal.variables import Binary, Categorical, Variable
from counterbench.errors import ConfigError, UnknownNameError
from counterbench.judges.base import Judge
from counterbench.networks.classifiers import ARCHITECTURES
from counterbench.plugins.registry import judges
from counterbench.storage.weights import load_weights


def build(architecture: str, channels: int, classes: int, *, stride: int = 1, pool: int = 1) -> nn.Module:
    """An untrained network by name; `stride` of its first convolution, `pool` the side of the squares averaged before it."""
    if architecture not in ARCHITECTURES:
        raise UnknownNameError("classifier architecture", architecture, ARCHITECTURES)
    network = ARCHITECTURES[architecture](channels, classes, stride=stride)
    return network if pool == 1 else nn.Sequential(nn.AvgPool2d(pool), network)


def reduction(side: int) -> dict[str, int]:
    """Stride and pool for images of a side: about 32 positions are left, and every pixel counts."""
    pool = max(1, side // 64)
    return {"stride": 2 if side // pool >= 64 else 1, "pool": pool}


@judges.register()
class Classifier(Judge):
    """Class probabilities from a pinned network, always in evaluation mode and without gradients.

    Args:
        variable: binary, categorical or ordinal.
        architecture: name of the network.
        stride: of the network's first convolution.
        pool: side of the squares of pixels that are averaged first.
        heads: name -> number of classes, of all variables that the network was trained for together, in their order; default:
            this one alone.
        channels: of the images.
        weights: safetensors file.
        sha256: what its hash must be.
        device: where it computes.

    Raises:
        ConfigError: without weights, or with heads that do not have the variable or give it another number of classes.
    """

    kinds = ("binary", "categorical", "ordinal")

    def __init__(
        self,
        variable: Variable,
        architecture: str,
        *,
        stride: int = 1,
        pool: int = 1,
        heads: Mapping[str, int] | None = None,
        channels: int = 1,
        weights: Path | None = None,
        sha256: str | None = None,
        device: str | torch.device = "cpu",
    ):
        super().__init__(variable)
        if weights is None:
            raise ConfigError(f"The judge of {variable.name!r} is a trained classifier and needs the key 'weights'.")
        assert isinstance(variable, (Binary, Categorical))
        heads = heads or {variable.name: variable.cardinality}
        if heads.get(variable.name) != variable.cardinality:
            raise ConfigError(
                f"The judge of {variable.name!r} needs a head with {variable.cardinality} classes for it, but its heads are {dict(heads)}."
            )
        self.columns = columns(heads)[variable.name]
        self.network = build(architecture, channels, sum(heads.values()), stride=stride, pool=pool)
        self.sha256 = load_weights(self.network, weights, sha256=sha256)
        self.network.to(device, torch.float32).eval().requires_grad_(False)
        self.device = device

    @property
    def fingerprint(self) -> str:
        return f"classifier sha256={self.sha256}"

    @property
    def eye(self) -> Hashable:
        return self.sha256

    def _look(self, images: Tensor) -> Tensor:
        outputs: Tensor = self.network(normalised(images.to(self.device))).to(images.device)
        return outputs

    def _measure(self, seen: Tensor) -> Tensor:
        return seen[:, self.columns].softmax(1)


def columns(heads: Mapping[str, int]) -> dict[str, slice]:
    """Which of the network's outputs belong to which variable."""
    ends = list(accumulate(heads.values()))
    return {name: slice(end - count, end) for (name, count), end in zip(heads.items(), ends, strict=True)}


def normalised(images: Tensor) -> Tensor:
    """Grey levels 0-255 -> [-1, 1], what the networks read."""
    return images / 127.5 - 1
