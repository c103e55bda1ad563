"""Curves of effect and effect error against the size of an intervention, one per model. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from counterbench.metrics.statistics.dose_bins import BINS, quantity_of
from counterbench.records.record import Number, Record
from counterbench.storage.figures import own_style

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_COLOURS = ("#2b6ca3", "#c8452c", "#4f8f4a", "#8a5fa8", "#7a8794")
_ENDS = {"effect": {"truth": 1.0, "doing nothing": 0.0}, "effect_error": {"doing nothing": 1.0, "truth": 0.0}}
_SIDES = {"in": ("o-", "in support"), "out": ("o:", "out of support")}


@own_style()
def dose_figure(records: Mapping[str, Record]) -> Figure | None:
    """A column per variable, effect above effect error; None if no record has such numbers.

    Filled points are in the support of the training split, hollow ones out of it; bars are 95 % intervals by independent unit, and bins
    with too few units for one are left out.

    Args:
        records: name of a curve -> where its numbers are.
    """
    from matplotlib.figure import Figure

    known = {name: _numbers(record) for name, record in records.items()}
    variables = list(dict.fromkeys(variable for numbers in known.values() for variable, _ in numbers))
    if not variables:
        return None
    figure = Figure(figsize=(0.8 + 3.1 * len(variables), 5.4), layout="constrained")
    axes = figure.subplots(2, len(variables), squeeze=False, sharex="col")
    for column, variable in enumerate(variables):
        for row, what in enumerate(_ENDS):
            axis = axes[row, column]
            for (name, numbers), colour in zip(known.items(), _COLOURS * len(known), strict=False):
                for side, (style, words) in _SIDES.items():
                    _draw(axis, _points(numbers, variable, what, side), f"{name}, {words}", colour, style)
            _frame(axis, what, first=column == 0)
        axes[0, column].set_title(f"do({variable})", fontsize=9)
        axes[1, column].set_xlabel("size |v - factual|, training standard deviations", fontsize=8)
    shown: dict[str, Any] = {}
    for axis in axes.flat:
        shown |= {label: handle for handle, label in zip(*axis.get_legend_handles_labels(), strict=True)}
    figure.legend(shown.values(), shown, loc="outside lower center", ncols=2, frameon=False, fontsize=7.5)
    return figure


def _numbers(record: Record) -> dict[tuple[str, str], Number]:
    """(variable, quantity) -> number."""
    drawn = {quantity_of(what, side, place) for what in ("size", *_ENDS) for side in _SIDES for place in range(BINS)}
    return {(one.intervened, one.quantity): one for one in record.numbers if one.quantity in drawn}


def _points(
    numbers: Mapping[tuple[str, str], Number], variable: str, what: str, side: str
) -> list[tuple[float, float, float, float]]:
    """(size, value, how far the interval reaches below, and above) of every bin that has an interval."""
    points = []
    for bin_number in range(BINS):
        size, value = (numbers.get((variable, quantity_of(one, side, bin_number))) for one in ("size", what))
        if size is not None and value is not None and value.low is not None and value.high is not None:
            points.append((size.value, value.value, value.value - value.low, value.high - value.value))
    return points


def _draw(axis: Any, points: list[tuple[float, float, float, float]], label: str, colour: str, style: str) -> None:
    if not points:
        return
    x, y, below, above = (list(column) for column in zip(*points, strict=True))
    filled = colour if style.endswith("-") else "white"
    axis.errorbar(
        x, y, [below, above], fmt=style, color=colour, mfc=filled, markersize=4, linewidth=1.3, capsize=2, label=label
    )


def _frame(axis: Any, what: str, first: bool) -> None:
    for name, height in _ENDS[what].items():
        axis.axhline(height, color="#999", linewidth=0.8, linestyle=":")
        if first:
            axis.annotate(
                name,
                (1, height),
                xycoords=("axes fraction", "data"),
                ha="right",
                va="bottom",
                fontsize=6.5,
                color="#777",
            )
    if first:
        axis.set_ylabel(what.replace("_", " "), fontsize=8)
    axis.tick_params(labelsize=7)
    axis.spines[["top", "right"]].set_visible(False)
