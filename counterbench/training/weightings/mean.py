"""The mean over samples."""

from __future__ import annotations

from torch import Tensor

from counterbench.plugins.registry import weightings
from counterbench.training.weightings.base import Weighting


@weightings.register()
class Mean(Weighting):
    """Every sample counts the same, so that subgroups count as often as they occur.

    Examples:
        >>> import torch
        >>> Mean(torch.tensor([3, 1]))(torch.tensor([1.0, 1.0, 1.0, 5.0]), torch.tensor([0, 0, 0, 1])).item()
        2.0
    """

    def forward(self, losses: Tensor, subgroup: Tensor) -> Tensor:
        return losses.mean()
