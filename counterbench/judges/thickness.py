"""Stroke thickness, in closed form."""

from __future__ import annotations

from torch import Tensor

from counterbench.causal.variables import Variable
from counterbench.judges.base import Judge
from counterbench.plugins.registry import judges
from counterbench.processes.strokes import SIZE, measure_thickness


@judges.register()
class Thickness(Judge):
    """Twice the mean distance to the edge over the stroke's ridge (Castro et al., JMLR 2019), linearly calibrated.

    Args:
        variable: continuous, in pixels.
        slope, offset: calibration: slope * measured + offset, fitted on images of the judge split.
    """

    kinds = ("continuous",)
    dimensions = (2,)

    def __init__(self, variable: Variable, *, slope: float = 1.0, offset: float = 0.0):
        super().__init__(variable)
        self.slope, self.offset = slope, offset

    @property
    def fingerprint(self) -> str:
        return f"thickness v1 slope={self.slope} offset={self.offset}"

    def _measure(self, images: Tensor) -> Tensor:
        margin = (images.shape[-1] - SIZE) // 2
        centre = images[:, 0, margin : margin + SIZE, margin : margin + SIZE]
        return self.slope * measure_thickness(centre.cpu()).to(images.device) + self.offset
