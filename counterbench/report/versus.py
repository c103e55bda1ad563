"""A comparison of records as a table and as a picture."""

from __future__ import annotations

from pathlib import Path

from rich.console import Group
from rich.table import Table
from rich.text import Text

from counterbench.comparison import LEVEL, Comparison, Difference
from counterbench.files import save_figure
from counterbench.records import FLOORS, Number, regret
from counterbench.report.table import ARROWS, label, section, show

WIDTH = 165
"""Characters that a comparison needs, where it is not shown on a terminal."""


def build(comparison: Comparison) -> Group:
    """Values with tied ranks for every model; for two models also the difference with its interval and tests."""
    pair = len(comparison.names) == 2
    table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False, header_style="bold")
    # Headings stand in the first column: it is made wide enough for them.
    table.add_column(
        "", min_width=max((len(section(numbers[0])) for numbers in comparison.numbers.values()), default=30)
    )
    for name in comparison.names:
        table.add_column(f"{name} (rank)", justify="right", no_wrap=True)
    if pair:
        for column in ("difference", "95 % interval", "p bootstrap", "p Wilcoxon"):
            table.add_column(column, justify="left" if column.startswith("95") else "right", no_wrap=True)
    table.add_column("best baseline", justify="right", no_wrap=True)
    by_key = {one.key: one for one in comparison.differences}
    above = ""
    for key, numbers in comparison.numbers.items():
        if section(numbers[0]) != above:
            above = section(numbers[0])
            table.add_row(Text(above, style="cyan"))
        ranks = comparison.ranks[key]
        values = [
            Text(f"{show(number.value)} ({rank})", style="bold" if rank == 1 and len(set(ranks)) > 1 else "")
            for number, rank in zip(numbers, ranks, strict=True)
        ]
        leaked = [name for name, number in zip(comparison.names, numbers, strict=True) if number.leaked]
        mark = f" LEAKED: {', '.join(leaked)}" if leaked else ""
        row: list[str | Text] = [f"  {label(numbers[0])} {ARROWS[numbers[0].direction]}{mark}", *values]
        table.add_row(*row, *(_tests(by_key[key]) if pair else ()), _best_floor(numbers[0]))
    return Group(table, Text(), Text("\n".join(_notes(comparison)), style="dim"))


def _best_floor(number: Number) -> str:
    """What the best row without any answer scores: no number is read without it."""
    found = {name: number.references[name].value for name in FLOORS if name in number.references}
    if not found:
        return "-"
    best = min(found, key=lambda name: regret(found[name], number.direction))
    return f"{show(found[best])} ({best})"


def _tests(one: Difference) -> list[str]:
    return [show(one.value), f"[{show(one.low)}, {show(one.high)}]", _p(one.p_bootstrap), _p(one.p_wilcoxon)]


def _p(value: float) -> str:
    return "-" if value != value else "< 0.001" if value < 0.001 else f"{value:.3f}"


def _notes(comparison: Comparison) -> list[str]:
    notes = [
        f"difference: first - second, paired BCa bootstrap over {comparison.clusters} independent units; p-values after Holm's "
        "correction over all rows",
        "best baseline: the best of doing nothing, noise, and real images with the wanted attributes",
        f"ranks are tied where the bootstrap does not separate two models (p >= {LEVEL})",
    ]
    if len(comparison.names) > 2:
        notes.append("differences, intervals and p-values of every pair: --json")
    if any(number.leaked for numbers in comparison.numbers.values() for number in numbers):
        notes.append("LEAKED: this model was trained against a judge behind the number; it is no evidence")
    return [*notes, *comparison.notes]


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
        found = {one.key: one for one in comparison.differences if (one.first, one.second) == (first, other)}
        offset = (number - (len(others) - 1) / 2) * 0.8 / max(1, len(others))
        colour = colours[number % len(colours)]
        for position, key in enumerate(keys):
            middle, low, high = (-value for value in found[key].effect)
            known = found[key].better is not None
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
    save_figure(figure, path, 110)


def _row_label(comparison: Comparison, key: tuple[str, str, str, str, int, str]) -> str:
    number = comparison.numbers[key][0]
    return f"{section(number)}: {label(number)}"
