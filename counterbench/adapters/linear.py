"""The last layer is opened."""

from __future__ import annotations

from collections.abc import Iterable

from torch import nn

from counterbench.adapters import parts
from counterbench.adapters.base import Selective
from counterbench.plugins.registry import adapters


@adapters.register()
class LastLayer(Selective):
    """The last layer alone moves, as in linear probing.

    Examples:
        >>> from counterbench.adapters.base import opened
        >>> network = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))
        >>> _ = LastLayer().open(network)
        >>> opened(network)
        10
    """

    looks_for = "linear layer and no convolution"

    def selected(self, network: nn.Module) -> Iterable[nn.Parameter]:
        return parts.head(network).parameters()
