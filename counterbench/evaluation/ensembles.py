"""Several trainings of one recipe, compared answer by answer: their kept answers to the same questions."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path

from torch import Tensor

from counterbench.causal.chance import SampleNoise
from counterbench.causal.samples import Samples
from counterbench.errors import RecordError
from counterbench.evaluation import numbers, rejudging
from counterbench.evaluation.exam import SPLIT, Exam
from counterbench.evaluation.kept_answers import KeptAnswers
from counterbench.evaluation.session import examine
from counterbench.evaluation.taking import Taking
from counterbench.models import baselines
from counterbench.models.model import Contestant, LookedUp, Model, ask, can_answer
from counterbench.plans.question import Question
from counterbench.plugins import registry
from counterbench.records import totals
from counterbench.records.intervals import Ratios
from counterbench.records.record import Number, file_of, read_record
from counterbench.records.totals import Key


class Ensemble(LookedUp):
    """The answers of several trainings; the first one's are judged, the others are there to be compared with.

    Args:
        members: what each has answered.
    """

    what = "Answers of several trainings"

    def __init__(self, members: Sequence[KeptAnswers]):
        self.members = tuple(members)

    def can_answer(self, intervened: Collection[str]) -> bool:
        """Whether all trainings took such questions."""
        return all(member.can_answer(intervened) for member in self.members)

    def answer_question(self, question: Question, given: Samples) -> dict[str, Tensor]:
        """The first training's answers."""
        return self.members[0].answer_question(question, given)

    def others(self, question: Question, given: Samples) -> list[dict[str, Tensor]]:
        """The answers of the other trainings."""
        return [member.answer_question(question, given) for member in self.members[1:]]


class Redrawn(LookedUp):
    """A baseline that answers as often as there are trainings, each time with other chance: what agreement is worth.

    Args:
        baseline: which answers.
        exam: the questions.
        count: how many trainings there are.
    """

    what = "Answers of a baseline"

    def __init__(self, baseline: Model, exam: Exam, count: int):
        self.baseline, self.exam, self.count = baseline, exam, count

    def can_answer(self, intervened: Collection[str]) -> bool:
        """Whether the baseline takes such questions."""
        return can_answer(self.baseline, intervened)

    def answer_question(self, question: Question, given: Samples) -> dict[str, Tensor]:
        """The first answer."""
        return self._drawn(question, given, 0)

    def others(self, question: Question, given: Samples) -> list[dict[str, Tensor]]:
        """The other answers."""
        return [self._drawn(question, given, number) for number in range(1, self.count)]

    def _drawn(self, question: Question, given: Samples, number: int) -> dict[str, Tensor]:
        streams = [f"training {number}/{name}" for name in question.streams()]
        noise, variables = SampleNoise(self.exam.seed, streams), self.exam.dataset.variables
        return dict(ask(self.baseline, given, question.held, noise=noise, variables=variables))


def metric_of_trainings() -> str:
    """Name of the metric that compares trainings."""
    return next(name for name in registry.metrics.builtins() if registry.metrics.get(name).of_trainings)


def compared(
    paths: Sequence[Path], *, data_dir: Path | None = None, device: str = "auto"
) -> tuple[list[Number], dict[Key, Ratios]]:
    """How far trainings are apart, with intervals over the independent units of the test images, and the totals behind it.

    The numbers are about these trainings: the chance of drawing others is not in their intervals.

    Args:
        paths: folders of evaluations that kept their answers to the same questions.
        data_dir: where published data lies.
        device: where distances are computed.

    Raises:
        RecordError: if one has no kept answers, or they are about other questions.
    """
    name = metric_of_trainings()
    ready = [rejudging.ready(path, metrics=[name], data_dir=data_dir, device=device) for path in paths]
    exam = ready[0].exam
    for path, one in zip(paths, ready, strict=True):
        if one.exam.plan.hash != exam.plan.hash:
            raise RecordError(f"{path} holds answers to other questions than {paths[0]}; they cannot be compared.")
    members = [one.contestant.model for one in ready]
    ensemble = Ensemble([member for member in members if isinstance(member, KeptAnswers)])
    rows = {"model": _taking(exam, replace(ready[0].contestant, model=ensemble))}
    for baseline in baselines.available(exam.dataset.card, exam.dataset.behind):
        if not issubclass(baselines.BASELINES[baseline], baselines.Oracle):  # hundreds of pictures for a lower bound
            drawing = baselines.BASELINES[baseline](exam.dataset, references=exam.suite.references)
            redrawn = Contestant(baseline, Redrawn(drawing, exam, len(members)), pixel_noise="none", kept=baseline)
            rows[baseline] = _taking(exam, redrawn)
    examine(exam, list(rows.values()))
    index = exam.plan.index
    group = exam.dataset.split(SPLIT).group[index]
    scores = {row: taking.columns() for row, taking in rows.items()}
    found, _ = numbers.numbers(scores, index, group, resamples=exam.suite.resamples, seed=exam.seed)
    cluster_of, count = numbers.clusters(index, group)
    place, merged = totals.put_together(cluster_of, count)
    ratios = {
        column.cell.key_of(column.metric): numbers.ratios_of([column], place, merged).of_each(len(members))
        for column in scores["model"]
    }
    return found, ratios


def _taking(exam: Exam, contestant: Contestant) -> Taking:
    return Taking(contestant.name, contestant, exam.make_metrics(contestant), None, "")


def compared_where_kept(
    paths: Sequence[Path], *, data_dir: Path | None = None
) -> tuple[list[Number], dict[Key, Ratios]]:
    """The same where all of them have kept their answers; else nothing."""
    if all(read_record(file_of(path)).kept_answers is not None for path in paths):
        return compared(paths, data_dir=data_dir)
    return [], {}
