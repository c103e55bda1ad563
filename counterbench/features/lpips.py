"""Learned perceptual distance."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from counterbench.features.base import FeatureSpace, as_rgb
from counterbench.features.downloads import Needed, find, require_package
from counterbench.plugins.registry import features
from counterbench.runtime.blocks import in_blocks
from counterbench.storage.files import sha256_of_file
from counterbench.storage.slices import over_planes

_VGG = Needed(
    "vgg16-397923af.pth",
    "https://download.pytorch.org/models/vgg16-397923af.pth",
    "397923af",
    "perceptual distance LPIPS (VGG)",
    "lpips",
)


@features.register()
class LPIPS(FeatureSpace):
    """LPIPS with the VGG backbone (Zhang et al., CVPR 2018), by the authors' package.

    Its linear weights come with the package, the backbone has to be fetched once. Of volumes it is the mean over the three orthogonal
    central slices.

    Args:
        weights: file of the backbone; None to look for it.
        device: where it computes.
    """

    title = "learned perceptual distance (VGG)"
    vectors = False
    needs = (_VGG,)

    def __init__(self, *, weights: Path | None = None, device: str | torch.device = "cpu"):
        require_package(_VGG, "lpips")
        path = weights or find(_VGG, "lpips")
        self.network = build(torch.load(path, map_location="cpu", weights_only=True)).to(device, torch.float32)
        self.sha256, self.device = sha256_of_file(path), device

    @property
    def fingerprint(self) -> str:
        return f"lpips v0.1 vgg sha256={self.sha256}"

    def distance(self, first: Tensor, second: Tensor) -> Tensor:
        with torch.no_grad():
            return in_blocks(lambda *images: over_planes(self._apart, *images), first, second).double().cpu()

    def _apart(self, first: Tensor, second: Tensor) -> Tensor:
        scaled = [as_rgb(images.float().to(self.device)) / 127.5 - 1 for images in (first, second)]
        distances: Tensor = self.network(*scaled).flatten(1)[:, 0]
        return distances


def build(backbone: dict[str, Tensor]) -> torch.nn.Module:
    """The network, from torchvision's state of the backbone (`features.0.weight`, ...)."""
    import lpips

    network: torch.nn.Module = lpips.LPIPS(net="vgg", pretrained=True, pnet_rand=True, verbose=False)
    for layers in (getattr(network.net, f"slice{number}") for number in range(1, 6)):
        for position, layer in layers.named_children():
            if hasattr(layer, "weight"):
                layer.load_state_dict({part: backbone[f"features.{position}.{part}"] for part in ("weight", "bias")})
    return network.eval().requires_grad_(False)
