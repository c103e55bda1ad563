"""From the choices of a search to a way of adapting a model."""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from counterbench.catalog.recipes import AdaptEntry, Recipe
from counterbench.catalog.studies import Space, Study
from counterbench.errors import ConfigError
from counterbench.plugins import registry
from counterbench.training.adaptation import adapted_recipe, parsed_adapter

OBJECTIVE = "matching"
"""The objective that knows the mitigations."""


class Chooses(Protocol):
    """Makes choices, as a trial of Optuna does."""

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        """One of some values."""
        ...

    def suggest_float(self, name: str, low: float, high: float, *, log: bool = False) -> float:
        """A number between two others."""
        ...


@dataclass(frozen=True)
class Way:
    """One way of adapting a model.

    Args:
        adapt: what is opened.
        learning_rate: of every stage.
        mitigations: options of the objective `matching`.
    """

    adapt: AdaptEntry
    learning_rate: float
    mitigations: dict[str, float] = field(default_factory=dict)

    @property
    def opens_nothing(self) -> bool:
        """Whether a mask has no block."""
        return isinstance(self.adapt.within, str) and "1" not in self.adapt.within

    def plain(self) -> dict[str, Any]:
        """The same as plain data."""
        return {
            "adapt": self.adapt.model_dump(mode="json"),
            "learning_rate": self.learning_rate,
            "mitigations": self.mitigations,
        }

    @classmethod
    def read(cls, plain: Mapping[str, Any]) -> Way:
        """A way from :meth:`plain`."""
        return cls(AdaptEntry.model_validate(plain["adapt"]), plain["learning_rate"], dict(plain["mitigations"]))

    def __str__(self) -> str:
        options = {**self.adapt.options, **({} if self.adapt.within is None else {"within": self.adapt.within})}
        said = ",".join(f"{key}={value}" for key, value in options.items())
        more = "".join(f" {key}={value:g}" for key, value in self.mitigations.items() if value)
        return f"{self.adapt.kind}{':' if said else ''}{said} rate={self.learning_rate:.3g}{more}"

    def recipe(self, study: Study, base: Recipe, variable: str) -> Recipe:
        """The recipe that adapts a model so.

        Args:
            study: says for how long.
            base: the trained model's, with `init` and `rows`.
            variable: whose mechanism is adapted.

        Raises:
            ConfigError: for mitigations of a mechanism that is trained by another objective.
        """
        recipe = adapted_recipe(
            base, variable, self.adapt, learning_rate=self.learning_rate, steps=study.steps, keep=study.keep
        )
        if not self.mitigations:
            return recipe
        entry = recipe.mechanisms[variable]
        if not any(stage.objective == OBJECTIVE for stage in entry.stages):
            raise ConfigError(
                f"{', '.join(self.mitigations)} are options of the objective {OBJECTIVE!r}, by which {recipe.name!r} is not trained; leave them out of the space."
            )
        stages = tuple(
            stage.model_copy(update={"options": {**stage.options, **self.mitigations}})
            if stage.objective == OBJECTIVE
            else stage
            for stage in entry.stages
        )
        mechanisms = {**recipe.mechanisms, variable: entry.model_copy(update={"stages": stages})}
        return recipe.model_copy(update={"mechanisms": mechanisms})


def chosen(trial: Chooses, space: Space, blocks: Sequence[str]) -> Way:
    """A way, by the choices of a trial.

    Args:
        trial: chooses.
        space: among what.
        blocks: names of the mechanism's blocks, for masks.
    """
    adapt = parsed_adapter(trial.suggest_categorical("kind", list(space.kinds)))
    if space.ranks:
        # Drawn for every kind, so that the space is the same for all of them.
        rank = trial.suggest_categorical("rank", list(space.ranks))
        if "rank" in options_of(adapt.kind):
            adapt = adapt.model_copy(update={"options": {**adapt.options, "rank": rank}})
    if space.masks:
        if adapt.within is not None:
            raise ConfigError(
                f"space: {adapt.kind} says itself where it acts (within); leave that out, or masks: true."
            )
        bits = [trial.suggest_categorical(f"open {name}", [0, 1]) for name in blocks]
        adapt = adapt.model_copy(update={"within": "".join(map(str, bits))})
    low, high = space.learning_rate
    way = Way(adapt, trial.suggest_float("learning_rate", low, high, log=True))
    mitigations = {"random_parents": space.random_parents, "drop_loudest": space.drop_loudest}
    picked = {name: trial.suggest_categorical(name, list(given)) for name, given in mitigations.items() if given}
    return replace(way, mitigations=picked)


def options_of(kind: str) -> set[str]:
    """Names of an adapter's options."""
    return set(inspect.signature(registry.adapters.get(kind)).parameters)


def without_search(study: Study) -> list[Way]:
    """What stands beside the search: some kinds, each with the lowest, the middle and the highest learning rate."""
    low, high = study.space.learning_rate
    rates = sorted({low, math.sqrt(low * high), high})
    return [Way(parsed_adapter(kind), rate) for kind in study.beside for rate in rates]
