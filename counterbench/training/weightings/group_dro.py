"""Group distributionally robust optimisation."""

from __future__ import annotations

import torch
from torch import Tensor

from counterbench.errors import ConfigError
from counterbench.plugins.registry import weightings
from counterbench.training.weightings.base import Weighting, means_of

_NEVER = -1e4
"""Logarithm of the weight of a subgroup without training samples."""


@weightings.register()
class GroupDRO(Weighting):
    """A weight for each subgroup that rises where the loss is high: q_g <- q_g exp(eta l_g), normalised; the loss is sum_g q_g l_g.

    l_g is the mean loss of the subgroup in the batch. A subgroup that a batch lacks keeps its weight, and the others share the loss of that batch, so
    that eta 0 is the mean over the subgroups of each batch. Epochs are compared by the held-out loss of the worst subgroup. Batches in which rare
    subgroups are seen often enough (`balanced_batches`) make it steadier.

    Sagawa, Koh, Hashimoto and Liang, Distributionally Robust Neural Networks for Group Shifts, ICLR 2020.

    Args:
        counts: (G,), training samples of each subgroup.
        eta: how fast weights rise, at least 0.
        adjustment: C of the size adjustment: C / sqrt(n_g) is added to a subgroup's loss, for small ones generalise worse.
        floor: least weight of a subgroup in units of an equal share, from 0 to 1.

    Raises:
        ConfigError: for another option.

    Examples:
        >>> weighting = GroupDRO(torch.tensor([10, 10]), eta=1.0)
        >>> _ = weighting(torch.tensor([1.0, 2.0]), torch.tensor([0, 1]))
        >>> [round(share, 3) for share in weighting.shares().tolist()]
        [0.269, 0.731]
    """

    log_weights: Tensor

    def __init__(self, counts: Tensor, *, eta: float = 0.01, adjustment: float = 0.0, floor: float = 0.0):
        super().__init__(counts)
        for name, value, most in (("eta", eta, None), ("adjustment", adjustment, None), ("floor", floor, 1.0)):
            if value < 0 or (most is not None and value > most):
                upper = "" if most is None else f" and at most {most:g}"
                raise ConfigError(f"group_dro: {name} is {value}; it must be at least 0{upper}.")
        self.eta, self.adjustment, self.floor = eta, adjustment, floor
        # In logarithms, a weight that has fallen far can rise again.
        self.register_buffer("log_weights", torch.where(counts > 0, 0.0, _NEVER).log_softmax(0))

    def forward(self, losses: Tensor, subgroup: Tensor) -> Tensor:
        means, counts = means_of(losses, subgroup, len(self.counts))
        present = counts > 0
        adjusted = means + self.adjustment / self.counts.clamp(min=1).sqrt()
        if torch.is_grad_enabled():
            risen = self.eta * torch.where(present, adjusted.detach(), 0.0)
            self.log_weights.copy_((self.log_weights + risen).log_softmax(0))
        shares = self.shares() * present
        return (shares / shares.sum() * adjusted).sum()

    def of_epoch(self, means: Tensor, counts: Tensor) -> Tensor:
        return means[counts > 0].max()

    def shares(self) -> Tensor:
        there = (self.counts > 0).float()
        return self.floor * there / there.sum() + (1 - self.floor) * self.log_weights.exp()
