"""Feature spaces: an image as a vector, and how far two images are apart in it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from counterbench.catalog.cards import Card
from counterbench.errors import UnavailableError
from counterbench.plugins import registry
from counterbench.plugins.factory import PINNED, make

if TYPE_CHECKING:
    import torch

    from counterbench.features.base import FeatureSpace
    from counterbench.judges import Panel


@dataclass(frozen=True)
class FeatureContext:
    """What a feature space is given if its `__init__` has a parameter of that name; its other parameters are options of the card.

    Args:
        shape: (C, H, W) of the images, or (C, D, H, W) of volumes.
        panels: the judges of the dataset.
        card: name of the dataset, for messages.
        weights: the file that the card pins, or None.
        sha256: what its hash must be, or None.
        device: where it computes.
    """

    shape: tuple[int, ...]
    panels: Mapping[str, Panel]
    card: str
    weights: Path | None
    sha256: str | None
    device: str | torch.device


def load(
    name: str,
    card: Card,
    panels: Mapping[str, Panel],
    *,
    device: str | torch.device = "cpu",
    source: str | None = None,
) -> FeatureSpace:
    """The feature space, or the recogniser of individuals, `name` for the images of a card.

    Args:
        name: of a feature space or recogniser.
        card: its images, and the options and weights that it declares under `features` and `recognisers`.
        panels: the judges, for the space that reads one of them.
        device: where it computes.
        source: whose images; None for the card's default.

    Raises:
        UnknownNameError: for an unknown name. UnavailableError: if a file is needed that is not there (the message says which
        one and where it goes), or the card lacks what the space needs. CheckpointError: for damaged weights.
    """
    recognises = name in registry.recognisers
    family = (registry.recognisers if recognises else registry.features).get(name)
    if not card.image:
        raise UnavailableError(f"{card.name!r} has no images")
    entry = card.pinned(card.recognisers if recognises else card.features, name, card.source(source))
    if entry is None:
        raise UnavailableError(f"the card {card.name!r} pins none for the source {card.source(source)!r}")
    context = FeatureContext(card.image_shape, panels, card.name, card.weights_of(entry), entry.sha256, device)
    what = f"Card {card.name!r}: the {'recogniser' if recognises else 'feature space'} {name!r}"
    space: FeatureSpace = make(what, family, (), entry.options, context=context, needed=PINNED if entry.weights else ())
    return space
