"""Which records make one row: the latest of an exam, runs of single metrics put together, copies once. Imports no torch."""

from __future__ import annotations

import json
import os
from collections import Counter
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

    Records of one model are one row (see :func:`_model`). Runs of other metrics in the same exam, by the same judges, are put together. Of
    several exams the one with most images counts, then the one that most models took, and of those the record that was written last.

    Args:
        given: records of one dataset, source and suite, with their files.

    Returns:
        (rows in the order in which they were given, notes).
    """
    once, notes = _once(given)
    models: dict[str, list[tuple[Path, Record]]] = {}
    for path, record in once:
        models.setdefault(_model(record), []).append((path, record))
    taken = Counter(exam for records in models.values() for exam in {_exam(record) for _, record in records})
    rows = []
    for records in models.values():
        candidates = [_together(parts) for parts in _of_one_exam(records)]
        candidates.sort(key=lambda one: (*_size(one), -taken[_exam(one.record)], -_written(one), str(one.path)))
        chosen, *others = candidates
        rows.append(chosen)
        name = called(chosen.record)
        notes += [
            f"another record of {name} is left out (fewer images, an exam of fewer models, or earlier): {_place(path, chosen.path)}"
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


_TRAINED = ("epochs", "limit", "rows", "data", "feed")
"""What a manifest says of how a model was trained, besides its recipe and seed."""


def _model(record: Record) -> str:
    """The same for records of one model: its name, recipe, seed and how it was trained. Whoever trains it again in this way has trained the
    same model; of a model without a recipe the weights, or the code, say whether it is the same. Answers from files grow round by round, and
    stay one model.
    """
    inputs = record.inputs
    foreign = not inputs.recipe and record.coverage is None
    own = [
        called(record),
        record.origin,
        inputs.recipe,
        record.seeds,
        {key: record.training.get(key) for key in _TRAINED},
        inputs.answers,
        bool(record.group),
        record.is_baseline,
        inputs.weights_sha256 if foreign else None,
    ]
    return json.dumps(own, sort_keys=True, default=str)


def _exam(record: Record) -> str:
    """The same for records that may differ in the model, the metrics and whoever judges alone."""
    own = record.inputs.model_dump(
        mode="json",
        exclude={
            *(
                "metrics",
                "judges",
                "features",
                "model",
                "recipe",
                "weights_sha256",
                "plugins",
                "answers",
                "counterbench",
            )
        },
    )
    return json.dumps(own, sort_keys=True)


def _of_one_exam(records: Sequence[tuple[Path, Record]]) -> list[list[tuple[Path, Record]]]:
    """Records of one model, those together that can be put together, the latest first."""
    groups: list[list[tuple[Path, Record]]] = []
    for path, record in sorted(records, key=lambda part: (-part[0].stat().st_mtime, str(part[0]))):
        fitting = (group for group in groups if all(_fit(record, other) for _, other in group))
        found = next(fitting, None)
        if found is None:
            groups.append([(path, record)])
        else:
            found.append((path, record))
    return groups


def _fit(one: Record, other: Record) -> bool:
    """Whether two records of a model differ in which metrics were asked for alone: what both have of judges, feature spaces and options is equal."""
    if _exam(one) != _exam(other) or one.inputs.weights_sha256 != other.inputs.weights_sha256:
        return False
    if one.inputs.metrics.keys() == other.inputs.metrics.keys():
        return False  # the same was asked again
    pairs = [(getattr(one.inputs, field), getattr(other.inputs, field)) for field in ("metrics", "judges", "features")]
    return all(a[key] == b[key] for a, b in pairs for key in a.keys() & b.keys())


def _size(one: Gathered) -> tuple[int, int]:
    record = one.record
    answered = 0 if record.coverage is None else len(record.coverage.rounds)
    return -record.images, -answered


def _written(one: Gathered) -> float:
    """When the latest of its files was written."""
    return max(path.stat().st_mtime for path, _ in one.parts)


def _together(parts: Sequence[tuple[Path, Record]]) -> Gathered:
    """One record of runs of other metrics; what two of them have is that of the larger one."""
    ordered = sorted(parts, key=lambda part: -len(part[1].numbers))  # stable: of equal ones the latest goes before
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
            "subgroups": list({one.by: one for record in reversed(records) for one in record.subgroups}.values()),
            "questions": {
                kind: max(one.questions.get(kind, 0) for one in records) for one in records for kind in one.questions
            },
            "flags": list(dict.fromkeys(flag for one in records for flag in one.flags)),
            "notes": list(dict.fromkeys(note for one in records for note in one.notes)),
        }
    )
    return Gathered(record, tuple(ordered))
