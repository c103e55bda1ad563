"""Maximum likelihood."""

from __future__ import annotations

from torch import Tensor

from counterbench.catalog.recipes import Fit
from counterbench.errors import ConfigError
from counterbench.mechanisms.base import Mechanism
from counterbench.mechanisms.capabilities import HasLevels
from counterbench.models.scm import StructuralCausalModel
from counterbench.plugins import registry
from counterbench.plugins.registry import objectives
from counterbench.training.objectives.base import MechanismObjective, Moment


@objectives.register()
class Likelihood(MechanismObjective[Mechanism]):
    """The mechanism's own loss: its negative log-likelihood, or an upper bound of it.

    Args:
        levels: of a hierarchy: only so many, from the coarsest, have latents in this stage. A hierarchy that starts with all of
            them copies the image pixel by pixel, and hardly listens to coarse latents and parents ever after.
    """

    def __init__(self, scm: StructuralCausalModel, name: str, fit: Fit, *, levels: int | None = None):
        super().__init__(scm, name, fit)
        if not self.mechanism.has_likelihood:
            raise ConfigError(
                f"The mechanism of {name!r} has no likelihood; give it stages: {_others(self.mechanism)}."
            )
        count = self.mechanism.level_count if isinstance(self.mechanism, HasLevels) else 0
        if levels is not None and not 1 <= levels <= count:
            has = f"has {count}" if count else "has none; leave the option out"
            raise ConfigError(f"likelihood: levels is {levels}, but the mechanism of {name!r} {has}.")
        self.levels = levels

    def losses(self, batch: dict[str, Tensor], moment: Moment) -> Tensor:
        value, parents = self.encoded(batch)
        if self.levels is not None and isinstance(self.mechanism, HasLevels):
            return self.mechanism.loss(value, parents, moment.generator, active=self.levels)
        return self.mechanism.loss(value, parents, moment.generator)


def _others(mechanism: Mechanism) -> str:
    """Objectives of ours that ask for something in particular, and get it from this mechanism."""
    known = {name: registry.objectives.get(name).needs for name in registry.objectives.builtins()}
    fitting = [name for name, needs in known.items() if needs is not Mechanism and isinstance(mechanism, needs)]
    return ", then ".join(fitting) or "of an objective of your own"
