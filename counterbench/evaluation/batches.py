"""A batch of samples with everything that does not depend on the contestant, worked out once for all of them."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from counterbench.catalog.cards import Role
from counterbench.causal.chance import SampleNoise
from counterbench.causal.samples import Samples
from counterbench.datasets.dataset import UNSEEN
from counterbench.datasets.matching import Matcher
from counterbench.evaluation.exam import SPLIT, Exam
from counterbench.judges import Reading, measure_all
from counterbench.metrics.answers import Instruments, Regions, View, picture
from counterbench.metrics.perturbation import Perturbation
from counterbench.models.baselines import Identity
from counterbench.plans.question import Question, words_of


@dataclass
class Shared:
    """What all batches of an exam share: who looks at images, and how long it took.

    Args:
        exam: the questions and the judges.
    """

    exam: Exam
    seconds: dict[str, float] = field(default_factory=lambda: {"model": 0.0, "judges": 0.0, "truth": 0.0})
    _seen: dict[bytes, dict[str, Tensor]] = field(default_factory=dict)

    @contextmanager
    def timed(self, what: str) -> Iterator[None]:
        """Count the seconds of a block as those of the model, of the judges or of the truth."""
        begun = time.perf_counter()
        yield
        self.seconds[what] += time.perf_counter() - begun

    @cached_property
    def identity(self) -> Identity:
        """Answers with the attributes that questions should lead to."""
        return Identity(self.exam.dataset)

    @cached_property
    def matcher(self) -> Matcher:
        """Finds real images by their attributes."""
        return Matcher(self.exam.dataset, self.exam.suite.references)

    @cached_property
    def held_out_matcher(self) -> Matcher:
        """Finds real images that no model was trained on by their attributes."""
        return Matcher(self.exam.dataset, split=UNSEEN)

    @cached_property
    def instruments(self) -> Instruments:
        """Judges, feature spaces and the segmenter."""
        segmenter = self.exam.segmenter
        return Instruments(self._measure, self.exam.spaces, None if segmenter is None else self._segment)

    def _segment(self, images: Tensor) -> Tensor:
        """Which part every pixel shows."""
        assert self.exam.segmenter is not None
        with self.timed("judges"):
            return self.exam.segmenter.segment(images)

    def _measure(self, images: Tensor) -> dict[str, Reading]:
        """What the judges read; an image of this batch that they have seen before, in whosever answer, is not shown to them again."""
        with self.timed("judges"):
            names = [
                hashlib.blake2b(image, digest_size=16).digest() for image in images.float().contiguous().cpu().numpy()
            ]
            new = {name: row for row, name in enumerate(names) if name not in self._seen}
            if new:
                found = measure_all(self.exam.panels, images[list(new.values())])
                for column, name in enumerate(new):
                    self._seen[name] = {key: reading.members[:, column] for key, reading in found.items()}
            return {key: Reading(torch.stack([self._seen[name][key] for name in names], 1)) for key in self.exam.panels}

    def forget(self) -> None:
        """Forget what the judges have read: another batch has other images."""
        self._seen.clear()


class SharedBatch:
    """Some positions of a plan.

    Args:
        shared: what all batches share.
        positions: (N,), of the plan's index.
    """

    def __init__(self, shared: Shared, positions: Tensor):
        shared.forget()
        self.shared, self.exam, self.positions = shared, shared.exam, positions
        self.rows = self.exam.plan.index[positions]
        self.image = self.exam.dataset.card.image
        split = self.exam.dataset.split(SPLIT)
        self.factual = split.take(self.rows)
        self.questions = [question.at(positions) for question in self.exam.plan.questions]
        self._single = {question.variable: question for question in self.questions if question.kind == "single"}
        self.view = View(picture(self.factual, self.image), shared.instruments, group=split.group[self.rows])
        self._targets: dict[str, dict[str, Tensor]] = {}
        self._truths: dict[str, dict[str, Tensor] | None] = {}
        self._true_masks: dict[str, Tensor | None] = {}
        self._matched: dict[str, tuple[Samples, Tensor]] = {}
        self._matched_views: dict[str, View] = {}

    def targets(self, question: Question) -> dict[str, Tensor]:
        """What attributes should be under a single or joint intervention; the image unchanged."""
        if question.name not in self._targets:
            self._targets[question.name] = self.shared.identity.attributes(self.factual, question.held)
        return self._targets[question.name]

    def truth(self, question: Question) -> dict[str, Tensor] | None:
        """The true answer to a single or joint question, where it is known."""
        if question.name not in self._truths:
            dataset = self.exam.dataset
            with self.shared.timed("truth"):
                known = dataset.knows_truth(list(question.held))
                self._truths[question.name] = dataset.truth(SPLIT, self.rows, question.held) if known else None
        return self._truths[question.name]

    @cached_property
    def regions(self) -> Regions:
        """Where things are in the observed images and in the true answers."""
        dataset = self.exam.dataset

        def carried(role: Role) -> Any:
            return dataset.role(role, SPLIT, self.rows) if role in dataset.card.carried(dataset.source) else None

        def true_mask(question: Question) -> Tensor | None:
            if question.name not in self._true_masks:
                known = dataset.knows_truth(list(question.held))
                masks = dataset.masks(SPLIT, self.rows, question.held) if known else None
                self._true_masks[question.name] = masks
            return self._true_masks[question.name]

        return Regions(
            mask=lambda: carried("mask"),
            boxes=lambda: carried("boxes"),
            captions=lambda: carried("caption"),
            true_mask=true_mask,
        )

    @cached_property
    def shake(self) -> Perturbation:
        """Images, one of each row -> the same with a little noise, moved by a part of a pixel: the same for whoever answers."""
        return Perturbation(self.rows, self.view.images.shape[1:], seed=self.exam.seed)

    def real(self, question: Question) -> Samples:
        """Real images, one of each row, with the attributes that a single or joint intervention leads to, and their own attributes."""
        return self._alike(question)[0]

    def matched(self, variable: str) -> View:
        """Real images with the counterfactual attributes."""
        if variable not in self._matched_views:
            real, group = self._alike(self._single[variable])
            self._matched_views[variable] = View(real[self.image], self.shared.instruments, group=group)
        return self._matched_views[variable]

    @cached_property
    def held_out(self) -> View:
        """Real images that no model was trained on, one with the attributes of each row."""
        keys = [f"held out/{row}" for row in self.rows.tolist()]
        drawn = SampleNoise(self.exam.seed, keys).uniform(1)[:, 0]
        real = self.exam.dataset.split(UNSEEN).take(self.shared.held_out_matcher.random(self.factual, drawn))
        return View(real[self.image], self.shared.instruments)

    def _alike(self, question: Question) -> tuple[Samples, Tensor]:
        if question.name not in self._matched:
            keys = [f"matched/{words_of(question.intervened)}/{row}" for row in self.rows.tolist()]
            drawn = SampleNoise(self.exam.seed, keys).uniform(1)[:, 0]
            rows = self.shared.matcher.random(self.targets(question), drawn)
            real = self.exam.dataset.reference(self.exam.suite.references)
            self._matched[question.name] = real.take(rows), real.group[rows]
        return self._matched[question.name]
