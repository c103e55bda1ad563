"""evaluate(model, suite): the only place where data, models, plans, judges and metrics meet."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

import counterbench
from counterbench import datasets, judges, models, plans, registry
from counterbench.baselines import Identity
from counterbench.catalog.suites import Suite, find_suite
from counterbench.counterfactual import Counterfactual
from counterbench.datasets.base import Dataset
from counterbench.errors import ConfigError, UnknownNameError
from counterbench.judges import Panel
from counterbench.metrics.base import Cell, Column, SampleMetric, Setting
from counterbench.metrics.effectiveness import error_per_sample
from counterbench.models import Contestant, Model
from counterbench.plans import Plan
from counterbench.progress import bar
from counterbench.randomness import SampleNoise
from counterbench.records import Estimate, Inputs, Number, Record
from counterbench.samples import Samples
from counterbench.scm import check_answer
from counterbench.statistics import Ratios, bca, cluster_totals
from counterbench.variables import Continuous
from counterbench.versions import versions

SPLIT = "test"
DEFAULT_BATCH = 250


@dataclass(frozen=True)
class Exam:
    """Everything that is fixed before a model is asked.

    Args:
        dataset, suite, plan: what is asked.
        panels: who judges.
        metrics: names of the metrics.
        seed: of plan and noise.
        limit: of the questions, as given by the caller.
        device: where judges and models compute.
    """

    dataset: Dataset
    suite: Suite
    plan: Plan
    panels: Mapping[str, Panel]
    metrics: tuple[str, ...]
    seed: int
    limit: int | None
    device: torch.device

    def inputs(self, contestant: Contestant) -> Inputs:
        """What decides the numbers, for the record and for finding it again."""
        return Inputs(
            model=contestant.name,
            recipe=contestant.recipe,
            weights_sha256=contestant.weights_sha256,
            dataset=self.dataset.card.name,
            source=self.dataset.source,
            suite=self.suite.name,
            seed=self.seed,
            limit=self.limit,
            metrics=list(self.metrics),
            resamples=self.suite.resamples,
            data={
                "test": self.dataset.split(SPLIT).fingerprint,
                "train_attributes": self.dataset.attributes_fingerprint("train"),
            },
            plan=self.plan.hash,
            judges={name: panel.fingerprints for name, panel in self.panels.items()},
            counterbench=counterbench.__version__,
        )

    @property
    def setting(self) -> Setting:
        card = self.dataset.card
        return Setting(
            graph=self.dataset.graph,
            variables=self.dataset.variables,
            image=card.image,
            intervenable=tuple(self.plan.single),
            judged=tuple(name for name in card.attributes if name in self.panels),
            cycles=self.plan.cycles,
            with_truth=tuple(name for name in self.plan.single if self.dataset.knows_truth([name])),
        )


@dataclass(frozen=True)
class Evaluation:
    """A record with the scores behind it.

    Args:
        record: the numbers.
        columns: scores per sample.
        group: (N,), cluster of each row of the test split.
    """

    record: Record
    columns: list[Column]
    group: Tensor


def prepare(
    dataset: Dataset | str,
    suite: Suite | str = "standard",
    source: str | None = None,
    data_dir: Path | None = None,
    metrics: Sequence[str] | None = None,
    seed: int = 0,
    limit: int | None = None,
    device: str = "auto",
) -> Exam:
    """Fix the questions, the judges and the metrics.

    Raises:
        UnknownNameError: for an unknown dataset, source, suite or metric.
    """
    suite = find_suite(suite) if isinstance(suite, str) else suite
    dataset = datasets.load(dataset, source, data_dir) if isinstance(dataset, str) else dataset
    chosen = tuple(metrics or suite.metrics)
    for name in chosen:
        if name not in registry.metrics:
            raise UnknownNameError("metric", name, registry.metrics.names())
    place = choose_device(device)
    plan = plans.draw(dataset, suite, seed, limit)
    return Exam(dataset, suite, plan, judges.load(dataset.card, dataset.source, place), chosen, seed, limit, place)


def choose_device(name: str) -> torch.device:
    """`auto` takes CUDA, then MPS, then the CPU.

    Raises:
        ConfigError: for a device that this machine does not have.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ConfigError(f"Unknown device {name!r}; give auto, cpu, cuda, cuda:0 or mps.") from error
    missing = (device.type == "cuda" and not torch.cuda.is_available()) or (
        device.type == "mps" and not torch.backends.mps.is_available()
    )
    if missing:
        raise ConfigError(f"This machine has no device {name!r}; give --device cpu, or auto to take what there is.")
    return device


def evaluate(contestant: Contestant, exam: Exam, batch_size: int | None = None) -> Evaluation:
    """Ask one model all questions, beside the baselines, and judge the answers.

    Args:
        contestant: the model.
        exam: the questions and the judges.
        batch_size: how many samples at a time; changes the speed, never a number.
    """
    started = time.perf_counter()
    rows = {name: _make_metrics(exam) for name in ("model", "identity", "truth")}
    spent = {"model": 0.0, "judges": 0.0}
    with torch.inference_mode(), bar(_steps(exam.plan), f"Evaluating {contestant.name}") as advance:
        for name, answers in _answers(contestant.model, exam, batch_size or DEFAULT_BATCH, spent):
            for metric in rows[name]:
                metric.update(answers)
            if name == "identity":  # which answers every question
                advance(len(answers.factual.index))
    columns = {name: [column for metric in made for column in metric.compute()] for name, made in rows.items()}
    spent["statistics"] = -time.perf_counter()
    group = exam.dataset.split(SPLIT).group
    numbers = _numbers(columns, _real(exam), group[exam.plan.index], exam)
    spent["statistics"] += time.perf_counter()
    spent["total"] = time.perf_counter() - started
    record = Record(
        title=contestant.title,
        inputs=exam.inputs(contestant),
        questions=len(exam.plan),
        clusters=len(group[exam.plan.index].unique()),
        pixel_temperature=contestant.pixel_temperature,
        parameters=contestant.parameters,
        numbers=numbers,
        skipped=_skipped(exam, contestant, columns["model"]),
        seconds={name: round(value, 3) for name, value in spent.items()},
        device=str(exam.device),
        versions=versions(),
    )
    return Evaluation(record, columns["model"], group)


def _make_metrics(exam: Exam) -> list[SampleMetric]:
    return [registry.metrics.get(name)(exam.setting) for name in exam.metrics]


def _steps(plan: Plan) -> int:
    return len(plan.index) * (plan.cycles + len(plan.single))


def _answers(
    model: Model, exam: Exam, batch_size: int, spent: dict[str, float]
) -> Iterator[tuple[str, Counterfactual]]:
    """Every answer of the model and of the baselines, one batch of one question at a time, each generated once."""
    split = exam.dataset.split(SPLIT)

    def measure(images: Tensor) -> dict[str, Tensor]:
        begun = time.perf_counter()
        measured = {name: panel.measure(images) for name, panel in exam.panels.items()}
        spent["judges"] += time.perf_counter() - begun
        return measured

    def ask(given: Samples, interventions: Mapping[str, Tensor], question: str) -> Mapping[str, Tensor]:
        begun = time.perf_counter()
        noise = SampleNoise(exam.seed, [f"{question}/{row}" for row in given.index.tolist()])
        answer = model.counterfactual(given, interventions, noise)
        check_answer(answer, exam.dataset.variables, given.count)
        spent["model"] += time.perf_counter() - begun
        return {name: value.cpu() for name, value in answer.items()}

    image = exam.dataset.card.image
    for rows in exam.plan.index.split(batch_size):
        factual = split.take(rows)
        measured = measure(factual[image])
        given = factual
        for cycle in range(1, exam.plan.cycles + 1):
            given = Samples(ask(given, {}, f"null/{cycle}"), rows)
            for name, answer in (("model", given), ("identity", factual), ("truth", factual)):
                yield name, Counterfactual((), cycle, factual, {}, answer, factual, image, measure, measured)
        for variable, wanted in exam.plan.single.items():
            interventions = {variable: wanted[rows]}
            truth = exam.dataset.truth(SPLIT, rows, interventions) if exam.dataset.knows_truth([variable]) else None
            asked = models.can_answer(model, [variable])
            answered: dict[str, Mapping[str, Tensor] | None] = {
                "model": ask(factual, interventions, f"single/{variable}") if asked else None,
                "identity": Identity(exam.dataset).counterfactual(factual, interventions),
                "truth": truth,
            }
            for name, given_answer in answered.items():
                if given_answer is not None:
                    yield (
                        name,
                        Counterfactual(
                            (variable,), 1, factual, interventions, given_answer, truth, image, measure, measured
                        ),
                    )


def _real(exam: Exam) -> dict[str, Column]:
    """The judges on real test images with their own labels: measured variable -> scores."""
    split = exam.dataset.split(SPLIT)
    found = {}
    for name, panel in exam.panels.items():
        variable = exam.dataset.variables[name]
        parts = [split.take(rows) for rows in exam.plan.index.split(DEFAULT_BATCH)]
        error = torch.cat(
            [error_per_sample(variable, panel.measure(part[exam.dataset.card.image]), part[name]) for part in parts]
        )
        score = error if isinstance(variable, Continuous) else 1 - error
        found[name] = Column(
            "effectiveness", Cell("real", variable.kind, "lower"), exam.plan.index, score, torch.ones_like(score)
        )
    return found


def _numbers(
    columns: Mapping[str, list[Column]], real: Mapping[str, Column], group: Tensor, exam: Exam
) -> list[Number]:
    """All columns to numbers with intervals, all of them in one bootstrap."""
    flat: list[tuple[str, Column]] = [(name, column) for name, listed in columns.items() for column in listed]
    flat += [(f"real/{name}", column) for name, column in real.items()]
    estimates = _estimates([column for _, column in flat], group, exam)
    by_row: dict[str, dict[object, Estimate]] = {}
    for (name, column), estimate in zip(flat, estimates, strict=True):
        by_row.setdefault(name, {})[column.cell] = estimate
    numbers = []
    for column in columns["model"]:
        cell = column.cell
        references = {name: by_row[name][cell] for name in ("identity", "truth") if cell in by_row.get(name, {})}
        if column.metric == "effectiveness" and cell.kind == "mean" and f"real/{cell.measured}" in by_row:
            references["real"] = next(iter(by_row[f"real/{cell.measured}"].values()))
        numbers.append(
            Number(
                **by_row["model"][cell].model_dump(),
                metric=column.metric,
                quantity=cell.quantity,
                intervened=cell.intervened,
                measured=cell.measured,
                cycles=cell.cycles,
                unit=cell.unit,
                direction=cell.direction,
                references=references,
            )
        )
    return numbers


def _estimates(columns: Sequence[Column], group: Tensor, exam: Exam) -> list[Estimate]:
    """Point, interval and N of each column."""
    if not columns:
        return []
    _, codes = np.unique(group.numpy(), return_inverse=True)
    count = int(codes.max()) + 1
    cluster_of = np.zeros(int(exam.plan.index.max()) + 1, dtype=np.int64)
    cluster_of[exam.plan.index.numpy()] = codes

    def totals(values: Tensor, column: Column) -> np.ndarray:
        return cluster_totals(values.numpy(), cluster_of[column.index.numpy()], count)

    ratios = Ratios(
        np.stack([totals(column.value, column) for column in columns], 1),
        np.stack([totals(column.reference, column) for column in columns], 1),
    )
    low, high = bca(ratios, exam.suite.resamples, exam.seed)
    made = []
    for column, value, lower, upper in zip(columns, ratios.point(), low, high, strict=True):
        if column.cell.kind == "skill":
            value, lower, upper = 1 - value, 1 - upper, 1 - lower
        ends = [float(end) if np.isfinite(end) else None for end in (lower, upper)]
        made.append(Estimate(value=float(value), low=ends[0], high=ends[1], n=len(column.value)))
    return made


def _skipped(exam: Exam, contestant: Contestant, columns: Sequence[Column]) -> dict[str, str]:
    """What has no number, and why."""
    answered = {column.metric for column in columns}
    reasons = {}
    for name in exam.plan.single:
        if not models.can_answer(contestant.model, [name]):
            reasons[f"do({name})"] = f"{contestant.name} does not answer this question"
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
