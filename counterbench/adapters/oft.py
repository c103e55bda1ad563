"""Rotations of what layers read."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from counterbench.adapters.changes import Change, Changing, like_weight, matrix_of
from counterbench.adapters.parts import is_transposed, layers
from counterbench.errors import ConfigError
from counterbench.plugins.registry import adapters


class BlockRotation(Change):
    """W R, of W as a matrix (outputs, inputs x kernel); R is orthogonal in blocks, by Cayley's map of skew matrices from 0."""

    def __init__(self, weight: Tensor, *, transposed: bool, block: int):
        super().__init__()
        self.transposed = transposed
        columns = matrix_of(weight, transposed).shape[1]
        self.side = next(side for side in range(min(block, columns), 0, -1) if columns % side == 0)
        self.skew = nn.Parameter(torch.zeros(columns // self.side, self.side * (self.side - 1) // 2))

    def forward(self, weight: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor | None]:
        above = torch.triu_indices(self.side, self.side, 1, device=weight.device)
        half = weight.new_zeros(len(self.skew), self.side, self.side)
        half[:, above[0], above[1]] = self.skew.to(weight)
        skew, unit = half - half.mT, torch.eye(self.side, device=weight.device, dtype=weight.dtype)
        rotation = torch.linalg.solve(unit + skew, unit - skew)
        columns = matrix_of(weight, self.transposed).unflatten(1, (-1, self.side))
        turned = torch.einsum("onb,nbc->onc", columns, rotation).flatten(1)
        return like_weight(turned, weight, self.transposed), bias


@adapters.register()
class OFT(Changing):
    """W R, with R orthogonal in blocks, from the identity (OFT: Qiu et al., NeurIPS 2023).

    Written here because that of peft 0.21 is not the identity at the start for convolutions with a border.

    Args:
        block: side of a block of R; layers whose inputs it does not divide get the largest divisor below it.

    Raises:
        ConfigError: for a block below 2.

    Examples:
        >>> from counterbench.adapters.base import opened
        >>> network = nn.Sequential(nn.Conv2d(4, 4, 3), nn.Linear(4, 2))
        >>> _ = OFT(block=4).open(network)
        >>> opened(network)
        60
    """

    looks_for = "layer with two inputs"

    def __init__(self, *, block: int = 8):
        if block < 2:
            raise ConfigError(f"oft: block is {block}; give at least 2.")
        self.block = block

    def changes(self, network: nn.Module) -> dict[str, Change]:
        made = {
            name: BlockRotation(layer.weight, transposed=is_transposed(layer), block=self.block)  # type: ignore[arg-type]
            for name, layer in layers(network).items()
        }
        return {name: change for name, change in made.items() if change.skew.numel()}
