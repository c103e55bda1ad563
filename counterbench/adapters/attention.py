"""Attention is opened."""

from __future__ import annotations

from collections.abc import Iterable

from torch import nn

from counterbench.adapters import parts
from counterbench.adapters.base import Selective
from counterbench.plugins.registry import adapters


@adapters.register()
class AttentionLayers(Selective):
    """All parameters of the layers that attend move.

    Examples:
        >>> from counterbench.adapters.base import opened
        >>> network = nn.Sequential(nn.Linear(8, 8), nn.MultiheadAttention(8, 2))
        >>> _ = AttentionLayers().open(network)
        >>> opened(network)
        288
    """

    looks_for = "attention"

    def selected(self, network: nn.Module) -> Iterable[nn.Parameter]:
        return parts.attention(network)
