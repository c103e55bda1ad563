"""What an objective is: a plain class that says what is minimised; the loop runs it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Generic, TypeVar, cast

import torch
from torch import Tensor, nn

from counterbench.catalog.recipes import Fit
from counterbench.errors import ConfigError
from counterbench.mechanisms.base import Mechanism
from counterbench.mechanisms.capabilities import families_with, methods_of
from counterbench.models.scm import StructuralCausalModel
from counterbench.training.hardware import Hardware
from counterbench.training.weightings.base import Weighting

Capability = TypeVar("Capability")


@dataclass(frozen=True, kw_only=True)
class Circumstances:
    """What a training is given.

    Args:
        train: natural values of the objective's variables.
        validation: the same of held-out samples.
        folder: for what must survive an interruption.
        hardware: where to compute.
        seed: of every draw.
        resume: whether the folder may hold what an interrupted run has left.
    """

    train: Mapping[str, Tensor]
    validation: Mapping[str, Tensor]
    folder: Path
    hardware: Hardware
    seed: int
    resume: bool = False


@dataclass(frozen=True)
class Moment:
    """Where a training is when it meets a batch.

    Args:
        generator: of every draw for this batch.
        training: whether weights are moved; else held-out samples are judged.
        epoch: epochs before this one.
        step: batches before this one, over all epochs.
        notes: numbers of this batch for the curves of training, by name; an objective adds its own.
    """

    generator: torch.Generator
    training: bool = True
    epoch: int = 0
    step: int = 0
    notes: dict[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True)
class Player:
    """Somebody with an optimiser of its own: a whole model, or one side of a game.

    Args:
        name: in curves and messages.
        parameters: what it moves.
        loss: what it minimises: (batch, moment) -> per sample, (N,).
        rate: its learning rate in units of the fit's.
    """

    name: str
    parameters: Sequence[nn.Parameter]
    loss: Callable[[dict[str, Tensor], Moment], Tensor]
    rate: float = 1.0


class Objective:
    """What is minimised when something is trained, by whom, and how epochs are compared.

    With `losses` alone it is ordinary training. A game has `players` of its own, and `validate`.

    Args:
        module: what is trained.
        fit: how.
    """

    selects: ClassVar[bool] = True
    """Whether the epoch with the lowest validation loss is kept and patience ends the training, else the last one."""

    weighting: Weighting | None = None
    """How samples are weighted; None for all alike."""
    balanced_batches: bool = False
    """Whether batches are drawn in which every subgroup is as frequent."""

    def __init__(self, module: nn.Module, fit: Fit):
        self.module, self.fit = module, fit

    def parts(self) -> dict[str, nn.Module]:
        """All that moves between devices and travels with checkpoints, by name: what is trained, opponents, buffers."""
        return {"module": self.module}

    def players(self) -> Sequence[Player]:
        """Who takes a step on every batch, in this order."""
        return [Player("train", list(self.module.parameters()), self.losses)]

    def losses(self, batch: dict[str, Tensor], moment: Moment) -> Tensor:
        """Loss per sample, (N,), of natural values."""
        raise NotImplementedError

    def validate(self, batch: dict[str, Tensor], moment: Moment) -> Tensor | None:
        """Loss per sample of held-out values, (N,), whose mean compares epochs; None where `after_validation` does."""
        return self.losses(batch, moment)

    def after_step(self) -> None:
        """Called when all players have taken their step."""

    def after_validation(self) -> float | None:
        """The loss of the whole held-out set, called at the end of an epoch; None where it is the mean over samples."""
        return None


class MechanismObjective(Objective, Generic[Capability]):
    """Trains the mechanism of one variable, which must have a capability.

    A subclass registers with `@registry.objectives.register()`; its keyword arguments after `fit` are the options of a
    stage.

    Args:
        scm: the whole model; only the mechanism of `name` is trained.
        name: a variable of it.
        fit: how.

    Raises:
        ConfigError: if the mechanism lacks the capability that the objective needs.
    """

    needs: ClassVar[type] = Mechanism
    """What the mechanism must offer: a runtime-checkable protocol of methods; see :mod:`counterbench.mechanisms.capabilities`."""

    def __init__(self, scm: StructuralCausalModel, name: str, fit: Fit):
        mechanism = scm.mechanisms[name]
        super().__init__(mechanism, fit)
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


def keep_open(module: nn.Module, parameters: Iterable[nn.Parameter]) -> None:
    """Freeze all but these of a module's parameters; one that is frozen already stays so."""
    wanted = {id(parameter) for parameter in parameters}
    for parameter in module.parameters():
        parameter.requires_grad_(parameter.requires_grad and id(parameter) in wanted)


def frozen(module: nn.Module) -> nn.Module:
    """The same module, never trained and never in training mode here."""
    return module.eval().requires_grad_(False)
