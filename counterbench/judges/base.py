"""What a judge is: it measures one attribute in images, and knows nothing of the models it judges."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

import torch
from torch import Tensor

from counterbench.variables import Variable


class Judge(ABC):
    """Measures one variable in images.

    Args:
        variable: what it measures.
    """

    kinds: ClassVar[tuple[str, ...]]
    """The kinds of variable that it can measure."""

    def __init__(self, variable: Variable):
        self.variable = variable

    @property
    @abstractmethod
    def fingerprint(self) -> str:
        """What decides its answers, as text: the hash of its weights, or its formula and constants."""

    def measure(self, images: Tensor) -> Tensor:
        """Measure a batch; each image's result depends on that image alone.

        Args:
            images: (N, C, H, W), grey levels 0-255.

        Returns:
            Continuous: (N,) in the variable's unit. Discrete: (N, K) class probabilities. float32 and finite: an image in
            which there is nothing to measure gets the value that nothing has (0 px), so that it counts as a failure.
        """
        with torch.inference_mode():
            return self._measure(images.to(torch.float32)).to(torch.float32)

    @abstractmethod
    def _measure(self, images: Tensor) -> Tensor: ...
