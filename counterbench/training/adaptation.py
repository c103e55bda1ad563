"""From a trained model to the recipe that trains it further."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from counterbench import models
from counterbench.adapters.base import opened
from counterbench.adapters.parts import blocks
from counterbench.catalog.kinds import parsed_kind
from counterbench.catalog.recipes import AdaptEntry, Fit, InitEntry, Keep, MechanismEntry, Recipe, RowsEntry
from counterbench.datasets.dataset import Dataset
from counterbench.datasets.selection import parsed
from counterbench.errors import CheckpointError, ConfigError, CounterbenchError
from counterbench.models.adaptation import require_merged
from counterbench.models.loading import DIFFERENCE, WEIGHTS, recipe_of_folder
from counterbench.plugins import registry
from counterbench.plugins.factory import make
from counterbench.storage.files import MANIFEST, write_text
from counterbench.storage.weights import save_weights


def parsed_adapter(words: str) -> AdaptEntry:
    """An adapter as a user writes it: its kind, then options.

    Raises:
        ConfigError: for options that are not written as key=value.

    Examples:
        >>> parsed_adapter("lora:rank=2,alpha=4").options
        {'rank': 2, 'alpha': 4}
        >>> parsed_adapter("norm_bias:within=[up.0]").within
        ('up.0',)
        >>> parsed_adapter("blocks:open=[middle, up.0]").options
        {'open': ['middle', 'up.0']}
    """
    kind, options = parsed_kind(words, "--adapt")
    within = options.pop("within", None)
    if within is not None and not isinstance(within, str):
        # Names of blocks may look like numbers.
        within = tuple(map(str, within)) if isinstance(within, (list, tuple)) else str(within)
    return AdaptEntry(kind=kind, within=within, options=options)


def start_recipe(model: str | None, init: str | None, dataset: Dataset) -> Recipe:
    """The recipe to train: the one that is named, or that of the trained model to start from.

    Raises:
        ConfigError: if neither is given.
    """
    if model is not None:
        recipe, _ = models.find_recipe(model, dataset.card)
    elif init is None:
        raise ConfigError("Name a recipe with --model, or a trained model to start from with --init.")
    else:
        folder = Path(init)
        recipe = recipe_of_folder(folder) if folder.is_dir() else models.find_recipe(init, dataset.card)[0]
        recipe = recipe.model_copy(update={"rows": None, "feed": None, "mechanisms": _plainly(recipe.mechanisms)})
    return recipe if init is None else recipe.model_copy(update={"init": InitEntry(model=init)})


def _plainly(mechanisms: Mapping[str, MechanismEntry]) -> dict[str, MechanismEntry]:
    """The mechanisms as if nothing had been adapted before."""
    return {
        name: entry.model_copy(
            update={
                "frozen": False,
                "stages": tuple(stage.model_copy(update={"adapt": None}) for stage in entry.stages),
            }
        )
        for name, entry in mechanisms.items()
    }


def with_rows(recipe: Recipe, where: Sequence[str], limit: int | None) -> Recipe:
    """A recipe that is trained on some rows alone.

    Args:
        recipe: it keeps what it says itself, where nothing is given.
        where: conditions, each `name=value,value`.
        limit: the first so many rows.
    """
    rows = recipe.rows or RowsEntry()
    if where:
        rows = rows.model_copy(update={"where": parsed(where)})
    if limit is not None:
        rows = rows.model_copy(update={"limit": limit})
    return recipe if rows == RowsEntry() else recipe.model_copy(update={"rows": rows})


def adapted_recipe(
    recipe: Recipe,
    variable: str,
    adapt: AdaptEntry,
    *,
    learning_rate: float | None = None,
    steps: int | None = None,
    keep: Keep | None = None,
) -> Recipe:
    """A recipe that opens a part of one trained mechanism and keeps all others.

    Of the stages that the mechanism was trained in, the last one of every objective is run again: those before it led up to it. Weights are
    not averaged over time, for the average of a few hundred steps would remember the start. With `steps`, all of them are taken, and, unless
    the last one is kept, the epoch with the lowest validation loss counts.

    Args:
        recipe: with `init`.
        variable: whose mechanism is trained.
        adapt: what is opened.
        learning_rate: of every stage; None for the recipe's.
        steps: of every stage, at most; None for the recipe's.
        keep: whether the best epoch or the last one counts; None for the recipe's.

    Raises:
        ConfigError: for a recipe that starts from nothing, or has no such variable.
    """
    if recipe.init is None:
        raise ConfigError("--adapt opens a part of a trained model; name it with --init.")
    if not variable:
        raise ConfigError(f"--adapt opens a part of the mechanism of an image, and {recipe.dataset} has none.")
    if variable not in recipe.mechanisms:
        raise ConfigError(f"The recipe {recipe.name!r} has no mechanism for {variable!r}.")
    last = {stage.objective: stage for stage in recipe.mechanisms[variable].training}
    stages = tuple(
        stage.model_copy(update={"adapt": adapt, "fit": for_a_short_while(stage.fit, learning_rate, steps, keep=keep)})
        for stage in last.values()
    )
    mechanisms = {
        name: entry.model_copy(
            update={"fit": None, "stages": stages} if name == variable else {"fit": None, "stages": (), "frozen": True}
        )
        for name, entry in recipe.mechanisms.items()
    }
    kind = adapt.kind.replace("_", "-")
    return recipe.model_copy(
        update={
            "name": f"{recipe.name}-{kind}",
            "title": f"{recipe.title}, adapted by {adapt.kind}",
            "mechanisms": mechanisms,
        }
    )


def for_a_short_while(fit: Fit, learning_rate: float | None, steps: int | None, *, keep: Keep | None = None) -> Fit:
    """How something that is trained already is fitted further.

    Args:
        fit: how it was fitted.
        learning_rate: None for the same.
        steps: all of them are taken; None for the same.
        keep: whether the best epoch or the last one counts; None for the same.
    """
    changes: dict[str, Any] = {"ema_decay": 0.0}
    if learning_rate is not None:
        changes["learning_rate"] = learning_rate
    if steps is not None:
        # An epoch of few samples is one step or two.
        changes |= {
            "steps": steps,
            "epochs": steps,
            "patience": steps,
            "warmup_steps": min(fit.warmup_steps, steps // 10),
        }
    if keep is not None:
        changes["keep"] = keep
    return fit.model_copy(update=changes)


def merge(folder: Path, dataset: Dataset, output: Path) -> Path:
    """Write a model that training has made from another one as plain weights, which need the other one no more.

    Args:
        folder: made by training from trained weights.
        dataset: what it was trained on.
        output: a new folder.

    Returns:
        The new folder.

    Raises:
        ConfigError: for a model with an adapter that is not linear. CheckpointError: if `output` holds something, or `folder` no such model.
    """
    if not (folder / DIFFERENCE).is_file():
        raise CheckpointError(f"{folder} holds no {DIFFERENCE}, so there is nothing to merge.")
    if output.exists() and any(output.iterdir()):
        raise CheckpointError(f"{output} holds something already; choose another --output.")
    recipe = recipe_of_folder(folder)
    require_merged(recipe)
    model: Any = models.load(str(folder), dataset).model
    manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    manifest["merged_from"] = manifest["weights_sha256"]
    manifest["weights_sha256"] = save_weights(model, output / WEIGHTS)
    write_text(output / MANIFEST, json.dumps(manifest, indent=1) + "\n")
    return output


def opened_by_adapters(recipe: Recipe, dataset: Dataset) -> tuple[int, dict[str, int | str], dict[str, int]]:
    """How many numbers every adapter opens of the image's mechanism, with its default options.

    Args:
        recipe: an untrained model is made of it.
        dataset: with an image.

    Returns:
        (all numbers of the mechanism; adapter -> how many of them, or why none; block -> how many it has).

    Raises:
        ConfigError: for a dataset without images.
    """
    if not dataset.card.image:
        raise ConfigError(f"Adapters open a part of the mechanism of an image, and {dataset.card.name} has none.")
    mechanism = models.build_for(recipe, dataset).mechanisms[dataset.card.image]
    numbers: dict[str, int | str] = {}
    for name in registry.adapters.names():
        opening = copy.deepcopy(mechanism)
        try:
            with torch.random.fork_rng(devices=[]):
                make(f"The adapter {name!r}", registry.adapters.get(name), (), {}).open(opening)
            numbers[name] = opened(opening)
        except CounterbenchError as why:
            numbers[name] = str(why)
    named = {name: sum(weight.numel() for weight in weights) for name, weights in blocks(mechanism).items()}
    return sum(weight.numel() for weight in mechanism.parameters()), numbers, named
