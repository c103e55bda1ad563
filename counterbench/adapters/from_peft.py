"""Adapters of the library peft, put into plain modules."""

from __future__ import annotations

import re
import warnings
from abc import abstractmethod
from typing import Any, ClassVar

from torch import nn

from counterbench.adapters.base import Adapter
from counterbench.adapters.changes import replace_all
from counterbench.adapters.parts import layers
from counterbench.errors import ConfigError
from counterbench.plugins.extras import require_extra

NAME = "adapted"
"""What peft calls the one adapter of a layer."""


class FromPeft(Adapter):
    """An adapter that peft knows for some kinds of layers; the others stay frozen. Convolutions with groups are left alone."""

    kinds: ClassVar[tuple[type[nn.Module], ...]]
    """The layers that peft has it for."""
    looks_for = "layer that peft could adapt"

    @abstractmethod
    def config(self, targets: str) -> Any:
        """Its configuration in peft, for the layers whose names match a regular expression."""

    def targets(self, network: nn.Module) -> dict[str, nn.Module]:
        """The layers that are adapted, name -> layer."""
        return {
            name: layer
            for name, layer in layers(network).items()
            if isinstance(layer, self.kinds) and getattr(layer, "groups", 1) == 1
        }

    def _open(self, network: nn.Module) -> None:
        require_extra("peft", f"The adapter {self.name!r}")
        names = self.targets(network)
        if not names:
            return
        from peft.mapping import PEFT_TYPE_TO_TUNER_MAPPING

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # sizes that it adjusts to layers, as the adapter's description says
            config = self.config("|".join(map(re.escape, names)))
            PEFT_TYPE_TO_TUNER_MAPPING[config.peft_type](network, config, NAME)

    def merge(self, network: nn.Module) -> None:
        from peft.tuners.tuners_utils import BaseTunerLayer

        replace_all(network, BaseTunerLayer, _merged)


def _merged(layer: Any) -> nn.Module:
    layer.merge(safe_merge=False)
    own: nn.Module = layer.get_base_layer()
    return own


class LowRank(FromPeft):
    """Changes that are products of matrices of low rank.

    Args:
        rank: of the matrices.
        alpha: the change is multiplied by alpha / rank; null for the rank.

    Raises:
        ConfigError: for a rank below 1.
    """

    def __init__(self, *, rank: int = 4, alpha: float | None = None):
        require_rank(self.name, rank)
        self.rank, self.alpha = rank, rank if alpha is None else alpha


def require_rank(name: str, rank: int) -> None:
    """Raise ConfigError for a rank below 1."""
    if rank < 1:
        raise ConfigError(f"{name}: rank is {rank}; give at least 1.")
