"""Normalisation is opened."""

from __future__ import annotations

from collections.abc import Iterable

from torch import nn

from counterbench.adapters import parts
from counterbench.adapters.base import Selective
from counterbench.plugins.registry import adapters


@adapters.register()
class Norms(Selective):
    """The scales and shifts of normalisation move; batch normalisation goes on counting its statistics.

    Examples:
        >>> from counterbench.adapters.base import opened
        >>> network = nn.Sequential(nn.Conv2d(1, 4, 3), nn.GroupNorm(2, 4))
        >>> _ = Norms().open(network)
        >>> opened(network)
        8
    """

    looks_for = "normalisation with parameters"

    def selected(self, network: nn.Module) -> Iterable[nn.Parameter]:
        return parts.norms(network)
