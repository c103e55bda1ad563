"""What an objective is: the training of one mechanism of a model, for one stage."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Generic, TypeVar, cast

import torch
from torch import Tensor

from counterbench.catalog.recipes import Fit
from counterbench.errors import ConfigError
from counterbench.mechanisms.base import Mechanism
from counterbench.mechanisms.capabilities import families_with, methods_of
from counterbench.models.scm import StructuralCausalModel
from counterbench.training.loop import Fitting, Hardware

Capability = TypeVar("Capability")


@dataclass(frozen=True)
class Circumstances:
    """What one stage of training is given.

    Args:
        train, validation: natural values of the objective's variables.
        folder: of this stage, for what must survive an interruption.
        hardware: where to compute.
        resume: whether the folder may hold what an interrupted run has left.
    """

    train: Mapping[str, Tensor]
    validation: Mapping[str, Tensor]
    folder: Path
    hardware: Hardware
    resume: bool = False


class Objective(Fitting, Generic[Capability]):
    """Trains the mechanism of one variable, which must have a capability.

    A subclass registers with `@registry.objectives.register()`; its keyword arguments after `seed` are the options of a
    stage.

    Args:
        scm: the whole model; only the mechanism of `name` is trained.
        name: a variable of it.
        fit: how.
        seed: of every draw.

    Raises:
        ConfigError: if the mechanism lacks the capability that the objective needs.
    """

    needs: ClassVar[type] = Mechanism
    """What the mechanism must offer: a runtime-checkable protocol of methods; see :mod:`counterbench.mechanisms.capabilities`."""

    def __init__(self, scm: StructuralCausalModel, name: str, fit: Fit, seed: int):
        mechanism = scm.mechanisms[name]
        super().__init__(mechanism, fit, seed)
        self.name, self.mechanism = name, mechanism
        self.variables = {mechanism.variable.name: mechanism.variable, **{v.name: v for v in mechanism.parents}}
        """Whose values a batch must hold."""
        if not isinstance(mechanism, self.needs):
            raise ConfigError(self._what_is_missing())

    def _what_is_missing(self) -> str:
        """The sentence for a mechanism without the capability: what it lacks, and which families have it."""
        objective, family = (type(part).__module__.rpartition(".")[2] for part in (self, self.mechanism))
        lacking = " or ".join(repr(name) for name in methods_of(self.needs) if name not in dir(self.mechanism))
        return (
            f"The mechanism {family!r} of {self.name!r} cannot be trained by the objective {objective!r}: it has no method "
            f"{lacking}, so it lacks the capability {self.needs.__name__}. Families that have it: "
            f"{', '.join(families_with(self.needs)) or 'none that is built in'}."
        )

    @property
    def capable(self) -> Capability:
        """The mechanism, as what this objective needs of it."""
        return cast(Capability, self.mechanism)  # checked when the objective was made

    def prepare(self, circumstances: Circumstances) -> None:
        """Whatever has to be done once before the first step. Default: nothing."""

    @property
    def judges(self) -> list[str]:
        """Fingerprints of the judges whose verdict this objective used, for the manifest."""
        return []

    def encoded(self, batch: Mapping[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """(the variable's encoded values, those of its parents)."""
        values = {name: variable.encode(batch[name]) for name, variable in self.variables.items()}
        return values.pop(self.name), values


def frozen(module: Mechanism | torch.nn.Module) -> torch.nn.Module:
    """The same module, never trained and never in training mode here."""
    return module.eval().requires_grad_(False)
