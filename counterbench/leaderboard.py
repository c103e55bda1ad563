"""Leaderboards: records side by side, with what nobody had to learn. Imports no torch.

A board is one dataset, source and suite. It only reads: every number, interval and mark is in a record. Ranks come from paired
comparisons (:mod:`counterbench.ranking`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from counterbench.comparison import RESAMPLES
from counterbench.errors import RecordError
from counterbench.files import slug
from counterbench.plausibility import problems
from counterbench.ranking import Candidate, Ranking, rank, unfinished
from counterbench.records import CEILINGS, FLOORS, RECORD, Estimate, Number, Record, read_record
from counterbench.totals import Key

BOARDS = "leaderboard.json"
"""All boards as plain data; no record, should it lie among them."""


@dataclass(frozen=True)
class Row:
    """One model of a board.

    Args:
        name: unique on the board.
        record: its numbers.
        path: where it was read.
        ranks: number -> rank; nothing for numbers of which no scores are stored, and none that is leaked.
        mean: mean over the metrics of its mean rank in each; None where it lacks numbers that others have.
        marks: what a reader must know, e.g. that only some questions were asked.
    """

    name: str
    record: Record
    path: Path
    ranks: Mapping[Key, int] = field(default_factory=dict)
    mean: float | None = None
    marks: tuple[str, ...] = ()

    def number(self, key: Key) -> Number | None:
        """One of its numbers, if it has it."""
        return self.record.by_key.get(key)

    def mean_rank(self, metric: str) -> float | None:
        """Mean rank over the numbers of one metric; None without ranks."""
        known = self.record.by_key
        found = [rank for key, rank in self.ranks.items() if key[0] == metric and known[key].kind != "skill"]
        return sum(found) / len(found) if found else None


@dataclass(frozen=True)
class Board:
    """All records of one dataset, source and suite.

    Args:
        dataset: of all records.
        source: of all records.
        suite: of all records.
        columns: the headline numbers, in the order of the tables; each as the first record that has it says.
        rows: the models, best mean rank first.
        ends: baseline -> number -> its estimate, floors first.
        notes: what a reader must know.
        ranking: the paired differences behind the ranks.
    """

    dataset: str
    source: str
    suite: str
    columns: Mapping[Key, Number]
    rows: tuple[Row, ...]
    ends: Mapping[str, Mapping[Key, Estimate]]
    notes: tuple[str, ...] = ()
    ranking: Ranking = Ranking()  # noqa: RUF009 - frozen

    @property
    def name(self) -> str:
        """Of its files: whatever a record says, they stay in their folder."""
        return slug(f"{self.dataset}-{self.source}-{self.suite}")

    @property
    def ranked(self) -> tuple[str, ...]:
        """Those of its metrics in which some model has a rank."""
        return tuple(metric for metric in self.metrics if any(row.mean_rank(metric) for row in self.rows))

    @property
    def metrics(self) -> tuple[str, ...]:
        """The metrics that it has numbers of, in the order of the tables."""
        return tuple(dict.fromkeys(key[0] for key in self.columns))


def find(folder: Path) -> list[Path]:
    """Every record in a folder: `record.json` of an evaluation, or `<model>.json` of a collection.

    Raises:
        RecordError: if there is none.
    """
    if not folder.is_dir():
        raise RecordError(f"{folder} is no folder; give one that holds records.")
    found = sorted(
        path
        for path in folder.rglob("*.json")
        if path.name == RECORD or not (path.name == BOARDS or (path.parent / RECORD).exists())
    )
    if not found:
        raise RecordError(f"{folder} holds no records (*.json); make one with: counterbench evaluate.")
    return found


def build(paths: Sequence[Path], resamples: int = RESAMPLES) -> list[Board]:
    """Boards of all records.

    Args:
        paths: of records; see :func:`find`.
        resamples: behind the ranks.

    Raises:
        RecordError: for a file that is no record, or one that cannot be true.
    """
    boards: dict[tuple[str, str, str], list[tuple[Path, Record]]] = {}
    for path in paths:
        record = read_record(path)
        if wrong := problems(record):
            raise RecordError(
                f"{path} cannot be true: {wrong[0]}" + (f", and {len(wrong) - 1} more." if wrong[1:] else ".")
            )
        inputs = record.inputs
        boards.setdefault((inputs.dataset, inputs.source, inputs.suite), []).append((path, record))
    return [_board(*names, given, resamples) for names, given in sorted(boards.items())]


def _board(dataset: str, source: str, suite: str, given: Sequence[tuple[Path, Record]], resamples: int) -> Board:
    given, notes = _once(given)
    models = [(path, record) for path, record in given if record.inputs.model not in (*FLOORS, *CEILINGS)]
    names = _names([record for _, record in models])
    candidates = [Candidate(name, record, path) for name, (path, record) in zip(names, models, strict=True)]
    ranking = rank(candidates, resamples)
    rows = [_row(one, ranking) for one in candidates]
    rows.sort(key=lambda row: (row.mean is None, row.mean or 0.0, row.name))
    # What those say who are ranked goes before what others say: only they certainly took the same exam.
    first = sorted(candidates, key=lambda one: one.name not in ranking.ranks)
    leading = [one for one in first if one.name in ranking.ranks] or first
    columns = _columns(first or [Candidate(path.stem, record, path) for path, record in given])
    ends, more = _ends(
        [(one.name, one.record) for one in leading] or [(path.stem, record) for path, record in given], columns
    )
    return Board(dataset, source, suite, columns, tuple(rows), ends, (*notes, *ranking.notes, *more), ranking)


def _once(given: Sequence[tuple[Path, Record]]) -> tuple[list[tuple[Path, Record]], list[str]]:
    """(every record once, notes on copies)."""
    found: dict[str, tuple[Path, Record]] = {}
    notes = []
    for path, record in given:
        earlier = found.setdefault(record.inputs.hash, (path, record))
        if earlier[0] != path:
            notes.append(f"{path} is left out: it is the same evaluation as {earlier[0]}")
    return list(found.values()), notes


def _row(one: Candidate, ranking: Ranking) -> Row:
    marks = list(_marks(one.record))
    if lacking := ranking.lacking.get(one.name):
        marks.append(f"no mean rank: {lacking} numbers of the others are missing or leaked")
    ranks = ranking.ranks.get(one.name, {})
    return Row(one.name, one.record, one.path, ranks, ranking.means.get(one.name), tuple(marks))


def _columns(candidates: Sequence[Candidate]) -> dict[Key, Number]:
    """The headline numbers; all records must mean the same by them."""
    columns: dict[Key, tuple[str, Number]] = {}
    for one in candidates:
        for number in one.record.numbers:
            if number.detail:
                continue
            name, known = columns.setdefault(number.key, (one.name, number))
            if (known.direction, known.unit, known.kind) != (number.direction, number.unit, number.kind):
                raise RecordError(
                    f"{one.name} and {name} do not mean the same by {number.metric} {number.quantity}: {number.direction} is better, "
                    f"{number.unit or 'no unit'}, against {known.direction}, {known.unit or 'no unit'}. Remove the one that is wrong "
                    "(counterbench validate tells)."
                )
    return {key: number for key, (_, number) in columns.items()}


def _names(records: Sequence[Record]) -> list[str]:
    called = [Path(record.inputs.model).name for record in records]
    return [
        name if called.count(name) == 1 else f"{name}-{record.inputs.hash[:6]}"
        for name, record in zip(called, records, strict=True)
    ]


def _marks(record: Record) -> tuple[str, ...]:
    marks = []
    if part := unfinished(record):
        marks.append(f"partial: {part}")
    if record.leaked:
        marks.append(f"leaked: {len(record.leaked)} numbers come from judges that it was trained against")
    if record.inputs.plugins:
        marks.append(f"plug-in: {', '.join(record.inputs.plugins)}")
    marks += [note for note in record.notes if note.startswith(("answers from files", "trained on"))]
    return tuple(marks)


def _ends(
    given: Sequence[tuple[str, Record]], columns: Mapping[Key, Number]
) -> tuple[dict[str, dict[Key, Estimate]], list[str]]:
    """(floors and ceilings, from whichever record has them; notes on those that say otherwise)."""
    found: dict[str, dict[Key, tuple[str, Estimate]]] = {}
    notes: dict[str, str] = {}
    for name, record in given:
        for number in record.numbers:
            for end, estimate in number.references.items() if number.key in columns else ():
                said_by, said = found.setdefault(end, {}).setdefault(number.key, (name, estimate))
                apart = abs(said.value - estimate.value)
                if number.metric != "cost" and not apart <= 1e-3 * (1e-3 + abs(said.value)):
                    notes.setdefault(
                        name,
                        f"{name} and {said_by} say different things of the baseline {end} ({number.metric} {number.quantity}: "
                        f"{estimate.value:g} and {said.value:g}); one of them is wrong",
                    )
    ends = {
        name: {key: estimate for key, (_, estimate) in found[name].items()}
        for name in (*FLOORS, *CEILINGS)
        if name in found
    }
    return ends, list(notes.values())
