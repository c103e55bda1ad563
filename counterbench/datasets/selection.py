"""Which rows of a split are meant: by values of variables and roles, and how many."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from counterbench.catalog.cards import RoleEntry
from counterbench.catalog.recipes import Recipe, RowsEntry
from counterbench.causal.variables import Binary, Categorical, Continuous, Ordinal, Variable
from counterbench.datasets.dataset import Dataset
from counterbench.errors import ConfigError, short, suggestion

_NUMBERED = ("identity", "domain", "label")
"""Roles with one whole number for each sample."""
Words = Sequence[str | int | float]


def parsed(conditions: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """What a user wrote as `name=value,value`, several times.

    Raises:
        ConfigError: for anything else.

    Examples:
        >>> parsed(["digit=5,6", "domain=noisy"])
        {'digit': ('5', '6'), 'domain': ('noisy',)}
    """
    where: dict[str, tuple[str, ...]] = {}
    for condition in conditions:
        name, sign, values = condition.partition("=")
        if not (name and sign and values):
            raise ConfigError(f"--where {short(condition)}: write name=value, such as digit=5,6 or age=60:70.")
        if name in where:
            raise ConfigError(f"--where {name} is given twice; write its values in one, with commas between them.")
        where[name] = tuple(values.split(","))
    return where


def rows_of(recipe: Recipe, dataset: Dataset, *, limit: int | None = None) -> dict[str, Tensor]:
    """Which rows of the training and the validation split a recipe is trained on: split -> (N,), ascending.

    Args:
        recipe: says which.
        dataset: what they are of.
        limit: the first so many of them; None for what the recipe says.

    Raises:
        ConfigError: if there is no such row, or a name that nothing has.
    """
    rows = recipe.rows or RowsEntry()
    rows = rows if limit is None else rows.model_copy(update={"limit": limit})
    return {split: selected(dataset, split, rows) for split in ("train", "validation")}


def selected(dataset: Dataset, split: str, rows: RowsEntry) -> Tensor:
    """The rows of a split that have one of the wanted values of every name, ascending; the first of them, if there is a limit.

    Args:
        dataset: of which card and source.
        split: name of the split.
        rows: what is wanted.

    Returns:
        (N,), long.

    Raises:
        ConfigError: for a name that is neither a variable nor a role with numbers, a value that it cannot have, or if no row is left.

    Examples:
        >>> from counterbench import datasets
        >>> ellipse = datasets.load("ellipse")
        >>> len(selected(ellipse, "train", RowsEntry(limit=48)))
        48
    """
    attributes = dataset.attributes(split)
    count = len(next(iter(attributes.values())))
    chosen = torch.ones(count, dtype=torch.bool)
    for name, words in rows.where.items():
        chosen &= _has_one_of(dataset, split, name, words, attributes)
    found = chosen.nonzero()[:, 0][: rows.limit]
    if not len(found):
        wanted = ", ".join(f"{name}={','.join(map(str, words))}" for name, words in rows.where.items())
        raise ConfigError(f"No sample of {dataset.card.name}/{dataset.source}, split {split!r}, has {wanted}.")
    return found


def ranges(rows: Tensor) -> str:
    """Ascending rows in words.

    Examples:
        >>> ranges(torch.tensor([0, 1, 2, 7, 9, 10]))
        '0-2 7 9-10'
    """
    numbers = rows.tolist()
    starts = [i for i, row in enumerate(numbers) if i == 0 or row != numbers[i - 1] + 1]
    ends = [*starts[1:], len(numbers)]
    runs = [(numbers[start], numbers[end - 1]) for start, end in zip(starts, ends, strict=True)]
    return " ".join(str(first) if first == last else f"{first}-{last}" for first, last in runs)


def listed(words: str) -> Tensor:
    """Rows that :func:`ranges` has put in words.

    Raises:
        ConfigError: for other words.

    Examples:
        >>> listed("0-2 7").tolist()
        [0, 1, 2, 7]
    """
    rows: list[int] = []
    for word in words.split():
        first, _, last = word.partition("-")
        if not (first.isdigit() and (last or first).isdigit()):
            raise ConfigError(f"{short(word)} is no row; write rows as 0-2 7 9-10.")
        rows += range(int(first), int(last or first) + 1)
    if not rows:
        raise ConfigError("There are no rows; write them as 0-2 7 9-10.")
    return torch.tensor(rows)


def _has_one_of(dataset: Dataset, split: str, name: str, words: Words, attributes: Mapping[str, Tensor]) -> Tensor:
    card = dataset.card
    if name in attributes:
        return _matches(dataset.variables[name], words, attributes[name])
    roles = numbered_roles(dataset)
    if name not in roles:
        known = [*attributes, *roles]
        raise ConfigError(
            f"Rows of {card.name}/{dataset.source} cannot be chosen by {name!r}.{suggestion(name, known)}"
        )
    values = dataset.role(name, split, torch.arange(len(next(iter(attributes.values())))))
    assert isinstance(values, Tensor)
    numbers = [_class_of(name, word, roles[name].classes) for word in words]
    return torch.isin(values, torch.tensor(numbers))


def numbered_roles(dataset: Dataset) -> dict[str, RoleEntry]:
    """Roles that give every sample of this source one whole number."""
    carried = dataset.card.carried(dataset.source)
    return {role: carried[role] for role in _NUMBERED if role in carried}


def domains(dataset: Dataset, split: str) -> Tensor:
    """(N,), long: the number of the domain of every sample of a split; 0 where the source tells none."""
    rows = torch.arange(len(dataset.attributes(split)[dataset.card.attributes[0]]))
    if "domain" not in dataset.card.carried(dataset.source):
        return torch.zeros_like(rows)
    told = dataset.role("domain", split, rows)
    assert isinstance(told, Tensor)
    return told


def _matches(variable: Variable, words: Words, values: Tensor) -> Tensor:
    if isinstance(variable, Continuous):
        inside = torch.zeros(len(values), dtype=torch.bool)
        for word in words:
            low, high = _span(variable.name, word)
            inside |= (values >= low) & (values <= high)
        return inside
    if isinstance(variable, (Categorical, Ordinal)):
        return torch.isin(values, torch.tensor([_class_of(variable.name, word, variable.classes) for word in words]))
    if isinstance(variable, Binary):
        return torch.isin(values, torch.tensor([_class_of(variable.name, word, ("0", "1")) for word in words]))
    raise ConfigError(f"Rows cannot be chosen by {variable.name!r}, which is {variable.kind}.")


def _span(name: str, word: str | float) -> tuple[float, float]:
    low, sign, high = str(word).partition(":")
    try:
        return float(low), float(high if sign else low)
    except ValueError:
        raise ConfigError(f"{name}={word}: give a number, or a range such as 60:70.") from None


def _class_of(name: str, word: str | float, classes: Sequence[str]) -> int:
    """The number of a class by its name; where classes have no names, the number itself."""
    if str(word) in classes:
        return list(classes).index(str(word))
    if not classes and str(word).isdigit():
        return int(word)
    known = suggestion(str(word), classes) if classes else " Give a whole number."
    raise ConfigError(f"{name}={word}: there is no such value.{known}")
