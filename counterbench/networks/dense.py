"""The small networks that read parents: fully connected, or a single linear layer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pyro.nn import DenseNN
from torch import Tensor, nn


class LinearHeads(nn.Module):
    """One linear layer that gives several groups of numbers, as pyro's DenseNN does with layers in between.

    Args:
        inputs: how many numbers it reads.
        outputs: how many numbers each group has.
    """

    def __init__(self, inputs: int, outputs: Sequence[int]):
        super().__init__()
        self.outputs = list(outputs)
        self.layers = nn.ModuleList([nn.Linear(inputs, sum(self.outputs))])

    def forward(self, read: Tensor) -> Tensor | tuple[Tensor, ...]:
        """(N, inputs) -> (N, K), or a tuple of these where there are several groups."""
        found: Tensor = self.layers[0](read)
        return found if len(self.outputs) == 1 else tuple(found.split(self.outputs, 1))


def dense(inputs: int, hidden: Sequence[int], outputs: Sequence[int]) -> Any:
    """A network from parents to groups of numbers.

    Args:
        inputs: how many numbers it reads.
        hidden: widths of the layers in between; none for a linear map.
        outputs: how many numbers each group has.

    Returns:
        A module whose last layer is `layers[-1]`; it gives (N, K), or a tuple of these where there are several groups.

    Examples:
        >>> import torch
        >>> shift, scale = dense(2, (), (1, 1))(torch.zeros(5, 2))
        >>> tuple(shift.shape), sum(weight.numel() for weight in dense(2, (), (1, 1)).parameters())
        ((5, 1), 6)
    """
    if not hidden:
        return LinearHeads(inputs, outputs)
    return DenseNN(inputs, list(hidden), param_dims=list(outputs), nonlinearity=nn.GELU())
