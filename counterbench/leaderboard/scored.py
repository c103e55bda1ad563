"""Records with the scores behind them, read to be compared. Imports no torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from counterbench.errors import RecordError, short
from counterbench.records import totals
from counterbench.records.intervals import Ratios, value_of
from counterbench.records.record import SAMPLES, Record, called, file_of, read_record
from counterbench.records.totals import Key, Totals

_SAME = ("dataset", "source", "exam_seed", "plan", "data", "judges", "features", "edition")


@dataclass(frozen=True)
class ScoredRecord:
    """One record with its scores.

    Args:
        name: how it is called in the comparison.
        record: the numbers.
        ratios: number -> its totals per cluster, (G, 1).
    """

    name: str
    record: Record
    ratios: dict[Key, Ratios]

    def stacked(self, keys: Sequence[Key]) -> Ratios:
        """The totals of some numbers side by side, (G, K)."""
        return Ratios.side_by_side([self.ratios[key] for key in keys])


def load(paths: Sequence[Path]) -> list[ScoredRecord]:
    """Read records with their scores.

    Args:
        paths: folders of `counterbench evaluate`, or the record files in them.

    Raises:
        RecordError: if one is missing or damaged, or two cannot be compared; it says which field differs.
    """
    if len(paths) < 2:
        raise RecordError("A comparison needs at least two records.")
    files = [file_of(path) for path in paths]
    records = [read_record(path) for path in files]
    for path, record in zip(files[1:], records[1:], strict=True):
        require_comparable(records[0], record, files[0], path)
    names = [called(record) for record in records]
    if len(set(names)) < len(names):
        names = [f"{name}-{record.inputs.hash[:6]}" for name, record in zip(names, records, strict=True)]
    if len(set(names)) < len(names):
        raise RecordError("The same record was given twice; a comparison needs different ones.")
    totals_of_each = totals_of(files)
    entries = [
        ScoredRecord(name, record, dict(totals.numbers))
        for name, record, totals in zip(names, records, totals_of_each, strict=True)
    ]
    for path, entry in zip(files, entries, strict=True):
        require_own(path, entry)
    return entries


OTHERWISE = {
    "dataset": "it is about other data",
    "source": "its images come from another source",
    "exam_seed": "it took the exam of another seed",
    "plan": "it answered other questions",
    "data": "it was asked about other images",
    "judges": "it was judged by other judges",
    "features": "it was judged in other feature spaces",
    "edition": "its numbers are defined otherwise",
}
"""What it means that a record is of another exam, by the field that says so."""


def differing(first: Record, other: Record) -> str:
    """The first field that says that two records took different exams; empty if none does."""
    for field in _SAME:
        a, b = _told(field, first, other)
        if a != b:
            return field
    return ""


def _told(field: str, first: Record, other: Record) -> tuple[object, object]:
    """What two records say of an exam, as far as it matters whether they can be compared."""
    a, b = getattr(first.inputs, field), getattr(other.inputs, field)
    if field == "features":  # a space that only one of them used says nothing about the others
        shared = sorted(a.keys() & b.keys())
        return {key: a[key] for key in shared}, {key: b[key] for key in shared}
    if field == "data":  # what the card says in words may change; pixels, attributes and questions may not
        return tuple({key: told[key] for key in sorted(told) if key != "card"} for told in (a, b))  # type: ignore[return-value]
    return a, b


def require_comparable(first: Record, second: Record, one: Path, other: Path) -> None:
    """Raise RecordError, naming the field that differs, unless two records answer the same questions on the same data."""
    field = differing(first, second)
    if not field:
        return
    a, b = _told(field, first, second)
    how = (
        "Make the one of the older edition again with this version"
        if field == "edition"
        else "Evaluate both with the same dataset, source, suite, seeds and limit"
    )
    raise RecordError(
        f"{one} and {other} cannot be compared: the field {field!r} differs ({short(a)} against {short(b)}). {how}."
    )


def totals_of(files: Sequence[Path]) -> list[Totals]:
    """Totals of records: the same clusters, in the same order, of every record; put together where one of them has no finer ones."""
    samples = [totals.beside(path, SAMPLES) for path in files]
    if not all(path.exists() for path in samples):
        merged = [totals.read(path, merge=True) for path in files]
        if len({len(one.units) for one in merged}) > 1:
            raise RecordError("These records have different independent units; they cannot be paired.")
        return merged
    units = np.unique(np.concatenate([totals.units_of(path) for path in samples]))
    return [totals.of_samples(path, units) for path in samples]


def require_own(path: Path, entry: ScoredRecord) -> None:
    """Raise RecordError if these scores are not the ones that the record was made from."""
    for number in entry.record.numbers:
        if number.kind not in ("mean", "skill", "root"):
            continue
        if number.key not in entry.ratios:
            if number.detail:
                continue  # no board needs it
            raise RecordError(
                f"The scores beside {path} lack {number.metric} {number.quantity}, which is in the record."
            )
        ratio = float(entry.ratios[number.key].point()[0])
        value = value_of(number.kind, ratio)
        if not abs(value - number.value) <= 1e-5 * (1 + abs(number.value)):  # totals are stored in single precision
            raise RecordError(
                f"The scores beside {path} are not those of the record: {number.metric} {number.quantity} is {value:g} there and {number.value:g} in the record."
            )
