"""Scores for questions that were not answered: each counts as the worst value that the metric can give."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from counterbench.metrics.base import Cell, Column
from counterbench.records.estimate import TARGETS


@runtime_checkable
class Incomplete(Protocol):
    """A model that may have left questions unanswered."""

    def failed(self, kinds: Sequence[str]) -> Tensor:
        """Rows of the test split in which an answer to one of these kinds of question is missing, (K,), long."""
        ...


def penalised(column: Column, failed: Tensor) -> Column:
    """The column with the worst possible value wherever an answer is missing.

    Where a quantity has no bound, it is the worst of all that were answered, and no less than its metric says. A quantity that is best
    in the middle (an effect of 1, an excess of 0) is moved to the side on which the answered ones lie. In statistics of a whole set,
    what stands for a missing answer is judged as it is.

    Args:
        column: values per sample.
        failed: rows of the test split.
    """
    missing = torch.isin(column.index, failed)
    cell = column.cell
    if not missing.any() or cell.statistic != "mean" or cell.kind in ("timing", "peak"):
        return column
    # Of a skill and a root, the score behind it has a bound of its own; of a mean, its ratio to the reference has.
    scale = torch.ones_like(column.reference) if cell.kind in ("skill", "root") else column.reference
    answered_rows = ~missing & (scale > 0)
    answered = column.value[answered_rows] / scale[answered_rows]
    value = column.value.clone()
    value[missing] = _worst(cell, answered) * scale[missing]
    return Column(column.metric, cell, column.index, value, reference=column.reference, no_rank=column.no_rank)


def _worst(cell: Cell, answered: Tensor) -> float:
    """The worst value of a sample, at least as bad as every answered one."""
    if cell.kind == "skill" or cell.direction == "lower":
        return float(max([cell.worst_of_sample, *answered.tolist()]))
    if cell.direction == "higher":
        return float(min([cell.worst_of_sample, *answered.tolist()]))
    best = TARGETS[cell.direction]
    away = answered - best
    far = max([cell.worst_of_sample, *away.abs().tolist()])
    return best + math.copysign(far, float(away.sum()) or -1.0)
