"""Low-rank changes of direction, and magnitudes."""

from __future__ import annotations

from typing import Any

from torch import nn

from counterbench.adapters.from_peft import LowRank
from counterbench.networks.spatial import CONVOLUTIONS
from counterbench.plugins.registry import adapters


@adapters.register(extra="peft")
class DoRA(LowRank):
    """m (W + (alpha / rank) B A) / its norm, with m from the norm of W and B from zero (DoRA: Liu et al., ICML 2024), by peft."""

    kinds = (nn.Linear, *CONVOLUTIONS)

    def config(self, targets: str) -> Any:
        from peft import LoraConfig

        return LoraConfig(r=self.rank, lora_alpha=self.alpha, target_modules=targets, use_dora=True)
