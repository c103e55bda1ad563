"""Several trainings of one recipe as one record: means over trainings, whose chance is in the intervals. Imports no torch."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from counterbench.errors import RecordError, short
from counterbench.leaderboard.scored import ScoredRecord, require_comparable, require_own
from counterbench.records import totals
from counterbench.records.intervals import Ratios, intervals, limits, spread_of, value_of
from counterbench.records.record import (
    Inputs,
    Number,
    Record,
    RowPart,
    RowSkillNumber,
    Training,
    called,
    file_of,
    read_record,
)
from counterbench.records.row_skill import UNANSWERED, RowSkill, bounded, skill_key
from counterbench.records.totals import Key, Totals

Compared = tuple[Sequence[Number], Mapping[Key, Ratios]]
"""Numbers of what several trainings say beside each other, and the totals behind them."""
_OWN = ("model", "weights_sha256", "answers")
"""What the inputs of trainings of one recipe may differ in."""


def group(
    paths: Sequence[Path],
    *,
    name: str | None = None,
    compared: Compared = ((), {}),
    seed: int = 0,
) -> tuple[Record, Totals]:
    """One record of several trainings, and the totals behind it.

    A value is the mean over the trainings (of a ratio: that of the mean sums). Its interval holds the chance of the clusters and that of
    the trainings (:mod:`counterbench.records.intervals`): three trainings tell little of the latter, and it is wide.

    Args:
        paths: records of one recipe in one exam, with other training seeds; folders of `counterbench evaluate`, or the files in them.
        name: of the row; None for the recipe's.
        compared: numbers of what the trainings say beside each other, which none of them has alone, and the totals behind them.
        seed: of the resampling.

    Raises:
        RecordError: for fewer than two, for the same training twice, or for records that differ in more than the training.
    """
    files = [file_of(path) for path in paths]
    records = [read_record(path) for path in files]
    _require_one_recipe(records, files)
    scores = [totals.read(path, merge=True) for path in files]
    for path, record, score in zip(files, records, scores, strict=True):
        require_own(path, ScoredRecord(called(record), record, dict(score.numbers)))
    keys = [key for key in scores[0].numbers if all(key in one.numbers for one in scores)]
    pooled = {key: Ratios.mean([one.numbers[key] for one in scores]) for key in keys}
    first = records[0]
    numbers = _numbers(records, pooled, seed)
    told = {number.key for number in numbers}
    lacking = {n.key: n for record in records for n in record.numbers if n.key not in told}
    skipped = {what: why for record in records for what, why in record.skipped.items()}
    skipped |= {" ".join(str(part) for part in key if part): "not every training has it" for key in lacking}
    record = first.model_copy(
        update={
            "name": None,
            "inputs": _inputs(records, name, compared[0]),
            "group": [_training(one) for one in records],
            "training": {key: value for key, value in first.training.items() if key not in ("seed", "seconds")},
            "kept_answers": None,
            "numbers": [*numbers, *compared[0]],
            "subgroups": [],
            "row_skill": _row_skill(records, pooled, seed),
            "skipped": skipped,
            "seconds": {key: sum(one.seconds.get(key, 0.0) for one in records) for key in first.seconds},
            "flags": list(dict.fromkeys(flag for one in records for flag in one.flags)),
            "notes": list(dict.fromkeys(note for one in records for note in one.notes)),
        }
    )
    return record, Totals(scores[0].units, {**pooled, **compared[1]}, True)


def _require_one_recipe(records: Sequence[Record], files: Sequence[Path]) -> None:
    if len(records) < 2:
        raise RecordError("A group needs the records of at least two trainings.")
    for record, path in zip(records, files, strict=True):
        if record.group:
            raise RecordError(f"{path} is a group itself; give the records of its trainings.")
        if not isinstance(record.training.get("seed"), int):
            raise RecordError(f"{path} is of a model without a training seed; a group is of trainings.")
        require_comparable(records[0], record, files[0], path)
        for field in sorted(Inputs.model_fields.keys() - {*_OWN, "features", "counterbench"}):
            one, other = getattr(records[0].inputs, field), getattr(record.inputs, field)
            if one != other:
                raise RecordError(
                    f"{files[0]} and {path} are no trainings of one recipe: the field {field!r} differs ({short(one)} against {short(other)})."
                )
    seeds = [record.training["seed"] for record in records]
    weights = [record.inputs.weights_sha256 for record in records]
    if len(set(seeds)) < len(seeds) or len(set(weights)) < len(weights):
        raise RecordError(
            f"The trainings have the seeds {', '.join(map(str, seeds))}; a group needs a different one of each, and other weights."
        )


def _inputs(records: Sequence[Record], name: str | None, compared: Sequence[Number]) -> Inputs:
    first = records[0].inputs
    weights = json.dumps(sorted(str(record.inputs.weights_sha256) for record in records))
    own = name or str(first.recipe.get("name") or called(records[0]))
    digest = hashlib.sha256(weights.encode()).hexdigest()
    metrics = {**first.metrics, **{number.metric: {} for number in compared}}
    return first.model_copy(update={"model": own, "weights_sha256": digest, "answers": None, "metrics": metrics})


def _training(record: Record) -> Training:
    skill = None if record.row_skill is None else record.row_skill.value
    inputs = record.inputs
    return Training(
        seed=record.training["seed"], record=inputs.hash, weights_sha256=inputs.weights_sha256, row_skill=skill
    )


def _numbers(records: Sequence[Record], pooled: dict[Key, Ratios], seed: int) -> list[Number]:
    """The numbers that every training has."""
    listed = [record.by_key for record in records]
    shared = [key for key in listed[0] if all(key in numbers for numbers in listed)]
    with_spread = [key for key in shared if key in pooled and listed[0][key].kind in ("mean", "skill", "root")]
    ends: dict[Key, tuple[float, float]] = {}
    if with_spread:
        stacked = Ratios.side_by_side([pooled[key] for key in with_spread])
        declared = [listed[0][key] for key in with_spread]
        low, high = intervals(stacked, declared, records[0].inputs.resamples, seed)
        ends = {key: (float(a), float(b)) for key, a, b in zip(with_spread, low, high, strict=True)}
    found = []
    for key in shared:
        of_each = [numbers[key] for numbers in listed]
        first = of_each[0]
        if key in ends:
            value = value_of(first.kind, float(pooled[key].point()[0]))
            known = np.isfinite(ends[key][0]) and first.low is not None
            low_end, high_end = ends[key] if known else (None, None)
        else:
            values = [number.value for number in of_each]
            value, low_end, high_end = max(values) if first.kind == "peak" else float(np.mean(values)), None, None
        marks = {
            "leaked": any(number.leaked for number in of_each),
            "no_rank": next((number.no_rank for number in of_each if number.no_rank), ""),
        }
        found.append(first.model_copy(update={"value": value, "low": low_end, "high": high_end, **marks}))
    return found


def _row_skill(records: Sequence[Record], pooled: dict[Key, Ratios], seed: int) -> RowSkillNumber | None:
    """The row skill of the mean sums; None where a training has none, or answers other interventions."""
    skills = [record.row_skill for record in records]
    first = skills[0]
    if first is None or any(one is None for one in skills):
        return None
    parts = [_part([one.parts[k] for one in skills if one is not None], pooled) for k in range(len(first.parts))]
    entering = [part for part in parts if not part.left_out]
    answered = [skill_key(part) for part in entering if part.skill is not None]
    if not answered:
        return None
    statistic = RowSkill(Ratios.side_by_side([pooled[key] for key in answered]), len(entering) - len(answered))
    spread = spread_of(statistic, records[0].inputs.resamples, seed)
    low, high = (float(end[0]) for end in limits(spread))
    known = np.isfinite(low)
    return RowSkillNumber(
        value=float(spread.point[0]),
        low=max(low, UNANSWERED) if known else None,
        high=min(high, 1.0) if known else None,
        n=first.n,
        parts=parts,
        references=first.references,
    )


def _part(of_each: Sequence[RowPart], pooled: dict[Key, Ratios]) -> RowPart:
    """One intervention, by the mean sums of all trainings; not answered if one of them does not answer it."""
    first = of_each[0]
    key = skill_key(first)
    if key not in pooled or any(part.skill is None for part in of_each):
        return first.model_copy(update={"skill": None, "bounded": None if first.left_out else UNANSWERED})
    ratio = pooled[key].point()
    estimates = [part.estimated for part in of_each if part.estimated is not None]
    return first.model_copy(
        update={
            "skill": value_of("skill", float(ratio[0])),
            "bounded": None if first.left_out else float(bounded(ratio)[0]),
            "estimated": float(np.mean(estimates)) if len(estimates) == len(of_each) else None,
        }
    )
