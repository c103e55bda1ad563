"""Leaderboards: records side by side, with what nobody had to learn. Imports no torch.

A board is one dataset, source and suite. It only reads: every number, interval and mark is in a record. Ranks come from paired
comparisons (:mod:`counterbench.comparison`): 1 and how many are better beyond chance; who cannot be told apart shares a rank.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from counterbench import comparison
from counterbench.comparison import Comparison
from counterbench.errors import RecordError
from counterbench.plausibility import problems
from counterbench.records import CEILINGS, FLOORS, RECORD, Estimate, Number, Record, read_record
from counterbench.totals import Key

RESAMPLES = 5000


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
        marks: what a reader must know, e.g. that only some questions were asked.
    """

    name: str
    record: Record
    path: Path
    ranks: Mapping[Key, int] = field(default_factory=dict)
    marks: tuple[str, ...] = ()

    def number(self, key: Key) -> Number | None:
        """One of its numbers, if it has it."""
        return self.record.by_key.get(key)

    def mean_rank(self, metric: str | None = None) -> float | None:
        """Mean rank over all numbers, or over those of one metric; None without ranks."""
        found = [rank for key, rank in self.ranks.items() if metric in (None, key[0])]
        return sum(found) / len(found) if found else None


@dataclass(frozen=True)
class Board:
    """All records of one dataset, source and suite.

    Args:
        dataset, source, suite: of all records.
        columns: the headline numbers, in the order of the tables; each as the first record that has it says.
        rows: the models, best mean rank first.
        ends: baseline -> number -> its estimate, floors first.
        notes: what a reader must know.
        comparison: the paired differences behind the ranks; None with fewer than two models that can be compared.
    """

    dataset: str
    source: str
    suite: str
    columns: Mapping[Key, Number]
    rows: tuple[Row, ...]
    ends: Mapping[str, Mapping[Key, Estimate]]
    notes: tuple[str, ...] = ()
    comparison: Comparison | None = None

    @property
    def name(self) -> str:
        """Of its files."""
        return f"{self.dataset}-{self.source}-{self.suite}"

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
    models = [(path, record) for path, record in given if record.inputs.model not in (*FLOORS, *CEILINGS)]
    names = _names([record for _, record in models])
    rows = [Row(name, record, path, marks=_marks(record)) for name, (path, record) in zip(names, models, strict=True)]
    paired, notes = _paired(rows, resamples)
    if paired is not None:
        rows = [replace(row, ranks=_ranks(paired, row.name)) if row.name in paired.names else row for row in rows]
    columns: dict[Key, Number] = {}
    for record in [row.record for row in rows] or [record for _, record in given]:
        columns |= {n.key: n for n in record.numbers if not n.detail and n.key not in columns}
    ends = _ends([record for _, record in given], columns)
    rows.sort(key=lambda row: (row.mean_rank() is None, row.mean_rank() or 0.0, row.name))
    return Board(dataset, source, suite, columns, tuple(rows), ends, notes, paired)


def _names(records: Sequence[Record]) -> list[str]:
    called = [Path(record.inputs.model).name for record in records]
    return [
        name if called.count(name) == 1 else f"{name}-{record.inputs.hash[:6]}"
        for name, record in zip(called, records, strict=True)
    ]


def _marks(record: Record) -> tuple[str, ...]:
    marks = []
    if record.images < record.test_images:
        marks.append(f"partial: {record.images:,} of {record.test_images:,} images")
    if record.leaked:
        marks.append(f"leaked: {len(record.leaked)} numbers come from judges that it was trained against")
    if record.inputs.plugins:
        marks.append(f"plug-in: {', '.join(record.inputs.plugins)}")
    marks += [note for note in record.notes if note.startswith(("answers from files", "trained on"))]
    return tuple(marks)


def _paired(rows: Sequence[Row], resamples: int) -> tuple[Comparison | None, tuple[str, ...]]:
    """(the paired comparison of the largest set of records that answer the same questions, notes on the others)."""
    if len(rows) < 2:
        return None, ()
    same: dict[str, list[Row]] = {}
    for row in rows:
        same.setdefault(row.record.inputs.plan, []).append(row)
    chosen = max(same.values(), key=len)
    notes = [
        f"{row.name} answers other questions than the rest and has no rank"
        for row in rows
        if row.record.inputs.plan != chosen[0].record.inputs.plan
    ]
    if len(chosen) < 2:
        return None, tuple(notes)
    try:
        entries = comparison.load([row.path for row in chosen])
    except RecordError as error:
        return None, (*notes, f"no ranks: {error}")
    named = [comparison.Entry(row.name, entry.record, entry.ratios) for row, entry in zip(chosen, entries, strict=True)]
    made = comparison.compare(named, resamples=resamples)
    return made, (*notes, *made.notes)


def _ranks(paired: Comparison, name: str) -> dict[Key, int]:
    place = paired.names.index(name)
    return {key: ranks[place] for key, ranks in paired.ranks.items()}


def _ends(records: Sequence[Record], columns: Mapping[Key, Number]) -> dict[str, dict[Key, Estimate]]:
    """Floors and ceilings, from whichever record has them: they are the same in all."""
    found: dict[str, dict[Key, Estimate]] = {}
    for record in records:
        for number in record.numbers:
            if number.key in columns:
                for name, estimate in number.references.items():
                    found.setdefault(name, {}).setdefault(number.key, estimate)
    return {name: found[name] for name in (*FLOORS, *CEILINGS) if name in found}
