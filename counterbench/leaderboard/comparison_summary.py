"""What a comparison comes to, in some lines: who is nearer to the truth, question by question. Imports no torch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.console import Group
from rich.text import Text

from counterbench.leaderboard.comparison import Comparison
from counterbench.records.record import Number
from counterbench.records.summary import MEANING, WITHOUT_IMAGES, by_question, columns_of, kept, percent
from counterbench.records.table import show
from counterbench.runtime.terminal import printable

WIDTH = 100
"""Characters of a line, where it is not shown on a terminal."""
_Row = tuple[str, str, list[tuple[Number, float] | None]]
_LABEL, _LEAST = 24, 6
"""Characters of a row's label, and of a model's column at least."""


def build(comparison: Comparison, room: int = WIDTH, *, symbols: bool = True) -> Group:
    """The summary.

    Args:
        comparison: of two or more models.
        room: characters there are.
        symbols: whether other than ASCII characters can be shown.
    """
    first = comparison.records[0]
    where = f"{first.inputs.dataset}/{first.inputs.source}, {first.inputs.suite}, {first.images} of {first.test_images} samples"
    names = [printable(name) for name in comparison.names]
    head = Text.assemble((", ".join(names), "bold"), f"  {where}")
    rows = list(_rows(comparison))
    words = "; ".join(f"{title}: {MEANING[title]}" for title in dict.fromkeys(title for _, title, _ in rows))
    lines = [head, *_skills(comparison), Text(_counted(comparison)), *_table(comparison, rows, room)]
    if words:
        lines.append(
            Text(f"In % of the way from doing nothing to the truth. {words[0].upper()}{words[1:]}.", style="dim")
        )
    return Group(*lines, *(Text(note, style="dim") for note in (*comparison.order.notes, *comparison.notes)))


def _skills(comparison: Comparison) -> Iterator[Text]:
    """The row skills, best first, and what can be said of two neighbours."""
    skills = comparison.order.skills
    if not skills:
        yield Text("row skill: none of them has one", style="bold")
        return
    told = ", ".join(f"{printable(name)} {show(value)}" for name, value in skills.items())
    yield Text(f"row skill: {told}  (0 doing nothing, 1 the truth)", style="bold")
    for pair in comparison.order.pairs:
        first, second = printable(pair.first), printable(pair.second)
        verdict = {
            "first": f"{first} is better than {second}",
            "second": f"{second} is better than {first}",
            "equal": f"{first} and {second} are as good as each other",
            "undecided": f"{first} and {second} cannot be told apart",
        }[pair.verdict]
        yield Text(f"  {verdict}: {first} - {second} is {show(pair.value)} [{show(pair.low)}, {show(pair.high)}]")


def _counted(comparison: Comparison) -> str:
    wins = {name: sum(one.better == name for one in comparison.differences) for name in comparison.names}
    told = ", ".join(f"{printable(name)} {count}" for name, count in wins.items())
    pairs = len(comparison.differences)
    undecided = pairs - sum(wins.values())
    what = f"{len(comparison.numbers)} numbers" + (
        f" and {len(comparison.names)} models" if len(comparison.names) > 2 else ""
    )
    return (
        f"{what}: better beyond chance {told}; {undecided} of {pairs} differences cannot be told apart or are below 1 %"
    )


def _rows(comparison: Comparison) -> Iterator[_Row]:
    """(question, kind of number, what every model has there)."""
    records = comparison.records
    for column in dict.fromkeys((*WITHOUT_IMAGES, *columns_of(records[0]))):
        found = [by_question(record, column) for record in records]
        for question in found[0]:
            yield f"do({question})", column.title, [told.get(question) for told in found]


def _table(comparison: Comparison, rows: Sequence[_Row], room: int) -> list[Text]:
    asked = list(dict.fromkeys(question for question, _, _ in rows))
    rows = sorted(rows, key=lambda row: asked.index(row[0]))
    null = [kept(record) for record in comparison.records]
    named = [(f"{question} {title}", cells) for question, title, cells in rows]
    if all(cell is not None for cell in null):
        named.append(("nothing set, kept", null))
    if not named:
        return []
    label = min(max(len(words) for words, _ in named), _LABEL if room < WIDTH else _LABEL + 16)
    widths = [max(_LEAST, min(len(name), 12)) for name in comparison.names]
    heads = [printable(name)[:width].rjust(width) for name, width in zip(comparison.names, widths, strict=True)]
    lines = [Text(" ".join(["".ljust(label), *heads, " better"]), style="dim")]
    for words, cells in named:
        shown = ["-" if cell is None else percent(cell[1]) for cell in cells]
        values = [value.rjust(width) for value, width in zip(shown, widths, strict=True)]
        lines.append(Text(" ".join([words[:label].ljust(label), *values, f" {_better(comparison, cells)}"])))
    return lines


def _better(comparison: Comparison, cells: list[tuple[Number, float] | None]) -> str:
    """Who is better than everybody else beyond chance; a dash where nobody is, nothing where it is not compared."""
    key = cells[0][0].key if cells[0] is not None else None
    ranks = comparison.ranks.get(key) if key is not None else None
    if ranks is None:
        return ""
    beaten = {
        one.second if one.better == one.first else one.first
        for one in comparison.differences
        if one.key == key and one.better is not None
    }
    best = [name for name in comparison.names if name not in beaten]
    return printable(best[0]) if len(best) == 1 else "-"
