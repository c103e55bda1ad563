"""The numbers of a record in subgroups of its test images, from stored scores: nobody is asked again.

Means and ratios are taken over a subgroup's scores as they are: galleries, matched references and everything else that a score hangs on stay those of all
images. Numbers of whole sets are computed anew from the features of the subgroup.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from counterbench.datasets.division import Division, divide
from counterbench.errors import RecordError
from counterbench.evaluation import stored_scores
from counterbench.evaluation.evaluation import MODEL, SUBGROUP_REFERENCES, known_references
from counterbench.evaluation.exam import SPLIT, Exam
from counterbench.evaluation.exam_of_record import exam_of
from counterbench.evaluation.numbers import estimates_at
from counterbench.evaluation.rejudging import with_questions_of
from counterbench.evaluation.row_skill import skills_at
from counterbench.evaluation.stored_scores import Scores
from counterbench.metrics.base import Column, Metric
from counterbench.records.estimate import Direction
from counterbench.records.intervals import FEWEST, LEVEL
from counterbench.records.record import RECORD, Number, Record, file_of, read_record, write_record
from counterbench.records.row_skill import skill_key
from counterbench.records.subgroups import BySubgroup, SubgroupEstimate, Subgroups, extremes, simultaneous
from counterbench.records.totals import Key
from counterbench.storage.files import same_time

ROW_SKILL: Key = ("", "", "", "", 0, "")
_ROUNDING = 1e-9


@dataclass(frozen=True)
class _Found:
    """One number in one subgroup: its 95 % interval, and one that holds together with those of all others."""

    usual: SubgroupEstimate
    together: SubgroupEstimate


def of_folder(
    path: Path, by: Sequence[str], *, data_dir: Path | None = None, dataset: str | None = None, suite: str | None = None
) -> tuple[Record, list[Subgroups]]:
    """(a record, its numbers in subgroups), from what lies in its folder.

    Args:
        path: folder of an evaluation, or the record in it.
        by: divisions: `domain`, `digit,domain`, `age:5`.
        data_dir: where published data lies.
        dataset: its card, where that is not in the catalogue.
        suite: a name or a file, where it is not in the catalogue.

    Raises:
        RecordError: for a record of several trainings, or if scores are missing. ConfigError: for a division that there is not.
    """
    path = file_of(path)
    record = read_record(path)
    if record.group:
        raise RecordError(
            f"{path} is the mean of {len(record.group)} trainings, whose scores per sample lie beside their own records; give one of those."
        )
    scores = stored_scores.of_record(path, record)
    exam = exam_of(record, data_dir, dataset=dataset, suite=suite)
    exam = with_questions_of(record, exam, path.parent)
    return record, of_scores(record, exam, scores, by)


def add(record: Record, folder: Path, exam: Exam, by: Sequence[str]) -> Record:
    """A record with its numbers in subgroups; what its folder lacks is computed and stored there.

    Args:
        record: that lies in the folder, with its scores.
        folder: of the evaluation.
        exam: the questions.
        by: divisions.
    """
    known = {divided.by for divided in record.subgroups}
    wanted = [one for one in dict.fromkeys(by) if one not in known]
    if wanted:
        found = of_scores(record, exam, stored_scores.of_record(folder / RECORD, record), wanted)
        record = record.model_copy(update={"subgroups": [*record.subgroups, *found]})
        with same_time(folder / RECORD):
            write_record(record, folder / RECORD)
    return record


def of_scores(record: Record, exam: Exam, scores: Scores, by: Sequence[str]) -> list[Subgroups]:
    """The same from scores in memory.

    Args:
        record: the numbers over all images.
        exam: the questions.
        scores: of the model.
        by: divisions.
    """
    divisions = [divide(exam.dataset, SPLIT, one) for one in by]
    rows = {MODEL: scores, **known_references(exam, SUBGROUP_REFERENCES)}
    return [_divided(record, exam, rows, division) for division in divisions]


def _divided(record: Record, exam: Exam, scores: Mapping[str, Scores], division: Division) -> Subgroups:
    asked, group = exam.plan.index, exam.dataset.split(SPLIT).group
    places = [number for number in range(len(division.names)) if torch.isin(asked, division.rows(number)).any()]
    rows = [asked[torch.isin(asked, division.rows(number))] for number in places]
    names = [division.names[number] for number in places]
    levels = (LEVEL, simultaneous(LEVEL, len(places)))
    metrics = {metric.name: metric for metric in exam.make_metrics()}
    found = [_numbers(record, exam, scores, metrics, one, group[one], levels) for one in rows]
    told = [
        number for number in record.numbers if number.kind in ("mean", "skill", "root") and number.role != "resource"
    ]
    skill = [one[ROW_SKILL] for one in found if ROW_SKILL in one]
    return Subgroups(
        by=division.by,
        names=names,
        images=[len(one) for one in rows],
        clusters=[len(group[one].unique()) for one in rows],
        row_skill=_by_subgroup(None, names, [one.get(ROW_SKILL) for one in found]) if skill else None,
        numbers=[
            _by_subgroup(number, names, [one.get(number.key, _why_not(number, scores[MODEL])) for one in found])
            for number in told
        ],
    )


def _numbers(
    record: Record,
    exam: Exam,
    scores: Mapping[str, Scores],
    metrics: Mapping[str, Metric],
    rows: Tensor,
    group: Tensor,
    levels: Sequence[float],
) -> dict[Key, _Found | str]:
    """Every number of one subgroup, or why nothing can be said of it."""
    known = record.by_key
    resamples, seed = record.inputs.resamples, record.inputs.seed
    columns = {name: _columns(one, metrics, rows) for name, one in scores.items()}
    keys = [key for key in columns[MODEL] if key in known]
    estimates = {}
    for name, of_row in columns.items():
        there = {key: of_row[key] for key in keys if key in of_row}
        told = estimates_at(levels, list(there.values()), rows, group, resamples=resamples, seed=seed)
        estimates[name] = dict(zip(there, zip(*told, strict=True), strict=True))
    found: dict[Key, _Found | str] = {}
    for key in keys:
        usual, together = estimates[MODEL][key]
        if usual is None or together is None:
            found[key] = "undefined there: of one class alone, or relative to nothing"
            continue
        if usual.low is None:
            found[key] = f"fewer than {FEWEST:.0f} independent units bear on it"
            continue
        references = {
            name: end.value
            for name in SUBGROUP_REFERENCES
            if key in estimates.get(name, {}) and (end := estimates[name][key][0]) is not None
        }
        found[key] = _Found(
            SubgroupEstimate(**usual.model_dump(), references=references),
            SubgroupEstimate(**together.model_dump(), references={}),
        )
    if record.row_skill is not None and (skill := _row_skill(record, columns, rows, group, levels)) is not None:
        found[ROW_SKILL] = skill
    return found


def _columns(scores: Scores, metrics: Mapping[str, Metric], rows: Tensor) -> dict[Key, Column]:
    """Columns of some rows alone; numbers of whole sets from what is kept of those rows."""
    found = {}
    for column in scores.columns:
        if column.cell.statistic == "pseudo" or column.cell.kind in ("timing", "peak"):
            continue
        inside = torch.isin(column.index, rows)
        if inside.any():
            found[column.cell.key_of(column.metric)] = Column(
                column.metric,
                column.cell,
                column.index[inside],
                column.value[inside],
                reference=column.reference[inside],
            )
    return found | _of_sets(scores.sets, metrics, rows)


def _of_sets(sets: Mapping[str, Tensor], metrics: Mapping[str, Metric], rows: Tensor) -> dict[Key, Column]:
    stored: dict[str, dict[str, Tensor]] = {}
    for key, value in sets.items():
        owner, _, state = key.partition("/")
        stored.setdefault(owner, {})[state] = value
    found: dict[Key, Column] = {}
    for name, states in stored.items():
        columns = metrics[name].columns_of(states, rows)
        found |= {column.cell.key_of(name): column for column in columns if column.cell.statistic == "pseudo"}
    return found


def _row_skill(
    record: Record,
    columns: Mapping[str, Mapping[Key, Column]],
    rows: Tensor,
    group: Tensor,
    levels: Sequence[float],
) -> _Found | None:
    """The row skill over the interventions that count for all images together."""
    assert record.row_skill is not None
    keys = [skill_key(part) for part in record.row_skill.parts if not part.left_out]
    found: dict[str, list[SubgroupEstimate]] = {}
    for name, of_row in columns.items():
        answered = [of_row[key] for key in keys if key in of_row]
        if answered:
            estimates = skills_at(
                levels if name == MODEL else levels[:1],
                answered,
                rows,
                group,
                unanswered=len(keys) - len(answered),
                resamples=record.inputs.resamples,
                seed=record.inputs.seed,
            )
            found[name] = [SubgroupEstimate(**one.model_dump(), references={}) for one in estimates]
    if MODEL not in found or found[MODEL][0].low is None:
        return None
    usual, together = found[MODEL]
    references = {name: found[name][0].value for name in SUBGROUP_REFERENCES if name in found}
    return _Found(usual.model_copy(update={"references": references}), together)


def _why_not(number: Number, scores: Scores) -> str:
    """Why a subgroup has no scores of a number at all."""
    if number.statistic == "pseudo" and not any(key.startswith(f"{number.metric}/") for key in scores.sets):
        return f"the features behind it are not beside the record ({stored_scores.SETS})"
    return "too few of its images have it"


def _by_subgroup(number: Number | None, names: Sequence[str], found: Sequence[_Found | str | None]) -> BySubgroup:
    """One number in all subgroups, with the worst and the gap."""
    direction: Direction = "higher" if number is None else number.direction
    about = {} if number is None else {name: getattr(number, name) for name in _ABOUT}
    there = [(name, one) for name, one in zip(names, found, strict=True) if isinstance(one, _Found)]
    why = {
        name: one or "too few of its images have it"
        for name, one in zip(names, found, strict=True)
        if not isinstance(one, _Found)
    }
    picked: dict[str, object] = {}
    if len(there) > 1:
        ends = [(one.together.low, one.together.high) for _, one in there]
        low, high = ([float(end) for end in side if end is not None] for side in zip(*ends, strict=True))
        worst_at, worst, best_at, gap = extremes(direction, [one.usual.value for _, one in there], low, high)
        picked = {"worst": worst, "gap": gap}
        if gap.value > _ROUNDING * (1 + abs(worst.value)):  # else none is worse than another
            picked |= {"worst_name": there[worst_at][0], "best_name": there[best_at][0]}
    values = [one.usual if isinstance(one, _Found) else None for one in found]
    return BySubgroup(**about, direction=direction, values=values, why=why, **picked)


_ABOUT = ("metric", "quantity", "intervened", "measured", "cycles", "space")
