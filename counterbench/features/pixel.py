"""The feature space whose vector is all pixels side by side."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

from counterbench.features.base import FeatureSpace
from counterbench.plugins.registry import features

_SIDE = 16


@features.register()
class Pixel(FeatureSpace):
    """All pixels side by side, on the scale [0, 1]: always there, and blind to what an image means.

    Of a volume with more than 16 voxels along a side, the means of equal parts of it, 16 along each such side: all voxels of a hundred
    volumes are too many numbers to be held.
    """

    title = "pixels"

    @property
    def fingerprint(self) -> str:
        return "pixel v1"

    def _extract(self, images: Tensor) -> Tensor:
        if images.ndim == 5:
            depth, height, width = (min(side, _SIDE) for side in images.shape[2:])
            images = functional.adaptive_avg_pool3d(images, (depth, height, width))
        return images.flatten(1) / 255
