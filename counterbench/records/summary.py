"""What a record comes to, in ten lines: how near the truth, question by question, and what to be careful about. Imports no torch."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rich.console import Console, Group
from rich.text import Text

from counterbench.records import table
from counterbench.records.record import Number, Record, beaten_by_nothing
from counterbench.records.table import interval, show
from counterbench.runtime.terminal import printable
from counterbench.runtime.words import counted

FULL, EMPTY = "■", "·"
ASCII_FULL, ASCII_EMPTY = "#", "."
WIDTH = 78
"""Characters of a line, where it is not shown on a terminal."""
_BAR, _SHORT_BAR = 10, 5
"""Cells of a bar, where the screen is wide and where it is not."""
_QUESTIONS, _REMARKS, _LEAST_LABEL = 6, 4, 12
SCALE, SHORT_SCALE = "0 doing nothing, 1 the truth", "0 nothing, 1 truth"


@dataclass(frozen=True)
class Aspect:
    """A kind of number that every question has.

    Args:
        title: above it.
        chosen: whether a number is it.
        start: the reference at which the scale begins; it ends at the truth.
    """

    title: str
    chosen: Callable[[Number], bool]
    start: str = "identity"


COLUMNS = (
    Aspect("effect", lambda n: n.quantity in ("effect_error", "estimated_skill")),
    Aspect("target", lambda n: n.quantity == "skill" and n.measured == n.intervened),
    Aspect("rest", lambda n: n.quantity == "mean_change" and n.preserves),
    Aspect("real", lambda n: n.quantity == "frechet_distance" and n.statistic != "mean" and not n.given, "noise"),
)
WITHOUT_IMAGES = (Aspect("near truth", lambda n: n.quantity == "truth_skill"),)
MEANING = {
    "effect": "share of the true change that is made right",
    "target": "what judges read of the value asked for",
    "rest": "what must stay, stays",
    "real": "as real as true answers; 0: noise",
    "near truth": "distance to the true answer",
}


def position(number: Number, start: str = "identity") -> float | None:
    """Where a number lies between two ends: 0 doing nothing (or another start), 1 the truth; of what doing nothing wins, 0 a random image of
    somebody else, 1 no change at all.

    Args:
        number: of a record.
        start: the reference at which the scale begins.

    Returns:
        None where an end is not known, or both are the same.
    """
    ends = number.references
    best: float | None
    if number.preserves:
        worst, best = ends.get("resample"), 0.0 if number.direction == "lower" else 1.0
    else:
        worst, best = ends.get(start), None if number.ceiling is None else number.ceiling.value
    if worst is None or best is None or abs(best - worst.value) < 1e-12:
        return None
    return (number.value - worst.value) / (best - worst.value)


def bar(share: float, width: int, *, symbols: bool = True) -> str:
    """A share as a bar.

    Examples:
        >>> bar(0.42, 5, symbols=False), bar(-1, 3, symbols=False), bar(7, 3, symbols=False)
        ('##...', '...', '###')
    """
    full, empty = (FULL, EMPTY) if symbols else (ASCII_FULL, ASCII_EMPTY)
    filled = round(width * min(1.0, max(0.0, share)))
    return full * filled + empty * (width - filled)


def build(
    record: Record, *, width: int = WIDTH, symbols: bool = True, detail: bool = False, remarks: bool = True
) -> Group:
    """The summary.

    Args:
        record: what to show.
        width: characters there are, 40 at least.
        symbols: whether other than ASCII characters can be shown.
        detail: every remark, not only the first ones.
        remarks: whether there are any.
    """
    lines = [*_head(record, width, symbols), *_questions(record, width, symbols)]
    return Group(*lines, *(_remarks(record, width, detail) if remarks else []))


def as_text(record: Record, detail: bool = False, *, remarks: bool = True) -> str:
    """The summary as plain text, with what makes the numbers doubtful or without; with `detail` all numbers before it, as wide as they need."""
    return "\n".join(line.rstrip() for line in _recorded(record, detail, remarks=remarks).export_text().splitlines())


def as_html(record: Record, detail: bool = False) -> str:
    """The same as HTML with its colours, for notebooks."""
    style = "font-family: monospace; line-height: 1.25; overflow-x: auto"
    return _recorded(record, detail).export_html(inline_styles=True, code_format=f'<pre style="{style}">{{code}}</pre>')


def _recorded(record: Record, detail: bool, *, remarks: bool = True) -> Console:
    console = Console(width=table.WIDTH if detail else WIDTH, file=io.StringIO(), record=True, highlight=False)
    if detail:
        console.print(Group(table.build(record, True), Text()))
    console.print(build(record, detail=detail, remarks=remarks))
    return console


def _head(record: Record, width: int, symbols: bool) -> list[Text]:
    inputs = record.inputs
    count = f"{record.images} of {record.test_images}" if record.images != record.test_images else f"{record.images}"
    exam = "" if inputs.exam_seed is None else f", exam seed {inputs.exam_seed}"
    where = f"{inputs.dataset}/{inputs.source}, {inputs.suite}, {count} samples{exam}"
    words = f"{record.name}: {record.title}" if record.name else record.title
    title = _short(printable(words), max(_LEAST_LABEL, width - len(where) - 2))
    lines = [Text.assemble((title, "bold"), f"  {where}")]
    skill = record.row_skill
    if skill is None:
        why = record.skipped.get("row skill", "it was made by an earlier version")
        return [*lines, Text.assemble(("row skill: none", "bold"), f" ({why})")]
    ends = "" if skill.low is None else f" {interval(skill)}"
    drawn = bar(skill.value, _BAR if width >= WIDTH else _SHORT_BAR, symbols=symbols)
    lines.append(
        Text.assemble(
            (f"row skill {show(skill.value)}{ends}  {drawn}", "bold"), f"  {SCALE if width >= WIDTH else SHORT_SCALE}"
        )
    )
    beaten, compared = beaten_by_nothing(record)
    lines.append(Text(f"beaten by doing nothing on {beaten} of {compared} numbers", style="yellow" if beaten else ""))
    return lines


def _questions(record: Record, width: int, symbols: bool) -> list[Text]:
    """A line for every variable that is set alone, and one for the null intervention."""
    found = {
        column: {name: share for name, (_, share) in told.items()}
        for column in columns_of(record)
        if (told := by_question(record, column))
    }
    columns = list(found)
    if not columns:
        return []
    asked = list(dict.fromkeys(name for shares in found.values() for name in shares))
    label = max(_LEAST_LABEL, *(len(f"do({name})") for name in asked))
    room = (width - label - 1) // len(columns) - 1
    cells = _BAR if room >= _BAR + 7 else _SHORT_BAR if room >= _SHORT_BAR + 6 else 0
    wide = max(7, *(len(column.title) for column in columns), cells + 5)
    label = max(1, min(label, width - len(columns) * (wide + 1)))
    heads = " ".join(["".ljust(label), *(column.title.ljust(wide) for column in columns)])
    lines = [Text(heads.rstrip(), style="dim")]
    for name in asked[:_QUESTIONS]:
        drawn = [_cell(shares.get(name), cells, symbols).ljust(wide) for shares in found.values()]
        lines.append(Text(" ".join([f"do({name})"[:label].ljust(label), *drawn]).rstrip()))
    if len(asked) > _QUESTIONS:
        lines.append(Text(f"and {counted(len(asked) - _QUESTIONS, 'more questions')}", style="dim"))
    null = kept(record)
    if null is not None:
        drawn_null = _cell(null[1], cells, symbols).strip()
        lines.append(Text(f"{'nothing set'[:label].ljust(label)} {drawn_null}  kept, where nothing is asked"))
    words = "; ".join(f"{column.title}: {MEANING[column.title]}" for column in columns)
    return [*lines, Text(f"In % of the way. {words[0].upper()}{words[1:]}.", style="dim")]


def columns_of(record: Record) -> Sequence[Aspect]:
    """The kinds of number that say something of this record."""
    has_any = any(column.chosen(number) for number in record.numbers for column in COLUMNS)
    return COLUMNS if has_any else WITHOUT_IMAGES


def by_question(record: Record, column: Aspect) -> dict[str, tuple[Number, float]]:
    """What is set, one variable alone -> the first number that says this of it, and its position.

    Args:
        record: whose numbers.
        column: which kind of number.
    """
    found: dict[str, tuple[Number, float]] = {}
    for number in record.numbers:
        single = number.intervenes and number.intervened and " + " not in number.intervened
        share = position(number, column.start) if single and column.chosen(number) else None
        if share is not None:
            found.setdefault(number.intervened, (number, share))
    return found


def kept(record: Record) -> tuple[Number, float] | None:
    """How well an image stays as it is where nothing is asked, and its position; None where nobody asked."""
    told = ((n, position(n)) for n in record.numbers if n.cycles == 1 and n.preserves)
    return next(((number, share) for number, share in told if share is not None), None)


def percent(share: float) -> str:
    """A position in percent, cut at both ends.

    Examples:
        >>> percent(0.42), percent(-3.0), percent(1.2)
        ('42', '<0', '>100')
    """
    return "<0" if share < -0.005 else ">100" if share > 1.005 else f"{100 * abs(share):.0f}"


def _cell(share: float | None, cells: int, symbols: bool) -> str:
    if share is None:
        return "-".rjust(cells + 4 if cells else 4)
    return f"{bar(share, cells, symbols=symbols)}{percent(share):>4}" if cells else f"{percent(share):>4}"


def _remarks(record: Record, width: int, detail: bool) -> list[Text]:
    """What makes the numbers doubtful, the worst first."""
    remarks = []
    if record.leaked:
        remarks.append("it was trained against a judge: those numbers are no evidence")
    if record.disputed_in_words:
        remarks.append(_short(f"judges disagree on {record.disputed_in_words}", width - 24) + "; look at the answers")
    worst = record.worst_cell
    if worst is not None and worst.value < 0:
        remarks.append(f"worst: {worst.measured} under do({worst.intervened}), farther off than doing nothing")
    remarks += [*record.flags, *record.notes]
    if record.pixel_temperature is not None:
        remarks.append(
            f"pixel-noise temperature {record.pixel_temperature:g}: compare what is kept only at the same one"
        )
    if record.seeds and not record.group:
        remarks.append(f"{record.trainings_in_words}: what another would score is not in the intervals")
    more = 0 if detail else len(remarks) - _REMARKS
    lines = [Text(f"! {printable(remark)}", style="yellow") for remark in remarks[: None if detail else _REMARKS]]
    return [*lines, *([Text(f"{counted(more, 'more remarks')} with --detail", style="dim")] if more > 0 else [])]


def _short(words: str, most: int) -> str:
    return words if len(words) <= most else f"{words[: most - 3].rstrip()}..."
