"""A comparison of records as a table and as a picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Group
from rich.table import Table
from rich.text import Text

from counterbench.leaderboard.comparison import Comparison
from counterbench.leaderboard.paired import LEVEL, Difference
from counterbench.records.estimate import regret
from counterbench.records.record import FLOORS, Number
from counterbench.records.table import ARROWS, ASCII_ARROWS, fit, label, section, show
from counterbench.runtime.terminal import printable
from counterbench.storage.figures import own_style, save_figure

WIDTH = 10_000
"""Characters that a comparison may take where it is not shown on a terminal: it has a column for every model."""
_INTERVAL = "95 % interval"
_LEAST_LABEL, _LEAST_VALUE = 16, 9


def build(comparison: Comparison, room: int = WIDTH, *, symbols: bool = True) -> Group:
    """Values with tied ranks for every model; for two models also the difference with its interval and tests.

    Args:
        comparison: what to show.
        room: characters there are; where they are few, columns at the right are left out.
        symbols: whether arrows can be shown; else they are spelt in ASCII.
    """
    arrows = ARROWS if symbols else ASCII_ARROWS
    labels = [_named(comparison, numbers, arrows) for numbers in comparison.numbers.values()]
    sections = [section(numbers[0]) for numbers in comparison.numbers.values()]
    columns = _columns(comparison)
    label_width, widths = _widths(max(map(len, [*labels, *sections]), default=30), columns, len(comparison.names), room)
    table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False, header_style="bold")
    # Headings of sections stand in the first column as well.
    table.add_column("", width=label_width, overflow="fold")
    for name, width in widths.items():
        table.add_column(name, width=width, justify="left" if name == _INTERVAL else "right", overflow="fold")
    above = ""
    for position, (heading, words) in enumerate(zip(sections, labels, strict=True)):
        if heading != above:
            table.add_row(Text(heading, style="cyan"))
            above = heading
        table.add_row(words, *(columns[name][position] for name in widths))
    hidden = [name for name in columns if name not in widths]
    notes = [*_notes(comparison), *([f"no room for: {', '.join(hidden)}; --json has all"] if hidden else [])]
    return Group(table, Text(), Text("\n".join(notes), style="dim"))


def _widths(
    label_width: int, columns: Mapping[str, Sequence[Text]], models: int, room: int
) -> tuple[int, dict[str, int]]:
    """Characters of the labels, and of every column that fits."""
    widths = {name: max([len(name), *(cell.cell_len for cell in cells)]) for name, cells in columns.items()}
    if label_width + sum(width + 1 for width in widths.values()) <= room:
        return label_width, widths
    # The heading of a model may break into lines, a value may not.
    for name in list(columns)[:models]:
        widths[name] = max([_LEAST_VALUE, *(cell.cell_len for cell in columns[name])])
    widths = {name: widths[name] for name in fit(widths, room - _LEAST_LABEL)}
    return max(1, min(label_width, room - sum(width + 1 for width in widths.values()))), widths


def _columns(comparison: Comparison) -> dict[str, list[Text]]:
    """Heading -> cells, one per number: the models first."""
    columns: dict[str, list[Text]] = {}
    for position, name in enumerate(comparison.names):
        columns[f"{printable(name)} (rank)"] = [
            _ranked(numbers[position], comparison.ranks[key], position) for key, numbers in comparison.numbers.items()
        ]
    if len(comparison.names) == 2:
        by_key = {one.key: one for one in comparison.differences}
        tests = [_tests(by_key[key]) for key in comparison.numbers]
        columns["better"] = [Text(printable(by_key[key].better or "-")) for key in comparison.numbers]
        headings = ("difference", _INTERVAL, "p bootstrap", "p Wilcoxon")
        columns |= {name: [Text(row[place]) for row in tests] for place, name in enumerate(headings)}
    columns["best baseline"] = [Text(_best_floor(numbers[0])) for numbers in comparison.numbers.values()]
    return columns


def _ranked(number: Number, ranks: Sequence[int], position: int) -> Text:
    best = ranks[position] == 1 and len(set(ranks)) > 1
    return Text(f"{show(number.value)} ({ranks[position]})", style="bold" if best else "")


def _named(comparison: Comparison, numbers: Sequence[Number], arrows: Mapping[str, str]) -> str:
    leaked = [name for name, number in zip(comparison.names, numbers, strict=True) if number.leaked]
    mark = f" LEAKED: {', '.join(leaked)}" if leaked else ""
    return f"  {label(numbers[0])} {arrows[numbers[0].direction]}{mark}"


def _best_floor(number: Number) -> str:
    """What the best row without any answer scores: no number is read without it."""
    values = {name: number.references[name].value for name in FLOORS if name in number.references}
    if not values:
        return "-"
    best = min(values, key=lambda name: regret(values[name], number.direction))
    return f"{show(values[best])} ({best})"


def _tests(one: Difference) -> list[str]:
    ends = "-" if one.low != one.low else f"[{show(one.low)}, {show(one.high)}]"
    return [show(one.value), ends, _p(one.p_bootstrap), _p(one.p_wilcoxon)]


def _p(value: float) -> str:
    return "-" if value != value else "< 0.001" if value < 0.001 else f"{value:.3f}"


def _notes(comparison: Comparison) -> list[str]:
    notes = [
        f"better: beyond chance and by more than 1 % of the number's scale; difference: {comparison.names[0]} - {comparison.names[1]}, t intervals and tests over {comparison.clusters} independent units, corrected for skewness by a bootstrap; p-values after Holm's "
        "correction over all rows",
        "best baseline: the best of doing nothing, noise, and real images with the wanted attributes",
        f"ranks are tied where chance could have separated two models (p >= {LEVEL})",
    ]
    if len(comparison.names) > 2:
        notes.append("differences, intervals and p-values of every pair: --json")
    if any(number.leaked for numbers in comparison.numbers.values() for number in numbers):
        notes.append("LEAKED: this model was trained against a judge behind the number; it is no evidence")
    return [*notes, *comparison.notes]


@own_style()
def draw(comparison: Comparison, path: Path) -> None:
    """One row per number: the advantage of every model over the first, in standard deviations, with its interval.

    Args:
        comparison: what to draw.
        path: a picture file.
    """
    from matplotlib.figure import Figure

    first, others = comparison.names[0], comparison.names[1:]
    keys = list(comparison.numbers)
    figure = Figure(figsize=(8.5, 1.3 + 0.2 * len(keys) * max(1, 0.6 * len(others))))
    axis = figure.subplots()
    colours = ["#1f77b4", "#d95f02", "#1b9e77", "#7570b3", "#e7298a", "#666666"]
    for number, other in enumerate(others):
        by_key = {one.key: one for one in comparison.differences if (one.first, one.second) == (first, other)}
        offset = (number - (len(others) - 1) / 2) * 0.8 / max(1, len(others))
        colour = colours[number % len(colours)]
        for position, key in enumerate(keys):
            middle, low, high = (-value for value in by_key[key].effect)
            known = by_key[key].better is not None
            axis.plot([low, high], [position + offset] * 2, color=colour, linewidth=1.6, alpha=1 if known else 0.45)
            axis.plot(
                middle, position + offset, "o", color=colour, markersize=4, markerfacecolor=colour if known else "white"
            )
        axis.plot([], [], "o-", color=colour, label=f"{other} over {first}")
    axis.axvline(0, color="#444", linewidth=0.8)
    axis.set_yticks(range(len(keys)))
    axis.set_yticklabels([_row_label(comparison, key) for key in keys], fontsize=7)
    axis.set_ylim(len(keys) - 0.4, -0.6)
    axis.set_xscale("symlog", linthresh=1)
    axis.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axis.set_xlabel("advantage, in standard deviations of the paired differences (filled: beyond chance)", fontsize=8)
    axis.tick_params(axis="x", labelsize=7)
    axis.grid(axis="x", color="#ddd", linewidth=0.6)
    axis.spines[["top", "right", "left"]].set_visible(False)
    axis.legend(fontsize=8, frameon=False, loc="lower left", bbox_to_anchor=(0, 1))
    figure.tight_layout()
    save_figure(figure, path, dpi=110)


def _row_label(comparison: Comparison, key: tuple[str, str, str, str, int, str]) -> str:
    number = comparison.numbers[key][0]
    return f"{section(number)}: {label(number)}"
