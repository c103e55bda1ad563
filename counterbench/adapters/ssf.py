"""What layers say is scaled and shifted."""

from __future__ import annotations

from torch import nn

from counterbench.adapters.changes import Change, Changing, OutputScale
from counterbench.adapters.parts import NORMS, layers
from counterbench.plugins.registry import adapters


@adapters.register()
class ScaleAndShift(Changing):
    """y = gamma * x + beta after every linear layer, convolution and normalisation (SSF: Lian et al., NeurIPS 2022).

    A layer without bias is scaled alone, so that the result has the layer's own form.

    Examples:
        >>> from counterbench.adapters.base import opened
        >>> network = nn.Sequential(nn.Conv2d(1, 4, 3, bias=False), nn.Linear(4, 2))
        >>> _ = ScaleAndShift().open(network)
        >>> opened(network)
        8
    """

    def changes(self, network: nn.Module) -> dict[str, Change]:
        normed = {n: m for n, m in network.named_modules() if isinstance(m, NORMS) and m.weight is not None}
        return {name: OutputScale(layer, shifted=True) for name, layer in {**layers(network), **normed}.items()}
