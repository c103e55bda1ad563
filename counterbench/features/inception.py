"""Inception-2048, the space in which the Frechet distance was published."""

from __future__ import annotations

import tempfile
from pathlib import Path

import torch
from torch import Tensor

from counterbench.features.base import FeatureSpace, as_rgb
from counterbench.features.downloads import Needed, find, require_package
from counterbench.plugins.registry import features
from counterbench.storage.files import sha256_of_file
from counterbench.storage.slices import over_planes

_WEIGHTS = Needed(
    "weights-inception-2015-12-05-6726825d.pth",
    "https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/weights-inception-2015-12-05-6726825d.pth",
    "6726825d",
    "Frechet distance in Inception features (FID)",
    "torch_fidelity",
)


@features.register()
class Inception(FeatureSpace):
    """The pooled features of the network that FID was defined with (Heusel et al., NeurIPS 2017), by torch-fidelity.

    Of a volume, the mean of the features of its three orthogonal central slices.

    Args:
        weights: the file; None to look for it.
        device: where it computes.
    """

    title = "Inception v3, 2048 pooled features"
    needs = (_WEIGHTS,)

    def __init__(self, *, weights: Path | None = None, device: str | torch.device = "cpu"):
        require_package(_WEIGHTS, "inception")
        path = weights or find(_WEIGHTS, "inception")
        self.network = build(path).to(device, torch.float32)
        self.sha256, self.device = sha256_of_file(path), device

    @property
    def fingerprint(self) -> str:
        return f"inception 2048 sha256={self.sha256}"

    def _extract(self, images: Tensor) -> Tensor:
        return over_planes(self._of_pictures, images)

    def _of_pictures(self, images: Tensor) -> Tensor:
        whole = as_rgb(images).round().clamp(0, 255).to(torch.uint8).to(self.device)
        features: Tensor = self.network(whole)[0]
        return features


def build(path: Path) -> torch.nn.Module:
    """The network. The package would unpickle the file: we read its tensors only, and hand it a copy of those."""
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    state = torch.load(path, map_location="cpu", weights_only=True)
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "weights.pth"
        torch.save(state, copy)
        network: torch.nn.Module = FeatureExtractorInceptionV3(
            "inception-v3-compat", ["2048"], feature_extractor_weights_path=str(copy)
        )
    return network.eval().requires_grad_(False)
