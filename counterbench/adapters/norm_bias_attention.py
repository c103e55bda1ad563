"""Normalisation, biases and attention are opened."""

from __future__ import annotations

from collections.abc import Iterable

from torch import nn

from counterbench.adapters import parts
from counterbench.adapters.base import Selective
from counterbench.plugins.registry import adapters


@adapters.register()
class NormsBiasesAndAttention(Selective):
    """The scales and shifts of normalisation, all biases, and whatever attends, move.

    Examples:
        >>> from counterbench.adapters.base import opened
        >>> network = nn.Sequential(nn.Linear(8, 8), nn.MultiheadAttention(8, 2))
        >>> _ = NormsBiasesAndAttention().open(network)
        >>> opened(network)
        296
    """

    looks_for = "normalisation, no bias and no attention"

    def selected(self, network: nn.Module) -> Iterable[nn.Parameter]:
        return (*parts.norms(network), *parts.biases(network), *parts.attention(network))
