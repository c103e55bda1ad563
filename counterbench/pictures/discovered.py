"""A graph that was found, with how often each arrow came back, and what a known graph says to it."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from counterbench.discovery.storing import rows
from counterbench.discovery.trying import Discovery
from counterbench.storage.figures import own_style, save_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_KNOWN = {
    "yes": ("#1b7f4d", "as known"),
    "reversed": ("#c4452d", "other way known"),
    "no": ("#8a6d00", "not known"),
    "": ("#5b6770", ""),
}
_PAIR = ("#386cb0", "known, without direction")
_MISSING = ("#9aa4ab", "known, not found")


@own_style()
def discovered_figure(discovery: Discovery) -> Figure:
    """The variables on a ring, causes first, clockwise from the top; arrows are as wide as they are frequent.

    Args:
        discovery: what was found.
    """
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    names = discovery.table.names
    order = discovery.found.order or tuple(range(len(names)))
    place = {
        names[node]: (math.sin(2 * math.pi * k / len(names)), math.cos(2 * math.pi * k / len(names)))
        for k, node in enumerate(order)
    }
    side = max(4.2, 2.6 + 0.42 * len(names))
    figure = Figure(figsize=(side, side + 0.7), layout="constrained")
    axis = figure.subplots()
    used: dict[str, Any] = {}
    for row in rows(discovery):
        colour, words = _KNOWN[row["known"]] if row["found"] != "no" else _MISSING
        if row["found"] == "no" and row["known"] != "yes":
            colour, words = "#d3d8dc", "in half of the resamples"
        if row["found"] == "undirected" and row["known"] in ("yes", "reversed"):
            colour, words = _PAIR
        used.setdefault(words, Line2D([], [], color=colour, ls="-" if row["found"] != "no" else ":"))
        _draw_arrow(axis, row, place, colour)
    for name, (x, y) in place.items():
        axis.text(
            x,
            y,
            name,
            ha="center",
            va="center",
            fontsize=8.5,
            zorder=4,
            bbox={"boxstyle": "round,pad=0.35", "fc": "#eef3f6", "ec": "#5b6770"},
        )
    axis.set(xlim=(-1.35, 1.35), ylim=(-1.3, 1.3), aspect="equal")
    axis.axis("off")
    many = f", arrows in % of {discovery.resamples} resamples" if discovery.resamples else ""
    axis.set_title(f"{discovery.table.title}: {discovery.method}{many}", fontsize=9)
    listed = {words: line for words, line in used.items() if words}
    if listed:
        figure.legend(
            listed.values(), listed.keys(), loc="outside lower center", ncols=len(listed), fontsize=7.5, frameon=False
        )
    return figure


def _draw_arrow(axis: Any, row: dict[str, Any], place: dict[str, tuple[float, float]], colour: str) -> None:
    start, end = place[row["cause"]], place[row["effect"]]
    often = 1.0 if row["frequency"] is None else row["frequency"]
    style = {
        "arrowstyle": "-" if row["found"] == "undirected" else "-|>",
        "color": colour,
        "lw": 0.8 + 2.2 * often,
        "ls": ":" if row["found"] == "no" else "-",
        "shrinkA": 20,
        "shrinkB": 20,
        "mutation_scale": 13,
    }
    axis.annotate("", xy=end, xytext=start, arrowprops=style, zorder=2)
    if row["frequency"] is not None:
        x, y = (0.58 * end[0] + 0.42 * start[0], 0.58 * end[1] + 0.42 * start[1])
        axis.text(
            x,
            y,
            f"{100 * often:.0f}",
            fontsize=7,
            color=colour,
            ha="center",
            va="center",
            zorder=3,
            bbox={"boxstyle": "round,pad=0.1", "fc": "white", "ec": "none", "alpha": 0.8},
        )


def draw_discovery(discovery: Discovery, path: Path) -> None:
    """:func:`discovered_figure` in a file.

    Args:
        discovery: what was found.
        path: a .png or .svg file.
    """
    save_figure(discovered_figure(discovery), path, dpi=130)
