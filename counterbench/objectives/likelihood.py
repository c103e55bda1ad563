"""Maximum likelihood."""

from __future__ import annotations

import torch
from torch import Tensor

from counterbench.objectives.base import Objective
from counterbench.registry import objectives


@objectives.register()
class Likelihood(Objective):
    """The mechanism's own loss: its negative log-likelihood, or an upper bound of it."""

    needs = ("loss",)

    def losses(self, batch: dict[str, Tensor], generator: torch.Generator, training: bool) -> Tensor:
        value, parents = self.encoded(batch)
        return self.mechanism.loss(value, parents, generator)
