"""Conditional residual network over time, for quantities and vectors."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from counterbench.errors import ConfigError
from counterbench.networks.field import FieldNetwork
from counterbench.networks.unet import TimeFeatures


class ResidualMLP(FieldNetwork):
    """A field over vectors that depends on time and on tokens: (vector, time, tokens) -> vector of the same length.

    Every block is two dense layers whose hidden layer is scaled and shifted by time and the mean of the tokens.

    Args:
        size: length of the vectors.
        condition: length of every token.
        hidden: width.
        blocks: how many.

    Examples:
        >>> network = ResidualMLP(2, condition=8, hidden=16)
        >>> tuple(network(torch.zeros(5, 2), torch.zeros(5), torch.zeros(5, 3, 8)).shape)
        (5, 2)
    """

    def __init__(self, size: int, condition: int, *, hidden: int = 128, blocks: int = 3):
        super().__init__()
        if min(size, hidden, blocks) < 1:
            raise ConfigError(
                f"A network of {blocks} blocks of {hidden} units for {size} numbers is none; give at least 1."
            )
        self.time = TimeFeatures(condition)
        self.stem = nn.Linear(size, hidden)
        self.modulations = nn.ModuleList(nn.Linear(condition, 2 * hidden) for _ in range(blocks))
        self.first = nn.ModuleList(nn.Linear(hidden, hidden) for _ in range(blocks))
        self.second = nn.ModuleList(nn.Linear(hidden, hidden) for _ in range(blocks))
        self.paint = nn.Linear(hidden, size)
        with torch.no_grad():  # an untrained field is zero
            self.paint.weight.zero_()
            self.paint.bias.zero_()

    def forward(self, vector: Tensor, time: Tensor, tokens: Tensor) -> Tensor:
        """(N, size), (N,), (N, T, condition) -> (N, size)."""
        condition = self.time(time) + tokens.mean(1)
        state = self.stem(vector)
        for modulate, first, second in zip(self.modulations, self.first, self.second, strict=True):
            scale, shift = modulate(condition).chunk(2, dim=1)
            state = state + second(functional.silu(first(functional.silu(state)) * (1 + scale) + shift))
        moved: Tensor = self.paint(functional.silu(state))
        return moved
