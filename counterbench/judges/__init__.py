"""Judges: measurements and predictors of attributes in images."""

from __future__ import annotations

import inspect
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from counterbench import registry
from counterbench.catalog.cards import Card, JudgeEntry
from counterbench.errors import ConfigError, CounterbenchError, suggestion

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from counterbench.judges.base import Judge
    from counterbench.variables import Variable


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
            raise ConfigError(f"Card {card.name!r} has judges for {name!r}.{suggestion(name, card.attributes)}")
        there = [entry for entry in entries if not entry.sources or source in entry.sources]
        if there:
            members = tuple(_build(entry, variables[name], card, source, device) for entry in there)
            panels[name] = Panel(variables[name], members)
    return panels


def _build(entry: JudgeEntry, variable: Variable, card: Card, source: str, device: str | torch.device) -> Judge:
    family = registry.judges.get(entry.judge)
    if variable.kind not in family.kinds:
        raise ConfigError(
            f"The judge {entry.judge!r} cannot measure {variable.name!r}, which is {variable.kind}; it measures: {', '.join(family.kinds)}."
        )
    accepted = inspect.signature(family.__init__).parameters
    options = {**entry.options, **entry.by_source.get(source, {})}
    for option in options:
        if option not in accepted:
            raise ConfigError(
                f"Card {card.name!r}: the judge {entry.judge!r} has no option {option!r}.{suggestion(option, list(accepted)[2:])}"
            )
    if entry.weights is not None:
        if card.path is None:
            raise ConfigError(f"Card {card.name!r} names weights but was not read from a file; set its `path`.")
        options |= {"weights": Path(card.path).parent / entry.weights, "sha256": entry.sha256}
    if "channels" in accepted:
        shape = card.variables[card.image].shape
        assert shape is not None
        options.setdefault("channels", shape[0])
    if "device" in accepted:
        options["device"] = device
    try:
        judge: Judge = family(variable, **options)
    except (TypeError, ValueError) as error:
        if isinstance(error, CounterbenchError):
            raise
        raise ConfigError(
            f"Card {card.name!r}: the judge {entry.judge!r} of {variable.name!r} cannot be made ({error})."
        ) from error
    return judge
