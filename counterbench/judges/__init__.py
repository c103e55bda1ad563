"""Judges: measurements and predictors of attributes in images."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
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
class Panel:
    """All judges of one variable; several are averaged.

    Args:
        variable: what they measure.
        members: at least one.
    """

    variable: Variable
    members: tuple[Judge, ...]

    def measure(self, images: Tensor) -> Tensor:
        """Mean of the members' measurements: (N,) continuous, (N, K) class probabilities."""
        import torch

        return torch.stack([member.measure(images) for member in self.members]).mean(0)

    @property
    def fingerprints(self) -> list[str]:
        return [member.fingerprint for member in self.members]


def load(card: Card, source: str, device: str | torch.device = "cpu") -> dict[str, Panel]:
    """The judges that a card names for one of its sources: variable -> panel.

    Raises:
        ConfigError: for a judge that does not fit its variable. CheckpointError: for damaged weights.
    """
    variables = card.build_variables()
    panels = {}
    for name, entries in card.judges.items():
        if name not in card.attributes:
            raise ConfigError(f"Card {card.name!r} has judges for {name!r}.{suggestion(name, card.attributes)}")
        panels[name] = Panel(
            variables[name], tuple(_build(entry, variables[name], card, source, device) for entry in entries)
        )
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
