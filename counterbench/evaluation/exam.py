"""The exam: suite, dataset, plan, judges and metrics, which are fixed before a model is asked."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import counterbench
from counterbench import datasets, features, judges, plans, segmenters
from counterbench.catalog.suites import STANDARD, Suite, find_suite
from counterbench.causal.chance import SampleNoise
from counterbench.datasets.dataset import Dataset
from counterbench.errors import ConfigError, UnavailableError, UnknownNameError
from counterbench.features.base import FeatureSpace
from counterbench.judges import Panel
from counterbench.metrics.base import Metric, Setting
from counterbench.metrics.references import References
from counterbench.metrics.scales import scale, spread
from counterbench.metrics.trained_on import FILTERED_BY
from counterbench.models.behind import behind_of
from counterbench.models.building import load_reference, reference_fingerprint
from counterbench.models.model import Contestant, HasNoise
from counterbench.models.targets import Targets
from counterbench.plans.plan import Plan
from counterbench.plans.question import Cause, names_of
from counterbench.plugins import registry
from counterbench.plugins.factory import make
from counterbench.records.record import EDITION, Inputs
from counterbench.runtime.blocks import at_once
from counterbench.runtime.devices import choose_device
from counterbench.segmenters import Segmenter

SPLIT = "test"
SAMPLES, _ROOM = 8, 1 << 21
"""Samples that are asked about again, and how many numbers these may be together: 8 MiB."""
REFERENCE_SCM = "(reference SCM)"
"""Among the judges of a record: no variable is called so."""
SEGMENTER = "(segmenter)"
"""Likewise."""


class Shelf(Mapping[str, FeatureSpace]):
    """Feature spaces, loaded when a metric asks for them; what cannot be had is remembered with the reason.

    Args:
        dataset: whose images.
        panels: its judges.
        device: where they compute.
    """

    def __init__(self, dataset: Dataset, panels: Mapping[str, Panel], device: torch.device):
        self.dataset, self.panels, self.device = dataset, panels, device
        self.loaded: dict[str, FeatureSpace] = {}
        self.missing: dict[str, str] = {}

    def __contains__(self, name: object) -> bool:
        if name in self.loaded:
            return True
        if name in self.missing:
            return False
        try:
            self.loaded[str(name)] = features.load(
                str(name), self.dataset.card, self.panels, device=self.device, source=self.dataset.source
            )
        except UnavailableError as error:
            self.missing[str(name)] = str(error)
            return False
        return True

    def __getitem__(self, name: str) -> FeatureSpace:
        if name not in self:
            raise KeyError(self.missing[name])
        return self.loaded[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.loaded)

    def __len__(self) -> int:
        return len(self.loaded)


@dataclass(frozen=True)
class Exam:
    """Questions, judges and metrics.

    Args:
        dataset: what is asked about.
        suite: what kind of exam.
        plan: the questions.
        panels: who judges.
        spaces: feature spaces that are there.
        metrics: metric -> its options.
        seed: of plan and noise.
        limit: of the questions, as given by the caller.
        device: where judges and models compute.
    """

    dataset: Dataset
    suite: Suite
    plan: Plan
    panels: Mapping[str, Panel]
    spaces: Shelf
    metrics: Mapping[str, Mapping[str, Any]]
    seed: int
    limit: int | None
    device: torch.device
    plan_file: str = ""
    """Name of the file that the questions come from; empty where they were drawn."""
    references: References = field(init=False)
    targets: Targets = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "references", References(self.dataset, self.suite.references))
        reference = load_reference(self.dataset.card, self.dataset.source)
        object.__setattr__(self, "targets", Targets(self.dataset, reference, split=SPLIT))

    def knowing(self, contestant: Contestant) -> Exam:
        """The same exam, told which rows the contestant was trained on, where those were chosen and a metric wants to know."""
        behind = behind_of(contestant.training)
        seen = dict(behind.seen or {})
        if behind.filtered_by:
            seen[FILTERED_BY] = list(behind.filtered_by)
        if not seen:
            return self
        told = {name: _told(name, options, seen) for name, options in self.metrics.items()}
        return self if told == self.metrics else replace(self, metrics=told)

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
            exam_seed=self.dataset.exam_seed,
            limit=self.limit,
            metrics={name: dict(options) for name, options in self.metrics.items()},
            references=self.suite.references,
            resamples=self.suite.resamples,
            data=self.fingerprints,
            plan=self.plan.hash,
            judges=self.judge_fingerprints,
            features={name: space.fingerprint for name, space in sorted(self.spaces.loaded.items())},
            answers=contestant.kept or None,
            plugins=registry.plugin_hashes(),
            counterbench=counterbench.__version__,
            edition=EDITION,
        )

    @cached_property
    def assumed(self) -> dict[Cause, tuple[str, ...]]:
        """What is set -> its descendants whose true values nobody knows; nothing of a dataset without images."""
        causes = self.plan.causes if self.dataset.card.image else ()
        return {cause: assumed for cause in causes if (assumed := self.targets.assumed(*names_of(cause)))}

    @cached_property
    def segmenter(self) -> Segmenter | None:
        """Finds the parts of images; None where the card pins none for this source."""
        return segmenters.load(self.dataset.card, self.dataset.source, device=self.device)

    @cached_property
    def judge_fingerprints(self) -> dict[str, list[str]]:
        """Variable -> what decides each judge's readings; beside them the reference SCM and the segmenter, where there are any."""
        fingerprints = {name: panel.fingerprints for name, panel in self.panels.items()}
        if self.segmenter is not None and any(registry.metrics.get(name).needs_parts for name in self.metrics):
            fingerprints[SEGMENTER] = [self.segmenter.fingerprint]
        entry = self.dataset.card.reference_scm.get(self.dataset.source)
        return fingerprints if entry is None else {**fingerprints, REFERENCE_SCM: [reference_fingerprint(entry)]}

    @cached_property
    def fingerprints(self) -> dict[str, str]:
        """SHA-256 of what decides the data: card, pixels, attributes."""
        fingerprints = {
            "card": self.dataset.card.fingerprint,
            "test": self.dataset.split(SPLIT).fingerprint,
            "train_attributes": self.dataset.attributes_fingerprint("train"),
            "reference": self.dataset.reference(self.suite.references).fingerprint,
        }
        if not type(self.dataset).__module__.startswith("counterbench."):
            fingerprints["reader"] = registry.source_hash_of(type(self.dataset))
        if any(options.get("reference") == "train" for options in self.metrics.values()):
            fingerprints["train"] = self.dataset.split("train").fingerprint
        return fingerprints

    def setting(self, drawn: Mapping[str, Tensor] | None = None) -> Setting:
        """What a metric may know.

        Args:
            drawn: "variable.part" -> some draws of the exogenous noise, (N, ...), of the model that is examined.
        """
        drawn = drawn or {}
        card, plan = self.dataset.card, self.plan
        return Setting(
            graph=self.dataset.graph,
            variables=self.dataset.variables,
            image=card.image,
            intervenable=tuple(plan.single),
            judged=tuple(name for name in card.attributes if name in self.panels),
            cycles=plan.cycles,
            with_truth=tuple(name for name in plan.single if self.dataset.knows_truth([name])),
            undo=tuple(plan.undo),
            pairs=plan.pairs,
            joint=plan.joint,
            joint_with_truth=tuple(both for both in plan.joint if self.dataset.knows_truth(both)),
            ensembles=tuple(name for name, panel in self.panels.items() if len(panel.members) > 1),
            spread=self._spread,
            scale=self._scale,
            spaces=self.spaces,
            missing=self.spaces.missing,
            references=self.references,
            noise={part: value.flatten(1).shape[1] for part, value in drawn.items()},
            held=frozenset(part for part, value in drawn.items() if (value == value[:1]).all()),
            rows=plan.index,
            changes_individual=tuple(name for name in plan.single if card.variables[name].changes_individual),
            typical_change=card.typical_change.get(self.dataset.source, {}),
            assumed=self.assumed if self.targets.reference is not None else {},
            **self._regions(),
        )

    def _regions(self) -> dict[str, Any]:
        """What a metric may know of parts, boxes and captions of this source."""
        card = self.dataset.card
        there = card.carried(self.dataset.source)
        mask, boxes = there.get("mask"), there.get("boxes")
        return {
            "parts": card.parts if mask or self.segmenter else (),
            "owned": {cause: card.parts_of(names_of(cause)) for cause in self.plan.causes},
            "segmented": self.segmenter is not None,
            "boxed": boxes.by if boxes else (),
            "captioned": "caption" in there and card.grammar is not None,
        }

    @cached_property
    def sample(self) -> Tensor:
        """Positions of the plan whose questions are asked again, (K,), ascending; drawn with the seed. Of large volumes fewer, for all their answers
        are held until then."""
        few = at_once(math.prod(self.dataset.card.image_shape), SAMPLES, room=_ROOM)
        drawn = SampleNoise(self.seed, ["asked again"]).uniform(len(self.plan.index))[0]
        return drawn.argsort()[:few].sort().values

    @cached_property
    def _spread(self) -> dict[str, float]:
        train = self.dataset.attributes("train")
        return {name: spread(value, self.dataset.variables[name]) for name, value in train.items()}

    @cached_property
    def _scale(self) -> dict[str, float]:
        train = self.dataset.attributes("train")
        return {name: scale(value, self.dataset.variables[name]) for name, value in train.items()}

    def make_metrics(self, contestant: Contestant | None = None) -> list[Metric]:
        """Fresh metrics, empty.

        Args:
            contestant: who will be examined; None for nobody in particular.

        Raises:
            ConfigError: for an option that a metric does not have.
        """
        setting = self.setting(_drawn_noise(contestant))
        return [_make(name, setting, options) for name, options in self.metrics.items() if _watches(name, contestant)]


def _watches(name: str, contestant: Contestant | None) -> bool:
    """Whether a metric has something to look at: nobody is at work where answers are looked up, and noise is not kept with them."""
    family = registry.metrics.get(name)
    if contestant is None or not contestant.looked_up:
        return True
    return not family.needs_model and not (contestant.kept and family.needs_noise)


def _make(name: str, setting: Setting, options: Mapping[str, Any]) -> Metric:
    metric: Metric = make(f"The metric {name!r}", registry.metrics.get(name), (setting,), options)
    metric.name = name
    return metric


def _drawn_noise(contestant: Contestant | None) -> dict[str, Tensor]:
    """Some draws of each part of a model's exogenous noise; empty for a model without."""
    if contestant is None or not isinstance(contestant.model, HasNoise):
        return {}
    with torch.no_grad():
        drawn = contestant.model.sample_noise(8, torch.Generator().manual_seed(0))
    return {f"{variable}.{part}": value for variable, parts in drawn.items() for part, value in parts.items()}


def draws_option() -> tuple[str, str]:
    """The metric that judges several draws of an answer, and its option that says how many."""
    families = {name: registry.metrics.get(name) for name in registry.metrics.builtins()}
    return next((name, family.draws_option) for name, family in families.items() if family.draws_option)


def seen_option(name: str) -> str:
    """The option of a metric that says which rows a model was trained on; empty for a metric that does not want to know."""
    return registry.metrics.get(name).seen_option if name in registry.metrics else ""


def _told(name: str, options: Mapping[str, Any], seen: Mapping[str, Any] | None) -> dict[str, Any]:
    """A metric's options, with the rows that the model was trained on, if it wants to know and nobody has said it."""
    option = seen_option(name)
    return {option: seen, **options} if option and seen else dict(options)


def prepare(
    dataset: Dataset | str,
    suite: Suite | str = STANDARD,
    *,
    source: str | None = None,
    data_dir: Path | None = None,
    metrics: Sequence[str] | None = None,
    seed: int = 0,
    limit: int | None = None,
    device: str = "auto",
    plan: Path | None = None,
    exam_seed: int | None = None,
    draws: int | None = None,
    seen: Mapping[str, Any] | None = None,
) -> Exam:
    """Fix the questions, the judges and the metrics.

    Args:
        dataset: a name, or a loaded dataset.
        suite: a name, or a suite.
        source: where the pixels come from; None for the card's default.
        data_dir: where published data lies.
        metrics: names; None for the suite's. One that the suite lists too keeps its options.
        seed: of plan and noise.
        limit: ask about the first test samples only.
        device: auto, cpu, cuda, cuda:N or mps.
        plan: ask the questions in this file, instead of drawing them.
        exam_seed: draws test individuals that are in no public split; None for the public ones.
        draws: answer every single intervention so often, and judge how far the answers lie apart and whether the truth lies among them; None for
            one answer.
        seen: which rows of the training split the model was trained on, from its manifest; None for all.

    Raises:
        UnknownNameError: for an unknown dataset, source, suite or metric.
        ConfigError: if the metrics can judge none of the questions, or nobody can draw new individuals.
    """
    suite = find_suite(suite) if isinstance(suite, str) else suite
    if isinstance(dataset, str):
        dataset = datasets.load(dataset, source, data_dir=data_dir, exam_seed=exam_seed)
    elif exam_seed not in (None, dataset.exam_seed):
        raise ConfigError(
            f"The dataset was loaded with the exam seed {dataset.exam_seed}, and {exam_seed} is asked for; load it with that one."
        )
    options = {name: suite.metrics.get(name, {}) for name in (suite.metrics if metrics is None else metrics)}
    if draws is not None:
        name, option = draws_option()
        options[name] = {**options.get(name, {}), option: draws}
    if not options:
        raise ConfigError(f"No metric is given; choose some of: {', '.join(registry.metrics.names())}.")
    for name in options:
        if name not in registry.metrics:
            raise UnknownNameError("metric", name, registry.metrics.names())
    if plan is not None and limit is not None:
        raise ConfigError(
            f"--limit {limit} and --plan {plan} exclude each other: the file says which images are asked about."
        )
    place = choose_device(device)
    questions = plans.load(plan, dataset) if plan else plans.draw(dataset, suite, seed, limit=limit)
    panels = judges.load(dataset.card, dataset.source, device=place)
    exam = Exam(
        dataset,
        suite,
        questions,
        panels,
        Shelf(dataset, panels, place),
        {name: _told(name, given, seen) for name, given in options.items()},
        seed,
        limit,
        place,
        plan.name if plan else "",
    )
    instances = exam.make_metrics()
    if not any(metric.cells or metric.skipped for metric in instances):
        raise ConfigError(
            f"The suite {suite.name!r} asks nothing that {', '.join(options)} could judge; add questions or metrics."
        )
    return exam
