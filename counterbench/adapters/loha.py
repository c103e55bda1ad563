"""Products of low-rank changes."""

from __future__ import annotations

from typing import Any

from torch import nn

from counterbench.adapters.from_peft import LowRank
from counterbench.plugins.registry import adapters


@adapters.register(extra="peft")
class LoHa(LowRank):
    """W + (alpha / rank) (A B) * (C D), element by element, with one factor from zero (FedPara: Hyeon-Woo et al., ICLR 2022), by peft; for linear layers and 2-D convolutions."""

    kinds = (nn.Linear, nn.Conv2d)

    def config(self, targets: str) -> Any:
        from peft import LoHaConfig

        return LoHaConfig(r=self.rank, alpha=self.alpha, target_modules=targets)
