"""A network that was trained on pairs of images of the same individual."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor

from counterbench.errors import UnavailableError
from counterbench.features.base import FeatureSpace
from counterbench.judges.network import build, normalised
from counterbench.plugins.registry import recognisers
from counterbench.storage.weights import load_pinned


@recognisers.register()
class Embedding(FeatureSpace):
    """Vectors of unit length; those of one individual are near one another.

    Args:
        architecture: name of the network.
        size: numbers of a vector.
        stride, pool: of the network, as of :class:`counterbench.judges.network.NetworkJudge`.
        shape: (C, H, W) of the images, or (C, D, H, W) of volumes.
        card: name of the dataset, for messages.
        weights: safetensors file that the card pins.
        sha256: what its hash must be.
        device: where it computes.

    Raises:
        UnavailableError: if the card pins no weights.
    """

    title = "recognition of individuals"
    lacking: ClassVar[str] = "recogniser of individuals; counterbench train-judges makes one"
    """What a card lacks that pins none, and how to make it."""

    def __init__(
        self,
        architecture: str = "pooled",
        *,
        size: int = 64,
        stride: int = 1,
        pool: int = 1,
        shape: tuple[int, ...],
        card: str = "",
        weights: Path | None = None,
        sha256: str | None = None,
        device: str | torch.device = "cpu",
    ):
        if weights is None:
            raise UnavailableError(f"the card {card!r} pins no {self.lacking}")
        self.network = build(architecture, shape[0], size, stride=stride, pool=pool, dimensions=len(shape) - 1)
        self.sha256 = load_pinned(self.network, weights, sha256=sha256, device=device)
        self.device = device

    @property
    def fingerprint(self) -> str:
        return f"embedding sha256={self.sha256}"

    def _extract(self, images: Tensor) -> Tensor:
        return self.vectors_of(self.network(normalised(images.to(self.device))))

    @staticmethod
    def vectors_of(outputs: Tensor) -> Tensor:
        """The vectors, (N, D), of the network's outputs, (N, size)."""
        return torch.nn.functional.normalize(outputs, dim=1)
