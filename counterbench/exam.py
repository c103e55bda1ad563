"""The exam: everything that is fixed before a model is asked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch

import counterbench
from counterbench import datasets, judges, plans, registry
from counterbench.catalog.suites import Suite, find_suite
from counterbench.datasets.base import Dataset
from counterbench.errors import ConfigError, UnknownNameError
from counterbench.judges import Panel
from counterbench.metrics.base import SampleMetric, Setting
from counterbench.models import Contestant
from counterbench.plans import Plan
from counterbench.records import Inputs

SPLIT = "test"


@dataclass(frozen=True)
class Exam:
    """Questions, judges and metrics.

    Args:
        dataset: what is asked about.
        suite: what kind of exam.
        plan: the questions.
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
            plugins=registry.plugin_hashes(),
            counterbench=counterbench.__version__,
        )

    @cached_property
    def setting(self) -> Setting:
        """What a metric may know."""
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

    def make_metrics(self) -> list[SampleMetric]:
        """Fresh metrics, empty."""
        made = []
        for name in self.metrics:
            metric: SampleMetric = registry.metrics.get(name)(self.setting)
            metric.name = name
            made.append(metric)
        return made


def prepare(
    dataset: Dataset | str,
    suite: Suite | str = "standard",
    source: str | None = None,
    data_dir: Path | None = None,
    metrics: Sequence[str] | None = None,
    seed: int = 0,
    limit: int | None = None,
    device: str = "auto",
    plan: Path | None = None,
) -> Exam:
    """Fix the questions, the judges and the metrics.

    Args:
        dataset: a name, or a loaded dataset.
        suite: a name, or a suite.
        source: where the pixels come from; None for the card's default.
        data_dir: where published data lies.
        metrics: None for the suite's.
        seed: of plan and noise.
        limit: ask about the first test samples only.
        device: auto, cpu, cuda, cuda:N or mps.
        plan: ask the questions in this file, instead of drawing them.

    Raises:
        UnknownNameError: for an unknown dataset, source, suite or metric.
        ConfigError: if the metrics can judge none of the questions.
    """
    suite = find_suite(suite) if isinstance(suite, str) else suite
    dataset = datasets.load(dataset, source, data_dir) if isinstance(dataset, str) else dataset
    chosen = tuple(dict.fromkeys(suite.metrics if metrics is None else metrics))
    if not chosen:
        raise ConfigError(f"No metric is given; choose some of: {', '.join(registry.metrics.names())}.")
    for name in chosen:
        if name not in registry.metrics:
            raise UnknownNameError("metric", name, registry.metrics.names())
    place = choose_device(device)
    questions = plans.load(plan, dataset) if plan else plans.draw(dataset, suite, seed, limit)
    panels = judges.load(dataset.card, dataset.source, place)
    exam = Exam(dataset, suite, questions, panels, chosen, seed, limit, place)
    if not any(metric.cells for metric in exam.make_metrics()):
        raise ConfigError(
            f"The suite {suite.name!r} asks nothing that {', '.join(chosen)} could judge; add questions or metrics."
        )
    return exam


def choose_device(name: str) -> torch.device:
    """`auto` takes CUDA, then MPS, then the CPU.

    Raises:
        ConfigError: for a device that this machine does not have.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    kind, _, number = name.partition(":")
    if kind not in ("cpu", "cuda", "mps") or (number and not (kind == "cuda" and number.isdigit())):
        raise ConfigError(f"Unknown device {name!r}; give auto, cpu, cuda, cuda:0 or mps.")
    there = {"cpu": 1, "cuda": torch.cuda.device_count(), "mps": int(torch.backends.mps.is_available())}[kind]
    if int(number or 0) >= there:
        raise ConfigError(f"This machine has no device {name!r}; give --device cpu, or auto to take what there is.")
    return torch.device(name)
