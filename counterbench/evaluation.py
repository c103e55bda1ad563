"""evaluate(model, exam): the only place where data, models, plans, judges and metrics meet."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from counterbench import models, scoring
from counterbench.baselines import Identity
from counterbench.counterfactual import Counterfactual
from counterbench.errors import ConfigError
from counterbench.exam import SPLIT, Exam, choose_device, prepare
from counterbench.metrics.base import Column
from counterbench.metrics.effectiveness import error_per_sample
from counterbench.models import Contestant
from counterbench.plans import Plan
from counterbench.progress import bar
from counterbench.randomness import SampleNoise
from counterbench.records import Record
from counterbench.samples import Samples
from counterbench.scm import checked_answer
from counterbench.versions import versions

__all__ = ["SPLIT", "Evaluation", "Exam", "choose_device", "evaluate", "prepare"]

DEFAULT_BATCH = 100
SHOWN = 8
"""Answers to each question that are kept for the picture."""


@dataclass(frozen=True)
class Evaluation:
    """A record with what is behind it.

    Args:
        record: the numbers.
        columns: scores per sample.
        group: (N,), cluster of each row of the test split.
        plan: the questions.
        shown: intervened variable -> the first answers, as they were judged.
    """

    record: Record
    columns: list[Column]
    group: Tensor
    plan: Plan
    shown: dict[str, list[Counterfactual]]


@dataclass
class _Session:
    """One model under examination: asks, measures, keeps the time."""

    contestant: Contestant
    exam: Exam
    seconds: dict[str, float] = field(default_factory=lambda: {"model": 0.0, "judges": 0.0})
    real: dict[str, list[Tensor]] = field(default_factory=dict)

    def measure(self, images: Tensor) -> dict[str, Tensor]:
        """The judges on some images."""
        begun = time.perf_counter()
        measured = {name: panel.measure(images) for name, panel in self.exam.panels.items()}
        self.seconds["judges"] += time.perf_counter() - begun
        return measured

    def measure_factual(self, factual: Samples) -> Callable[[], Mapping[str, Tensor]]:
        """The judges on factual images, when somebody asks, and then once; their errors are the ceiling."""
        kept: dict[str, Tensor] = {}

        def measured() -> Mapping[str, Tensor]:
            if not kept:
                kept.update(self.measure(factual[self.exam.dataset.card.image]))
                for name, value in kept.items():
                    error = error_per_sample(self.exam.dataset.variables[name], value, factual[name])
                    self.real.setdefault(name, []).append(error)
            return kept

        return measured

    def ask(self, given: Samples, interventions: Mapping[str, Tensor], question: str) -> dict[str, Tensor]:
        """The model's answer, checked."""
        begun = time.perf_counter()
        noise = SampleNoise(self.exam.seed, [f"{question}/{row}" for row in given.index.tolist()])
        answer = self.contestant.model.counterfactual(given, interventions, noise)
        checked = checked_answer(answer, self.exam.dataset.variables, interventions, given.count)
        self.seconds["model"] += time.perf_counter() - begun
        return checked


def evaluate(contestant: Contestant, exam: Exam, batch_size: int | None = None) -> Evaluation:
    """Ask one model all questions, beside the baselines, and judge the answers.

    Args:
        contestant: the model.
        exam: the questions and the judges.
        batch_size: how many samples at a time; changes the speed, never a number.

    Raises:
        ModelError: for an answer that is none. ConfigError: if the model answers none of the questions.
    """
    started = time.perf_counter()
    session = _Session(contestant, exam)
    rows = {name: exam.make_metrics() for name in ("model", "identity", "truth")}
    shown: dict[str, list[Counterfactual]] = {}
    asked = {kind for metric in rows["model"] for kind in metric.asks}
    steps = len(exam.plan.index) * (exam.plan.cycles * ("null" in asked) + len(exam.plan.single) * ("single" in asked))
    with torch.inference_mode(), bar(steps, f"Evaluating {contestant.name}") as advance:
        for name, answers in _answers(session, asked, batch_size or DEFAULT_BATCH):
            for metric in rows[name]:
                metric.update(answers)
            if name == "identity":  # which answers every question
                advance(answers.factual.count)
            if name == "model" and answers.intervened:
                kept = shown.setdefault(answers.intervened[0], [])
                if sum(one.factual.count for one in kept) < SHOWN:
                    kept.append(answers)
    columns = {name: [column for metric in made for column in metric.compute()] for name, made in rows.items()}
    if not columns["model"]:
        raise ConfigError(f"{contestant.name} answered no question that {', '.join(exam.metrics)} could judge.")
    group = exam.dataset.split(SPLIT).group
    record = _record(session, columns, group, started)
    return Evaluation(record, columns["model"], group, exam.plan, shown)


def _answers(session: _Session, asked: set[str], batch_size: int) -> Iterator[tuple[str, Counterfactual]]:
    """Every answer of the model and of the baselines, one batch of one question at a time, each generated once."""
    exam, model = session.exam, session.contestant.model
    split, image, identity = exam.dataset.split(SPLIT), exam.dataset.card.image, Identity(exam.dataset)
    for positions in torch.arange(len(exam.plan.index)).split(batch_size):
        rows = exam.plan.index[positions]
        factual = split.take(rows)
        judged = (image, session.measure, session.measure_factual(factual))
        given = factual
        for cycle in range(1, exam.plan.cycles + 1) if "null" in asked else ():
            given = Samples(session.ask(given, {}, f"null/{cycle}"), rows)
            for name, values in (("model", given), ("identity", factual), ("truth", factual)):
                yield name, Counterfactual((), cycle, factual, values, factual, factual, *judged)
        for variable, wanted in exam.plan.single.items() if "single" in asked else ():
            interventions = {variable: wanted[positions]}
            floor = identity.counterfactual(factual, interventions)
            truth = exam.dataset.truth(SPLIT, rows, interventions) if exam.dataset.knows_truth([variable]) else None
            answers: dict[str, Mapping[str, Tensor] | None] = {"identity": floor, "truth": truth}
            if models.can_answer(model, [variable]):
                answers["model"] = session.ask(factual, interventions, f"single/{variable}")
            for name, answer in answers.items():
                if answer is not None:
                    yield name, Counterfactual((variable,), 1, factual, answer, floor, truth, *judged)


def _record(session: _Session, columns: Mapping[str, list[Column]], group: Tensor, started: float) -> Record:
    exam, contestant = session.exam, session.contestant
    begun = time.perf_counter()
    asked_about = group[exam.plan.index]
    real = {name: torch.cat(parts) for name, parts in session.real.items()}
    made, undefined = scoring.numbers(columns, real, exam.plan.index, asked_about, exam.suite.resamples, exam.seed)
    seconds = {**session.seconds, "statistics": time.perf_counter() - begun, "total": time.perf_counter() - started}
    return Record(
        title=contestant.title,
        inputs=exam.inputs(contestant),
        images=len(exam.plan.index),
        test_images=len(group),
        questions=len(exam.plan),
        clusters=len(asked_about.unique()),
        pixel_temperature=contestant.pixel_temperature,
        parameters=contestant.parameters,
        training=contestant.training,
        numbers=made,
        skipped={**_unanswered(exam, contestant, columns["model"]), **undefined},
        seconds={name: round(value, 3) for name, value in seconds.items()},
        device=str(exam.device),
        versions=versions(),
        notes=[*exam.dataset.notes, *_notes(exam, contestant)],
    )


def _notes(exam: Exam, contestant: Contestant) -> list[str]:
    trained_on = contestant.training.get("source")
    if trained_on not in (None, exam.dataset.source):
        return [f"trained on the source {trained_on}, evaluated on {exam.dataset.source}"]
    return []


def _unanswered(exam: Exam, contestant: Contestant, columns: list[Column]) -> dict[str, str]:
    """What has no number, and why."""
    reasons = {}
    for name in exam.plan.single:
        if not models.can_answer(contestant.model, [name]):
            reasons[f"do({name})"] = f"{contestant.name} does not answer this question"
    answered = {column.metric for column in columns}
    for name in exam.metrics:
        if name not in answered:
            reasons[name] = (
                f"the suite {exam.suite.name!r} on {exam.dataset.card.name!r} asks no question that {name} could judge"
            )
    if "truth" in answered:
        for name in exam.plan.single:
            if not exam.dataset.knows_truth([name]):
                reasons[f"truth of do({name})"] = "the true counterfactual is not known"
    return reasons
