"""Charts as SVG that take the page's colours. Imports no torch."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from typing import Any

from counterbench.leaderboard.dose_figure import dose_figure
from counterbench.records.estimate import Estimate
from counterbench.records.record import Record
from counterbench.storage.figures import own_style

_COLOURS = {"model": "#c8452c", "identity": "#7a8794", "noise": "#b08d57"}
_INK = "#010203"  # replaced by the colour of the page's text


@own_style()
def cycles(record: Record) -> str:
    """L1 after 1, 2, ... null interventions; empty where there is no such curve."""
    numbers = [number for number in record.numbers if number.cycles and number.unit == "grey levels"]
    lines: dict[str, list[tuple[int, float]]] = {}
    for number in sorted(numbers, key=lambda number: number.cycles):
        lines.setdefault("model", []).append((number.cycles, number.value))
        for name in ("identity", "noise"):
            if name in number.references:
                lines.setdefault(name, []).append((number.cycles, number.references[name].value))
    if len(lines.get("model", ())) < 2:
        return ""
    from matplotlib.ticker import MaxNLocator

    figure, axis = _figure()
    for name, points in lines.items():
        axis.plot(*zip(*points, strict=True), marker="o", markersize=3, color=_COLOURS[name], label=name)
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    axis.set(xlabel="null interventions composed", ylabel=f"L1, {numbers[0].unit}", ylim=(0, None))
    axis.legend(frameon=False, labelcolor=_INK)
    return _svg(figure)


@own_style()
def skills(rows: Sequence[tuple[str, Estimate, bool]]) -> str:
    """The row skills of a board with their intervals, best first; empty for a single row.

    Args:
        rows: name, row skill, and whether it is a baseline.
    """
    if len(rows) < 2:
        return ""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 0.7 + 0.26 * len(rows)), layout="constrained")
    axis = figure.subplots()
    axis.spines[["top", "right", "left"]].set_visible(False)
    _ink(axis)
    for place, (_, skill, baseline) in enumerate(rows):
        colour = _COLOURS["identity" if baseline else "model"]
        if skill.low is not None and skill.high is not None:
            axis.plot([skill.low, skill.high], [place, place], color=colour, linewidth=2)
        axis.plot(skill.value, place, "D" if baseline else "o", color=colour, markersize=5)
    axis.axvline(0, color=_INK, linewidth=0.6)
    axis.set_yticks(range(len(rows)), [name if len(name) < 30 else f"{name[:27]}..." for name, _, _ in rows])
    axis.set(ylim=(len(rows) - 0.5, -0.5), xlabel="row skill: 0 doing nothing, 1 the truth")
    axis.tick_params(axis="y", length=0)
    return _svg(figure)


@own_style()
def doses(records: Mapping[str, Record]) -> str:
    """Effect and effect error against the size of an intervention, a curve for each record; empty where none has them."""
    figure = dose_figure(records)
    if figure is None:
        return ""
    for axis in figure.axes:
        _ink(axis)
        axis.title.set_color(_INK)
    for legend in figure.legends:
        for words in legend.get_texts():
            words.set_color(_INK)
    return _svg(figure)


@own_style()
def training(curves: Mapping[str, Mapping[str, Any]]) -> str:
    """Loss on training and held-out samples against epochs, stage after stage."""
    stages = {
        name: curve
        for name, curve in curves.items()
        if name.startswith("image") and curve.get("train") and curve.get("objective", "likelihood") == "likelihood"
    }
    if not stages:
        return ""
    from matplotlib.ticker import MaxNLocator

    figure, axis = _figure()
    done = 0
    for name, curve in stages.items():
        epochs = range(done + 1, done + 1 + len(curve["train"]))
        axis.plot(epochs, curve["validation"], color=_COLOURS["model"], label=f"{name}, held out")
        axis.plot(epochs, curve["train"], color=_COLOURS["identity"], label=f"{name}, training", linestyle=":")
        done += len(curve["train"])
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    axis.set(xlabel="epoch", ylabel="loss, nats per image")
    axis.legend(frameon=False, labelcolor=_INK, fontsize=7)
    return _svg(figure)


def _figure() -> tuple[Any, Any]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.2, 3), layout="constrained")
    axis = figure.subplots()
    axis.spines[["top", "right"]].set_visible(False)
    _ink(axis)
    return figure, axis


def _ink(axis: Any) -> None:
    """Let an axis take the page's colours."""
    axis.set_facecolor("none")
    axis.tick_params(colors=_INK)
    for part in axis.spines.values():
        part.set_color(_INK)
    axis.xaxis.label.set_color(_INK)
    axis.yaxis.label.set_color(_INK)


def _svg(figure: Any) -> str:
    """The figure as SVG: text stays text, the ink is the page's, and the same figure gives the same file."""
    import matplotlib

    text = io.StringIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "counterbench", "font.family": "sans-serif"}):
        figure.savefig(text, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    drawn = text.getvalue()
    drawn = drawn[drawn.index("<svg") :].replace(_INK, "currentColor")
    return re.sub(r"<metadata>.*?</metadata>", "", drawn, flags=re.DOTALL)
