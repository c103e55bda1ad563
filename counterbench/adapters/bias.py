"""Biases are opened."""

from __future__ import annotations

from collections.abc import Iterable

from torch import nn

from counterbench.adapters import parts
from counterbench.adapters.base import Selective
from counterbench.plugins.registry import adapters


@adapters.register()
class Biases(Selective):
    """All biases move (BitFit: Ben Zaken et al., ACL 2022), those of normalisation included.

    Examples:
        >>> from counterbench.adapters.base import opened
        >>> network = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2, bias=False))
        >>> _ = Biases().open(network)
        >>> opened(network)
        4
    """

    looks_for = "bias"

    def selected(self, network: nn.Module) -> Iterable[nn.Parameter]:
        return parts.biases(network)
