"""Ranks from paired comparisons: 1 and how many are better beyond chance; who cannot be told apart shares a rank. Imports no torch."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path

from counterbench.errors import RecordError
from counterbench.leaderboard import comparison, scored
from counterbench.leaderboard.comparison import RESAMPLES
from counterbench.leaderboard.order import Order, order
from counterbench.leaderboard.paired import Difference
from counterbench.leaderboard.scored import ScoredRecord
from counterbench.records import totals
from counterbench.records.estimate import Estimate
from counterbench.records.intervals import Ratios
from counterbench.records.record import NOT_SHOWN, UNSTEADY, Number, Record
from counterbench.records.row_skill import CHANGE_SKILL, ESTIMATED_SKILL
from counterbench.records.totals import Key, Totals

EXACT = 1.0
"""The pixel-noise temperature at which a null intervention returns its input, whatever the model has learned."""


@dataclass(frozen=True)
class NamedRecord:
    """A record that may be ranked.

    Args:
        name: unique on the board.
        record: its numbers.
        path: where it was read; its scores lie beside it.
        parts: the records that it was put together from, with their files; itself alone where there are none.
    """

    name: str
    record: Record
    path: Path
    parts: tuple[tuple[Path, Record], ...] = ()

    @property
    def files(self) -> tuple[tuple[Path, Record], ...]:
        """Every file with the record in it, the one that counts most first."""
        return self.parts or ((self.path, self.record),)


@dataclass(frozen=True)
class Ranking:
    """Who is better than whom.

    Args:
        order: the rows by row skill.
        ranks: row -> number -> rank; only of rows that could be compared.
        barred: row -> number -> why it has no rank there.
        differences: every pair and number.
        clusters: independent units behind them.
        notes: who has no rank, and why.
    """

    order: Order = field(default_factory=Order)
    ranks: Mapping[str, Mapping[Key, int]] = field(default_factory=dict)
    barred: Mapping[str, Mapping[Key, str]] = field(default_factory=dict)
    differences: tuple[Difference, ...] = ()
    clusters: int = 0
    notes: tuple[str, ...] = ()


def rank(records: Sequence[NamedRecord], resamples: int = RESAMPLES) -> Ranking:
    """Compare all that answered the same questions, pair by pair, each number among those who have it.

    Records of all images come first; only where there is none are partial ones compared with each other. A record that does not fit
    (other questions, judges or definitions, no scores beside it) has no rank, and costs nobody else theirs. Baselines compete.
    """
    if not records:
        return Ranking()
    steady = [one for one in records if not _unsteady(one.record)]
    notes = [f"{one.name} has no rank: its {_unsteady(one.record)}" for one in records if one not in steady]
    if not steady:
        return Ranking(notes=tuple(notes))
    comparable, others = _alike(steady)
    notes += others
    whole, more = _scored(comparable)
    notes += more
    if {one.clusters for row in whole for one in row.ratios.values()} == {1}:
        return Ranking(notes=(*notes, "no ranks: a single independent unit tells nothing of chance"))
    barred = {row.name: _barred(row) for row in whole}
    _bar_other_temperatures(whole, barred)
    rows = [
        ScoredRecord(row.name, row.record, {key: r for key, r in row.ratios.items() if key not in barred[row.name]})
        for row in whole
    ]
    differences = [
        one
        for first, second in combinations(rows, 2)
        if first.ratios.keys() & second.ratios.keys() and not (first.record.is_baseline and second.record.is_baseline)
        for one in comparison.compare([first, second], resamples=resamples).differences
    ]
    clusters = max((one.clusters for row in whole for one in row.ratios.values()), default=0)
    ordered = order(whole, resamples)
    return Ranking(ordered, _ranks(rows, differences), barred, tuple(differences), clusters, (*notes, *ordered.notes))


def _alike(records: Sequence[NamedRecord]) -> tuple[list[NamedRecord], list[str]]:
    """(the most that took the same exam, notes on the others)."""
    whole = [one for one in records if not one.record.partial] or list(records)
    exams: dict[str, list[NamedRecord]] = {}
    for one in whole:
        exams.setdefault(_exam(one.record), []).append(one)
    largest = max(exams.values(), key=len)
    notes = []
    for one in records:
        if one not in whole:
            notes.append(f"{one.name} has no rank: it is partial ({one.record.partial})")
        elif one not in largest:
            notes.append(f"{one.name} has no rank: {_difference(largest[0], one)}")
    return largest, notes


def _exam(record: Record) -> str:
    inputs = record.inputs
    data = {name: value for name, value in inputs.data.items() if name != "card"}
    return json.dumps([inputs.plan, data, inputs.judges, inputs.edition], sort_keys=True)


def _difference(first: NamedRecord, other: NamedRecord) -> str:
    if other.record.left_out:
        return f"it answered a part of the exam ({'; '.join(other.record.left_out)})"
    field = scored.differing(first.record, other.record)
    return f"{scored.OTHERWISE[field]} ({field!r} differs)" if field else "it took another exam"


def _scored(comparable: Sequence[NamedRecord]) -> tuple[list[ScoredRecord], list[str]]:
    """(those with scores of their own, notes on the others)."""
    own, notes = [], []
    for one in comparable:
        try:
            scored.require_comparable(comparable[0].record, one.record, comparable[0].path, one.path)
            for path, record in one.files:
                scored.require_own(path, ScoredRecord(one.name, record, dict(totals.read(path, merge=True).numbers)))
            own.append(one)
        except RecordError as error:
            notes.append(f"{one.name} has no rank: {error}")
    try:
        scores = iter(scored.totals_of([path for one in own for path, _ in one.files]) if own else [])
    except RecordError as error:
        return [], [*notes, f"no ranks: {error}"]
    return [ScoredRecord(one.name, one.record, _ratios([next(scores) for _ in one.files])) for one in own], notes


def _ratios(scores: Sequence[Totals]) -> dict[Key, Ratios]:
    """Totals of all parts of a record; of what two of them have, those of the first."""
    return {key: ratios for part in reversed(scores) for key, ratios in part.numbers.items()}


def _unsteady(record: Record) -> str:
    """The flag of a model whose answers are not answers to the question alone; empty if there is none."""
    return _flag(record, UNSTEADY)


def _flag(record: Record, begins: str) -> str:
    return next((flag for flag in record.flags if flag.startswith(begins)), "")


def _bar_other_temperatures(rows: Sequence[ScoredRecord], barred: Mapping[str, dict[Key, str]]) -> None:
    """Numbers that depend on the pixel-noise temperature rank only where all models have the same one."""
    temperatures = {row.record.pixel_temperature for row in rows} - {None, EXACT}
    if len(temperatures) < 2:
        return
    for row in rows:
        for key, number in row.record.by_key.items():
            if number.depends_on_temperature and key in row.ratios:
                barred[row.name].setdefault(key, "the pixel-noise temperatures differ")


def _barred(row: ScoredRecord) -> dict[Key, str]:
    """Headline numbers of a row that are not ranked, and why; of details and costs, which nobody ranks, too."""
    known = row.record.by_key
    return {key: why for key in row.ratios if (why := why_not(row.record, known.get(key)))}


def why_not(record: Record, number: Number | None) -> str:
    """Why a number has no rank; empty if it has."""
    unclaimed = record.coverage is not None and not record.coverage.claimed
    if number is None or number.role in ("resource", "detail"):
        return "it is not ranked"
    if number.leaked:
        return "the model was trained against its judge"
    if number.no_rank:
        return number.no_rank
    if number.depends_on_temperature and record.pixel_noise == "unknown":
        return "how much pixel noise the model puts back is not known"
    if number.depends_on_temperature and (record.exact or record.pixel_temperature == EXACT):
        return "it is exact by construction"
    if number.given and (unclaimed or record.is_baseline):
        return "attributes were not claimed" if unclaimed else "baselines are told the attributes"
    return _gate(record, number) if number.preserves else ""


def _gate(record: Record, number: Number) -> str:
    """Why a number that doing nothing wins says nothing of this row: nobody knows whether its answers earned it, or it does not make the
    change that it should make elsewhere."""
    if flag := _flag(record, NOT_SHOWN):
        return flag
    if not number.intervened:
        skill: Estimate | None = record.row_skill
        return _not_above_zero(skill, "row skill")
    # A joint intervention has a change skill of its own; of what is set one after the other, both count.
    together = number.metric == CHANGE_SKILL[0]
    for name in [number.intervened] if together else number.intervened.split(" + "):
        change, estimate = (record.by_key.get((*skill, name, "", 0, "")) for skill in (CHANGE_SKILL, ESTIMATED_SKILL))
        what = "estimated skill" if change is None and estimate is not None else "change skill"
        if why := _not_above_zero(estimate if change is None else change, f"{what} under do({name})"):
            return why
    return ""


def _not_above_zero(skill: Estimate | None, what: str) -> str:
    if skill is None:
        return f"there is no {what} that would show a change"
    if skill.low is None or skill.low <= 0:
        return f"its {what} is not above 0"
    return ""


def _ranks(rows: Sequence[ScoredRecord], differences: Sequence[Difference]) -> dict[str, dict[Key, int]]:
    beaten = Counter(
        (one.second if one.better == one.first else one.first, one.key) for one in differences if one.better is not None
    )
    known = Counter(key for row in rows for key in row.ratios)
    return {row.name: {key: 1 + beaten[row.name, key] for key in row.ratios if known[key] > 1} for row in rows}
