"""A record as a table for people."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Group
from rich.table import Table
from rich.text import Text

from counterbench.records import Estimate, Number, Record

_ARROWS = {"lower": "↓", "higher": "↑", "one": "→ 1"}
_CYCLES_SHOWN = (1, 10)


def show(value: float) -> str:
    """Three significant digits, without exponents in the usual range."""
    if value == 0:
        return "0"
    return (
        f"{value:.2e}"
        if abs(value) < 1e-3 or abs(value) >= 1e5
        else f"{value:.3g}"
        if abs(value) < 100
        else f"{value:.0f}"
    )


def interval(estimate: Estimate) -> str:
    """`[low, high]`, or a dash where there is none."""
    if estimate.low is None or estimate.high is None:
        return "-"
    return f"[{show(estimate.low)}, {show(estimate.high)}]"


def shown_numbers(record: Record) -> list[Number]:
    """The numbers of the table: of a composition curve the first, the tenth and the last cycle."""
    last = max((number.cycles for number in record.numbers), default=0)
    return [number for number in record.numbers if number.cycles in (0, *_CYCLES_SHOWN, last)]


def label(number: Number) -> str:
    """What a row is about, in words."""
    if number.cycles:
        return f"{number.quantity} after {number.cycles} cycle{'s' if number.cycles > 1 else ''}"
    quantity = number.quantity.replace("_", " ")
    return f"{number.measured}: {quantity}" if number.measured else f"image: {quantity}"


def section(number: Number) -> str:
    """The heading above a row."""
    return number.metric + (f" do({number.intervened})" if number.intervened else "")


def build(record: Record) -> Group:
    """The table with its heading and its notes."""
    inputs = record.inputs
    whole = record.images == record.test_images
    sample = f"all {record.images} test images" if whole else f"{record.images} of {record.test_images} test images"
    heading = Text.assemble(
        (record.title, "bold"),
        f"\n{inputs.dataset}/{inputs.source}, suite {inputs.suite}, {sample}, seed {inputs.seed}: ",
        f"{record.questions} questions, {record.clusters} independent units",
    )
    table = Table(box=None, padding=(0, 1), pad_edge=False, header_style="bold")
    table.add_column("", min_width=20)
    for column, side in (("value", "right"), ("95 % interval", "left"), ("floor", "right"), ("ceiling", "right")):
        table.add_column(column, justify=side, no_wrap=True)  # type: ignore[arg-type]
    table.add_column("unit")
    above = ""
    for number in shown_numbers(record):
        if section(number) != above:
            if above:
                table.add_row()
            table.add_row(Text(section(number), style="cyan"))
            above = section(number)
        ends = [show(end.value) if end else "-" for end in (number.floor, number.ceiling)]
        name = f"  {label(number)} {_ARROWS[number.direction]}"
        table.add_row(name, Text(show(number.value), style="bold"), interval(number), *ends, number.unit)
    return Group(heading, Text(), table, Text(), Text("\n".join(footnotes(record)), style="dim"))


def footnotes(record: Record) -> Sequence[str]:
    """What a reader must know beside the numbers."""
    notes = [
        "floor: returning the image unchanged; ceiling: the true counterfactual or, where there is none, real images"
    ]
    notes += [f"{name}: {reason}" for name, reason in record.skipped.items()]
    if record.pixel_temperature is not None:
        notes.append(f"pixel-noise temperature {record.pixel_temperature:g}: compare composition only at the same one")
    return [*notes, *record.notes]
