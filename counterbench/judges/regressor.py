"""A trained regressor as a judge of quantities."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from counterbench.causal.variables import Variable
from counterbench.judges.network import NetworkJudge, deviation
from counterbench.plugins.registry import judges


@judges.register()
class Regressor(NetworkJudge):
    """A quantity, and how uncertain the network is of it, calibrated on images that it was not trained on.

    Args:
        variable: continuous.
        architecture: name of the network.
        mean, std: of the quantity: what the network reads as z is mean + std * z.
        spread: what its standard deviations are multiplied with, so that errors are as large as it says.
        stride, pool, heads, channels, dimensions, weights, sha256, device: as of :class:`counterbench.judges.network.NetworkJudge`.
    """

    kinds = ("continuous",)

    def __init__(
        self,
        variable: Variable,
        architecture: str,
        *,
        mean: float,
        std: float,
        spread: float = 1.0,
        stride: int = 1,
        pool: int = 1,
        heads: Mapping[str, int] | None = None,
        channels: int = 1,
        dimensions: int = 2,
        weights: Path | None = None,
        sha256: str | None = None,
        device: str | torch.device = "cpu",
    ):
        super().__init__(
            variable,
            architecture,
            stride=stride,
            pool=pool,
            heads=heads,
            channels=channels,
            dimensions=dimensions,
            weights=weights,
            sha256=sha256,
            device=device,
        )
        self.mean, self.std, self.spread = mean, std, spread

    @property
    def fingerprint(self) -> str:
        return f"regressor sha256={self.sha256} mean={self.mean} std={self.std}"

    def _measure(self, seen: Tensor) -> Tensor:
        return self.mean + self.std * seen[:, self.columns][:, 0]

    def uncertainty(self, images: Tensor) -> Tensor:
        """Standard deviation of the error that the network expects, (N,), in the variable's unit."""
        seen = self.look(images)[:, self.columns]
        return self.spread * self.std * deviation(seen)
