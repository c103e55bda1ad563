"""What a stage of training minimises, one file each; a recipe names them."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from counterbench import registry
from counterbench.catalog.recipes import Stage
from counterbench.errors import ConfigError, CounterbenchError, suggestion
from counterbench.objectives.base import Objective
from counterbench.scm import StructuralCausalModel


def build(stage: Stage, scm: StructuralCausalModel, name: str, seed: int) -> Objective:
    """The objective of a stage, for the mechanism of `name`.

    Raises:
        UnknownNameError: for an unknown objective. ConfigError: for an unknown option, or a mechanism that it does not fit.
    """
    family = registry.objectives.get(stage.objective)
    options = options_of(family)
    for option in stage.options:
        if option not in options:
            raise ConfigError(
                f"The objective {stage.objective!r} of {name!r} has no option {option!r}.{suggestion(option, options)}"
            )
    try:
        made: Objective = family(scm, name, stage.fit, seed, **stage.options)
    except CounterbenchError:
        raise
    except (TypeError, ValueError) as error:
        given = ", ".join(f"{key}={value!r}" for key, value in stage.options.items())
        raise ConfigError(
            f"The objective {stage.objective!r} of {name!r} cannot be made with {given} ({error})."
        ) from error
    return made


def options_of(objective: type[Objective]) -> Mapping[str, Any]:
    """Recipe options of an objective: keyword -> default."""
    parameters = list(inspect.signature(objective.__init__).parameters.values())[5:]
    return {option.name: option.default for option in parameters}
