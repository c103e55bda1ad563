"""Low-rank changes of direction, and magnitudes."""

from __future__ import annotations

from typing import Any

from torch import nn

from counterbench.adapters.from_peft import CONVOLUTIONS, FromPeft, require_rank
from counterbench.plugins.registry import adapters


@adapters.register(extra="peft")
class DoRA(FromPeft):
    """m (W + (alpha / rank) B A) / its norm, with m from the norm of W and B from zero (DoRA: Liu et al., ICML 2024), by peft.

    Args:
        rank: of the matrices.
        alpha: the change is multiplied by alpha / rank; null for the rank.

    Raises:
        ConfigError: for a rank below 1.
    """

    kinds = (nn.Linear, *CONVOLUTIONS)

    def __init__(self, *, rank: int = 4, alpha: float | None = None):
        require_rank(self.name, rank)
        self.rank, self.alpha = rank, rank if alpha is None else alpha

    def config(self, targets: str) -> Any:
        from peft import LoraConfig

        return LoraConfig(r=self.rank, lora_alpha=self.alpha, target_modules=targets, use_dora=True)
