"""Which records make one row: the latest of an exam, runs of single metrics put together, copies once. Imports no torch."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from counterbench.records.record import Record, called


@dataclass(frozen=True)
class Gathered:
    """One row of a board, before it has a name.

    Args:
        record: its numbers.
        parts: the records that they come from with their files, the one that counts most first.
    """

    record: Record
    parts: tuple[tuple[Path, Record], ...]

    @property
    def path(self) -> Path:
        """Where its first part was read."""
        return self.parts[0][0]


def gather(given: Sequence[tuple[Path, Record]]) -> tuple[list[Gathered], list[str]]:
    """One row of every model, and what was left out.

    Records of one model (the same name, recipe and training seed) are one row. Runs of other metrics in the same exam are put together.
    Of several exams the one with most images counts, and of those the record that was written last.

    Args:
        given: records of one dataset, source and suite, with their files.

    Returns:
        (rows in the order in which they were given, notes).
    """
    once, notes = _once(given)
    models: dict[str, list[tuple[Path, Record]]] = {}
    for path, record in once:
        models.setdefault(_model(record), []).append((path, record))
    rows = []
    for records in models.values():
        exams: dict[str, list[tuple[Path, Record]]] = {}
        for path, record in records:
            exams.setdefault(_exam(record), []).append((path, record))
        chosen, *others = sorted(map(_together, exams.values()), key=_counts_most)
        rows.append(chosen)
        name = called(chosen.record)
        notes += [
            f"an earlier or smaller record of {name} is left out: {_place(path, chosen.path)}"
            for one in others
            for path, _ in one.parts
        ]
        if len(chosen.parts) > 1:
            notes.append(f"{name} is one row of {len(chosen.parts)} runs of the same exam with other metrics")
    return rows, notes


def _once(given: Sequence[tuple[Path, Record]]) -> tuple[list[tuple[Path, Record]], list[str]]:
    """(every record once, notes on copies)."""
    first_of: dict[str, tuple[Path, Record]] = {}
    notes = []
    inside = {training.record for _, record in given for training in record.group}
    if inside:
        given = [(path, record) for path, record in given if record.inputs.hash not in inside]
        notes.append(
            "trainings of one recipe are one row, whose intervals hold their chance; their own records are left out"
        )
    for path, record in given:
        earlier = first_of.setdefault(record.inputs.hash, (path, record))
        if earlier[0] != path:
            notes.append(
                f"{_place(path, earlier[0])} is left out: it is the same evaluation as {_place(earlier[0], path)}"
            )
    return list(first_of.values()), notes


def _place(path: Path, other: Path) -> str:
    """A file, from the folder that it shares with another one."""
    return os.path.relpath(path, os.path.commonpath([path, other]))


def _model(record: Record) -> str:
    """The same for records of one model; answers from files grow round by round, and stay one model."""
    own = [called(record), record.origin, record.inputs.recipe, record.seeds, record.inputs.answers, bool(record.group)]
    return json.dumps(own, sort_keys=True)


def _exam(record: Record) -> str:
    """The same for runs of one model that differ in their metrics alone."""
    own = record.inputs.model_dump(mode="json", exclude={"metrics", "judges", "features", "model"})
    return json.dumps(own, sort_keys=True)


def _counts_most(one: Gathered) -> tuple[int, int, float]:
    record = one.record
    answered = 0 if record.coverage is None else len(record.coverage.rounds)
    return -record.images, -answered, -max(path.stat().st_mtime for path, _ in one.parts)


def _together(parts: Sequence[tuple[Path, Record]]) -> Gathered:
    """One record of runs of other metrics; what two of them have is that of the larger one."""
    ordered = sorted(parts, key=lambda part: -len(part[1].numbers))
    records = [record for _, record in ordered]
    first = records[0]
    if len(records) == 1:
        return Gathered(first, tuple(ordered))
    numbers = {number.key: number for record in reversed(records) for number in record.numbers}
    there = {key[0] for key in numbers}
    inputs = first.inputs.model_copy(
        update={
            field: {key: value for record in reversed(records) for key, value in getattr(record.inputs, field).items()}
            for field in ("metrics", "judges", "features")
        }
    )
    record = first.model_copy(
        update={
            "inputs": inputs,
            "numbers": [*first.numbers, *(number for key, number in numbers.items() if key not in first.by_key)],
            "row_skill": next((one.row_skill for one in records if one.row_skill is not None), None),
            "skipped": {what: why for one in records for what, why in one.skipped.items() if what not in there},
            "flags": list(dict.fromkeys(flag for one in records for flag in one.flags)),
            "notes": list(dict.fromkeys(note for one in records for note in one.notes)),
        }
    )
    return Gathered(record, tuple(ordered))
