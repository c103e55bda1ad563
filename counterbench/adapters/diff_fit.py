"""Outputs are scaled, biases and normalisation are opened."""

from __future__ import annotations

from torch import nn

from counterbench.adapters import parts
from counterbench.adapters.changes import Change, Changing, OutputScale
from counterbench.plugins.registry import adapters


@adapters.register()
class DiffFit(Changing):
    """Factors on what each part says in the end, from 1; all biases and normalisation move too (DiffFit: Xie et al., ICCV 2023).

    A part is whatever holds layers itself: an attention, a residual block, a perceptron; each output of its last layer gets a factor.

    Examples:
        >>> from counterbench.adapters.base import opened
        >>> network = nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4), nn.Linear(4, 2))
        >>> _ = DiffFit().open(network)
        >>> opened(network)
        16
    """

    def changes(self, network: nn.Module) -> dict[str, Change]:
        return {name: OutputScale(layer, shifted=False) for name, layer in parts.last_layers(network).items()}

    def _open(self, network: nn.Module) -> None:
        for parameter in (*parts.norms(network), *parts.biases(network)):
            parameter.requires_grad_(True)
        super()._open(network)
