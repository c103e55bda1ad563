"""Drawing a plan: a function of attributes, suite and seed alone."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import torch
from torch import Tensor

from counterbench.catalog.recipes import RowsEntry
from counterbench.catalog.suites import Suite
from counterbench.causal.graph import CausalGraph
from counterbench.causal.variables import Continuous, Variable
from counterbench.datasets.dataset import Dataset
from counterbench.datasets.selection import selected
from counterbench.errors import DataError
from counterbench.plans.plan import Plan

TENTHS = 10
"""A continuous intervention moves a value to another tenth of the training range."""


PUBLISHED_CELLS = 9
"""Cells of the range in the protocol of Melistas et al. (2024)."""


def draw(dataset: Dataset, suite: Suite, seed: int, *, limit: int | None = None) -> Plan:
    """The plan of an exam: a function of the dataset's attributes, the suite and the seed alone.

    Args:
        dataset: its attributes decide which values are legal.
        suite: what is asked.
        seed: of the draw.
        limit: keep the questions about the first samples only (the same ones that the whole plan asks about them).
    """
    test, train = dataset.attributes("test"), dataset.attributes("train")
    rows = selected(dataset, "test", RowsEntry(where=suite.where))
    total = len(rows)
    size = min(total if limit is None else limit, suite.limit or total, total)
    if size < 1:
        raise DataError(f"--limit {limit} leaves no question; give a number from 1 to {total}.")
    single = {}
    if suite.single:
        for name in dataset.card.intervenable:
            rng = np.random.default_rng([seed, *f"{suite.name}/{name}".encode()])
            population = test[name] if suite.law == "published" else train[name]
            single[name] = other_value(dataset.variables[name], test[name], population, rng, law=suite.law)[rows[:size]]
    undo = {name: test[name][rows[:size]] for name in single} if suite.undo else {}
    pairs = unrelated(dataset.graph, tuple(single)) if suite.pairs else ()
    # At once what is asked one by one: no chance of its own.
    joint = tuple(both for both in dataset.card.joint if single.keys() >= set(both)) if suite.joint else ()
    asked = captions(dataset, rows[:size]) if suite.samples else {}
    return Plan(rows[:size], suite.cycles, single, undo, pairs, joint, asked)


def captions(dataset: Dataset, rows: Tensor) -> dict[str, Tensor]:
    """What is said of an individual that is to be drawn: the attributes of a row of the test split, (N,) each; nothing without images."""
    if not dataset.card.image:
        return {}
    return {name: value[rows] for name, value in dataset.attributes("test").items()}


def unrelated(graph: CausalGraph, names: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    """Pairs of variables of which neither is an ancestor of the other: interventions on them must commute."""
    return tuple(
        (a, b) for a, b in combinations(names, 2) if b not in graph.descendants(a) and a not in graph.descendants(b)
    )


def other_value(
    variable: Variable, factual: Tensor, population: Tensor, rng: np.random.Generator, *, law: str = "training"
) -> Tensor:
    """One value per sample that really changes it.

    Continuous: a value of the population in another cell of its range than the factual value. The cells are tenths and the
    values as frequent as they are; under the law `published` they are ninths, and every distinct value counts once.
    Discrete: uniform over the other classes.

    Args:
        variable: its kind decides.
        factual: (N,), natural values.
        population: (M,), natural values to draw from.
        rng: chance.
        law: `training` or `published`.

    Returns:
        (N,), natural values, of the dtype of `factual`.

    Raises:
        DataError: if the population lies all in the factual value's cell.
    """
    if isinstance(variable, Continuous):
        values = np.sort(population.numpy()) if law == "training" else np.unique(population.numpy())
        cells = TENTHS if law == "training" else PUBLISHED_CELLS
        return _value_in_another_cell(variable, factual, values, cells, rng)
    classes = getattr(variable, "cardinality", 2)
    shift = torch.from_numpy(rng.integers(1, classes, len(factual)))
    return (factual + shift) % classes


def cell_edges(ordered: np.ndarray, cells: int = TENTHS) -> np.ndarray:
    """Inner edges of equally wide cells between the first and the last of sorted values."""
    return np.linspace(ordered[0], ordered[-1], cells + 1)[1:-1]


def _value_in_another_cell(
    variable: Variable, factual: Tensor, ordered: np.ndarray, cells: int, rng: np.random.Generator
) -> Tensor:
    edges = cell_edges(ordered, cells)
    # Sorted values of one cell are neighbours: drawing from the others is drawing a position and skipping them.
    start = np.concatenate([[0], np.searchsorted(ordered, edges, side="left"), [len(ordered)]])
    cell = np.searchsorted(edges, factual.numpy(), side="right")
    own = start[cell + 1] - start[cell]
    if (own == len(ordered)).any():
        raise DataError(
            f"{variable.name}: all values lie in one of {cells} parts of their range; there is no other value to set."
        )
    position = np.floor(rng.random(len(cell)) * (len(ordered) - own)).astype(np.int64)
    position += np.where(position >= start[cell], own, 0)
    return torch.from_numpy(ordered[position]).to(factual.dtype)
