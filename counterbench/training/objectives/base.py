"""What an objective is: the training of one mechanism of a model, for one stage."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from counterbench.catalog.recipes import Fit
from counterbench.errors import ConfigError
from counterbench.mechanisms.base import Mechanism
from counterbench.models.scm import StructuralCausalModel
from counterbench.training.loop import Fitting, Hardware


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


class Objective(Fitting):
    """Trains the mechanism of one variable.

    A subclass registers with `@registry.objectives.register()`; its keyword arguments after `seed` are the options of a
    stage.

    Args:
        scm: the whole model; only the mechanism of `name` is trained.
        name: a variable of it.
        fit: how.
        seed: of every draw.

    Raises:
        ConfigError: if the mechanism lacks a method that the objective needs.
    """

    needs: tuple[str, ...] = ()
    """Methods that the mechanism must have."""

    def __init__(self, scm: StructuralCausalModel, name: str, fit: Fit, seed: int):
        mechanism = scm.mechanisms[name]
        super().__init__(mechanism, fit, seed)
        self.name, self.mechanism = name, mechanism
        self.variables = {mechanism.variable.name: mechanism.variable, **{v.name: v for v in mechanism.parents}}
        """Whose values a batch must hold."""
        for method in self.needs:
            if not callable(getattr(mechanism, method, None)):
                objective = type(self).__module__.rpartition(".")[2]
                family = type(mechanism).__module__.rpartition(".")[2]
                raise ConfigError(
                    f"The mechanism {family!r} of {name!r} cannot be trained by the objective {objective!r}: it has no "
                    f"method {method!r}."
                )

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
