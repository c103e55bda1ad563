"""From the stages of a recipe to objectives."""

from __future__ import annotations

from typing import Any

from counterbench.catalog.recipes import Stage
from counterbench.models.scm import StructuralCausalModel
from counterbench.plugins import registry
from counterbench.plugins.factory import make
from counterbench.training.objectives.base import MechanismObjective


def build(stage: Stage, scm: StructuralCausalModel, *, name: str) -> MechanismObjective[Any]:
    """The objective of a stage, for the mechanism of `name`.

    Raises:
        UnknownNameError: for an unknown objective. ConfigError: for an unknown option, or a mechanism that it does not fit.
    """
    family = registry.objectives.get(stage.objective)
    what = f"The objective {stage.objective!r} of {name!r}"
    objective: MechanismObjective[Any] = make(what, family, (scm, name, stage.fit), stage.options)
    return objective
