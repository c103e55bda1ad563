"""Scores for questions that were not answered: each counts as the worst value that the metric can give."""

from __future__ import annotations

import math
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from counterbench.causal.variables import Continuous, Image
from counterbench.metrics.base import Cell, Column, Metric, Setting

JUDGED = ("realism", "abduction")
"""Metrics that compare whole sets: there, what stands for a missing answer is judged as it is."""
_OF_SETS = ("auroc", "f1", "balanced_accuracy")
_GREY = 255.0


@runtime_checkable
class Incomplete(Protocol):
    """A model that may have left questions unanswered."""

    def failed(self, metric: str, cell: Cell) -> Tensor:
        """Rows of the test split in which an answer behind this number is missing, (K,), long."""
        ...


def penalised(column: Column, failed: Tensor, metric: Metric) -> Column:
    """The column with the worst possible value wherever an answer is missing.

    Where a quantity has no bound, it is the worst of all that were answered, and no less than a stranger's. A quantity that is best
    in the middle (an effect of 1, an excess of 0) is moved to the side on which the answered ones lie.

    Args:
        column: values per sample.
        failed: rows of the test split.
        metric: that gave the column.
    """
    missing = torch.isin(column.index, failed)
    cell = column.cell
    if not missing.any() or column.metric in JUDGED or cell.quantity in _OF_SETS or cell.kind in ("timing", "peak"):
        return column
    scale = torch.ones_like(column.reference) if cell.kind == "skill" else column.reference
    there = ~missing & (scale > 0)
    answered = column.value[there] / scale[there]
    value = column.value.clone()
    value[missing] = _worst(cell, answered, metric.setting) * scale[missing]
    return Column(column.metric, cell, column.index, value, column.reference)


def _worst(cell: Cell, answered: Tensor, setting: Setting) -> float:
    """The worst value of a sample, at least as bad as every answered one."""
    if cell.direction == "higher" and cell.kind != "skill":
        return min([0.0, *answered.tolist()])
    if cell.direction in ("one", "zero", "half"):
        best = {"one": 1.0, "zero": 0.0, "half": 0.5}[cell.direction]
        away = answered - best
        opposite = _GREY if cell.unit == "grey levels" else 2.0  # an effect of -1: the opposite of what was asked
        far = max([opposite, *away.abs().tolist()])
        return best + math.copysign(far, float(away.sum()) or -1.0)
    return max([_bound(cell, setting), *answered.tolist()])


def _bound(cell: Cell, setting: Setting) -> float:
    """What an error can reach; 1 where nothing is known: images of strangers are one apart, and so are wrong classes."""
    if cell.unit == "grey levels":
        return _GREY
    if cell.unit == "grey levels (L2)":
        image = setting.variables[setting.image]
        assert isinstance(image, Image)
        return _GREY * math.sqrt(math.prod(image.shape))
    if cell.quantity.startswith("cld_"):
        first, second = (float(weight) for weight in cell.quantity.split("_")[1:])
        return 1 + math.log(first + second)  # both shares are 1
    if cell.quantity == "mean_change":
        return max((_change(name, setting) for name in setting.unaffected(cell.intervened)), default=1.0)
    if cell.quantity == "change":
        return _change(cell.measured, setting)
    return _width(cell.measured, setting)


def _width(name: str, setting: Setting) -> float:
    variable = setting.variables.get(name)
    return variable.high - variable.low if isinstance(variable, Continuous) else 1.0


def _change(name: str, setting: Setting) -> float:
    return _width(name, setting) / (setting.spread.get(name) or 1.0)
