"""Judges: measurements and predictors of attributes in images."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from counterbench.catalog.cards import Card, JudgeEntry
from counterbench.errors import ConfigError, short, suggestion
from counterbench.plugins import registry
from counterbench.plugins.factory import PINNED, make

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from counterbench.causal.variables import Variable
    from counterbench.judges.base import Judge


@dataclass(frozen=True)
class Reading:
    """What the judges of one variable measure in a batch of images.

    Args:
        members: (J, N) in the variable's unit, or (J, N, K) class probabilities; one row per judge.
    """

    members: Tensor

    @cached_property
    def mean(self) -> Tensor:
        """Mean over the judges: (N,) or (N, K). This is what is compared with a target."""
        return self.members.mean(0)

    @property
    def discrete(self) -> bool:
        """Whether these are class probabilities."""
        return self.members.ndim == 3

    def spread(self) -> Tensor:
        """How far the judges are apart, (N,): standard deviation in the variable's unit, or mean total variation from their
        mean, 0 to 1."""
        if self.discrete:
            return 0.5 * (self.members - self.mean).abs().sum(2).mean(0)
        return self.members.std(0, unbiased=False)

    def agreement(self) -> Tensor:
        """(N,): 1 where all judges name the same class, else 0.

        Raises:
            ValueError: for measurements, which hardly ever agree exactly; use :meth:`spread`.
        """
        if not self.discrete:
            raise ValueError("agreement is for classes; measurements have a spread.")
        named = self.members.argmax(2)
        return (named == named[0]).all(0).float()

    def __getitem__(self, rows: Tensor | slice) -> Reading:
        return Reading(self.members[:, rows])


@dataclass(frozen=True)
class Panel:
    """All judges of one variable; their mean is compared with the target.

    Args:
        variable: what they measure.
        members: at least one.
    """

    variable: Variable
    members: tuple[Judge, ...]

    def measure(self, images: Tensor) -> Reading:
        """What every member measures in (N, C, H, W), grey levels 0-255."""
        return measure_all({"": self}, images)[""]

    @property
    def fingerprints(self) -> list[str]:
        return [member.fingerprint for member in self.members]


def measure_all(panels: Mapping[str, Panel], images: Tensor) -> dict[str, Reading]:
    """Measure several variables in the same images, (N, C, H, W), grey levels 0-255; judges that share an eye look once."""
    import torch

    seen: dict[Hashable, Tensor] = {}

    def measured(judge: Judge) -> Tensor:
        if judge.eye is None:
            return judge.measure(images)
        if judge.eye not in seen:
            seen[judge.eye] = judge.look(images)
        return judge.read(seen[judge.eye])

    return {
        name: Reading(torch.stack([measured(member) for member in panel.members])) for name, panel in panels.items()
    }


def load(card: Card, source: str, device: str | torch.device = "cpu") -> dict[str, Panel]:
    """The judges that a card names for one of its sources: variable -> panel; a variable without judges there is left out.

    Raises:
        ConfigError: for a judge that does not fit its variable. CheckpointError: for damaged weights.
    """
    variables = card.build_variables()
    panels = {}
    for name, entries in card.judges.items():
        if name not in card.attributes:
            raise ConfigError(f"Card {card.name!r} has judges for {short(name)}.{suggestion(name, card.attributes)}")
        there = [entry for entry in entries if not entry.sources or source in entry.sources]
        if there:
            members = tuple(_build(entry, variables[name], card, source, device) for entry in there)
            panels[name] = Panel(variables[name], members)
    return panels


@dataclass(frozen=True)
class JudgeContext:
    """What a judge is given if its `__init__` has a parameter of that name; its other parameters are options of the card.

    Args:
        channels: of the images.
        weights: the file that the card pins, or None.
        sha256: what its hash must be, or None.
        device: where it computes.
    """

    channels: int
    weights: Path | None
    sha256: str | None
    device: str | torch.device


def _build(entry: JudgeEntry, variable: Variable, card: Card, source: str, device: str | torch.device) -> Judge:
    family = registry.judges.get(entry.judge)
    if variable.kind not in family.kinds:
        raise ConfigError(
            f"The judge {entry.judge!r} cannot measure {variable.name!r}, which is {variable.kind}; it measures: {', '.join(family.kinds)}."
        )
    channels = card.image_shape[0]
    context = JudgeContext(channels, card.weights_of(entry), entry.sha256, device)
    what = f"Card {card.name!r}: the judge {entry.judge!r} of {variable.name!r}"
    given = {**entry.options, **entry.by_source.get(source, {})}
    judge: Judge = make(what, family, (variable,), given, context, PINNED if entry.weights else ())
    return judge
