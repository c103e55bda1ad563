"""DINOv2's image embedding."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from counterbench.features.downloads import Needed
from counterbench.features.transformer_folder import FolderEncoder
from counterbench.plugins.registry import features


@features.register()
class DINOv2(FolderEncoder):
    """Class token of DINOv2 (Oquab et al., TMLR 2024), recommended for realism by Stein et al. (NeurIPS 2023)."""

    title = "DINOv2 class token"
    space = "dinov2"
    model = "Dinov2Model"
    mean, spread = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    needs = (
        Needed(
            "dinov2-base",
            "https://huggingface.co/facebook/dinov2-base (config.json and model.safetensors)",
            "",
            "realism and identity in DINOv2's space",
            "transformers",
        ),
    )

    def _side(self) -> int:
        return 224  # the stored size is that of the position table, not of the usual input

    def _output(self, result: Any) -> Tensor:
        token: Tensor = result.pooler_output
        return token
