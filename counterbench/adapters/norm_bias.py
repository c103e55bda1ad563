"""Normalisation and biases are opened."""

from __future__ import annotations

from collections.abc import Iterable

from torch import nn

from counterbench.adapters import parts
from counterbench.adapters.base import Selective
from counterbench.plugins.registry import adapters


@adapters.register()
class NormsAndBiases(Selective):
    """The scales and shifts of normalisation, and all biases, move.

    Examples:
        >>> from counterbench.adapters.base import opened
        >>> network = nn.Sequential(nn.Conv2d(1, 4, 3), nn.GroupNorm(2, 4))
        >>> _ = NormsAndBiases().open(network)
        >>> opened(network)
        12
    """

    looks_for = "normalisation and no bias"

    def selected(self, network: nn.Module) -> Iterable[nn.Parameter]:
        return (*parts.norms(network), *parts.biases(network))
