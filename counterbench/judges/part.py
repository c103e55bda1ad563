"""Reads whether something is there off the area of its part."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor

from counterbench.causal.variables import Variable
from counterbench.errors import ConfigError
from counterbench.judges.base import Judge
from counterbench.judges.network import normalised
from counterbench.networks.segmentation import SegmentationUNet
from counterbench.plugins.registry import judges
from counterbench.storage.weights import load_pinned


@judges.register()
class PartJudge(Judge):
    """Presence of a part: a logistic function of the logarithm of its expected area, as a U-Net finds it.

    What is a few pixels large is hard to see for a network that says one thing of the whole image, and easy for one that was trained on masks.

    Args:
        variable: 1 where the part is there.
        part: its number among the parts.
        parts: how many parts the network tells apart.
        slope, intercept: of the logarithm of the odds, as a function of log(1 + area in pixels).
        widths: channels per level of the network.
        channels: of the images.
        dimensions: of the images: 2, or 3 of volumes.
        weights: safetensors file, that of a segmenter `unet`.
        sha256: what its hash must be.
        device: where it computes.

    Raises:
        ConfigError: without weights, or for a part that there is not.

    Examples:
        >>> from counterbench.causal.variables import Binary
        >>> PartJudge(Binary("lesion"), part=1, parts=2)
        Traceback (most recent call last):
        counterbench.errors.ConfigError: The judge of 'lesion' is a trained network and needs the key 'weights'.
    """

    kinds: ClassVar[tuple[str, ...]] = ("binary",)

    def __init__(
        self,
        variable: Variable,
        *,
        part: int,
        parts: int,
        slope: float = 1.0,
        intercept: float = 0.0,
        widths: Sequence[int] = (16, 32, 64),
        channels: int = 1,
        dimensions: int = 2,
        weights: Path | None = None,
        sha256: str | None = None,
        device: str | torch.device = "cpu",
    ):
        super().__init__(variable)
        if weights is None:
            raise ConfigError(f"The judge of {variable.name!r} is a trained network and needs the key 'weights'.")
        if not 0 < part < parts:
            raise ConfigError(f"The judge of {variable.name!r} reads part {part} of {parts}; give 1 to {parts - 1}.")
        self.part, self.slope, self.intercept = part, slope, intercept
        self.network = SegmentationUNet(channels, parts, widths=widths, dimensions=dimensions)
        self.sha256 = load_pinned(self.network, weights, sha256=sha256, device=device)
        self.device = device

    @property
    def fingerprint(self) -> str:
        return f"part {self.part} sha256={self.sha256} calibration={self.slope:.9g} {self.intercept:.9g}"

    @property
    def eye(self) -> Hashable:
        return f"areas {self.sha256}"

    def _look(self, images: Tensor) -> Tensor:
        """Expected area of every part, (N, parts), in pixels."""
        shares: Tensor = self.network(normalised(images.to(self.device))).softmax(1)
        return shares.flatten(2).sum(2).to(images.device)

    def _measure(self, seen: Tensor) -> Tensor:
        there = torch.sigmoid(self.slope * (1 + seen[:, self.part]).log() + self.intercept)
        return torch.stack([1 - there, there], 1)
