"""Dividing a split into subgroups: by classes of variables and roles, by bins of quantities, and by all combinations of several."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from counterbench.causal.variables import Binary, Categorical, Continuous, Ordinal
from counterbench.datasets.dataset import Dataset
from counterbench.datasets.selection import numbered_roles
from counterbench.errors import ConfigError, short, suggestion

MOST = 200
"""Subgroups of a division."""


@dataclass(frozen=True)
class Division:
    """A split, divided into subgroups.

    Args:
        by: what divides it, as it was written: `digit,domain` or `age:5`.
        names: of the subgroups.
        member: (N,), long, the subgroup of each row.
    """

    by: str
    names: tuple[str, ...]
    member: Tensor

    def rows(self, number: int) -> Tensor:
        """The rows of one subgroup, ascending."""
        return (self.member == number).nonzero()[:, 0]


def divide(dataset: Dataset, split: str, by: str) -> Division:
    """Divide a split.

    Args:
        dataset: of which card and source.
        split: name of the split.
        by: names of variables and roles with classes, separated by commas, and of quantities with a number of bins (`age:5`), which hold
            equally many training samples each. Combinations that no row has are left out.

    Raises:
        ConfigError: for a name that divides nothing, a quantity without bins, or more than 200 subgroups.

    Examples:
        >>> from counterbench import datasets
        >>> divide(datasets.load("morphomnist"), "test", "thickness:2").names
        ('thickness below 2.45', 'thickness from 2.45')
    """
    parts = [_part(dataset, split, word.strip()) for word in by.split(",")]
    sizes = [len(names) for names, _ in parts]
    member = torch.zeros(len(parts[0][1]), dtype=torch.long)
    for size, (_, codes) in zip(sizes, parts, strict=True):
        member = member * size + codes
    there, member = member.unique(return_inverse=True)
    if len(there) > MOST:
        raise ConfigError(
            f"--by {short(by)} makes {len(there):,} subgroups; at most {MOST} are told apart. Take fewer bins."
        )
    return Division(by, tuple(_named(int(code), parts, sizes) for code in there), member)


def _named(code: int, parts: list[tuple[list[str], Tensor]], sizes: list[int]) -> str:
    words = []
    for (names, _), size in zip(reversed(parts), reversed(sizes), strict=True):
        words.append(names[code % size])
        code //= size
    return ", ".join(reversed(words))


def _part(dataset: Dataset, split: str, word: str) -> tuple[list[str], Tensor]:
    """(names of classes, the class of each row) of one variable or role."""
    name, colon, bins = word.partition(":")
    attributes, roles = dataset.attributes(split), numbered_roles(dataset)
    if name not in attributes and name not in roles:
        known = [*attributes, *roles]
        raise ConfigError(
            f"--by {short(word)}: {dataset.card.name}/{dataset.source} has no such variable or role.{suggestion(name, known)}"
        )
    if name in attributes and isinstance(dataset.variables[name], Continuous):
        return _bins(dataset, name, bins, attributes)
    if colon:
        raise ConfigError(f"--by {short(word)}: {name} has classes, so it takes no number of bins; write --by {name}.")
    if name in attributes:
        variable = dataset.variables[name]
        if not isinstance(variable, (Binary, Categorical, Ordinal)):
            raise ConfigError(f"--by {name}: a variable of the kind {variable.kind} divides nothing.")
        classes = ["0", "1"] if isinstance(variable, Binary) else list(variable.classes)
        return [_called(name, one) for one in classes], attributes[name].long()
    values = dataset.role(name, split, torch.arange(len(next(iter(attributes.values())))))
    assert isinstance(values, Tensor)
    classes = list(roles[name].classes)
    if not classes:
        found, codes = values.unique(return_inverse=True)
        return [_called(name, str(int(one))) for one in found], codes
    return classes, values.long()


def _called(name: str, word: str) -> str:
    """A class; one that is a mere number stands beside its variable's name."""
    return f"{name} {word}" if word.lstrip("-").isdigit() else word


def _bins(dataset: Dataset, name: str, bins: str, attributes: Mapping[str, Tensor]) -> tuple[list[str], Tensor]:
    """Bins that hold equally many training samples."""
    if not bins.isdigit() or not 2 <= int(bins) <= MOST:
        raise ConfigError(f"--by {name}: it is a quantity; say how many bins, from 2 to {MOST}, as in --by {name}:5.")
    known = dataset.attributes("train")[name].double()
    shares = torch.linspace(0, 1, int(bins) + 1, dtype=torch.float64)[1:-1]
    edges = torch.quantile(known, shares).unique()
    codes = torch.bucketize(attributes[name].double(), edges, right=True)
    words = next(
        words
        for digits in (3, 5, 17)
        if len(set(words := [f"{float(edge):.{digits}g}" for edge in edges])) == len(edges)
    )
    names = [f"{name} below {words[0]}"] if words else [name]
    names += [f"{name} {low} to {high}" for low, high in pairwise(words)]
    return names + ([f"{name} from {words[-1]}"] if words else []), codes
