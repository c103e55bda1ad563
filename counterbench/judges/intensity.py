"""Stroke intensity, in closed form."""

from __future__ import annotations

from torch import Tensor

from counterbench.causal.variables import Variable
from counterbench.judges.base import Judge
from counterbench.plugins.registry import judges
from counterbench.processes.strokes import median_intensity


@judges.register()
class Intensity(Judge):
    """Median of the pixels at or above half of the image's range (Pawlowski et al., NeurIPS 2020).

    Args:
        variable: continuous, in grey levels.
        offset: added to the median; 0.5 where images were cut down to whole grey levels.
    """

    kinds = ("continuous",)

    def __init__(self, variable: Variable, offset: float = 0.0):
        super().__init__(variable)
        self.offset = offset

    @property
    def fingerprint(self) -> str:
        return f"intensity v1 offset={self.offset}"

    def _measure(self, images: Tensor) -> Tensor:
        return median_intensity(images[:, 0].to("cpu").double()).to(images.device, images.dtype) + self.offset
