"""Turns a folder of answers into a contestant that can be evaluated."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import counterbench
from counterbench import datasets
from counterbench.errors import DataError, UnknownNameError
from counterbench.evaluation.exam import SPLIT, Exam, prepare
from counterbench.exchange.answers import AnswerFolder, Coverage
from counterbench.exchange.questions import (
    ANSWERS,
    QUESTIONS,
    ExamInputs,
    read_exam,
    rounds_of,
    write_round,
)
from counterbench.models.model import Contestant
from counterbench.plugins import registry
from counterbench.records.record import CEILINGS, FLOORS, Answered


@dataclass(frozen=True)
class Scoring:
    """A folder of answers, ready to be judged.

    Args:
        exam: with the questions that can be judged.
        contestant: the answers.
        rounds: how many rounds are answered, of how many.
        coverage: by round.
        waiting: the questions of the next round, or None when all are answered.
    """

    exam: Exam
    contestant: Contestant
    rounds: tuple[int, int]
    coverage: Mapping[int, Coverage]
    waiting: Path | None


def ready(
    folder: Path,
    name: str | None = None,
    *,
    data_dir: Path | None = None,
    device: str = "auto",
    dataset: str | None = None,
) -> Scoring:
    """Check the answers of a folder, write the next round's questions, and make the exam of what can be judged.

    Args:
        folder: made by :func:`counterbench.exchange.questions.export`.
        name: of the model; None for the folder's.
        data_dir: where published data lies.
        device: where judges compute.
        dataset: its card, where that is not in the catalogue.

    Raises:
        DataError: if the folder is no exam, was made for other questions or pixels, holds no answer, or holds later answers that began
            with other ones than it has now.
    """
    called = name or folder.resolve().name
    if called in (*FLOORS, *CEILINGS):
        raise DataError(
            f"{called!r} is the name of a baseline, which boards do not list as a model; give another one with --name."
        )
    inputs = read_exam(folder)
    asked_about = _dataset(inputs, folder, dataset)
    exam = prepare(
        asked_about,
        inputs.suite,
        source=inputs.source,
        data_dir=data_dir,
        metrics=None,
        seed=inputs.seed,
        exam_seed=inputs.exam_seed,
        limit=inputs.limit,
        device=device,
    )
    for what, theirs, ours in (
        ("questions", inputs.plan, exam.plan.hash),
        ("images", inputs.pixels, exam.dataset.split(SPLIT).fingerprint),
    ):
        if theirs != ours:
            raise DataError(
                f"{folder} was made by counterbench {inputs.counterbench} with other {what} than {counterbench.__version__} has here; export "
                "it again."
            )
    answers = AnswerFolder(exam, folder)
    if not answers.asked:
        raise DataError(
            f"{folder / 'round-1' / ANSWERS} holds no answers; {folder / 'README.txt'} says how they are called."
        )
    if not answers.files:
        first = next(iter(answers.coverage.values()))
        raise DataError(f"None of the answers in {folder} can be used: {first}. {'; '.join(first.examples())}.")
    answers.require_consistent()
    total, waiting = rounds_of(exam.plan), None
    if answers.rounds < total:
        write_round(exam, folder, answers.rounds + 1, answers)
        waiting = folder / f"round-{answers.rounds + 1}" / QUESTIONS
    metrics = {name: options for name, options in exam.metrics.items() if not registry.metrics.get(name).needs_model}
    covered = _covered(exam, answers, total)
    contestant = Contestant(
        called,
        answers,
        title=f"{called} (answers from files)",
        weights_sha256=answers.fingerprint,
        notes=_notes(answers, covered),
        coverage=covered.model_dump(),
    )
    judged = replace(exam, plan=answers.plan, metrics=metrics)
    return Scoring(judged, contestant, (answers.rounds, total), answers.coverage, waiting)


def _dataset(inputs: ExamInputs, folder: Path, card: str | None) -> str:
    """What the questions are about: of the catalogue, or the card that was given. A path in the folder is not followed."""
    if card is None and inputs.dataset not in datasets.names():
        error = UnknownNameError("dataset", inputs.dataset, datasets.names())
        raise DataError(
            f"{folder}: {error} If its card is in a file, give it: counterbench score {folder} --dataset CARD."
        )
    if card is not None and (declared := datasets.card(card).name) != inputs.dataset:
        raise DataError(
            f"{folder} asks about {inputs.dataset!r}, and {card} declares {declared!r}; give the card of the former."
        )
    return card or inputs.dataset


def _covered(exam: Exam, answers: AnswerFolder, total: int) -> Answered:
    """Which questions the answers are about, for the record."""
    whole, answered = exam.plan, answers.plan
    left = [f"do({name})" for name in whole.single if name not in answered.single]
    if answers.rounds >= 2:
        left += [
            f"do({name}) taken back" for name in whole.undo if name in answered.single and name not in answered.undo
        ]
        left += [f"do({a}) and do({b}) in both orders" for a, b in whole.pairs if (a, b) not in answered.pairs]
    left += [f"do({a}, {b}) at once" for a, b in whole.joint if (a, b) not in answered.joint]
    if whole.captions and not answered.captions:
        left.append("samples")
    if answered.cycles < min(answers.rounds, whole.cycles):
        left.append(f"null interventions after {answered.cycles} cycles")
    rounds = [coverage.counts for coverage in answers.coverage.values()]
    return Answered(rounds=rounds, rounds_asked=total, left_out=left, claimed=answers.claims_all)


def _notes(answers: AnswerFolder, covered: Answered) -> tuple[str, ...]:
    """The same in words, for people."""
    notes = [f"answers from files, round {number}: {coverage}" for number, coverage in answers.coverage.items()]
    if answers.rounds < covered.rounds_asked:
        notes.append(
            f"rounds {answers.rounds + 1} to {covered.rounds_asked} are not answered; what they ask is not judged"
        )
    if covered.left_out:
        notes.append(f"left out: {', '.join(covered.left_out)}")
    if not covered.claimed:
        notes.append(
            "attributes that were not claimed (answers.csv) are those that are known to be true: their errors say nothing"
        )
    return (*notes, "answers from files have no cost")
