"""From a folder of answers to what can be judged."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import counterbench
from counterbench.catalog.reading import validate
from counterbench.catalog.suites import Suite
from counterbench.errors import DataError
from counterbench.exam import Exam, prepare
from counterbench.letters.answers import Answers, Coverage
from counterbench.letters.questions import ANSWERS, EXAM, read_exam, rounds_of, up_to, write_round
from counterbench.models import Contestant


@dataclass(frozen=True)
class Scoring:
    """A folder of answers, ready to be judged.

    Args:
        exam: with the questions that can be judged.
        contestant: the answers.
        rounds: how many rounds are answered, of how many.
        coverage: by round.
        waiting: the folder of the next round, or None when all are answered.
    """

    exam: Exam
    contestant: Contestant
    rounds: tuple[int, int]
    coverage: Mapping[int, Coverage]
    waiting: Path | None


def ready(folder: Path, name: str | None = None, data_dir: Path | None = None, device: str = "auto") -> Scoring:
    """Check the answers of a folder, write the next round's questions, and make the exam of what can be judged.

    Args:
        folder: made by :func:`export`.
        name: of the model; None for the folder's.
        data_dir: where published data lies.
        device: where judges compute.

    Raises:
        DataError: if the folder is no exam, was made for other questions, or holds no answer.
    """
    letter = read_exam(folder)
    suite = validate(letter.suite, Suite, folder / EXAM)
    exam = prepare(letter.dataset, suite, letter.source, data_dir, None, letter.seed, letter.limit, device)
    if exam.plan.hash != letter.plan:
        raise DataError(
            f"{folder} was made by counterbench {letter.counterbench} with other questions than {counterbench.__version__} asks; export it again."
        )
    total = rounds_of(exam.plan)
    answered = _answered(folder, total)
    if not answered:
        raise DataError(
            f"{folder / 'round-1' / ANSWERS} holds no answers; {folder / 'README.txt'} says how they are called."
        )
    answers = Answers(exam, folder, answered)
    if not answers.files:
        raise DataError(f"None of the answers in {folder} can be used: {answers.coverage[1]}.")
    waiting = None
    if answered < total:
        write_round(exam, folder, answered + 1, answers)
        waiting = folder / f"round-{answered + 1}"
    metrics = {metric: options for metric, options in exam.metrics.items() if metric != "cost"}
    reduced = replace(exam, plan=up_to(exam.plan, answered), metrics=metrics)
    called = name or folder.resolve().name
    contestant = Contestant(
        called,
        answers,
        title=f"{called} (answers from files)",
        weights_sha256=answers.fingerprint,
        notes=_notes(answers.coverage, answered, total),
    )
    return Scoring(reduced, contestant, (answered, total), answers.coverage, waiting)


def _answered(folder: Path, total: int) -> int:
    """How many rounds have answers, without a gap."""
    for number in range(1, total + 1):
        home = folder / f"round-{number}" / ANSWERS
        if not home.is_dir() or not any(home.iterdir()):
            return number - 1
    return total


def _notes(coverage: Mapping[int, Coverage], done: int, total: int) -> tuple[str, ...]:
    said = [f"answers from files, round {number}: {found}" for number, found in coverage.items()]
    if done < total:
        said.append(f"rounds {done + 1} to {total} are not answered; what they ask is not judged")
    return (*said, "answers from files have no cost")
