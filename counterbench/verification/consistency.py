"""Checking a record against what this version would ask: the same questions, judges and data?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from counterbench.errors import CounterbenchError, RecordError, short
from counterbench.evaluation.exam import SPLIT, Exam
from counterbench.evaluation.exam_of_record import exam_of
from counterbench.leaderboard import scored
from counterbench.leaderboard.scored import ScoredRecord
from counterbench.metrics.answers import L1
from counterbench.records import totals
from counterbench.records.estimate import Estimate
from counterbench.records.intervals import FEWEST, Ratios, intervals
from counterbench.records.plausibility import problems
from counterbench.records.record import EDITION, SAMPLES, TOTALS, Record, file_of, read_record
from counterbench.records.totals import Key


@dataclass(frozen=True)
class Verdict:
    """What is to be said of one record.

    Args:
        path: of the file.
        problems: what cannot be; the record is invalid if there are any.
        notes: what else is to be known.
        unchecked: what could not be checked here, and why.
    """

    path: Path
    problems: tuple[str, ...]
    notes: tuple[str, ...] = ()
    unchecked: tuple[str, ...] = ()

    @property
    def word(self) -> str:
        """The verdict in one word: `valid` only where everything was checked."""
        return "INVALID" if self.problems else "partly" if self.unchecked else "valid"


def validate(path: Path, data_dir: Path | None = None, *, data: bool = False, dataset: str | None = None) -> Verdict:
    """Check one record.

    Args:
        path: a record, or the folder of an evaluation.
        data_dir: where published data lies.
        data: also compare the fingerprints of pixels, which means rendering or reading them.
        dataset: its card, where that is not in the catalogue.
    """
    try:
        path = file_of(path)
        record = read_record(path)
    except (RecordError, OSError) as error:
        return Verdict(path, (str(error),))
    wrong, notes = scores(path, record)
    problems_found = [*problems(record), *wrong]
    unchecked = []
    try:
        problems_found += differences(record, exam_of(record, data_dir, dataset=dataset), data=data)
    except CounterbenchError as error:
        unchecked.append(f"questions, judges and data cannot be checked here: {error}")
    notes += [f"partial: {part}" for part in record.left_out]
    if record.inputs.plugins:
        notes.append(f"made with plug-ins: {', '.join(record.inputs.plugins)}")
    return Verdict(path, tuple(problems_found), tuple(notes), tuple(unchecked))


def differences(record: Record, exam: Exam, *, data: bool = False) -> Iterator[str]:
    """What a record says of questions, judges, numbers and data, and this version does not.

    Args:
        record: that is checked.
        exam: by :func:`exam_of`.
        data: also compare what needs the pixels.
    """
    inputs = record.inputs
    if inputs.edition != EDITION:
        yield f"its numbers are defined as in edition {inputs.edition}; this version has edition {EDITION}"
    if not record.left_out:
        yield from _questions(record, exam)
    if record.test_images != (there := len(next(iter(exam.dataset.attributes(SPLIT).values())))):
        yield f"{record.test_images} test images, here {there}"
    for name in ("references", "resamples"):
        if (said := getattr(inputs, name)) != (ours := getattr(exam.suite, name)):
            yield f"other {name}: {said}, in suite {inputs.suite!r} {ours}"
    yield from _differ("judges", inputs.judges, exam.judge_fingerprints)
    loaded = {name: space.fingerprint for name, space in exam.spaces.loaded.items()}
    shared = inputs.features.keys() & loaded.keys()
    yield from _differ("feature space", {n: inputs.features[n] for n in shared}, {n: loaded[n] for n in shared})
    options = {name: dict(given) for name, given in exam.metrics.items()}
    shared = inputs.metrics.keys() & options.keys()
    yield from _differ("options", {n: inputs.metrics[n] for n in shared}, {n: options[n] for n in shared})
    yield from _numbers(record, exam)
    if data:
        fingerprints = {name: value for name, value in exam.fingerprints.items() if name != "card"}
        yield from _differ("data", {n: v for n, v in inputs.data.items() if n != "card"}, fingerprints)
        clusters = len(exam.dataset.split(SPLIT).group[exam.plan.index].unique())
        if record.clusters != clusters:
            yield f"{record.clusters} independent units, here {clusters}"


def _questions(record: Record, exam: Exam) -> Iterator[str]:
    inputs, plan = record.inputs, exam.plan
    if inputs.plan != plan.hash:
        yield f"other questions than suite {inputs.suite!r} with seed {inputs.seed} asks: plan {inputs.plan[:12]}, here {plan.hash[:12]}"
        return
    if record.images != len(plan.index):
        yield f"{record.images} images were asked about; the plan asks about {len(plan.index)}"
    if record.questions != plan.counts:
        yield f"other numbers of questions: {record.questions}, in the plan {plan.counts}"


def _differ(what: str, said: Mapping[str, object], ours: Mapping[str, object]) -> Iterator[str]:
    for name in sorted(said.keys() | ours.keys()):
        if said.get(name) != ours.get(name):
            told, known = (short(values[name]) if name in values else "none" for values in (said, ours))
            yield f"other {what} of {name}: {told}, here {known}"


def _numbers(record: Record, exam: Exam) -> Iterator[str]:
    """Numbers that nobody asks for, or of which the record says something else than the metric does."""
    metrics = exam.make_metrics()
    known = {cell.key_of(metric.name): cell for metric in metrics for cell in metric.cells}
    of_noise = {metric.name for metric in metrics if metric.needs_noise}
    for number in record.numbers:
        cell = known.get(number.key)
        name = " ".join(str(part) for part in number.key if part)
        if cell is None:
            # Those of a model's own noise, and those in a feature space that is not here, cannot be listed here.
            if number.metric not in of_noise and number.space in ("", L1, *exam.spaces.loaded):
                yield f"{name}: no metric of the suite gives such a number"
            continue
        for field, said in number.declared.items():
            if said != (ours := getattr(cell, field)):
                yield f"{name}: the {field} is {said!r}; the metric says {ours!r}"


def scores(path: Path, record: Record) -> tuple[list[str], list[str]]:
    """Whether the scores beside a record give its numbers and its intervals: (problems, notes)."""
    try:
        stored = totals.read(path, merge=True)
        # Sets may hold an image several times, and so do costs: of every question about it.
        several = {n.key for n in record.numbers if n.statistic != "mean" or n.role == "resource"}
        rows = list(totals.wrong_rows(path, record.test_images, of_sets=several))
    except RecordError as error:
        missing = not any(totals.beside(path, name).exists() for name in (SAMPLES, TOTALS))
        return ([], ["no scores beside it"]) if missing else ([str(error)], [])
    if rows:
        return rows, []
    units = min(record.clusters, totals.MOST)
    if len(stored.units) != units:
        return [f"the scores beside it are of {len(stored.units)} independent units; {units} were expected"], []
    try:
        scored.require_own(path, ScoredRecord(record.inputs.model, record, dict(stored.numbers)))
    except RecordError as error:
        return [str(error)], []
    return list(_wrong_intervals(record, stored.numbers)), []


def _wrong_intervals(record: Record, found: Mapping[Key, Ratios]) -> Iterator[str]:
    """Intervals that are not those of the scores, from which they are worked out again as `evaluate` does."""
    numbers = [number for number in record.numbers if number.key in found and number.kind in ("mean", "skill")]
    if not numbers:
        return
    ratios = Ratios.side_by_side([found[number.key] for number in numbers])
    low, high = intervals(ratios, numbers, record.inputs.resamples, record.inputs.seed)
    for number, width in zip(numbers, high - low, strict=True):
        what = f"{number.metric} {number.quantity} {number.intervened}"
        if number.low is None or number.high is None or np.isnan(width):
            missing, there = number.low is None, not np.isnan(width)
            # Of merged units a few more or less may bear on a number.
            if missing == there and record.clusters <= totals.MOST:
                yield f"{what}: " + ("there is no interval, but the scores give one" if missing else _TOO_FEW)
        elif record.clusters > totals.MOST and number.value in number.bounds:
            continue  # where nothing varies, an interval hangs on the number of units alone, and totals are of fewer
        elif not width / _WIDER - _ROUNDING <= number.high - number.low <= width * _WIDER + _ROUNDING:
            claimed = (number.high - number.low) / max(width, _ROUNDING)
            yield f"{what}: the interval is {claimed:.2g} times as wide as the scores say"


_TOO_FEW = f"there is an interval, but fewer than {FEWEST:.0f} independent units bear on it"
_ROUNDING = 1e-6
_WIDER = 2.0
"""How many times wider or narrower an interval may be than one from totals, in which units are put together."""


def standard_error(estimate: Estimate) -> float:
    """As far as its interval says."""
    return 0.0 if estimate.low is None or estimate.high is None else (estimate.high - estimate.low) / 3.92
