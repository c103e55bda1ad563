"""Parts read off compositional features, which images without labels train too."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import nn

from counterbench.networks.segmentation import KAPPA, KERNELS, Compositional
from counterbench.plugins.registry import segmenters
from counterbench.segmenters.base import Segmenter


@segmenters.register()
class VMFSegmenter(Segmenter):
    """Reads parts off the likelihoods of von Mises-Fisher kernels (Liu et al. 2023).

    Args:
        parts: names of the parts.
        widths: channels per level of the encoder.
        size: numbers of a feature.
        kernels: how many.
        kappa: their concentration.
        channels: of the images.
        dimensions: of the images: 2, or 3 of volumes.
        weights: safetensors file.
        sha256: what its hash must be.
        device: where it computes.

    Examples:
        >>> VMFSegmenter.build(3, channels=1, dimensions=2).kernels.directions.shape[0]
        12
    """

    semi_supervised = True

    def __init__(
        self,
        parts: Sequence[str],
        *,
        widths: Sequence[int] = (16, 32, 64),
        size: int = 32,
        kernels: int = KERNELS,
        kappa: float = KAPPA,
        channels: int = 1,
        dimensions: int = 2,
        weights: Path | None = None,
        sha256: str | None = None,
        device: str | torch.device = "cpu",
    ):
        network = self.build(
            len(parts), channels=channels, dimensions=dimensions, widths=widths, size=size, kernels=kernels, kappa=kappa
        )
        self.settings = f"kappa={kappa:g}"
        super().__init__(parts, network, weights=weights, sha256=sha256, device=device)

    @staticmethod
    def build(
        parts: int,
        *,
        channels: int,
        dimensions: int,
        widths: Sequence[int] = (16, 32, 64),
        size: int = 32,
        kernels: int = KERNELS,
        kappa: float = KAPPA,
    ) -> nn.Module:
        """The untrained network."""
        return Compositional(
            channels, parts, widths=widths, size=size, kernels=kernels, kappa=kappa, dimensions=dimensions
        )
