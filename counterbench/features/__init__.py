"""Feature spaces: an image as a vector, and how far two images are apart in it."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import TYPE_CHECKING

from counterbench import registry
from counterbench.errors import ConfigError, UnavailableError, suggestion

if TYPE_CHECKING:
    from collections.abc import Mapping

    import torch

    from counterbench.catalog.cards import Card
    from counterbench.features.base import FeatureSpace
    from counterbench.judges import Panel


def load(
    name: str,
    card: Card,
    panels: Mapping[str, Panel],
    device: str | torch.device = "cpu",
    source: str | None = None,
) -> FeatureSpace:
    """The feature space `name` for the images of a card.

    Args:
        name: of a feature space.
        card: its images, and the options and weights that it declares under `features`.
        panels: the judges, for the space that reads one of them.
        device: where it computes.
        source: whose images; None for the card's default.

    Raises:
        UnknownNameError: for an unknown name. UnavailableError: if a file is needed that is not there (the message says which
        one and where it goes), or the card lacks what the space needs. CheckpointError: for damaged weights.
    """
    family = registry.features.get(name)
    if not card.image:
        raise UnavailableError(f"{card.name!r} has no images")
    accepted = inspect.signature(family.__init__).parameters
    entry = card.features.get(name)
    if entry is not None and entry.sources and card.source(source) not in entry.sources:
        raise UnavailableError(f"the card {card.name!r} pins none for the source {card.source(source)!r}")
    options = dict(entry.options) if entry else {}
    for option in options:
        if option not in accepted:
            raise ConfigError(
                f"Card {card.name!r}: the feature space {name!r} has no option {option!r}.{suggestion(option, list(accepted)[1:])}"
            )
    if entry is not None and entry.weights is not None:
        if card.path is None:
            raise ConfigError(f"Card {card.name!r} names weights but was not read from a file; set its `path`.")
        options |= {"weights": Path(card.path).parent / entry.weights, "sha256": entry.sha256}
    shape = card.variables[card.image].shape
    given = {"shape": shape, "panels": panels, "device": device, "card": card.name}
    space: FeatureSpace = family(**options, **{key: value for key, value in given.items() if key in accepted})
    return space
