"""A 1 x 1 convolution beside every convolution."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from counterbench.adapters.changes import Change, Changing
from counterbench.adapters.parts import is_transposed, layers
from counterbench.plugins.registry import adapters


class CentralTap(Change):
    """A matrix, from 0, that is added at the middle of a kernel: what a 1 x 1 convolution beside the layer would add."""

    def __init__(self, weight: Tensor):
        super().__init__()
        self.beside = nn.Parameter(torch.zeros(weight.shape[:2]))
        self.middle = 0
        for side in weight.shape[2:]:
            self.middle = self.middle * side + side // 2

    def forward(self, weight: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor | None]:
        taps = weight.flatten(2).clone()
        taps[:, :, self.middle] += self.beside
        return taps.view_as(weight), bias


@adapters.register()
class TaskSpecificAdapter(Changing):
    """A residual 1 x 1 convolution beside every convolution (TSA: Li et al., CVPR 2022), matched with the middle of its kernel.

    Transposed convolutions and linear layers stay as they are.

    Examples:
        >>> from counterbench.adapters.base import opened
        >>> network = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Linear(4, 2))
        >>> _ = TaskSpecificAdapter().open(network)
        >>> opened(network)
        4
    """

    looks_for = "convolution"

    def changes(self, network: nn.Module) -> dict[str, Change]:
        return {
            name: CentralTap(layer.weight)  # type: ignore[arg-type]
            for name, layer in layers(network).items()
            if not isinstance(layer, nn.Linear) and not is_transposed(layer)
        }
