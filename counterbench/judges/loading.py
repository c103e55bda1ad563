"""From the judges that a card names to panels that measure."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import ValidationError

from counterbench.catalog.cards import Card, JudgeEntry
from counterbench.errors import ConfigError, short, suggestion
from counterbench.judges.panel import Panel
from counterbench.plugins import registry
from counterbench.plugins.factory import PINNED, make
from counterbench.storage.files import read_bounded

if TYPE_CHECKING:
    import torch

    from counterbench.causal.variables import Variable
    from counterbench.judges.base import Judge


HIDDEN = "COUNTERBENCH_HIDDEN_JUDGES"
"""Environment variable: the folder of a panel that is in nobody's hands but a board's."""
_IMAGES = {2: "pictures", 3: "volumes"}
JUDGES, FURTHER = "judges.json", "trained_further"
"""What `train-judges` writes for the card."""


def load(card: Card, source: str, *, device: str | torch.device = "cpu") -> dict[str, Panel]:
    """The judges that a card names for one of its sources: variable -> panel; a variable without judges there is left out.

    Raises:
        ConfigError: for a judge that does not fit its variable. CheckpointError: for damaged weights.
    """
    variables = card.build_variables()
    panels = {}
    card = hidden(card)
    for name, entries in card.judges.items():
        if name not in card.attributes:
            raise ConfigError(f"Card {card.name!r} has judges for {short(name)}.{suggestion(name, card.attributes)}")
        usable = [entry for entry in entries if not entry.sources or source in entry.sources]
        if usable:
            members = tuple(_build(entry, variables[name], card, source, device) for entry in usable)
            panels[name] = Panel(variables[name], members)
    return panels


def hidden(card: Card) -> Card:
    """The card with the judges of a hidden panel, if the environment names one that is for this dataset; else the card itself.

    The folder is what `counterbench train-judges` writes: `judges.json` and the weights beside it. Its judges take the place of the
    card's, variable by variable; records name them by their hashes.

    Raises:
        ConfigError: if the folder holds no judges, or those of no dataset.
    """
    folder = os.environ.get(HIDDEN)
    if not folder:
        return card
    path = Path(folder) / JUDGES
    try:
        content = json.loads(read_bounded(path))
        dataset, entries = content["dataset"], content["judges"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(
            f"{HIDDEN}={short(folder)}: {path} is not what train-judges writes ({type(error).__name__}: {error})."
        ) from error
    if dataset != card.name:
        return card
    try:
        judges = {
            name: tuple(
                JudgeEntry.model_validate({**entry, "weights": str((Path(folder) / entry["weights"]).resolve())})
                for entry in listed
            )
            for name, listed in entries.items()
        }
    except (ValidationError, KeyError, TypeError, AttributeError) as error:
        raise ConfigError(f"{HIDDEN}={short(folder)}: {path} does not describe judges ({error}).") from error
    return card.model_copy(update={"judges": {**card.judges, **judges}})


@dataclass(frozen=True)
class JudgeContext:
    """What a judge is given if its `__init__` has a parameter of that name; its other parameters are options of the card.

    Args:
        channels: of the images.
        dimensions: of the images: 2, or 3 of volumes.
        weights: the file that the card pins, or None.
        sha256: what its hash must be, or None.
        device: where it computes.
    """

    channels: int
    dimensions: int
    weights: Path | None
    sha256: str | None
    device: str | torch.device


def _build(entry: JudgeEntry, variable: Variable, card: Card, source: str, device: str | torch.device) -> Judge:
    family = registry.judges.get(entry.judge)
    if variable.kind not in family.kinds:
        raise ConfigError(
            f"The judge {entry.judge!r} cannot measure {variable.name!r}, which is {variable.kind}; it measures: {', '.join(family.kinds)}."
        )
    channels, *sides = card.image_shape
    if len(sides) not in family.dimensions:
        raise ConfigError(
            f"The judge {entry.judge!r} cannot look at the {_IMAGES[len(sides)]} of {card.name!r}; it looks at "
            f"{' and '.join(_IMAGES[number] for number in family.dimensions)}."
        )
    context = JudgeContext(channels, len(sides), card.weights_of(entry), entry.sha256, device)
    what = f"Card {card.name!r}: the judge {entry.judge!r} of {variable.name!r}"
    options = {**entry.options, **entry.by_source.get(source, {})}
    judge: Judge = make(what, family, (variable,), options, context=context, needed=PINNED if entry.weights else ())
    return judge
