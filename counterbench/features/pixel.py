"""The feature space whose vector is all pixels side by side."""

from __future__ import annotations

from torch import Tensor

from counterbench.features.base import FeatureSpace
from counterbench.plugins.registry import features


@features.register()
class Pixel(FeatureSpace):
    """All pixels side by side, on the scale [0, 1]: always there, and blind to what an image means."""

    title = "pixels"

    @property
    def fingerprint(self) -> str:
        return "pixel v1"

    def _extract(self, images: Tensor) -> Tensor:
        return images.flatten(1) / 255
