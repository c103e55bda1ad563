"""The mean over subgroups."""

from __future__ import annotations

from torch import Tensor

from counterbench.plugins.registry import weightings
from counterbench.training.weightings.base import Weighting


@weightings.register()
class Balanced(Weighting):
    """Every subgroup counts the same: a sample counts the less, the more of its subgroup there are in the training set.

    Examples:
        >>> import torch
        >>> Balanced(torch.tensor([3, 1]))(torch.tensor([1.0, 1.0, 1.0, 5.0]), torch.tensor([0, 0, 0, 1])).item()
        3.0
    """

    def forward(self, losses: Tensor, subgroup: Tensor) -> Tensor:
        there = self.counts > 0
        weight = self.counts.sum() / (there.sum() * self.counts.clamp(min=1))
        return (weight[subgroup] * losses).mean()

    def of_epoch(self, means: Tensor, counts: Tensor) -> Tensor:
        return means[counts > 0].mean()
