"""From the feed of a recipe to the samples that a training gets; made samples are kept beside the model."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from counterbench.catalog.kinds import parsed_kind
from counterbench.catalog.recipes import FeedEntry, Recipe
from counterbench.errors import ConfigError
from counterbench.plugins import registry
from counterbench.plugins.factory import make
from counterbench.storage.tensors import read_tensors, write_tensors
from counterbench.training.feeds.base import Fed, Feed, FeedContext

MADE = "synthetic.safetensors"
"""The samples that a training got, where they are not real; with their attributes."""
_ABOUT, _OF = "about", "of"
NO_GUARANTEE = (
    "Made from what another model makes; this is no differential privacy: it bounds nothing about attacks that were not tried. "
    "Look at it with `evaluate --suite audit` before it is given away."
)


def parsed_feed(words: str, teacher: str | None) -> FeedEntry:
    """A feed as a user writes it.

    Args:
        words: KIND:option=value,option=value.
        teacher: its option `model`, given apart; None where it has none.

    Raises:
        ConfigError: for options that are not written so.

    Examples:
        >>> parsed_feed("synthetic:count=960", "vae").options
        {'count': 960, 'model': 'vae'}
    """
    kind, options = parsed_kind(words, "--feed")
    if teacher is not None:
        options["model"] = str(Path(teacher).resolve()) if Path(teacher).is_dir() else teacher
    return FeedEntry(kind=kind, options=options)


def feed_of(recipe: Recipe, context: FeedContext, *, limit: int | None = None) -> Feed:
    """The feed that a recipe names.

    Args:
        recipe: says which.
        context: data, seed and device.
        limit: of real rows, as the caller gave it.

    Raises:
        UnknownNameError: for an unknown feed. ConfigError: for an option that it does not have, or a choice of real rows or subgroups where
            samples are not real.
    """
    entry = recipe.feed or FeedEntry(kind="real")
    family = registry.feeds.get(entry.kind)
    if not family.real:
        if recipe.init is not None:
            raise ConfigError(
                "A student starts from random weights: --init would bring along what real images have left in its weights."
            )
        if limit is not None or recipe.rows is not None:
            raise ConfigError(
                f"The feed {entry.kind!r} is made by a teacher; --where and --limit choose real rows. Say how many with {entry.kind}:count=N."
            )
        if any(stage.weighting for mechanism in recipe.mechanisms.values() for stage in mechanism.training):
            raise ConfigError(f"The feed {entry.kind!r} has no subgroups to weight; leave the weighting out.")
    made: Feed = make(f"The feed {entry.kind!r}", family, (context,), entry.options)
    return made


def without_teacher(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """What a recipe says, without where its teacher lies.

    Args:
        recipe: from :meth:`counterbench.catalog.recipes.Recipe.content`.

    Examples:
        >>> without_teacher({"feed": {"kind": "synthetic", "options": {"model": "runs/teacher", "count": 9}}})
        {'feed': {'kind': 'synthetic', 'options': {'count': 9}}}
    """
    feed = recipe["feed"]
    options = {name: value for name, value in feed["options"].items() if name != "model"}
    return {**recipe, "feed": {**feed, "options": options}}


def kept_feed(feed: Feed, folder: Path, *, of: Mapping[str, Any]) -> Fed:
    """What a feed makes; what is not real is kept in the folder, and found there again after an interruption.

    Args:
        feed: makes it.
        folder: of the training.
        of: the plan of the training; samples that were made for another one are made anew.
    """
    if feed.real:
        return feed.feed()
    path = folder / MADE
    stored = read_tensors(path)
    mark = hashlib.sha256(json.dumps(of, sort_keys=True, default=str).encode()).hexdigest()
    if stored is None or stored[1].get(_OF) != mark:
        fed = feed.feed()
        parts = {"train": fed.train, "validation": fed.validation}
        made = {f"{split}/{name}": value for split, part in parts.items() for name, value in part.items()}
        write_tensors(path, made, metadata={_ABOUT: json.dumps(fed.about), _OF: mark})
        return fed
    values: dict[str, dict[str, Tensor]] = {"train": {}, "validation": {}}
    for key, value in stored[0].items():
        split, _, name = key.partition("/")
        values[split][name] = value
    return Fed(values["train"], values["validation"], about=json.loads(stored[1][_ABOUT]))
