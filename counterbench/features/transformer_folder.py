"""Image encoders stored as a folder with config.json and model.safetensors."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn import functional

from counterbench.errors import CheckpointError
from counterbench.features.base import FeatureSpace, as_rgb
from counterbench.features.downloads import Needed, find, require_package
from counterbench.storage.files import sha256_of_file
from counterbench.storage.slices import over_planes


class FolderEncoder(FeatureSpace):
    """A pretrained vision transformer read from a folder; subclasses name the folder and the output.

    Of a volume, the mean of the vectors of its three orthogonal central slices.

    Args:
        weights: the folder; None to look for it.
        device: where it computes.
    """

    space: ClassVar[str]
    model: ClassVar[str]
    """Class of `transformers` that reads the folder."""
    mean: ClassVar[tuple[float, float, float]]
    spread: ClassVar[tuple[float, float, float]]
    """Normalisation of red, green and blue, on the scale [0, 1]."""

    def __init__(self, *, weights: Path | None = None, device: str | torch.device = "cpu"):
        needed: Needed = self.needs[0]
        require_package(needed, self.space)
        folder = weights or find(needed, self.space)
        self.network = self._read(folder).to(device, torch.float32).eval().requires_grad_(False)
        self.sha256 = ",".join(sha256_of_file(folder / name) for name in ("model.safetensors", "config.json"))
        self.device = device
        self.side = self._side()

    def _read(self, folder: Path) -> Any:
        import transformers

        for name in ("config.json", "model.safetensors"):
            if not (folder / name).is_file():
                raise CheckpointError(f"{folder} has no {name}; the feature space {self.space!r} needs both files.")
        try:
            return getattr(transformers, self.model).from_pretrained(
                folder, local_files_only=True, use_safetensors=True
            )
        except (OSError, ValueError, RuntimeError) as error:
            raise CheckpointError(f"{folder} cannot be read as {self.model} ({error}).") from error

    def _side(self) -> int:
        """Height and width, in pixels, of the images that it reads."""
        return int(getattr(self.network.config, "image_size", 224))

    @property
    def fingerprint(self) -> str:
        return f"{self.space} sha256={self.sha256}"

    def _extract(self, images: Tensor) -> Tensor:
        return over_planes(self._of_pictures, images)

    def _of_pictures(self, images: Tensor) -> Tensor:
        resized = functional.interpolate(
            as_rgb(images).to(self.device) / 255, (self.side, self.side), mode="bicubic", antialias=True
        ).clamp(0, 1)
        mean, spread = (resized.new_tensor(values)[:, None, None] for values in (self.mean, self.spread))
        return self._output(self.network(pixel_values=(resized - mean) / spread))

    def _output(self, result: Any) -> Tensor:
        raise NotImplementedError
