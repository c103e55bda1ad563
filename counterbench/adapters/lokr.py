"""Kronecker products."""

from __future__ import annotations

from typing import Any

from torch import nn

from counterbench.adapters.from_peft import LowRank
from counterbench.plugins.registry import adapters


@adapters.register(extra="peft")
class LoKr(LowRank):
    """W + (alpha / rank) A x B, a Kronecker product with one factor from zero (LyCORIS: Yeh et al., ICLR 2024), by peft; for linear layers and 2-D convolutions."""

    kinds = (nn.Linear, nn.Conv2d)

    def config(self, targets: str) -> Any:
        from peft import LoKrConfig

        return LoKrConfig(r=self.rank, alpha=self.alpha, target_modules=targets)
