"""What a judge is: it measures one attribute in images, and knows nothing of the models it judges."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Hashable
from typing import ClassVar

import torch
from torch import Tensor

from counterbench.causal.variables import Variable
from counterbench.runtime.blocks import in_blocks


class Judge(ABC):
    """Measures one variable in images.

    Args:
        variable: what it measures.
    """

    kinds: ClassVar[tuple[str, ...]]
    """The kinds of variable that it can measure."""
    dimensions: ClassVar[tuple[int, ...]] = (2, 3)
    """Of the images that it can look at: pictures, volumes."""

    def __init__(self, variable: Variable):
        self.variable = variable

    @property
    @abstractmethod
    def fingerprint(self) -> str:
        """What decides its answers, as text: the hash of its weights, or its formula and constants."""

    @property
    def eye(self) -> Hashable:
        """What two judges must have in common for :meth:`look` to give the same: a network with an output for each of several
        variables need not look at an image once for each. None if nothing is shared."""
        return None

    def look(self, images: Tensor) -> Tensor:
        """The part of measuring that judges with the same `eye` share: (N, C, *sides), grey levels 0-255 -> (N, ...)."""
        with torch.no_grad():
            return in_blocks(self._look, images.to(torch.float32))

    def read(self, seen: Tensor) -> Tensor:
        """What :meth:`measure` returns, from what :meth:`look` does."""
        with torch.no_grad():
            return in_blocks(self._measure, seen).to(torch.float32)

    def measure(self, images: Tensor) -> Tensor:
        """Measure a batch; each image's result depends on that image alone.

        Args:
            images: (N, C, H, W), of volumes (N, C, D, H, W), grey levels 0-255.

        Returns:
            Continuous: (N,) in the variable's unit. Discrete: (N, K) class probabilities. float32 and finite: an image in
            which there is nothing to measure gets the value that nothing has (0 px), so that it counts as a failure.
        """
        return self.read(self.look(images))

    def _look(self, images: Tensor) -> Tensor:
        return images

    @abstractmethod
    def _measure(self, seen: Tensor) -> Tensor: ...
