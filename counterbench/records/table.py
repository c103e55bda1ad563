"""A record as a table for people."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from rich.console import Group
from rich.table import Table
from rich.text import Text

from counterbench.records.estimate import Estimate, regret
from counterbench.records.record import FLOORS, Number, Record, beaten_by_nothing
from counterbench.records.subgroups import PickedValue
from counterbench.records.totals import Key
from counterbench.records.words import glossary
from counterbench.runtime.terminal import printable
from counterbench.runtime.words import counted

ARROWS = {"lower": "↓", "higher": "↑", "one": "→1", "zero": "→0", "half": "→½"}
ASCII_ARROWS = {"lower": "v", "higher": "^", "one": "->1", "zero": "->0", "half": "->0.5"}
WIDTH = 136
"""Characters that a table needs, where it is not shown on a terminal."""
CEILING = "ceiling"
_GREY = "grey "
"""What a unit may be shortened by."""
_SCREEN = 20
"""Lines after which a section has the heads of the columns again."""
_LABEL, _LABEL_BESIDE_REFERENCES, _LEAST_LABEL = 40, 24, 16
"""Characters of a row's label: at most, before a reference gets a column, and before the unit and the interval do."""


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


def interval(estimate: Estimate | PickedValue | None) -> str:
    """`[low, high]`, or a dash where there is none."""
    if estimate is None or estimate.low is None or estimate.high is None:
        return "-"
    return f"[{show(estimate.low)}, {show(estimate.high)}]"


def shown_numbers(record: Record, detail: bool = False) -> list[Number]:
    """The numbers of the table; without the details unless they are asked for."""
    return [number for number in record.numbers if detail or not number.detail]


def label(number: Number) -> str:
    """What a row is about, in words."""
    quantity = number.label or number.quantity.replace("_", " ")
    if number.cycles:
        return f"{quantity} after {number.cycles} cycle{'s' if number.cycles > 1 else ''}"
    return f"{number.measured}: {quantity}" if number.measured else quantity


def where(number: Number) -> str:
    """The intervention that a number is about, `do(age)`; empty for none."""
    return f"do({number.intervened})" if number.intervened and number.intervenes else ""


def section(number: Number) -> str:
    """The heading above a row. (Sets are compared in a space; distances name theirs in the label.)"""
    of_set = number.statistic != "mean" and number.space
    space = f"in {number.space} features" if of_set and where(number) else ""
    return " ".join(filter(None, (number.metric.replace("_", " "), where(number), space)))


def heading(number: Number) -> str:
    """What a number is about, in words that stand alone."""
    return f"{section(number)}: {label(number)}"


def beaten_by(number: Number, name: str) -> bool:
    """Whether a baseline is as good as the model, or better."""
    told = "noise" in number.references  # without images nobody is told the consequences
    if number.role == "resource" or (told and number.given):
        return False
    floor = number.references.get(name)
    return floor is not None and regret(floor.value, number.direction) <= number.regret


def beaten(number: Number) -> list[str]:
    """The baselines without an answer that are as good as the model, or better."""
    return [name for name in FLOORS if beaten_by(number, name)]


def says_nothing(number: Number) -> bool:
    """Whether a number is the same for every row, from doing nothing to the truth, or an error of 0 with nothing beside it; none of a judge
    that the model was trained against."""
    if number.leaked:
        return False
    ends = [estimate.value for estimate in number.references.values()]
    if ends:
        return all(end == number.value for end in ends)
    return number.role == "diagnosis" and number.direction == "lower" and number.value == 0 == number.high


def floors_of(record: Record) -> tuple[str, ...]:
    """The baselines that a record has, in the order of the table."""
    there = {name for number in record.numbers for name in number.references}
    return tuple(name for name in FLOORS if name in there)


def _has_images(record: Record) -> bool:
    """Datasets without images have no baselines that change them."""
    return "noise" in floors_of(record)


def build(record: Record, detail: bool = False, *, width: int = WIDTH, symbols: bool = True) -> Group:
    """The table with its heading and its notes.

    Args:
        record: what to show.
        detail: every number, not only the headline ones.
        width: characters there are; where they are few, baselines are left out first, then the interval, then the unit.
        symbols: whether arrows can be shown; else they are spelt in ASCII.
    """
    arrows = ARROWS if symbols else ASCII_ARROWS
    disputed = {number.key for number in record.disputed}
    numbers = [number for number in shown_numbers(record, detail) if not says_nothing(number) or number.key in disputed]
    layout = Layout.of(numbers, floors_of(record), width, arrows, disputed=disputed)
    parts: list[Text | Table] = [layout.table(header=True)]
    above, since = "", 0
    for number in numbers:
        if section(number) != above:
            # A table of its own for each section: a heading may be wider than the column below it.
            parts.append(Text(("\n" if above else "") + section(number), style="cyan"))
            parts.append(layout.table(header=since > _SCREEN))
            above, since = section(number), 0 if since > _SCREEN else since + 2
        table = parts[-1]
        assert isinstance(table, Table)
        table.add_row(*layout.row(number))
        since += 1
    notes = Text("\n".join([*footnotes(record, detail), *layout.hidden_note(numbers)]), style="dim")
    return Group(_heading(record), Text(), *parts, Text(), notes)


def _heading(record: Record) -> Text:
    inputs = record.inputs
    whole = record.images == record.test_images
    what = "test images" if _has_images(record) else "test samples"
    sample = f"all {record.images} {what}" if whole else f"{record.images} of {record.test_images} {what}"
    asked = ", ".join(f"{count} {kind}" for kind, count in record.questions.items())
    exam = "" if inputs.exam_seed is None else f", exam seed {inputs.exam_seed}"
    trained = f"{record.trainings_in_words}, whose chance is in the intervals\n" if record.group else ""
    return Text.assemble(
        (printable(record.title), "bold"),
        f"\n{inputs.dataset}/{inputs.source}, suite {inputs.suite}, {sample}, seed {inputs.seed}{exam}\n",
        f"questions: {asked}; {record.clusters} independent units\n{trained}\n",
        *_head_line(record),
    )


def _head_line(record: Record) -> list[str | tuple[str, str]]:
    """What to read first: how much nearer to the truth than doing nothing, and where doing nothing is better."""
    skill = record.row_skill
    if skill is None:
        why = record.skipped.get("row skill", "it was made by an earlier version")
        return [("row skill: none", "bold"), f" ({why})"]
    ends = "" if skill.low is None else f" {interval(skill)}"
    away = "nearer to the truth than doing nothing" if skill.value > 0 else "no nearer to the truth than doing nothing"
    parts = [f"do({part.intervened}) {show(part.bounded)}" for part in skill.parts if part.bounded is not None]
    baselines = [f"{name} {show(end.value)}" for name, end in skill.references.items()]
    beaten, compared = beaten_by_nothing(record)
    return [
        (f"row skill {show(skill.value)}{ends}", "bold"),
        f": {away}\n  of {', '.join(parts)}; baselines: {', '.join(baselines)}",
        f"\n  beaten by doing nothing on {beaten} of {compared} numbers",
    ]


@dataclass(frozen=True)
class Layout:
    """Which columns there are, and how wide: the same in every section.

    Args:
        widths: heading -> characters, in the order of the table; "" is the label.
        hidden: references without a column.
        arrows: direction -> how it is shown.
        disputed: numbers whose judges disagree.
    """

    widths: Mapping[str, int]
    hidden: Sequence[str]
    arrows: Mapping[str, str]
    disputed: Collection[Key] = ()

    @classmethod
    def of(
        cls,
        numbers: Sequence[Number],
        floors: Sequence[str],
        room: int,
        arrows: Mapping[str, str],
        *,
        disputed: Collection[Key] = (),
    ) -> Layout:
        """The columns that fit: label and value always, then unit, interval and references in the order of their weight."""
        named = [_named(number, arrows, number.key in disputed) for number in numbers]
        label_width = min(max(map(len, named), default=20), _LABEL)
        references, units = [*floors, CEILING], {number.unit for number in numbers}
        facts = {
            _VALUE: max([len(_VALUE) + 1, *(len(show(number.value)) + 1 for number in numbers)]),
            _UNIT: max((len(word) for unit in units for word in unit.split()), default=0),
            _INTERVAL: max([len(_INTERVAL), *(len(interval(number)) for number in numbers)]),
        }
        fitting = fit(facts, room - min(label_width, _LEAST_LABEL)) or [_VALUE]
        left = room - sum(facts[name] + 1 for name in fitting)
        weighed = dict.fromkeys([*floors[:1], CEILING, *floors[1:]], 10)
        if len(fitting) == len(facts):
            fitting += fit(weighed, left - min(label_width, _LABEL_BESIDE_REFERENCES))
        wanted = {**facts, **weighed}
        left = room - sum(wanted[name] + 1 for name in fitting)
        label_width = max(1, min(label_width, left))
        # What the label leaves is for units of several words.
        wanted[_UNIT] = min(max(map(len, units), default=0), wanted[_UNIT] + max(0, left - label_width))
        order = [name for name in (_VALUE, _UNIT, _INTERVAL, *references) if name in fitting]
        widths = {"": label_width, **{name: wanted[name] for name in order}}
        return cls(widths, [name for name in references if name not in fitting], arrows, disputed)

    def table(self, header: bool = False) -> Table:
        """An empty table."""
        table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False, show_header=header, header_style="bold")
        for name, width in self.widths.items():
            words = name in ("", _INTERVAL, _UNIT)
            table.add_column(
                name,
                width=width,
                no_wrap=name not in ("", _UNIT),
                justify="left" if words else "right",
                overflow="fold",
            )
        return table

    def row(self, number: Number) -> list[str | Text]:
        """The cells of a number."""
        cells: dict[str, str | Text] = {
            "": _named(number, self.arrows, number.key in self.disputed),
            _VALUE: Text.assemble((show(number.value), "bold"), ("*", "yellow") if beaten(number) else " "),
            _INTERVAL: interval(number),
            CEILING: show(number.ceiling.value) if number.ceiling else "-",
            _UNIT: number.unit if len(number.unit) <= self.widths.get(_UNIT, 0) else number.unit.removeprefix(_GREY),
        }
        return [cells[name] if name in cells else _floor_cell(number, name) for name in self.widths]

    def hidden_note(self, numbers: Sequence[Number]) -> list[str]:
        """What is not shown for want of room, and what it would say."""
        notes = []
        if self.hidden:
            count = f"{len(self.hidden)} reference column{'s' if len(self.hidden) > 1 else ''}"
            notes.append(f"{count} hidden ({', '.join(self.hidden)}): a wider terminal shows more, the record has all")
        beaten_rows = sum(any(beaten_by(number, name) for name in self.hidden) for number in numbers)
        if beaten_rows:
            notes.append(f"hidden baselines do at least as well as the model in {beaten_rows} of {len(numbers)} rows")
        if any(number.unit.startswith(_GREY) and len(number.unit) > self.widths.get(_UNIT, 99) for number in numbers):
            notes.append("levels: grey levels, 0 to 255")
        if _INTERVAL not in self.widths:
            notes.append("intervals hidden for want of room")
        return notes


_VALUE, _INTERVAL, _UNIT = "value", "95 % interval", "unit"


def fit(wanted: Mapping[str, int], room: int) -> list[str]:
    """Columns that fit side by side, one character apart: each only if all before it do.

    >>> fit({"value": 9, "unit": 4, "interval": 20}, 20)
    ['value', 'unit']
    """
    fitting: list[str] = []
    for name, width in wanted.items():
        room -= width + 1
        if room < 0:
            break
        fitting.append(name)
    return fitting


def _named(number: Number, arrows: Mapping[str, str], disputed: bool) -> str:
    mark = " LEAKED" * number.leaked + " DISPUTED" * disputed
    return f"  {label(number)} {arrows[number.direction]}{mark}"


def _floor_cell(number: Number, name: str) -> str | Text:
    estimate = number.references.get(name)
    words = "-" if estimate is None else show(estimate.value)
    return Text(f"{words}*", style="yellow") if beaten_by(number, name) else f"{words} "


def footnotes(record: Record, detail: bool = False) -> Sequence[str]:
    """What a reader must know beside the numbers."""
    notes = [
        "identity: the image unchanged; noise: white noise added; retrieve, resample: a real training image with the wanted attributes,",
        "the nearest or a random one; ceiling: the true counterfactual or, where there is none, real images that have the wanted attributes",
    ]
    if not _has_images(record):
        notes = ["identity: nothing changed but what is set; ceiling: the true counterfactual"]
    if any(beaten(number) for number in shown_numbers(record, detail)):
        notes.append(
            "*: a baseline without an answer does at least as well as the model, so the number alone proves nothing"
        )
    if any(number.given for number in shown_numbers(record, detail)) and _has_images(record):
        notes.append("attribute errors have no star: baselines are told the true attributes")
    if record.leaked:
        notes.append("LEAKED: the model was trained against a judge behind this number; it is no evidence")
    if disputed := record.disputed_in_words:
        told = "more than twice as far apart as on the true answers, or on real images where there are none"
        notes.append(f"DISPUTED: the judges disagree on {disputed}: they are {told}; look at the answers")
    if record.row_skill is not None:
        notes += [
            f"do({part.intervened}) is not in the row skill: {part.left_out}"
            for part in record.row_skill.parts
            if part.left_out
        ]
    worst = record.worst_cell
    if worst is not None:
        notes.append(f"worst cell: {worst.measured} under do({worst.intervened}), skill {show(worst.value)}")
    silent = sum(says_nothing(number) for number in shown_numbers(record, detail))
    if silent:
        notes.append(f"{counted(silent, 'numbers', verb='are')} left out: the same in every row, or an error of 0")
    if not detail and len(shown_numbers(record)) < len(record.numbers):
        notes.append(f"{counted(len(record.numbers) - len(shown_numbers(record)), 'more numbers')} with --detail")
    notes += [f"{name}: {reason}" for name, reason in record.skipped.items() if name != "row skill"]
    if record.pixel_temperature is not None:
        dependent = dict.fromkeys(n.metric.replace("_", " ") for n in record.numbers if n.depends_on_temperature)
        only = f": compare {', '.join(dependent)} only at the same one" if dependent else ""
        notes.append(f"pixel-noise temperature {record.pixel_temperature:g}{only}")
    if record.seeds and not record.group:
        notes.append(
            f"{record.trainings_in_words}: what another would score is not in the intervals (counterbench group)"
        )
    return [*notes, *record.flags, *record.notes, *glossary(shown_numbers(record, detail))]
