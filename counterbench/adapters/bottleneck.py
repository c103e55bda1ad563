"""Small networks behind layers."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from counterbench.adapters.base import Adapter
from counterbench.adapters.changes import WrappedLayer, replace
from counterbench.adapters.parts import last_layers, outputs
from counterbench.errors import ConfigError
from counterbench.plugins.registry import adapters


class LayerWithBottleneck(WrappedLayer):
    """A layer and, added to what it says, a narrow perceptron of it that starts at zero.

    Args:
        layer: linear or a convolution.
        width: of the perceptron.
    """

    def __init__(self, layer: nn.Module, width: int):
        super().__init__(layer)
        self.axis = -1 if isinstance(layer, nn.Linear) else 1
        self.narrow = nn.Linear(outputs(layer), width)
        self.wide = nn.Linear(width, outputs(layer))
        nn.init.zeros_(self.wide.weight)
        nn.init.zeros_(self.wide.bias)

    def forward(self, *inputs: Tensor) -> Tensor:
        said: Tensor = self.layer(*inputs)
        beside = self.wide(torch.relu(self.narrow(said.movedim(self.axis, -1))))
        result: Tensor = said + beside.movedim(-1, self.axis)
        return result


@adapters.register()
class BottleneckAdapter(Adapter):
    """y + W_up relu(W_down y) behind the last layer of each part (Houlsby et al., ICML 2019), position by position.

    It is not linear, so it cannot be folded into the layer and stays beside it.

    Args:
        width: of the narrow layer.

    Raises:
        ConfigError: for a width below 1.

    Examples:
        >>> from counterbench.adapters.base import opened
        >>> network = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
        >>> _ = BottleneckAdapter(width=3).open(network)
        >>> opened(network)
        17
    """

    mergeable = False
    looks_for = "linear layer and no convolution"

    def __init__(self, *, width: int = 8):
        if width < 1:
            raise ConfigError(f"bottleneck: width is {width}; give at least 1.")
        self.width = width

    def _open(self, network: nn.Module) -> None:
        for name, layer in last_layers(network).items():
            replace(network, name, LayerWithBottleneck(layer, self.width).to(layer.weight))  # type: ignore[arg-type]
