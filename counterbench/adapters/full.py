"""Everything is opened."""

from __future__ import annotations

from collections.abc import Iterable

from torch import nn

from counterbench.adapters.base import Selective
from counterbench.plugins.registry import adapters


@adapters.register()
class Full(Selective):
    """Fine-tuning: every parameter moves.

    Examples:
        >>> from counterbench.adapters.base import opened
        >>> layer = nn.Linear(3, 2)
        >>> _ = Full().open(layer)
        >>> opened(layer)
        8
    """

    looks_for = ""

    def selected(self, network: nn.Module) -> Iterable[nn.Parameter]:
        return network.parameters()
