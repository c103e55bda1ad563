"""The questions, as data: every model answers the same ones."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from counterbench.catalog.suites import Suite
from counterbench.datasets.base import Dataset
from counterbench.errors import DataError, suggestion
from counterbench.files import atomic
from counterbench.variables import Continuous, Variable

TENTHS = 10
"""A continuous intervention moves a value to another tenth of the training range."""


@dataclass(frozen=True)
class Plan:
    """All questions of one exam.

    Args:
        index: (N,), rows of the test split that are asked about, each once.
        cycles: how often the null intervention is composed.
        single: intervened variable -> (N,) natural values, one per row of `index`.
    """

    index: Tensor
    cycles: int
    single: dict[str, Tensor]

    @cached_property
    def hash(self) -> str:
        """SHA-256 of all questions."""
        digest = hashlib.sha256()
        for kind, row, variable, value in self.rows():
            digest.update(f"{kind},{row},{variable},{value!r}\n".encode())
        return digest.hexdigest()

    def rows(self) -> Iterator[tuple[str, int, str, float]]:
        """(kind, test index, intervened variable, value); a null question's value is its number of cycles."""
        for row in self.index.tolist():
            if self.cycles:
                yield "null", row, "", float(self.cycles)
        for variable, values in self.single.items():
            for row, value in zip(self.index.tolist(), values.tolist(), strict=True):
                yield "single", row, variable, float(value)

    def save(self, path: Path) -> None:
        """Write all questions, one row each, as parquet: kind, row, variable, value."""
        import pyarrow
        import pyarrow.parquet

        columns = [list(column) for column in zip(*self.rows(), strict=True)]
        table = pyarrow.table(dict(zip(("kind", "row", "variable", "value"), columns, strict=True)))
        with atomic(path) as temporary:
            pyarrow.parquet.write_table(table, temporary)

    def __len__(self) -> int:
        """Number of questions."""
        return len(self.index) * (bool(self.cycles) + len(self.single))


def load(path: Path, dataset: Dataset) -> Plan:
    """Read questions that :meth:`Plan.save` has written.

    Raises:
        DataError: if the file is not a plan, or not one for this dataset.
    """
    import pyarrow
    import pyarrow.parquet

    try:
        rows = pyarrow.parquet.read_table(path, columns=["kind", "row", "variable", "value"]).to_pylist()
    except (OSError, pyarrow.ArrowException) as error:
        raise DataError(
            f"{path} is not a plan: expected parquet with the columns kind, row, variable, value ({error})."
        ) from error
    null = [row for row in rows if row["kind"] == "null"]
    single: dict[str, list[tuple[int, float]]] = {}
    for row in rows:
        if row["kind"] == "single":
            single.setdefault(row["variable"], []).append((row["row"], row["value"]))
    index = [row["row"] for row in null] or [number for number, _ in next(iter(single.values()), [])]
    test = dataset.attributes("test")
    total = len(next(iter(test.values())))
    if not index or min(index) < 0 or max(index) >= total:
        raise DataError(
            f"{path} asks about rows that the test split of {dataset.card.name}/{dataset.source} does not have ({total} rows)."
        )
    for name, asked in single.items():
        if name not in dataset.card.intervenable:
            raise DataError(
                f"{path} sets {name!r}, which {dataset.card.name} cannot.{suggestion(name, dataset.card.intervenable)}"
            )
        if [number for number, _ in asked] != index:
            raise DataError(f"{path} is incomplete: it does not ask about {name!r} in every image; export it again.")
    values = {
        name: torch.tensor([value for _, value in asked], dtype=test[name].dtype) for name, asked in single.items()
    }
    return Plan(torch.tensor(index), int(null[0]["value"]) if null else 0, values)


def draw(dataset: Dataset, suite: Suite, seed: int, limit: int | None = None) -> Plan:
    """The plan of an exam: a function of the dataset's attributes, the suite and the seed alone.

    Args:
        dataset: its attributes decide which values are legal.
        suite: what is asked.
        seed: of the draw.
        limit: keep the questions about the first samples only (the same ones that the whole plan asks about them).
    """
    test, train = dataset.attributes("test"), dataset.attributes("train")
    total = len(next(iter(test.values())))
    wanted = min(limit or total, suite.limit or total, total)
    if wanted < 1:
        raise DataError(f"--limit {limit} leaves no question; give a number from 1 to {total}.")
    single = {}
    if suite.single:
        for name in dataset.card.intervenable:
            rng = np.random.default_rng([seed, *f"{suite.name}/{name}".encode()])
            single[name] = other_value(dataset.variables[name], test[name], train[name], rng)[:wanted]
    return Plan(torch.arange(wanted), suite.cycles, single)


def other_value(variable: Variable, factual: Tensor, train: Tensor, rng: np.random.Generator) -> Tensor:
    """One value per sample that really changes it.

    Continuous: a training value in another tenth of the training range than the factual value. Discrete: uniform over the
    other classes.

    Args:
        variable: its kind decides.
        factual: (N,), natural values.
        train: (M,), natural values of the training split.
        rng: chance.

    Returns:
        (N,), natural values, of the dtype of `factual`.

    Raises:
        DataError: if the training values all lie in the factual value's tenth.
    """
    if isinstance(variable, Continuous):
        return _value_in_another_tenth(variable, factual, train, rng)
    classes = getattr(variable, "cardinality", 2)
    shift = torch.from_numpy(rng.integers(1, classes, len(factual)))
    return (factual + shift) % classes


def _value_in_another_tenth(variable: Variable, factual: Tensor, train: Tensor, rng: np.random.Generator) -> Tensor:
    ordered = np.sort(train.numpy())
    edges = np.linspace(ordered[0], ordered[-1], TENTHS + 1)[1:-1]
    # Sorted values of one tenth are neighbours: drawing from the others is drawing a position and skipping them.
    start = np.concatenate([[0], np.searchsorted(ordered, edges, side="left"), [len(ordered)]])
    cell = np.searchsorted(edges, factual.numpy(), side="right")
    own = start[cell + 1] - start[cell]
    if (own == len(ordered)).any():
        raise DataError(
            f"{variable.name}: all training values lie in one tenth of their range; there is no other value to set."
        )
    position = np.floor(rng.random(len(cell)) * (len(ordered) - own)).astype(np.int64)
    position += np.where(position >= start[cell], own, 0)
    return torch.from_numpy(ordered[position]).to(factual.dtype)
