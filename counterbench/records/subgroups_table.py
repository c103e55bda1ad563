"""The numbers of subgroups as a table for people."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from rich.console import Group
from rich.table import Table
from rich.text import Text

from counterbench.records.estimate import TARGETS
from counterbench.records.record import Record
from counterbench.records.subgroups import BySubgroup, Subgroups
from counterbench.records.table import ARROWS, ASCII_ARROWS, WIDTH, fit, interval, label, section, show, shown_numbers

_LABEL, _LEAST_LABEL = 36, 18
_ALL, _WORST, _WHICH, _INTERVAL, _GAP = "all", "worst", "subgroup", "its 95 % interval", "gap to best"
_FLOOR, _CEILING = "identity", "ceiling"
"""What doing nothing and the truth, else real images, score in the worst subgroup."""
_NAME = 14
"""Characters of a subgroup's heading, at most."""


def build(
    record: Record, divided: Subgroups, *, detail: bool = False, width: int = WIDTH, symbols: bool = True
) -> Group:
    """The table of one division.

    Args:
        record: whose numbers.
        divided: the same in subgroups.
        detail: every number, not only the headline ones.
        width: characters there are; where they are few, the subgroups' own columns are left out first, then the gap.
        symbols: whether arrows can be shown; else they are spelt in ASCII.
    """
    known = {one.key: one for one in divided.numbers}
    there = [(number, known[number.key]) for number in shown_numbers(record, detail) if number.key in known]
    shown = [(number, one) for number, one in there if detail or one.worst_name or one.worst is None]
    columns = _columns(divided, width)
    arrows = ARROWS if symbols else ASCII_ARROWS
    parts: list[Text | Table] = [_heading(divided), Text(), _table(columns, divided.names, header=True)]
    last = parts[-1]
    assert isinstance(last, Table)
    if divided.row_skill is not None:
        value = None if record.row_skill is None else record.row_skill.value
        last.add_row(*_row("row skill", value, divided.row_skill, divided.names, columns), style="bold")
    above = ""
    for number, one in shown:
        if section(number) != above:
            above = section(number)
            parts += [Text(f"\n{above}", style="cyan"), _table(columns, divided.names)]
        table = parts[-1]
        assert isinstance(table, Table)
        table.add_row(*_row(f"  {label(number)} {arrows[number.direction]}", number.value, one, divided.names, columns))
    of_sets = any(number.statistic == "pseudo" and number.space for number, _ in shown)
    notes = [*_notes(divided, [one for _, one in shown], columns, of_sets=of_sets)]
    if len(shown) < len(there):
        notes.append(f"left out, shown with --detail: {len(there) - len(shown)} that are the same in all subgroups")
    return Group(*parts, Text(), Text("\n".join(notes), style="dim"))


def _heading(divided: Subgroups) -> Text:
    sizes = zip(divided.names, divided.images, divided.clusters, strict=True)
    told = ", ".join(
        f"{name}: {images}" + (f" ({units} independent)" if units < images else "") for name, images, units in sizes
    )
    return Text.assemble((f"by {divided.by}", "bold"), f"\n{told}")


def _columns(divided: Subgroups, width: int) -> dict[str, int]:
    """Heading -> characters, of the columns that fit; "" is the label."""
    which = max([len(_WHICH), *(min(len(name), 2 * _NAME) for name in divided.names)])
    weighed = {_ALL: 9, _WORST: 9, _WHICH: which, _INTERVAL: 20, _FLOOR: 9, _CEILING: 9, _GAP: 24}
    fitting = fit(weighed, width - _LEAST_LABEL)
    left = width - sum(weighed[name] + 1 for name in fitting)
    own = {_own(place): max(9, min(len(name), _NAME)) for place, name in enumerate(divided.names)}
    if len(fitting) == len(weighed) and left - _LABEL >= sum(size + 1 for size in own.values()):
        weighed, fitting = {**weighed, **own}, [_ALL, *own, *fitting[1:]]
        left -= sum(size + 1 for size in own.values())
    return {"": max(_LEAST_LABEL, min(_LABEL, left)), **{name: weighed[name] for name in fitting}}


def _own(place: int) -> str:
    """Key of a subgroup's own column; its name may be that of another column."""
    return f"#{place}"


def _table(columns: Mapping[str, int], names: Sequence[str], header: bool = False) -> Table:
    """An empty table."""
    table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False, show_header=header, header_style="bold")
    for name, size in columns.items():
        title = names[int(name[1:])] if name.startswith("#") else name
        words = name in ("", _WHICH, _INTERVAL, _GAP)
        table.add_column(title, width=size, no_wrap=not words, justify="left" if words else "right", overflow="fold")
    return table


def _row(
    words: str, value: float | None, one: BySubgroup, names: Sequence[str], columns: Mapping[str, int]
) -> list[str]:
    """The cells of a number."""
    at = names.index(one.worst_name) if one.worst_name else -1
    beside = {} if at < 0 or one.values[at] is None else one.values[at].references  # type: ignore[union-attr]
    ceiling = next((beside[name] for name in ("truth", "real") if name in beside), None)
    cells = {
        "": words,
        _ALL: "-" if value is None else show(value),
        _WORST: "-" if one.worst is None else show(one.worst.value),
        _WHICH: one.worst_name or "-",
        _INTERVAL: interval(one.worst),
        _FLOOR: show(beside["identity"]) if "identity" in beside else "-",
        _CEILING: "-" if ceiling is None else show(ceiling),
        _GAP: "-" if one.gap is None else f"{show(one.gap.value)} {interval(one.gap)}",
        **{_own(place): "-" if end is None else show(end.value) for place, end in enumerate(one.values)},
    }
    return [cells[name] for name in columns]


def _notes(
    divided: Subgroups, shown: Sequence[BySubgroup], columns: Mapping[str, int], *, of_sets: bool
) -> Iterable[str]:
    """What a reader must know beside the numbers."""
    yield "worst, gap: their intervals hold for whichever subgroups are truly worst and best, so that picking them flatters nobody"
    yield "identity, ceiling: what doing nothing scores in the worst subgroup, and the true counterfactual (else real images)"
    if any(one.direction in TARGETS for one in shown):
        yield "worst and gap of numbers that are best at 0, 1 or one half are distances from there"
    if of_sets:
        yield "distances between sets grow as the sets get smaller: compare those of a subgroup with its ceiling, not with all images"
    reasons: dict[str, set[str]] = {}
    for one in shown:
        for name, why in one.why.items():
            reasons.setdefault(why, set()).add(name)
    for why, names in reasons.items():
        yield f"-: {why} ({', '.join(name for name in divided.names if name in names)})"
    if _own(0) not in columns:
        yield "a wider terminal shows every subgroup; the record has all"
