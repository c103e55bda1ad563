"""Outputs are scaled."""

from __future__ import annotations

from typing import Any

from torch import nn

from counterbench.adapters.from_peft import FromPeft
from counterbench.plugins.registry import adapters


@adapters.register(extra="peft")
class IA3(FromPeft):
    """l * (W x), one number for every output, from 1 ((IA)^3: Liu et al., NeurIPS 2022), by peft; for linear layers, 2-D and 3-D convolutions."""

    kinds = (nn.Linear, nn.Conv2d, nn.Conv3d)

    def config(self, targets: str) -> Any:
        from peft import IA3Config

        return IA3Config(target_modules=targets, feedforward_modules=[])
