"""Asking a record's model again: do some of the questions give the numbers that the record claims?"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from counterbench import models
from counterbench.errors import RecordError, UnknownNameError
from counterbench.evaluation.evaluation import Evaluation, evaluate
from counterbench.evaluation.exam_of_record import exam_of
from counterbench.metrics.answers import L1
from counterbench.records import totals
from counterbench.records.estimate import Estimate
from counterbench.records.intervals import value_of
from counterbench.records.plausibility import problems
from counterbench.records.record import FOUND_BY_ASKING, SAMPLES, Number, Record, file_of, read_record
from counterbench.records.table import heading
from counterbench.records.totals import BY, Key
from counterbench.verification.consistency import differences, scores, standard_error

DEVIATIONS = 3.5
"""How many standard errors of the sample a claimed number may be away: rarer than once in two thousand by chance."""
FEWEST = 10
"""Units that must carry what a skill is relative to, for a part of the images to say something about all of them."""
_TOLERANCE = 1e-3
"""Relative; what devices and libraries may change in a number."""


@dataclass(frozen=True)
class Check:
    """One number, claimed and found again.

    Args:
        number: as claimed.
        found: on the questions that were asked again.
        claimed: what the record says of those questions, if its scores per sample are there, else of all.
        allowed: how far apart they may be.
    """

    number: Number
    found: float
    claimed: float
    allowed: float

    @property
    def agrees(self) -> bool:
        """Whether the claim stands."""
        return abs(self.found - self.claimed) <= self.allowed


@dataclass(frozen=True)
class Verification:
    """What came of asking again.

    Args:
        record: that was checked.
        images: how many were asked about again.
        exact: whether scores were compared sample by sample.
        checks: one for each number.
        problems: what was found before any question was asked.
    """

    record: Record
    images: int
    exact: bool
    checks: tuple[Check, ...]
    problems: tuple[str, ...]

    @property
    def unchecked(self) -> int:
        """How many of its numbers a part of the images says nothing about: costs, statistics of whole sets, skills that few units decide, what is undefined there."""
        return len(self.record.numbers) - len(self.checks)

    @property
    def disagreements(self) -> list[Check]:
        """Claims that do not stand."""
        return [check for check in self.checks if not check.agrees]


def verify(
    path: Path,
    count: int = 100,
    *,
    data_dir: Path | None = None,
    device: str = "auto",
    model: str | None = None,
    dataset: str | None = None,
) -> Verification:
    """Load the model of a record, ask it about the first `count` images, and compare.

    Where the scores per sample lie beside the record, they must be the same up to rounding. Else a claim about all images has to lie
    within a few standard errors of what a part of them gives.

    Args:
        path: a record, or the folder of an evaluation.
        count: images to ask about.
        data_dir: where published data lies.
        device: where model and judges compute.
        model: its name, recipe or folder, where that is another one here than in the record.
        dataset: its card, where that is not in the catalogue.

    Raises:
        RecordError: for a file that is no record, and for a model or dataset that is none of the catalogue (a path in a record is
            not followed). CheckpointError: if the model's weights are not here.
    """
    path = file_of(path)
    record = read_record(path)
    inputs, asked = record.inputs, min(count, record.images)
    whole = exam_of(record, data_dir, device=device, dataset=dataset)
    wrong = [*problems(record), *scores(path, record)[0], *differences(record, whole)]
    if record.group:
        raise RecordError(
            f"{path} is of several trainings: there is no one model to ask. Verify the records of its trainings."
        )
    if model is None and record.origin == "answers":
        raise RecordError(
            f"{path} is of answers from files: there is no model to ask. Score their folder again: counterbench score."
        )
    if model is None and inputs.model not in models.names(inputs.dataset):
        error = UnknownNameError(f"model for {inputs.dataset}", inputs.model, models.names(inputs.dataset))
        raise RecordError(f"{error} If it is in a file or a folder, give that with --model.")
    contestant = models.load(model or inputs.model, whole.dataset, device=whole.device, references=inputs.references)
    if contestant.weights_sha256 != inputs.weights_sha256:
        wrong.append(f"other weights: {_short(inputs.weights_sha256)}, here {_short(contestant.weights_sha256)}")
    for name in ("parameters", "pixel_temperature", "pixel_noise", "exact"):
        if (said := getattr(record, name)) != (ours := getattr(contestant, name)):
            wrong.append(f"other {name.replace('_', ' ')}: {said}, here {ours}")
    exam = exam_of(record, data_dir, device=device, limit=asked, dataset=whole.dataset)
    evaluated = evaluate(contestant, exam)
    samples = totals.beside(path, SAMPLES)
    stored = _claims(samples, exam.plan.index.tolist()) if samples.exists() else {}
    # A part may have as large a share of the units as of the images, or fewer images of each: the smaller share says less.
    share = min(evaluated.record.clusters / record.clusters, evaluated.record.images / record.images)
    again = {key: number for key, number in evaluated.record.by_key.items() if _checkable(number)}
    for key in _carried_by_few(evaluated) - stored.keys():
        again.pop(key, None)
    checks = [_check(number, again[number.key], stored, share) for number in record.numbers if number.key in again]
    wrong += [*_lacking(record, evaluated.record), *_baselines(record, again, share)]
    wrong += _unflagged(record, evaluated.record)
    return Verification(record, asked, bool(stored), tuple(checks), tuple(wrong))


def _lacking(record: Record, again: Record) -> list[str]:
    """Numbers that the exam gives and the record does not have."""
    spaces = ("", L1, *record.inputs.features)  # others were not there when it was made
    return [
        f"the record lacks {heading(number)}"
        for key, number in again.by_key.items()
        if key not in record.by_key and number.space in spaces
    ]


def _unflagged(record: Record, again: Record) -> Iterator[str]:
    """What asking the model again found, and the record keeps silent about."""
    for begins in FOUND_BY_ASKING:
        found = [flag for flag in again.flags if flag.startswith(begins)]
        if found and not any(flag.startswith(begins) for flag in record.flags):
            yield f"the record does not say that {found[0]}"


def _baselines(record: Record, again: Mapping[Key, Number], share: float) -> Iterator[str]:
    """Floors and ceilings that are not what they are here, as far as a part can tell."""
    for key in record.by_key.keys() & again.keys():
        number = record.by_key[key]
        for name, claimed in number.references.items():
            estimate = again[key].references.get(name)
            if estimate is not None and abs(estimate.value - claimed.value) > _allowed(claimed, estimate, share):
                yield f"{heading(number)}: {name} scores {claimed.value:.4g} in the record, {estimate.value:.4g} here"


def _short(sha256: str | None) -> str:
    return sha256[:12] if sha256 else "none"


def _claims(samples: Path, rows: Sequence[int]) -> dict[Key, float]:
    """What the scores per sample say of some rows of the test split."""
    import pyarrow

    table = totals.table(samples, ("row", "score", "relative_to"))
    selected = table.filter(pyarrow.array(np.isin(table["row"].to_numpy(), rows)))
    grouped = selected.group_by(list(BY)).aggregate([("score", "sum"), ("relative_to", "sum")]).to_pylist()
    return {
        tuple(line[name] for name in BY): line["score_sum"] / line["relative_to_sum"]
        for line in grouped
        if line["relative_to_sum"]
    }


def _check(number: Number, again: Number, stored: Mapping[Key, float], share: float) -> Check:
    if number.key in stored:
        claimed = value_of(number.kind, stored[number.key])
        return Check(number, again.value, claimed, _TOLERANCE * (1 + abs(claimed)))
    return Check(number, again.value, number.value, _allowed(number, again, share))


def _checkable(number: Number) -> bool:
    """Not what another machine changes (costs), nor statistics of the whole set (their value depends on its size)."""
    return number.kind in ("mean", "skill", "root") and number.statistic == "mean" and number.role != "resource"


def _carried_by_few(made: Evaluation) -> set[Key]:
    """Skills that a few units decide: where doing nothing errs on one image of a hundred, the ratio can be anything.

    The effective number of units is (sum e)^2 / sum e^2 over their errors of doing nothing (Kish 1965).
    """
    few = set()
    for column in made.columns:
        if column.cell.kind == "skill":
            _, unit = np.unique(made.group[column.index].numpy(), return_inverse=True)
            errors = np.bincount(unit, column.reference.numpy())
            if errors.sum() ** 2 < FEWEST * (errors**2).sum():
                few.add(column.cell.key_of(column.metric))
    return few


def _allowed(claimed: Estimate, found: Estimate, share: float) -> float:
    """How far a part may be from the whole. A few samples may all be alike by chance: the claimed interval says how much they vary, too.
    Where there is none, for too few units bear on the number, a part may be anything."""
    if claimed.low is None:
        return math.inf
    spread = max(standard_error(found), share**-0.5 * standard_error(claimed))
    tolerance: float = DEVIATIONS * spread + _TOLERANCE * (1 + abs(claimed.value))
    return tolerance
