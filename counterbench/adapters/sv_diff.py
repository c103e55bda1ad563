"""Singular values are shifted."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from counterbench.adapters.changes import Change, Changing, like_weight, matrix_of
from counterbench.adapters.parts import is_transposed, layers
from counterbench.plugins.registry import adapters


class SpectralShift(Change):
    """W' = W + U diag(relu(S + scale * delta) - S) V^T, of W as a matrix (outputs, inputs x kernel); delta is trained from 0."""

    def __init__(self, weight: Tensor, *, transposed: bool, scale: float):
        super().__init__()
        self.transposed, self.scale = transposed, scale
        left, values, right = torch.linalg.svd(matrix_of(weight.detach(), transposed).double(), full_matrices=False)
        # They follow from the weight, and so are not kept with it.
        for name, tensor in {"left": left, "values": values, "right": right}.items():
            self.register_buffer(name, tensor.to(weight), persistent=False)
        self.delta = nn.Parameter(torch.zeros(len(values)))

    def forward(self, weight: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor | None]:
        values: Tensor = self.values  # type: ignore[assignment]
        moved = torch.relu(values + self.scale * self.delta) - values
        return weight + like_weight((self.left * moved) @ self.right, weight, self.transposed), bias  # type: ignore[operator]


@adapters.register()
class SVDiff(Changing):
    """The singular values of every layer's weight move (SVDiff: Han et al., ICCV 2023).

    Args:
        scale: of a shift, in units of what is trained.

    Examples:
        >>> from counterbench.adapters.base import opened
        >>> network = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Linear(4, 2))
        >>> _ = SVDiff().open(network)
        >>> opened(network)
        6
    """

    def __init__(self, *, scale: float = 1.0):
        self.scale = scale

    def changes(self, network: nn.Module) -> dict[str, Change]:
        return {
            name: SpectralShift(layer.weight, transposed=is_transposed(layer), scale=self.scale)  # type: ignore[arg-type]
            for name, layer in layers(network).items()
        }
