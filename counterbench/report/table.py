"""A record as a table for people."""

from __future__ import annotations

import io
from collections.abc import Sequence

from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from counterbench.records import FLOORS, GIVEN, Estimate, Number, Record, regret

ARROWS = {"lower": "↓", "higher": "↑", "one": "→1", "zero": "→0", "half": "→½"}
WIDTH = 136
"""Characters that a table needs, where it is not shown on a terminal."""


def show(value: float) -> str:
    """Three significant digits, without exponents in the usual range."""
    if value == 0:
        return "0"
    if 1e3 <= abs(value) < 1e7 and value == int(value):
        return f"{int(value):,}"
    return (
        f"{value:.1e}"
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


def shown_numbers(record: Record, detail: bool = False) -> list[Number]:
    """The numbers of the table; without the details unless they are asked for."""
    return [number for number in record.numbers if detail or not number.detail]


def label(number: Number) -> str:
    """What a row is about, in words."""
    quantity = number.quantity.replace("_", " ")
    if number.quantity.startswith("cld_"):
        quantity = "CLD ({}, {})".format(*number.quantity.split("_")[1:])
    if number.quantity in ("distance", "distance_ratio"):
        quantity = f"{number.space} {quantity}"
    if number.cycles:
        return f"{quantity} after {number.cycles} cycle{'s' if number.cycles > 1 else ''}"
    if number.metric == "abduction":
        return f"{number.measured}: {quantity}" + (f" of {number.intervened}" if number.intervened else "")
    return f"{number.measured}: {quantity}" if number.measured else quantity


def show_rank(rank: float | None) -> str:
    """A mean rank, or a dash where there is none."""
    return "-" if rank is None else f"{rank:.2f}"


def where(number: Number) -> str:
    """The intervention that a number is about, `do(age)`; empty for none. (Abduction names a parent, which is not set.)"""
    return f"do({number.intervened})" if number.intervened and number.metric != "abduction" else ""


def section(number: Number) -> str:
    """The heading above a row."""
    space = f"in {number.space} features" if number.metric == "realism" and where(number) else ""
    return " ".join(filter(None, (number.metric.replace("_", " "), where(number), space)))


def heading(number: Number) -> str:
    """What a number is about, in words that stand alone."""
    return f"{section(number)}: {label(number)}"


def beaten_by(number: Number, name: str) -> bool:
    """Whether a baseline is as good as the model, or better."""
    told = "noise" in number.references  # without images nobody is told the consequences
    if number.metric == "cost" or (told and number.quantity in GIVEN):
        return False
    floor = number.references.get(name)
    return floor is not None and regret(floor.value, number.direction) <= number.regret


def beaten(number: Number) -> list[str]:
    """The baselines without an answer that are as good as the model, or better."""
    return [name for name in FLOORS if beaten_by(number, name)]


def as_text(record: Record, detail: bool = False) -> str:
    """The table as plain text, as wide as it needs."""
    return "\n".join(line.rstrip() for line in _recorded(record, detail).export_text().splitlines())


def as_html(record: Record, detail: bool = False) -> str:
    """The table as HTML with its colours, for notebooks."""
    style = "font-family: monospace; line-height: 1.25; overflow-x: auto"
    return _recorded(record, detail).export_html(inline_styles=True, code_format=f'<pre style="{style}">{{code}}</pre>')


def _recorded(record: Record, detail: bool) -> Console:
    console = Console(width=WIDTH, file=io.StringIO(), record=True, highlight=False)
    console.print(build(record, detail))
    return console


def floors_of(record: Record) -> tuple[str, ...]:
    """The baselines that a record has, in the order of the table."""
    there = {name for number in record.numbers for name in number.references}
    return tuple(name for name in FLOORS if name in there)


def _has_images(record: Record) -> bool:
    """Datasets without images have no baselines that change them."""
    return "noise" in floors_of(record)


def build(record: Record, detail: bool = False, width: int = WIDTH) -> Group:
    """The table with its heading and its notes.

    Args:
        record: what to show.
        detail: every number, not only the headline ones.
        width: characters there are; where they are few, only the first baseline keeps its column.
    """
    there = floors_of(record)
    floors = there if width >= WIDTH - 8 else there[:1]
    inputs = record.inputs
    whole = record.images == record.test_images
    what = "test images" if _has_images(record) else "test samples"
    sample = f"all {record.images} {what}" if whole else f"{record.images} of {record.test_images} {what}"
    asked = ", ".join(f"{count} {kind}" for kind, count in record.questions.items())
    heading = Text.assemble(
        (record.title, "bold"),
        f"\n{inputs.dataset}/{inputs.source}, suite {inputs.suite}, {sample}, seed {inputs.seed}\n",
        f"questions: {asked}; {record.clusters} independent units",
    )
    numbers = shown_numbers(record, detail)
    widest = max((len(_named(number)) for number in numbers), default=20)
    parts: list[Text | Table] = [_table(widest, floors, header=True)]
    above = ""
    for number in numbers:
        if section(number) != above:
            # A table of its own for each section: a heading may be wider than the column below it.
            parts += [Text(("\n" if above else "") + section(number), style="cyan"), _table(widest, floors)]
            above = section(number)
        table = parts[-1]
        assert isinstance(table, Table)
        table.add_row(*_row(number, floors))
    hidden = [] if floors == there else ["the other baselines need a wider terminal; they are in the record"]
    notes = Text("\n".join([*footnotes(record, detail), *hidden]), style="dim")
    return Group(heading, Text(), *parts, Text(), notes)


def _table(widest: int, floors: Sequence[str], header: bool = False) -> Table:
    """Columns that are equally wide in every section."""
    table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False, show_header=header, header_style="bold")
    table.add_column("", width=min(widest, 40))
    table.add_column("value", justify="right", width=9, no_wrap=True)
    table.add_column("95 % interval", width=20, no_wrap=True)
    for name in (*floors, "ceiling"):
        table.add_column(name, justify="right", width=10, no_wrap=True)
    table.add_column("unit")
    return table


def _named(number: Number) -> str:
    mark = " LEAKED" if number.leaked else ""
    return f"  {label(number)} {ARROWS[number.direction]}{mark}"


def _row(number: Number, floors: Sequence[str]) -> list[str | Text]:
    cells: list[str | Text] = []
    for name in floors:
        estimate = number.references.get(name)
        words = "-" if estimate is None else show(estimate.value)
        cells.append(Text(f"{words}*", style="yellow") if beaten_by(number, name) else f"{words} ")
    ceiling = number.ceiling
    return [
        _named(number),
        Text(show(number.value), style="bold"),
        interval(number),
        *cells,
        show(ceiling.value) if ceiling else "-",
        number.unit,
    ]


def footnotes(record: Record, detail: bool = False) -> Sequence[str]:
    """What a reader must know beside the numbers."""
    notes = [
        "identity: the image unchanged; noise: white noise added; retrieve, resample: a real training image with the wanted attributes,",
        "the nearest or a random one; ceiling: the true counterfactual or, where there is none, real images with their own attributes",
    ]
    if not _has_images(record):
        notes = ["identity: nothing changed but what is set; ceiling: the true counterfactual"]
    if any(beaten(number) for number in shown_numbers(record, detail)):
        notes.append("*: this baseline does at least as well as the model, so the number alone proves nothing")
    if any(number.quantity in GIVEN for number in shown_numbers(record, detail)) and _has_images(record):
        notes.append("attribute errors have no star: baselines are told the true attributes")
    if record.leaked:
        notes.append("LEAKED: the model was trained against a judge behind this number; it is no evidence")
    worst = record.worst_cell
    if worst is not None:
        notes.append(f"worst cell: {worst.measured} under do({worst.intervened}), skill {show(worst.value)}")
    if not detail and len(shown_numbers(record)) < len(record.numbers):
        notes.append(f"{len(record.numbers) - len(shown_numbers(record))} more numbers with --detail")
    notes += [f"{name}: {reason}" for name, reason in record.skipped.items()]
    if record.pixel_temperature is not None:
        notes.append(f"pixel-noise temperature {record.pixel_temperature:g}: compare composition only at the same one")
    return [*notes, *record.notes]
