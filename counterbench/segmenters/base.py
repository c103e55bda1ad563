"""What a segmenter is: a judge of a map, which says which part every pixel shows, and knows nothing of the models it judges."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor, nn

from counterbench.errors import ConfigError
from counterbench.judges.network import normalised
from counterbench.runtime.blocks import in_blocks
from counterbench.storage.weights import load_pinned


class Segmenter(ABC):
    """A pinned network that labels pixels, always in evaluation mode and without gradients.

    A subclass registers with `@registry.segmenters.register()` and says in `build` which network it is; the keyword arguments of its
    `__init__` after `parts` are the options of a card.

    Args:
        parts: names of the parts, the first one that of the background.
        network: images from -1 to 1 -> logits of the parts, (N, parts, *sides).
        weights: safetensors file.
        sha256: what its hash must be.
        device: where it computes.

    Raises:
        ConfigError: without weights.
    """

    settings: str = ""
    """What beside the weights decides its maps, as text."""
    semi_supervised: ClassVar[bool] = False
    """Whether images without labels train it too."""

    def __init__(
        self,
        parts: Sequence[str],
        network: nn.Module,
        *,
        weights: Path | None,
        sha256: str | None,
        device: str | torch.device,
    ):
        if weights is None:
            raise ConfigError("A segmenter is a trained network and needs the key 'weights'.")
        self.parts, self.network = tuple(parts), network
        self.sha256 = load_pinned(self.network, weights, sha256=sha256, device=device)
        self.device = device

    @staticmethod
    @abstractmethod
    def build(parts: int, *, channels: int, dimensions: int) -> nn.Module:
        """The untrained network; its further arguments are options of a card.

        Args:
            parts: how many there are.
            channels: of the images.
            dimensions: of the images: 2, or 3 of volumes.
        """

    @property
    def fingerprint(self) -> str:
        """What decides its maps, as text."""
        return " ".join(
            filter(None, (type(self).__module__.rpartition(".")[2], self.settings, f"sha256={self.sha256}"))
        )

    def probabilities(self, images: Tensor) -> Tensor:
        """How likely every part is at every pixel: (N, C, *sides), grey levels -> (N, parts, *sides), which sum to 1."""
        with torch.no_grad():
            return in_blocks(self._look, images.to(torch.float32))

    def segment(self, images: Tensor) -> Tensor:
        """The likeliest part of every pixel; each image's result depends on that image alone.

        Args:
            images: (N, C, *sides), grey levels 0-255.

        Returns:
            (N, *sides), long, numbers of :attr:`parts`.
        """
        return self.probabilities(images).argmax(1)

    def _look(self, images: Tensor) -> Tensor:
        logits: Tensor = self.network(normalised(images.to(self.device)))
        return logits.softmax(1).to(images.device)
