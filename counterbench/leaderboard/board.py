"""Leaderboards: records side by side, beside the baselines. Imports no torch.

A board is one dataset, source and suite. It only reads: every number, interval and mark is in a record. Ranks come from paired
comparisons (:mod:`counterbench.leaderboard.ranking`).
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from counterbench.errors import RecordError, RecordWarning
from counterbench.leaderboard.comparison import RESAMPLES
from counterbench.leaderboard.gathering import gather
from counterbench.leaderboard.order import Place
from counterbench.leaderboard.ranking import NamedRecord, Ranking, rank
from counterbench.leaderboard.remarks import Remark, remarks
from counterbench.records.estimate import Estimate
from counterbench.records.plausibility import problems
from counterbench.records.record import (
    CEILINGS,
    DECLARED,
    FLOORS,
    RECORD,
    Number,
    Record,
    beaten_by_nothing,
    called,
    read_record,
)
from counterbench.records.row_skill import CHANGE_SKILL, bounded
from counterbench.records.totals import Key
from counterbench.runtime.terminal import one_line
from counterbench.storage.files import slug, without_folders

BOARDS = "leaderboard.json"
"""All boards as plain data; no record, should it lie among them."""


@dataclass(frozen=True)
class Row:
    """One model of a board.

    Args:
        name: unique on the board.
        record: its numbers.
        path: where it was read.
        ranks: number -> rank; nothing for numbers of which no scores are stored.
        barred: number -> why it has no rank there.
        place: among all rows of the board, by row skill; None where it could not be compared.
        remarks: what a reader must know, e.g. that only some questions were asked.
    """

    name: str
    record: Record
    path: Path
    ranks: Mapping[Key, int] = field(default_factory=dict)
    barred: Mapping[Key, str] = field(default_factory=dict)
    place: Place | None = None
    remarks: tuple[Remark, ...] = ()

    @property
    def marks(self) -> tuple[str, ...]:
        """The remarks in words."""
        return tuple(remark.words for remark in self.remarks)

    def number(self, key: Key) -> Number | None:
        """One of its numbers, if it has it."""
        return self.record.by_key.get(key)

    @property
    def skill(self) -> Estimate | None:
        """Its row skill."""
        return self.record.row_skill

    @property
    def change_skill(self) -> float | None:
        """Mean over the interventions of the row skill of the bounded change skill; None where one of them is not known."""
        if self.record.row_skill is None:
            return None
        names = [part.intervened for part in self.record.row_skill.parts if not part.left_out]
        numbers = [self.number((*CHANGE_SKILL, name, "", 0, "")) for name in names]
        values = [float(bounded(np.array(1 - number.value))) for number in numbers if number is not None]
        return sum(values) / len(values) if len(values) == len(names) else None

    @property
    def beaten(self) -> tuple[int, int]:
        """(numbers in which doing nothing is better, all headline numbers that doing nothing does not win by definition)."""
        return beaten_by_nothing(self.record)


@dataclass(frozen=True)
class Standing:
    """One line of the order: a model or a baseline.

    Args:
        name: of the row.
        skill: its row skill.
        place: where it stands; None for a baseline whose scores are not here.
        row: the model; None for a baseline.
    """

    name: str
    skill: Estimate | None
    place: Place | None
    row: Row | None


@dataclass(frozen=True)
class Board:
    """All records of one dataset, source and suite, about the same test individuals.

    Args:
        dataset: of all records.
        source: of all records.
        suite: of all records.
        columns: the headline numbers, in the order of the tables; each as the first record that has it says.
        rows: the models, highest row skill first; those that could not be compared at the end.
        lines: the order: models and baselines, likewise.
        ends: baseline -> number -> its estimate, floors first.
        notes: what a reader must know.
        ranking: the paired differences behind the ranks.
        exam_seed: of all records; None where they are about the public test individuals.
    """

    dataset: str
    source: str
    suite: str
    columns: Mapping[Key, Number]
    rows: tuple[Row, ...]
    lines: tuple[Standing, ...]
    ends: Mapping[str, Mapping[Key, Estimate]]
    notes: tuple[str, ...] = ()
    ranking: Ranking = Ranking()  # noqa: RUF009 - frozen
    exam_seed: int | None = None

    @property
    def name(self) -> str:
        """Of its files: whatever a record says, they stay in their folder."""
        exam = "" if self.exam_seed is None else f"-exam-{self.exam_seed}"
        return slug(f"{self.dataset}-{self.source}-{self.suite}{exam}")

    @property
    def exam(self) -> str:
        """The suite, and the exam seed where there is one."""
        return self.suite + ("" if self.exam_seed is None else f", exam seed {self.exam_seed}")

    def best_rank(self, key: Key) -> int | None:
        """The best rank of a model in one number: more than 1 where a baseline is better."""
        return min((row.ranks[key] for row in self.rows if key in row.ranks), default=None)

    @property
    def metrics(self) -> tuple[str, ...]:
        """The metrics that it has numbers of, in the order of the tables."""
        return tuple(dict.fromkeys(key[0] for key in self.columns))


def find(folder: Path) -> list[Path]:
    """What may be a record in a folder: `record.json` of an evaluation, or `<model>.json` of a collection.

    Raises:
        RecordError: if there is none.
    """
    if not folder.is_dir():
        raise RecordError(f"{folder} is no folder; give one that holds records.")
    files = sorted(
        path
        for path in folder.rglob("*.json")
        if path.name == RECORD or not (path.name == BOARDS or (path.parent / RECORD).exists())
    )
    if not files:
        raise RecordError(f"{folder} holds no records (*.json); make one with: counterbench evaluate.")
    return files


def build(paths: Sequence[Path], resamples: int = RESAMPLES) -> list[Board]:
    """Boards of all records. What is no record, or cannot be true, is left out with a :class:`RecordWarning`.

    Args:
        paths: of records; see :func:`find`.
        resamples: behind the ranks.

    Raises:
        RecordError: if none is left.
    """
    boards: dict[tuple[str, str, str, int], list[tuple[Path, Record]]] = {}
    refused = []
    for path in paths:
        try:
            record = _plausible(path)
        except RecordError as error:
            refused.append(str(error))
            continue
        inputs = record.inputs
        exam = _PUBLIC if inputs.exam_seed is None else inputs.exam_seed
        boards.setdefault((inputs.dataset, inputs.source, inputs.suite, exam), []).append((path, record))
    if not boards:
        raise RecordError(f"There is nothing to show: {refused[0] if refused else 'no record was given.'}")
    for why in refused:
        warnings.warn(one_line(f"left out of the boards: {why}"), RecordWarning, stacklevel=2)
    return [_board(*names, given, resamples) for names, given in sorted(boards.items())]


_PUBLIC = -1
"""Stands for no exam seed where boards are sorted."""


def _plausible(path: Path) -> Record:
    """A record that may be true; RecordError for anything else."""
    record = read_record(path)
    if wrong := problems(record):
        more = f", and {len(wrong) - 1} more." if wrong[1:] else "."
        raise RecordError(f"{path} cannot be true: {one_line(wrong[0])}{more}")
    return record


def _board(
    dataset: str, source: str, suite: str, exam: int, given: Sequence[tuple[Path, Record]], resamples: int
) -> Board:
    gathered, notes = gather(given)
    exam_seed = None if exam == _PUBLIC else exam
    if exam_seed is not None:
        notes.append(
            f"the test individuals are in no public split: the exam seed {exam_seed} draws them (evaluate --exam-seed {exam_seed})"
        )
    names = _names([one.record for one in gathered])
    every = [NamedRecord(name, one.record, one.path, one.parts) for name, one in zip(names, gathered, strict=True)]
    every, others = _of_one_meaning(every)
    notes += others
    ranking = rank(every, resamples)
    records = [one for one in every if not one.record.is_baseline]
    rows = [_row(one, ranking) for one in records]
    rows.sort(key=lambda row: (bool(ranking.order.places) and row.place is None, _from_the_top(row.skill), row.name))
    # What those say who are ranked goes before what others say: only they certainly took the same exam.
    first = sorted(records, key=lambda one: one.name not in ranking.ranks)
    leading = [one for one in first if one.name in ranking.ranks] or first
    columns = _columns(first or [NamedRecord(one.path.stem, one.record, one.path) for one in gathered])
    ends, more = _ends(
        [(one.name, one.record) for one in leading] or [(one.path.stem, one.record) for one in gathered], columns
    )
    alone = [one.name for one in records if one.record.seeds and not one.record.group]
    if alone:
        more.append(
            f"{'each of ' if len(alone) > 1 else ''}{', '.join(alone)} is one training: what another training of the recipe would score is not in its intervals"
        )
    told = tuple(one_line(without_folders(note)) for note in (*notes, *ranking.notes, *more))
    lines = _lines(rows, [one for one in every if one not in records], ranking)
    return Board(dataset, source, suite, columns, tuple(rows), lines, ends, told, ranking, exam_seed)


def _from_the_top(skill: Estimate | None) -> tuple[bool, float]:
    return (skill is None, 0.0 if skill is None else -skill.value)


def _lines(rows: Sequence[Row], baselines: Sequence[NamedRecord], ranking: Ranking) -> tuple[Standing, ...]:
    """Models and baselines in one order; a baseline without a record of its own stands where the first model's record says."""
    lines = [Standing(row.name, row.skill, row.place, row) for row in rows]
    lines += [Standing(one.name, one.record.row_skill, ranking.order.places.get(one.name), None) for one in baselines]
    there = {one.record.inputs.model for one in baselines}
    told = next((row.record.row_skill.references for row in rows if row.record.row_skill is not None), {})
    lines += [Standing(name, skill, None, None) for name, skill in told.items() if name not in there]
    aside = {line.name for line in lines if line.row and line.place is None and ranking.order.places}
    return tuple(sorted(lines, key=lambda line: (line.name in aside, _from_the_top(line.skill), line.name)))


def _of_one_meaning(records: Sequence[NamedRecord]) -> tuple[list[NamedRecord], list[str]]:
    """(those that mean by every headline number what most of them mean, notes on the others)."""
    meanings: dict[Key, Counter[tuple[object, ...]]] = {}
    for one in records:
        for number in one.record.numbers:
            if not number.detail:
                meanings.setdefault(number.key, Counter())[_meaning(number)] += 1
    usual = {key: counted.most_common(1)[0][0] for key, counted in meanings.items()}
    alike, notes = [], []
    for one in records:
        other = next((n for n in one.record.numbers if not n.detail and _meaning(n) != usual[n.key]), None)
        if other is None:
            alike.append(one)
            continue
        said = zip(DECLARED, _meaning(other), usual[other.key], strict=True)
        apart = "; ".join(f"{field} {own!r} against {theirs!r}" for field, own, theirs in said if own != theirs)
        notes.append(
            f"{one.name} is left out: it does not mean the same as the others by {other.metric} {other.quantity}: {apart}"
        )
    return alike, notes


def _meaning(number: Number) -> tuple[object, ...]:
    return tuple(number.declared.values())


def _row(one: NamedRecord, ranking: Ranking) -> Row:
    return Row(
        one.name,
        one.record,
        one.path,
        ranking.ranks.get(one.name, {}),
        ranking.barred.get(one.name, {}),
        ranking.order.places.get(one.name),
        remarks(one.record),
    )


def _columns(records: Sequence[NamedRecord]) -> dict[Key, Number]:
    """The headline numbers, as the first that has them says."""
    columns: dict[Key, Number] = {}
    for one in records:
        for number in one.record.numbers:
            if not number.detail:
                columns.setdefault(number.key, number)
    return columns


def _names(records: Sequence[Record]) -> list[str]:
    """Unique ones: what tables call the model; where several are called alike, the seed of its training tells them apart, or the hash."""
    names = [called(record) for record in records]
    seeded = [
        f"{name}-seed{record.seeds[0]}" if len(record.seeds) == 1 else name
        for name, record in zip(names, records, strict=True)
    ]
    told = [own if names.count(name) > 1 else name for name, own in zip(names, seeded, strict=True)]
    return [
        name if told.count(name) == 1 else f"{called(record)}-{record.inputs.hash[:6]}"
        for name, record in zip(told, records, strict=True)
    ]


def _ends(
    given: Sequence[tuple[str, Record]], columns: Mapping[Key, Number]
) -> tuple[dict[str, dict[Key, Estimate]], list[str]]:
    """(floors and ceilings, from whichever record has them; notes on those that say otherwise)."""
    estimates: dict[str, dict[Key, tuple[str, Estimate]]] = {}
    notes: dict[str, str] = {}
    for name, record in given:
        for number in record.numbers:
            for end, estimate in number.references.items() if number.key in columns else ():
                said_by, said = estimates.setdefault(end, {}).setdefault(number.key, (name, estimate))
                apart = abs(said.value - estimate.value)
                if number.role != "resource" and not apart <= 1e-3 * (1e-3 + abs(said.value)):
                    notes.setdefault(
                        name,
                        f"{name} and {said_by} say different things of the baseline {end} ({number.metric} {number.quantity}: "
                        f"{estimate.value:g} and {said.value:g}); one of them is wrong",
                    )
    ends = {
        name: {key: estimate for key, (_, estimate) in estimates[name].items()}
        for name in (*FLOORS, *CEILINGS)
        if name in estimates
    }
    return ends, list(notes.values())
