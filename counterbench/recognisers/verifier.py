"""Whether two images show one individual: what all verifiers have in common."""

from __future__ import annotations

from abc import abstractmethod
from pathlib import Path

import torch
from torch import Tensor

from counterbench.recognisers.embedding import Embedding


class Verifier(Embedding):
    """A network that was trained on pairs of images, and how sure it is of a pair.

    Args:
        architecture: name of the network.
        size: numbers of a vector.
        slope, intercept: of the logarithm of the odds, as a function of a pair's score: the calibration.
        threshold: score from which on a pair counts as one individual; of strangers' pairs, 5 in 100 reach it.
        stride, pool: of the network, as of :class:`counterbench.judges.network.NetworkJudge`.
        shape: (C, H, W) of the images, or (C, D, H, W) of volumes.
        card: name of the dataset, for messages.
        weights: safetensors file that the card pins.
        sha256: what its hash must be.
        device: where it computes.

    Raises:
        UnavailableError: if the card pins no weights.
    """

    lacking = "verifier of individuals; counterbench train-verifiers makes two"

    def __init__(
        self,
        architecture: str = "pooled",
        *,
        size: int = 64,
        slope: float = 1.0,
        intercept: float = 0.0,
        threshold: float = 0.0,
        stride: int = 1,
        pool: int = 1,
        shape: tuple[int, ...],
        card: str = "",
        weights: Path | None = None,
        sha256: str | None = None,
        device: str | torch.device = "cpu",
    ):
        super().__init__(
            architecture,
            size=size,
            stride=stride,
            pool=pool,
            shape=shape,
            card=card,
            weights=weights,
            sha256=sha256,
            device=device,
        )
        self.slope, self.intercept, self.threshold = slope, intercept, threshold

    @property
    def fingerprint(self) -> str:
        calibration = f"{self.slope:.9g} {self.intercept:.9g} {self.threshold:.9g}"
        return f"{type(self).__name__.lower()} sha256={self.sha256} calibration={calibration}"

    @staticmethod
    @abstractmethod
    def score(first: Tensor, second: Tensor) -> Tensor:
        """How alike individuals are, (N, D), (M, D) -> (N, M): the more, the larger."""

    def probability(self, score: Tensor) -> Tensor:
        """The calibrated probability that a pair shows one individual, where as many pairs do as do not.

        Args:
            score: of pairs, any shape.
        """
        return torch.sigmoid(self.slope * score.double() + self.intercept)
