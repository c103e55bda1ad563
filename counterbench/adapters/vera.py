"""Random matrices that all layers share, scaled."""

from __future__ import annotations

from typing import Any

from torch import nn

from counterbench.adapters.from_peft import FromPeft, require_rank
from counterbench.plugins.registry import adapters


@adapters.register(extra="peft")
class VeRA(FromPeft):
    """W + diag(b) B diag(d) A, with random B and A that all layers share, b from zero (VeRA: Kopiczko et al., ICLR 2024), by peft; for linear layers.

    Args:
        rank: of the matrices.
        key: of the random matrices, which are made anew where the adaptation is read.

    Raises:
        ConfigError: for a rank below 1.
    """

    kinds = (nn.Linear,)

    def __init__(self, *, rank: int = 64, key: int = 0):
        require_rank(self.name, rank)
        self.rank, self.key = rank, key

    def config(self, targets: str) -> Any:
        from peft import VeraConfig

        return VeraConfig(r=self.rank, projection_prng_key=self.key, save_projection=False, target_modules=targets)
