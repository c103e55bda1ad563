"""Maximum likelihood with latents that follow an order."""

from __future__ import annotations

from torch import Tensor

from counterbench.catalog.recipes import Fit
from counterbench.errors import ConfigError
from counterbench.mechanisms.capabilities import OrdersLatents
from counterbench.models.scm import StructuralCausalModel
from counterbench.plugins.registry import objectives
from counterbench.training.objectives.base import MechanismObjective, Moment


@objectives.register()
class OrderedLikelihood(MechanismObjective[OrdersLatents]):
    """The mechanism's loss, and how far the latents of a batch are from an order in which each is a leaf of those up to it (Kori et al. 2023).

    Args:
        weight: of the order term, in nats; 0 for the likelihood alone.
    """

    needs = OrdersLatents

    def __init__(self, scm: StructuralCausalModel, name: str, fit: Fit, *, weight: float = 10.0):
        super().__init__(scm, name, fit)
        if weight < 0:
            raise ConfigError(f"order: weight is {weight:g}; give a number from 0 on.")
        self.weight = weight

    def losses(self, batch: dict[str, Tensor], moment: Moment) -> Tensor:
        value, parents = self.encoded(batch)
        loss, order = self.capable.ordered_loss(value, parents, moment.generator)
        moment.notes["order"] = order.detach()
        return loss + self.weight * order
