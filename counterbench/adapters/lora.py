"""Low-rank changes."""

from __future__ import annotations

from typing import Any

from torch import nn

from counterbench.adapters.from_peft import LowRank
from counterbench.networks.spatial import CONVOLUTIONS
from counterbench.plugins.registry import adapters


@adapters.register(extra="peft")
class LoRA(LowRank):
    """W + (alpha / rank) B A, with B from zero (LoRA: Hu et al., ICLR 2022), by peft."""

    kinds = (nn.Linear, *CONVOLUTIONS)

    def config(self, targets: str) -> Any:
        from peft import LoraConfig

        return LoraConfig(r=self.rank, lora_alpha=self.alpha, target_modules=targets)
