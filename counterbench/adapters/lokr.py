"""Kronecker products."""

from __future__ import annotations

from typing import Any

from torch import nn

from counterbench.adapters.from_peft import FromPeft, require_rank
from counterbench.plugins.registry import adapters


@adapters.register(extra="peft")
class LoKr(FromPeft):
    """W + (alpha / rank) A x B, a Kronecker product with one factor from zero (LyCORIS: Yeh et al., ICLR 2024), by peft; for linear layers and 2-D convolutions.

    Args:
        rank: of the matrices.
        alpha: the change is multiplied by alpha / rank; null for the rank.

    Raises:
        ConfigError: for a rank below 1.
    """

    kinds = (nn.Linear, nn.Conv2d)

    def __init__(self, *, rank: int = 4, alpha: float | None = None):
        require_rank(self.name, rank)
        self.rank, self.alpha = rank, rank if alpha is None else alpha

    def config(self, targets: str) -> Any:
        from peft import LoKrConfig

        return LoKrConfig(r=self.rank, alpha=self.alpha, target_modules=targets)
