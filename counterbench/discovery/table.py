"""The samples that a graph is looked for in: attributes of a dataset, or columns of a CSV file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from counterbench.causal.graph import CausalGraph
from counterbench.causal.variables import Variable
from counterbench.datasets.dataset import Dataset
from counterbench.errors import ConfigError, DataError, suggestion

CONTINUOUS = frozenset({"continuous"})
NUMBERED = frozenset({"continuous", "ordinal", "binary"})
"""Kinds of variables whose values are numbers in an order."""
CLASSES = frozenset({"binary", "ordinal", "categorical"})
"""Kinds of variables whose values are classes."""
_LEVELS = 10
"""A column of a CSV file with no more different whole numbers is one of classes."""


@dataclass(frozen=True)
class Observations:
    """Samples as numbers.

    Args:
        kinds: name -> continuous, ordinal, binary or categorical, in the order of the columns.
        values: (N, d), float64; classes are numbered.
        truth: the graph that is known, over the same names; None where none is.
        title: where they come from.
    """

    kinds: Mapping[str, str]
    values: np.ndarray
    truth: CausalGraph | None = None
    title: str = ""

    @property
    def names(self) -> tuple[str, ...]:
        """Of the variables."""
        return tuple(self.kinds)

    def only(self, names: Sequence[str]) -> Observations:
        """Some of the variables. Of the known graph what is left of it: arrows among them, and those through others.

        Args:
            names: which; none for all.

        Raises:
            ConfigError: for a name that there is not, or fewer than two.
        """
        if not names:
            return self
        for name in names:
            if name not in self.kinds:
                raise ConfigError(
                    f"--only: {self.title} has no variable {name!r} to look at.{suggestion(name, self.names)}"
                )
        kept = [name for name in self.names if name in names]
        if len(kept) < 2:
            raise ConfigError(f"{self.title}: {', '.join(kept)} alone has no graph; name two variables at least.")
        columns = [self.names.index(name) for name in kept]
        truth = None if self.truth is None else marginal(self.truth, kept)
        return Observations({name: self.kinds[name] for name in kept}, self.values[:, columns], truth, self.title)

    def first(self, rows: int | None, generator: np.random.Generator) -> Observations:
        """So many random samples, or all where there are fewer."""
        if rows is None or rows >= len(self.values):
            return self
        kept = np.sort(generator.choice(len(self.values), rows, replace=False))
        return Observations(self.kinds, self.values[kept], self.truth, self.title)


def marginal(graph: CausalGraph, names: Sequence[str]) -> CausalGraph:
    """The graph over some variables, with an arrow wherever a directed path leads through left-out ones only.

    Args:
        graph: over all.
        names: those that stay.

    Examples:
        >>> marginal(CausalGraph({"a": [], "b": ["a"], "c": ["b"]}), ["a", "c"]).edges
        [('a', 'c')]
    """
    kept = set(names)

    def causes(name: str) -> set[str]:
        found: set[str] = set()
        for parent in graph.parents(name):
            found |= {parent} if parent in kept else causes(parent)
        return found

    return CausalGraph({name: [one for one in names if one in causes(name)] for name in names})


def of_dataset(dataset: Dataset, split: str = "train") -> Observations:
    """The attributes of a dataset that are one number each.

    Args:
        dataset: any.
        split: which samples.

    Raises:
        ConfigError: for a dataset with fewer than two of these.
    """
    values = dataset.attributes(split)
    kinds = {name: kind_of(dataset.variables[name]) for name in dataset.card.attributes if values[name].ndim == 1}
    if len(kinds) < 2:
        raise ConfigError(
            f"{dataset.card.name} has {len(kinds)} attribute that is a number; a graph needs two at least."
        )
    columns = np.stack([values[name].double().numpy() for name in kinds], 1)
    return Observations(kinds, columns, marginal(dataset.graph, list(kinds)), f"{dataset.card.name}/{dataset.source}")


def kind_of(variable: Variable) -> str:
    """Continuous, ordinal, binary or categorical."""
    return "continuous" if variable.kind == "periodic" else variable.kind


def read_csv(path: Path) -> Observations:
    """The columns of a CSV file with a header; words are classes, and so are few different whole numbers.

    Args:
        path: the file.

    Raises:
        DataError: for a file that is none, a missing value, or a column that never changes.
    """
    import pyarrow
    from pyarrow import csv

    try:
        content = csv.read_csv(path, convert_options=csv.ConvertOptions(strings_can_be_null=True))
        listed = list(content.column_names)
    except (OSError, UnicodeDecodeError, pyarrow.ArrowInvalid) as error:
        raise DataError(f"{path} is not a CSV file with a header: {str(error)[:200]}") from None
    if twice := [name for name in dict.fromkeys(listed) if listed.count(name) > 1]:
        raise DataError(f"{path} has several columns called {twice[0]!r}; give each a name of its own.")
    kinds, columns = {}, []
    for name in listed:
        column = content[name]
        if column.null_count:
            raise DataError(
                f"{path}: {column.null_count} values of {name!r} are missing; leave those rows out or fill them."
            )
        values = column.to_numpy()
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            raise DataError(f"{path}: {name!r} has values that are not finite; leave those rows out.")
        kinds[name], numbers = _column(values)
        if len(np.unique(numbers)) < 2:
            raise DataError(f"{path}: {name!r} is the same in every row, so nothing can depend on it; leave it out.")
        columns.append(numbers)
    if len(kinds) < 2:
        raise DataError(f"{path} has {len(kinds)} column; a graph needs two at least.")
    return Observations(kinds, np.stack(columns, 1), None, path.name)


def _column(values: np.ndarray) -> tuple[str, np.ndarray]:
    """(kind, numbers) of a column."""
    if values.dtype.kind == "M":
        return "continuous", values.astype("datetime64[s]").astype(float) / 86_400  # days
    numeric = values.dtype.kind in "iufb"
    levels, codes = np.unique(values, return_inverse=True)
    if len(levels) == 2:
        return "binary", codes.astype(float)
    if not numeric:
        return "categorical", codes.astype(float)
    whole = values.astype(float)
    if len(levels) <= _LEVELS and (whole == whole.round()).all():
        return "ordinal", codes.astype(float)
    return "continuous", whole
