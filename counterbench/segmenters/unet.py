"""A U-Net that was trained on labelled images."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import nn

from counterbench.networks.segmentation import SegmentationUNet
from counterbench.plugins.registry import segmenters
from counterbench.segmenters.base import Segmenter


@segmenters.register()
class UNetSegmenter(Segmenter):
    """Reads parts off a U-Net (Ronneberger et al., MICCAI 2015).

    Args:
        parts: names of the parts.
        widths: channels per level of the network.
        channels: of the images.
        dimensions: of the images: 2, or 3 of volumes.
        weights: safetensors file.
        sha256: what its hash must be.
        device: where it computes.

    Examples:
        >>> UNetSegmenter.build(3, channels=1, dimensions=2).paint.out_channels
        3
    """

    def __init__(
        self,
        parts: Sequence[str],
        *,
        widths: Sequence[int] = (16, 32, 64),
        channels: int = 1,
        dimensions: int = 2,
        weights: Path | None = None,
        sha256: str | None = None,
        device: str | torch.device = "cpu",
    ):
        network = self.build(len(parts), channels=channels, dimensions=dimensions, widths=widths)
        super().__init__(parts, network, weights=weights, sha256=sha256, device=device)

    @staticmethod
    def build(parts: int, *, channels: int, dimensions: int, widths: Sequence[int] = (16, 32, 64)) -> nn.Module:
        """The untrained network."""
        return SegmentationUNet(channels, parts, widths=widths, dimensions=dimensions)
