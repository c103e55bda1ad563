"""Models that are told as a trained base and a difference: how the difference is put on, and taken off."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from counterbench.adapters.base import Adapter, take_difference
from counterbench.adapters.full import Full
from counterbench.catalog.recipes import AdaptEntry, Recipe, Stage
from counterbench.errors import CheckpointError, ConfigError, short
from counterbench.models.scm import StructuralCausalModel
from counterbench.plugins import registry
from counterbench.plugins.factory import make


def adapter_of(stage: Stage, name: str) -> Adapter:
    """What a stage opens of the mechanism of `name`: everything, unless it says something else.

    Raises:
        UnknownNameError: for an unknown adapter. ConfigError: for an option that it does not have.
    """
    if stage.adapt is None:
        return Full()
    return made(stage.adapt, f"The adapter {stage.adapt.kind!r} of {name!r}")


def made(entry: AdaptEntry, what: str) -> Adapter:
    """The adapter that a recipe names.

    Args:
        entry: its kind, options, and blocks.
        what: it is, for messages.
    """
    adapter: Adapter = make(what, registry.adapters.get(entry.kind), (), entry.options)
    adapter.within = entry.within
    return adapter


def prefix(name: str, number: int) -> str:
    """How the names of the tensors begin that one stage of one mechanism has changed.

    Examples:
        >>> prefix("image", 0)
        'image/1/'
    """
    return f"{name}/{number + 1}/"


def put_on(scm: StructuralCausalModel, recipe: Recipe, tensors: Mapping[str, Tensor], *, where: object) -> None:
    """Turn a trained base into the model that was made from it.

    Args:
        scm: with the base's weights; it is changed in place.
        recipe: of the adaptation.
        tensors: what its stages have changed, by :func:`prefix`.
        where: they come from, for messages.

    Raises:
        CheckpointError: for tensors that do not belong to these stages.
    """
    left = dict(tensors)
    with torch.random.fork_rng(devices=[]):  # what an adapter starts from is overwritten
        for name, entry in recipe.mechanisms.items():
            for number, stage in enumerate(entry.training):
                adapter = adapter_of(stage, name)
                adapter.open(scm.mechanisms[name])
                begin = prefix(name, number)
                own = {key.removeprefix(begin): left.pop(key) for key in list(left) if key.startswith(begin)}
                take_difference(scm.mechanisms[name], own, where=where)
                adapter.merge(scm.mechanisms[name])
    if left:
        raise CheckpointError(f"{where} was made for another model: it has an unknown {short(next(iter(left)))}.")


def require_merged(recipe: Recipe) -> None:
    """Raise ConfigError if a stage has added what cannot be folded into weights."""
    for name, entry in recipe.mechanisms.items():
        for stage in entry.training:
            adapter = adapter_of(stage, name)
            if not adapter.mergeable:
                raise ConfigError(
                    f"The adapter {adapter.name!r} of {name!r} is not linear, so it cannot be merged into plain weights; use the folder as it is."
                )
