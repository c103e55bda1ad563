"""What to do with trained judges: a card that has them, and what to doubt."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import yaml

from counterbench.catalog.cards import Card, card_paths
from counterbench.catalog.names import require_name
from counterbench.causal.variables import Binary, Categorical, Continuous
from counterbench.datasets.dataset import Dataset
from counterbench.errors import ConfigError
from counterbench.storage.files import write_text

FILES = {"judges.json": "judges", "recogniser.json": "recognisers", "reference.json": "reference_scm"}
"""What `train-judges` leaves -> the key of a card that it is."""
_HARDLY = 0.8
"""A judge whose error is above this share of a guess's is hardly better than it."""


def require_place(path: Path, base: Card) -> str:
    """What a new card beside its base extends, checked before anything is trained.

    Args:
        path: of the new card.
        base: the card that judges are trained for; a file of the user's must lie beside the new one.

    Raises:
        ConfigError: for a file that is there already or is no .yaml, a name that no card can have, or a place that is not beside the base.
    """
    if path.suffix not in (".yaml", ".yml"):
        raise ConfigError(f"--card {path}: a card is a .yaml file.")
    if path.exists():
        raise ConfigError(f"--card {path} is there already; give another name, or remove it first.")
    try:
        require_name(path.stem)
    except ValueError as error:
        raise ConfigError(f"--card {path}: {error}") from error
    listed = (
        base.name in card_paths() and base.path is not None and card_paths()[base.name].resolve() == base.path.resolve()
    )
    if base.path is None or listed:
        return base.name
    if base.path.resolve().parent != path.resolve().parent:
        raise ConfigError(f"--card {path} extends {base.path}, so it must lie beside it.")
    return base.path.stem


def write_card(path: Path, base: Card, folder: Path) -> None:
    """Write a card that extends another one by the judges, the recogniser and the reference SCM in a folder.

    Args:
        path: of the new card; see :func:`require_place`.
        base: the card that they were trained for.
        folder: made by `counterbench train-judges`.

    Raises:
        ConfigError: for a place where it cannot be.
    """
    said = {"extends": require_place(path, base), "name": path.stem, "title": base.title}
    for file, key in FILES.items():
        if (folder / file).is_file():
            said[key] = _moved(json.loads((folder / file).read_text("utf-8"))[key], folder, path.parent)
    write_text(path, yaml.safe_dump(said, sort_keys=False, width=120))


def _moved(entry: Any, folder: Path, home: Path) -> Any:
    """The same with paths of weights from another folder."""
    if isinstance(entry, dict):
        moved = {key: _moved(value, folder, home) for key, value in entry.items()}
        if isinstance(moved.get("weights"), str):
            moved["weights"] = os.path.relpath((folder / moved["weights"]).resolve(), home.resolve())
        return moved
    return [_moved(one, folder, home) for one in entry] if isinstance(entry, list) else entry


def doubts(judges: Mapping[str, Sequence[Mapping[str, Any]]], datasets: Sequence[Dataset]) -> list[str]:
    """Sentences about judges that are hardly better than a guess, and about classes that nobody has seen.

    Args:
        judges: variable -> entries of a card.
        datasets: the sources that they were trained on.
    """
    found = []
    for dataset in datasets:
        for name, entries in judges.items():
            found += _unseen(name, dataset)
            figures = [
                entry["quality"][dataset.source] for entry in entries if dataset.source in entry.get("quality", {})
            ]
            found += _guesses(name, figures, dataset) if figures else []
    return found


def _unseen(name: str, dataset: Dataset) -> list[str]:
    variable, values = dataset.variables[name], dataset.attributes("judge")[name]
    if not isinstance(variable, (Binary, Categorical)):
        return []
    seen = values.long().unique()
    count = variable.cardinality
    if len(seen) == count:
        return []
    what = "one class alone" if len(seen) == 1 else f"{len(seen)} of {count} classes"
    return [f"{name}: the judge split of {dataset.source} holds {what}; its judges know no other."]


def _guesses(name: str, figures: Sequence[Mapping[str, float]], dataset: Dataset) -> list[str]:
    """Where the middle one of some judges is hardly better than the median of the training split, or than a coin."""
    variable = dataset.variables[name]
    if isinstance(variable, Continuous) and all("mean_absolute_error" in one for one in figures):
        error = sorted(one["mean_absolute_error"] for one in figures)[len(figures) // 2]
        train, test = (dataset.attributes(split)[name].double() for split in ("train", "test"))
        guess = float((test - train.median()).abs().mean())
        if error > _HARDLY * guess:
            return [
                f"{name}: its judges are off by {error:.3g}, and whoever always says the median by {guess:.3g} ({dataset.source})."
            ]
    if all("balanced_accuracy" in one for one in figures):
        right = sorted(one["balanced_accuracy"] for one in figures)[len(figures) // 2]
        classes = len(torch.unique(dataset.attributes("test")[name].long()))
        guess = 1 / max(1, classes)
        if 1 - right > _HARDLY * (1 - guess):
            return [
                f"{name}: its judges are right in {right:.0%} of the cases of a class, and a guess in {guess:.0%} ({dataset.source})."
            ]
    return []
