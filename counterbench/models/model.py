"""What a model is: anything that answers a counterfactual query; and what a record must say about one."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, Protocol, runtime_checkable

import torch
from torch import Tensor

from counterbench.causal.chance import Generator
from counterbench.causal.samples import Samples
from counterbench.causal.variables import Image, Variable
from counterbench.errors import ModelError

Values = Mapping[str, Tensor]
"""Natural values by variable name; see :mod:`counterbench.causal.variables`."""


@runtime_checkable
class Model(Protocol):
    """Anything that answers a counterfactual query."""

    def counterfactual(
        self, factual: Samples, interventions: Mapping[str, Tensor], generator: Generator = None
    ) -> Mapping[str, Tensor]:
        """Natural values of every variable, had the intervened variables had these values; see the SCM's method."""
        ...


@runtime_checkable
class Declines(Protocol):
    """A model that does not answer every question, and says which."""

    def can_answer(self, intervened: Collection[str]) -> bool:
        """Whether it takes questions about these variables; an empty collection is the null intervention."""
        ...


@runtime_checkable
class CanDraw(Protocol):
    """A model that makes new individuals with given attributes, as generative models do."""

    def draw(self, attributes: Samples, generator: Generator = None) -> Mapping[str, Tensor]:
        """Natural values of every variable of new individuals, one with each row of these attributes, exactly as given.

        Args:
            attributes: natural values of every variable but the image, (N,) each.
            generator: chance, one stream for each of them.
        """
        ...


@runtime_checkable
class HasNoise(Protocol):
    """A model that gives access to its exogenous noise, as structural causal models do."""

    def abduct(self, values: Values, generator: Generator = None) -> Mapping[str, Mapping[str, Tensor]]:
        """The noise behind complete observations: variable -> part -> (N, ...)."""
        ...

    def sample_noise(self, count: int, generator: Generator = None) -> Mapping[str, Mapping[str, Tensor]]:
        """The noise of `count` new samples, in the same parts."""
        ...


@runtime_checkable
class NeedsRows(Protocol):
    """A baseline of this package that looks something up in the data, and is told the rows."""

    needs_rows: bool


@runtime_checkable
class DeclaresPixelNoise(Protocol):
    """A model that says how much of the abducted pixel noise it puts back: a share, or "none" where it has no pixel noise."""

    pixel_temperature: object


@runtime_checkable
class Fingerprinted(Protocol):
    """A model that says itself what decides its answers beyond what can be seen in it, such as files that it reads."""

    @property
    def fingerprint(self) -> str | None:
        """Text or a hash; None where there is nothing to say."""
        ...


class LookedUp:
    """Answers that were made before: they are looked up question by question, and nobody can be asked anything else."""

    what: ClassVar[str]
    """What they are, in words."""
    draws: bool = False
    """Whether drawn individuals are among them."""

    def counterfactual(
        self, factual: Samples, interventions: Mapping[str, Tensor], generator: Generator = None
    ) -> dict[str, Tensor]:
        """Only the questions of the plan were answered.

        Raises:
            ModelError: always.
        """
        raise ModelError(f"{self.what} are looked up question by question; they answer nothing else.")


def can_answer(model: Model, intervened: Collection[str]) -> bool:
    """Whether a model takes questions about these variables: all of them, unless it declines."""
    return bool(model.can_answer(intervened)) if isinstance(model, Declines) else True


def ask(
    model: Model, given: Samples, held: Mapping[str, Tensor], *, noise: Generator, variables: Mapping[str, Variable]
) -> Answer:
    """A model's answer to one question, checked; see :func:`counterbench.models.model.checked_answer`.

    The model gets copies: what it does to its input must not reach the judges, nor the other models.
    """
    answer = model.counterfactual(shown_to(model, given), {name: value.clone() for name, value in held.items()}, noise)
    return checked_answer(answer, variables, held, given.count)


def can_draw(model: Model) -> bool:
    """Whether a model makes new individuals; of answers that are looked up, whether some are there."""
    return model.draws if isinstance(model, LookedUp) else isinstance(model, CanDraw)


def draw(
    model: Model,
    attributes: Mapping[str, Tensor],
    rows: Tensor,
    *,
    noise: Generator,
    variables: Mapping[str, Variable],
) -> Answer:
    """New individuals, one with each row of attributes, checked; see :func:`counterbench.models.model.checked_answer`.

    Args:
        model: who draws; see :class:`CanDraw`.
        attributes: natural values of every variable but the image, (N,) each.
        rows: (N,), of the split that the attributes come from, for the baselines that look something up.
        noise: one stream of chance for each.
        variables: of the dataset.

    Raises:
        ModelError: for an answer that is none.
    """
    assert isinstance(model, CanDraw)
    given = Samples(attributes, rows)
    return checked_answer(model.draw(shown_to(model, given), noise), variables, attributes, given.count)


def shown_to(model: object, given: Samples) -> Samples:
    """Copies of what a model may see of some samples: their values alone.

    The baselines of this package that look something up in the data say so with `needs_rows`, and are told the rows and what was set before.
    """
    values = {name: value.clone() for name, value in given.items()}
    ours = type(model).__module__.startswith("counterbench.")
    told = ours and isinstance(model, NeedsRows) and model.needs_rows
    return Samples(values, given.index.clone(), done=given.done) if told else Samples(values)


class Answer(dict[str, Tensor]):
    """A checked answer: natural values by variable, images in whole grey levels 0 to 255.

    Args:
        values: as the model gave them.
        image: the variable that is an image; "" where there is none.
    """

    def __init__(self, values: Values, image: str = ""):
        super().__init__(values)
        self.ends: tuple[float, float] | None = None
        """Darkest and brightest pixel as the model gave them; None without images."""
        self.outside: Tensor | None = None
        """(N,), share of pixels that were out of range by more than rounding; None without images."""
        if image:
            raw = self[image].float()
            low, high = raw.aminmax() if raw.numel() else (torch.zeros(()), torch.zeros(()))
            self.ends = float(low), float(high)
            self.outside = ((raw < -0.5) | (raw > 255.5)).flatten(1).double().mean(1)
            self[image] = raw.round().clamp(0, 255)


@dataclass(frozen=True)
class Contestant:
    """A model with what a record needs to say about it."""

    name: str
    model: Model
    title: str = ""
    recipe: dict[str, Any] = field(default_factory=dict)
    weights_sha256: str | None = None
    parameters: int = 0
    pixel_temperature: float | None = None
    pixel_noise: Literal["declared", "none", "unknown"] = "unknown"
    """Whether its pixel-noise temperature is declared, it has no pixel noise, or nothing is known; follows from a temperature."""
    exact: bool = False
    """Whether a null intervention returns its input by construction."""
    training: dict[str, Any] = field(default_factory=dict)
    """What the manifest of the training says: source, seed, epochs, limit, data."""
    notes: tuple[str, ...] = ()
    """What a reader of the record must know about this model."""
    coverage: Mapping[str, Any] | None = None
    """Which questions it answers, where it is answers from files."""
    code: object = None
    """What was given, where `model` wraps it."""
    kept: str = ""
    """SHA-256 of the kept answers that it is; empty where it is none."""
    called: str | None = None
    """What tables and boards call it, where that is not `name`."""

    @property
    def looked_up(self) -> bool:
        """Whether its answers were made before and are looked up, so that nobody can be asked anything else."""
        return self.coverage is not None or bool(self.kept)

    def __post_init__(self) -> None:
        if self.pixel_temperature is not None:
            object.__setattr__(self, "pixel_noise", "declared")
        if self.pixel_temperature == 1:
            object.__setattr__(self, "exact", True)


def checked_answer(answer: object, variables: Mapping[str, Variable], interventions: Values, count: int) -> Answer:
    """A model's answer on the CPU, every variable and nothing else, or a ModelError that says what is wrong with it.

    Images are rounded and clamped to whole grey levels: whoever judges them or feeds them back sees what an image file could hold.

    Args:
        answer: what the model returned.
        variables: what it must hold.
        interventions: what was asked: the answer must show these values.
        count: how many samples.
    """
    if not isinstance(answer, Mapping):
        raise ModelError(f"A model must answer with a mapping from variable to tensor, got {type(answer).__name__}.")
    checked = {}
    for name, variable in variables.items():
        value = answer.get(name)
        if not isinstance(value, Tensor):
            raise ModelError(
                f"The model's answer has no tensor for {name!r}; it must hold every variable: {', '.join(variables)}."
            )
        if value.ndim == 0 or len(value) != count:
            given = "one number" if value.ndim == 0 else f"{len(value)} values"
            raise ModelError(f"The model answered {given} of {name!r} for {count} questions.")
        if value.layout != torch.strided or value.is_meta:
            raise ModelError(f"The model answered {name!r} with a tensor without plain values; give a dense one.")
        checked[name] = value.detach().cpu()
        try:
            variable.check(checked[name])
        except ValueError as error:
            raise ModelError(f"The model's answer is not usable: {error}") from error
    for name, wanted in interventions.items():
        if not torch.allclose(checked[name].double(), wanted.cpu().double(), rtol=1e-4, atol=1e-4):
            raise ModelError(
                f"The model was asked for do({name}) but its answer has other values of {name!r}; an intervened variable must "
                "be returned exactly as it was set."
            )
    return Answer(checked, next((name for name, variable in variables.items() if isinstance(variable, Image)), ""))
