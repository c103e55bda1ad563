"""Fitting the reference SCM of a dataset's attributes, which answers are held against where no truth is known."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from counterbench.catalog.cards import Card
from counterbench.catalog.recipes import Fit, MechanismEntry, read_recipe, recipe_paths
from counterbench.datasets.dataset import Dataset
from counterbench.models.building import build_reference, reference_recipe
from counterbench.runtime.versions import versions
from counterbench.storage.files import require_writable, write_text
from counterbench.storage.weights import save_weights
from counterbench.training.batches import require_samples
from counterbench.training.hardware import Hardware
from counterbench.training.recipes import MechanismTraining

_FIT = Fit(
    epochs=300,
    steps=3000,
    batch_size=256,
    learning_rate=0.005,
    weight_decay=0,
    warmup_steps=50,
    patience=30,
    ema_decay=0.9,
)
_FAMILIES = {"continuous": "spline_flow", "binary": "bernoulli", "categorical": "categorical", "ordinal": "categorical"}


def fit_reference(
    datasets: Sequence[Dataset], output: Path, *, hardware: Hardware, seed: int = 7001, epochs: int | None = None
) -> dict[str, Any]:
    """Fit the mechanisms of the attributes on the training split of each source.

    Args:
        datasets: sources of one card.
        output: folder for `reference-<source>.safetensors` and `reference.json`.
        hardware: where.
        seed: of the fits.
        epochs: at most, per mechanism; None for the recipe's.

    Returns:
        Source -> what the card should say under `reference_scm`.

    Raises:
        DataError: for too few samples. ConfigError: for an attribute that the image causes.
    """
    require_writable(output)
    report = {dataset.source: _fitted(dataset, output, hardware, seed, epochs) for dataset in datasets}
    content = {"reference_scm": report, "seed": seed, "epochs": epochs, "versions": versions()}
    write_text(output / "reference.json", json.dumps(content, indent=1))
    return report


def mechanisms_of(card: Card) -> dict[str, MechanismEntry]:
    """How the attributes of a card are modelled: as its recipes of the catalogue do, else one family per kind of variable."""
    paths = recipe_paths(card.name)
    declared: Mapping[str, MechanismEntry] = read_recipe(paths[min(paths)]).mechanisms if paths else {}
    return {
        name: declared.get(name, MechanismEntry(family=_FAMILIES[card.variables[name].kind], fit=_FIT))
        for name in card.attributes
    }


def _fitted(dataset: Dataset, output: Path, hardware: Hardware, seed: int, epochs: int | None) -> dict[str, Any]:
    recipe = reference_recipe(dataset.card, mechanisms_of(dataset.card))
    train, validation = (dataset.attributes(split) for split in ("train", "validation"))
    for split, values in (("train", train), ("validation", validation)):
        require_samples(values, split)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        scm = build_reference(recipe, dataset.card)
    unfinished = output / "unfinished" / f"reference-{dataset.source}"
    training = MechanismTraining(scm, train, validation, unfinished, hardware, epochs, resume=False)
    for position, name in enumerate(scm.mechanisms):
        training.fit(name, recipe.mechanisms[name].training, seed * 97 + position)
    path = output / f"reference-{dataset.source}.safetensors"
    digest = save_weights(scm, path)
    shutil.rmtree(output / "unfinished", ignore_errors=True)
    mechanisms = {name: {"family": entry.family, "options": entry.options} for name, entry in recipe.mechanisms.items()}
    fitted_on = (
        f"fitted on the attributes of the training split ({len(next(iter(train.values())))} samples, seed {seed})"
    )
    return {"mechanisms": mechanisms, "weights": path.name, "sha256": digest, "note": fitted_on}
