"""CLIP's image embedding."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from counterbench.features.downloads import Needed
from counterbench.features.transformer_folder import FolderEncoder
from counterbench.plugins.registry import features


@features.register()
class CLIP(FolderEncoder):
    """Projected image embedding of CLIP ViT-B/32 (Radford et al., ICML 2021); any CLIP folder of `transformers` is read."""

    title = "CLIP image embedding"
    space = "clip"
    model = "CLIPVisionModelWithProjection"
    mean, spread = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
    needs = (
        Needed(
            "clip-vit-base-patch32",
            "https://huggingface.co/openai/clip-vit-base-patch32 (config.json and model.safetensors)",
            "",
            "realism and identity in CLIP's space",
            "transformers",
        ),
    )

    def _output(self, result: Any) -> Tensor:
        embedding: Tensor = result.image_embeds
        return embedding
