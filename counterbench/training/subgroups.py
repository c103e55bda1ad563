"""Which subgroup each training sample is in, and the weighting that a recipe names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from counterbench.catalog.kinds import parsed_kind
from counterbench.catalog.recipes import WeightingEntry
from counterbench.datasets.dataset import Dataset
from counterbench.datasets.division import divide
from counterbench.errors import ConfigError
from counterbench.plugins import registry
from counterbench.plugins.factory import make
from counterbench.training.objectives.base import Objective
from counterbench.training.weightings.base import Weighting


@dataclass(frozen=True)
class Subgrouped:
    """Samples of the training and of the held-out split, divided in one way.

    Args:
        names: of the subgroups, those of training samples first.
        train: (N,), long, the subgroup of each training sample.
        held_out: (M,), long.
    """

    names: tuple[str, ...]
    train: Tensor
    held_out: Tensor

    def weighting(self, entry: WeightingEntry) -> Weighting:
        """The weighting that a recipe names.

        Raises:
            UnknownNameError: for an unknown one. ConfigError: for an option that it does not have.
        """
        counts = self.train.bincount(minlength=len(self.names))
        made: Weighting = make(
            f"The weighting {entry.kind!r}", registry.weightings.get(entry.kind), (counts,), entry.options
        )
        return made

    def weigh(self, objective: Objective, entry: WeightingEntry) -> None:
        """Have an objective weight its samples as a recipe says."""
        objective.weighting, objective.balanced_batches = self.weighting(entry), entry.balanced_batches

    def shares(self, weighting: Weighting) -> dict[str, float]:
        """How much each subgroup counts at the end of a training; empty where that is as in the batches."""
        shares = weighting.shares()
        return {} if shares is None else dict(zip(self.names, (round(float(one), 4) for one in shares), strict=True))


def parsed_weighting(words: str | None, by: str | None, *, balanced: bool) -> WeightingEntry | None:
    """A weighting as a user writes it: its kind, then options; None where nothing is divided.

    Args:
        words: KIND:option=value,option=value; None for all samples alike.
        by: what divides the samples; None for nothing.
        balanced: whether batches are drawn in which every subgroup is as frequent.

    Raises:
        ConfigError: for a weighting without subgroups, or options that are not written so.

    Examples:
        >>> parsed_weighting("group_dro:eta=0.05", "domain", balanced=False).options
        {'eta': 0.05}
    """
    if by is None:
        if words is not None or balanced:
            flag = "--weighting" if words is not None else "--balanced-batches"
            raise ConfigError(f"{flag} weights subgroups; say with --by what divides the samples, such as --by domain.")
        return None
    kind, options = parsed_kind(words or "mean", "--weighting")
    return WeightingEntry(kind=kind, by=by, options=options, balanced_batches=balanced)


def subgrouped(
    datasets: Sequence[Dataset], by: str, *, splits: tuple[str, str], rows: Mapping[str, Sequence[Tensor]]
) -> Subgrouped:
    """Divide the samples that something is trained on.

    Args:
        datasets: sources of one card.
        by: variables and roles.
        splits: names of the split to train on and of the held-out one.
        rows: split -> the rows that are used, of each source.

    Raises:
        ConfigError: for a division that there is not.
    """
    words = {split: [name for one in _names(datasets, split, by, rows[split]) for name in one] for split in splits}
    names = tuple(dict.fromkeys(sorted(set(words[splits[0]])) + sorted(set(words[splits[1]]))))
    codes = {name: code for code, name in enumerate(names)}
    train, held_out = (torch.tensor([codes[name] for name in words[split]]) for split in splits)
    return Subgrouped(names, train, held_out)


def _names(datasets: Sequence[Dataset], split: str, by: str, rows: Sequence[Tensor]) -> list[list[str]]:
    """The subgroup of each row that is used, by name, source by source."""
    found = []
    for dataset, chosen in zip(datasets, rows, strict=True):
        division = divide(dataset, split, by)
        found.append([division.names[code] for code in division.member[chosen].tolist()])
    return found
