"""From scores per sample to numbers: values, intervals, floors and ceilings, all in one bootstrap."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from counterbench.metrics.base import Cell, Column
from counterbench.records import Estimate, Number
from counterbench.statistics import Ratios, bca, cluster_totals

REAL = "real"


def numbers(
    columns: Mapping[str, Sequence[Column]],
    real: Mapping[str, Tensor],
    index: Tensor,
    group: Tensor,
    resamples: int,
    seed: int,
) -> tuple[list[Number], dict[str, str]]:
    """All numbers of a record.

    Args:
        columns: scores of the rows `model`, `identity` and `truth`.
        real: measured variable -> (N,) errors of the judges on real test images with their own labels.
        index: (N,), the rows of the test split that were asked about.
        group: (N,), the cluster of each of them.
        resamples: behind each interval.
        seed: of the resampling.

    Returns:
        (numbers, what could not be computed -> why).
    """
    rows = {name: {(column.metric, column.cell): column for column in listed} for name, listed in columns.items()}
    rows[REAL] = {
        key: ceiling
        for key, column in rows["model"].items()
        if (ceiling := _real_column(column, real, index)) is not None
    }
    flat = [(row, key, column) for row, listed in rows.items() for key, column in listed.items()]
    found = _estimates([column for _, _, column in flat], index, group, resamples, seed)
    estimates = {(row, key): estimate for (row, key, _), estimate in zip(flat, found, strict=True)}
    made, skipped = [], {}
    for key in rows["model"]:
        metric, cell = key
        own = estimates["model", key]
        if own is None:
            skipped[f"{metric} do({cell.intervened}) {cell.measured} {cell.quantity}"] = "undefined: the reference is 0"
            continue
        references = {row: estimates.get((row, key)) for row in ("identity", "truth", REAL)}
        fields = {name: value for name, value in vars(cell).items() if name != "kind"}
        known = {row: reference for row, reference in references.items() if reference is not None}
        made.append(Number(**own.model_dump(), metric=metric, **fields, references=known))
    return made, skipped


def _real_column(column: Column, real: Mapping[str, Tensor], index: Tensor) -> Column | None:
    """The same number for real images: what the judges themselves get wrong."""
    cell = column.cell
    if column.metric != "effectiveness" or cell.measured not in real:
        return None
    at = torch.searchsorted(index, column.index)
    error = real[cell.measured][at]
    score = 1 - error if cell.quantity == "accuracy" else error
    return Column(column.metric, replace(cell), column.index, score, column.reference)


def _estimates(
    columns: Sequence[Column], index: Tensor, group: Tensor, resamples: int, seed: int
) -> list[Estimate | None]:
    """Value, interval and N of each column; None where the value is undefined."""
    if not columns:
        return []
    _, codes = np.unique(group.numpy(), return_inverse=True)
    count = int(codes.max()) + 1
    cluster_of = np.zeros(int(index.max()) + 1, dtype=np.int64)
    cluster_of[index.numpy()] = codes

    def totals(values: Tensor, column: Column) -> np.ndarray:
        return cluster_totals(values.numpy(), cluster_of[column.index.numpy()], count)

    ratios = Ratios(
        np.stack([totals(column.value, column) for column in columns], 1),
        np.stack([totals(column.reference, column) for column in columns], 1),
    )
    low, high = bca(ratios, resamples, seed)
    return [
        _estimate(column.cell, value, lower, upper, len(column.value))
        for column, value, lower, upper in zip(columns, ratios.point(), low, high, strict=True)
    ]


def _estimate(cell: Cell, value: float, low: float, high: float, n: int) -> Estimate | None:
    if not np.isfinite(value):
        return None
    if cell.kind == "skill":
        value, low, high = 1 - value, 1 - high, 1 - low
    ends = [float(end) if np.isfinite(end) else None for end in (low, high)]
    return Estimate(value=float(value), low=ends[0], high=ends[1], n=n)
