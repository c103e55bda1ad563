"""Datasets: readers and renderers behind the cards."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from counterbench.catalog.cards import Card, card_paths, read_card
from counterbench.catalog.generated import PATTERN, generated
from counterbench.errors import DataError, UnknownNameError
from counterbench.plugins import registry

if TYPE_CHECKING:
    from counterbench.datasets.dataset import Dataset


def names() -> list[str]:
    """Every dataset: the cards of the catalogue, those of plug-ins."""
    return sorted({*card_paths(), *_plugged_cards()})


def _plugged_cards() -> dict[str, Card]:
    """Cards that plug-in readers bring along, as an attribute `plugin_card` (a Card, or the path of one)."""
    cards: dict[str, Card] = {}
    for name in registry.datasets.names():
        if registry.datasets.is_builtin(name):  # a built-in reader's cards lie in the catalogue
            continue
        card = getattr(registry.datasets.get(name), "plugin_card", None)
        if card is not None:
            card = card if isinstance(card, Card) else read_card(Path(card))
            cards[card.name] = card
    return cards


def card(name: str) -> Card:
    """The card called `name`, or in the file `name` if it ends with .yaml, or made from a name such as `scm-anm-5-8-0`.

    Raises:
        UnknownNameError: with the closest match and the list.
    """
    paths = card_paths()
    if name in paths:
        return read_card(paths[name])
    if name.endswith((".yaml", ".yml")):
        return read_card(Path(name))
    plugged = _plugged_cards()
    if name in plugged:
        return plugged[name]
    made = generated(name)
    if made is not None:
        return made
    raise UnknownNameError("dataset", name, [*paths, *plugged, PATTERN])


def load(
    name: str, source: str | None = None, *, data_dir: Path | str | None = None, exam_seed: int | None = None
) -> Dataset:
    """The dataset `name` from one of its sources.

    Args:
        name: of a card.
        source: None for the card's default.
        data_dir: where published data lies; default `$COUNTERBENCH_DATA`.
        exam_seed: draws the test individuals, which are in no public package then; None for the public ones.

    Raises:
        ConfigError: for an exam seed where nobody can draw new individuals.
    """
    data_folder = data_dir or os.environ.get("COUNTERBENCH_DATA")
    folder = Path(data_folder).expanduser() if data_folder else None
    if folder is not None and not folder.is_dir():
        raise DataError(
            f"The data folder {folder} does not exist; give --data-dir, or set COUNTERBENCH_DATA, to one that does."
        )
    declared = card(name)
    dataset: Dataset = registry.datasets.get(declared.reader)(declared, source, folder)
    if exam_seed is not None:
        dataset.take_exam_seed(exam_seed)
    return dataset
