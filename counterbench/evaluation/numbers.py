"""From values per sample to numbers: points, intervals, floors and ceilings, all in one bootstrap."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet

import numpy as np
from torch import Tensor

from counterbench.metrics.base import Cell, Column
from counterbench.records.estimate import Estimate, regret
from counterbench.records.intervals import LEVEL, Ratios, cluster_totals, intervals_at
from counterbench.records.record import Number


def numbers(
    columns: Mapping[str, Sequence[Column]],
    index: Tensor,
    group: Tensor,
    *,
    resamples: int,
    seed: int,
    leaked: AbstractSet[tuple[str, object]] = frozenset(),
) -> tuple[list[Number], dict[str, str]]:
    """All numbers of a record.

    Args:
        columns: values of the row `model` and of its references (identity, truth, real, ...).
        index: (N,), the rows of the test split that were asked about.
        group: (N,), the cluster of each of them.
        resamples: behind each interval.
        seed: of the resampling.
        leaked: (metric, cell) of numbers from judges that the model was trained against.

    Returns:
        (numbers, what could not be computed -> why).
    """
    hindered = {(column.metric, column.cell): column.no_rank for column in columns["model"]}
    keys = list(hindered)
    of_model = set(keys)
    flat = [
        (row, (column.metric, column.cell), column)
        for row, listed in columns.items()
        for column in listed
        if row == "model" or (column.metric, column.cell) in of_model
    ]
    flat_estimates = _estimates([column for _, _, column in flat], index, group, resamples, seed)
    estimates = {(row, key): estimate for (row, key, _), estimate in zip(flat, flat_estimates, strict=True)}
    references = [row for row in columns if row != "model"]
    results, skipped = [], {}
    for key in keys:
        metric, cell = key
        own = estimates["model", key]
        if own is None:
            what = " ".join(filter(None, (metric, f"do({cell.intervened_in_words})", cell.measured, cell.quantity)))
            skipped[what] = "undefined: the reference is 0, or a class never occurs"
            continue
        known = {row: end for row in references if (end := estimates.get((row, key))) is not None}
        fields = {name: value for name, value in vars(cell).items() if name not in ("worst", "only_if_truth_wins")}
        fields["intervened"] = cell.intervened_in_words
        marks = {"leaked": key in leaked, "no_rank": hindered[key] or _no_rank(cell, known)}
        results.append(Number(**own.model_dump(), metric=metric, **fields, references=known, **marks))
    return results, skipped


def _no_rank(cell: Cell, references: Mapping[str, Estimate]) -> str:
    """Why a number cannot be ranked, as far as baselines tell."""
    truth, identity = references.get("truth"), references.get("identity")
    if not cell.only_if_truth_wins or truth is None or identity is None:
        return ""
    better = regret(truth.value, cell.direction) < regret(identity.value, cell.direction)
    return "" if better else "the true counterfactual scores no better than doing nothing"


def _estimates(
    columns: Sequence[Column], index: Tensor, group: Tensor, resamples: int, seed: int
) -> list[Estimate | None]:
    """Value, interval and N of each column; None where the value is undefined."""
    return estimates_at((LEVEL,), columns, index, group, resamples=resamples, seed=seed)[0]


def estimates_at(
    levels: Sequence[float], columns: Sequence[Column], index: Tensor, group: Tensor, *, resamples: int, seed: int
) -> list[list[Estimate | None]]:
    """Value, interval and N of each column, at each of some levels, from one bootstrap; None where the value is undefined.

    Args:
        levels: of the intervals.
        columns: values per sample.
        index: (N,), rows of the test split that were asked about.
        group: (N,), the cluster of each of them.
        resamples: behind each interval.
        seed: of the resampling.
    """
    if not columns:
        return [[] for _ in levels]
    cluster_of, count = clusters(index, group)
    ratios = ratios_of(columns, cluster_of, count)
    declared = [column.cell for column in columns]
    return [
        [_estimate(column, lower, upper) for column, lower, upper in zip(columns, low, high, strict=True)]
        for low, high in intervals_at(levels, ratios, declared, resamples=resamples, seed=seed)
    ]


def clusters(index: Tensor, group: Tensor) -> tuple[np.ndarray, int]:
    """(row of the test split -> number of its cluster, how many clusters)."""
    _, codes = np.unique(group.numpy(), return_inverse=True)
    cluster_of = np.zeros(int(index.max()) + 1, dtype=np.int64)
    cluster_of[index.numpy()] = codes
    return cluster_of, int(codes.max()) + 1


def ratios_of(columns: Sequence[Column], cluster_of: np.ndarray, count: int) -> Ratios:
    """The columns as statistics over clusters."""

    def totals(values: Tensor, column: Column) -> np.ndarray:
        return cluster_totals(values.numpy(), cluster_of[column.index.numpy()], count)

    return Ratios(
        np.stack([totals(column.value, column) for column in columns], 1),
        np.stack([totals(column.reference, column) for column in columns], 1),
    )


def _estimate(column: Column, low: float, high: float) -> Estimate | None:
    value = column.point()
    if not np.isfinite(value):
        return None
    return Estimate(value=value, **ends(low, high), n=len(column.value))


def ends(low: float, high: float) -> dict[str, float | None]:
    """The ends of an interval for an :class:`Estimate`; none where they are no numbers."""
    return {name: float(end) if np.isfinite(end) else None for name, end in (("low", low), ("high", high))}
