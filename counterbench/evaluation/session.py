"""Examining several models on one exam: in chunks of samples, sharing whatever does not depend on the model.

A chunk's result is what the metrics have taken from it. It is stored under the hash of everything that decides it, so that an
interrupted examination goes on where it was, with the same numbers to the last bit, and a stored chunk is never taken for
something else.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor, nn

from counterbench import models
from counterbench.causal.chance import SampleNoise
from counterbench.causal.samples import Samples
from counterbench.datasets.matching import Matcher
from counterbench.evaluation.exam import SPLIT, Exam
from counterbench.judges import Reading, measure_all
from counterbench.metrics.answers import (
    Batch,
    Counterfactual,
    Instruments,
    NoiseSample,
    View,
    picture,
)
from counterbench.metrics.base import Column, Metric
from counterbench.models.baselines import Identity, Truth
from counterbench.models.cost import counted_passes, out_of_memory, peak_memory
from counterbench.models.model import Contestant
from counterbench.models.reachable import modules_of
from counterbench.runtime.blocks import BLOCK
from counterbench.runtime.progress import bar
from counterbench.runtime.versions import source_hash, versions
from counterbench.storage.tensors import read_tensors, write_tensors

REAL = "real"
_REACH = "reach"
SHOWN = 8
"""Answers to each question that are kept for the picture."""
_CHUNK = 500


@dataclass(frozen=True)
class Shown:
    """A few answers to one question, to look at.

    Args:
        factual: images as observed.
        wanted: values that were set.
        answered: images.
        truth: true images, or None.
    """

    factual: Tensor
    wanted: Tensor
    answered: Tensor
    truth: Tensor | None


@dataclass
class Examinee:
    """One row of the table: a model with its metrics.

    Args:
        name: of the row.
        contestant: the model; None for `real`, which are the factual images with their own attributes.
        metrics: what judges it.
        folder: where its chunks are kept; None for memory only.
        key: hash of everything that decides its results.
    """

    name: str
    contestant: Contestant | None
    metrics: list[Metric]
    folder: Path | None
    key: str
    chunks: dict[int, dict[str, Tensor]] = field(default_factory=dict)
    optional: bool = False
    """Whether its chunks may be lost: those of a baseline only save time."""

    @property
    def asks(self) -> set[str]:
        """Kinds of question that its metrics judge."""
        return {kind for metric in self.metrics if metric.cells for kind in metric.asks}

    def path(self, start: int, rows: Tensor) -> Path | None:
        """Where the chunk that begins at position `start` of the plan is kept."""
        if self.folder is None:
            return None
        digest = hashlib.sha256(f"{self.key} {rows.tolist()}".encode()).hexdigest()
        return self.folder / f"chunk-{start:06d}-{digest[:24]}.safetensors"

    def columns(self) -> list[Column]:
        """All numbers, from all chunks in their order."""
        for metric in self.metrics:
            metric.reset()
        for start in sorted(self.chunks):
            for metric in self.metrics:
                prefix = f"{metric.name}/"
                stored = {
                    key.removeprefix(prefix): v for key, v in self.chunks[start].items() if key.startswith(prefix)
                }
                if stored:
                    metric.restore(stored)
        found = [column for metric in self.metrics if metric.update_called for column in metric.compute()]
        for metric in self.metrics:
            metric.reset()
        return found

    @cached_property
    def networks(self) -> list[nn.Module]:
        """Those of the model."""
        return [] if self.contestant is None else modules_of(self.contestant.model)

    @property
    def reach(self) -> Tensor | None:
        """Darkest and brightest pixel of all its answers, then of the images that they are about, (4,); None without images."""
        parts = [chunk[_REACH] for chunk in self.chunks.values() if _REACH in chunk]
        return _widest(parts) if parts else None

    def shown(self) -> dict[str, Shown]:
        """Answers to look at, by intervened variable."""
        first = self.chunks.get(0, {})
        found: dict[str, dict[str, Tensor]] = {}
        for key, value in first.items():
            if key.startswith("shown/"):
                _, variable, part = key.split("/")
                found.setdefault(variable, {})[part] = value
        return {name: Shown(**{"truth": None, **parts}) for name, parts in found.items()}  # type: ignore[arg-type]


def key_of(exam: Exam, contestant: Contestant | None) -> str:
    """Hash of everything that decides what an examinee's chunks hold."""
    inputs = exam.inputs(contestant or Contestant(REAL, None))  # type: ignore[arg-type]
    made_by = sorted(versions().items())
    return hashlib.sha256(f"{inputs.hash} {exam.device} {source_hash()} {made_by}".encode()).hexdigest()


def examine(exam: Exam, examinees: Sequence[Examinee], batch_size: int | None = None) -> dict[str, float]:
    """Ask every examinee every question that its metrics judge; the results are in their `chunks`.

    Args:
        exam: the questions and the judges.
        examinees: who is asked; chunks that are stored already are read instead.
        batch_size: samples at a time; None to choose by the size of an image. Changes the speed, and the last digits of what a
            network answers; no score of a baseline. It is halved when an accelerator runs out of memory.

    Returns:
        Seconds spent by models, judges and truth.

    Raises:
        ModelError: for an answer that is none.
    """
    image = exam.dataset.card.image
    pixels = exam.dataset.variables[image].size if image else 1
    session = _Session(exam, batch_size or default_batch(exam.device, pixels))
    positions = torch.arange(len(exam.plan.index)).split(chunk_size(pixels))
    pending = _load(exam, examinees, positions)
    total = sum(len(part) * len(waiting) for part, waiting in pending)
    name = examinees[0].name if len(examinees) == 1 else f"{examinees[0].name} and baselines"
    with torch.no_grad(), bar(total, f"Evaluating {name}") as advance:
        for part, waiting in pending:
            session.examine_chunk(part, waiting, advance)
    return session.seconds


def default_batch(device: torch.device, pixels: int) -> int:
    """How many samples at a time, in whole blocks of what judges look at: fewer of larger images, more on an accelerator."""
    fitting = 400_000 // pixels * (8 if device.type != "cpu" else 1)
    return max(1, min(fitting, 100 if device.type == "cpu" else 1024) // BLOCK) * BLOCK


def chunk_size(pixels: int) -> int:
    """How many samples make a chunk: as many as can be held at once with all their answers, and no more than 500."""
    return max(32, min(_CHUNK, 4_000_000 // pixels))


def _load(
    exam: Exam, examinees: Sequence[Examinee], positions: Sequence[Tensor]
) -> list[tuple[Tensor, list[Examinee]]]:
    """Read the chunks that are stored; returns (positions in the plan, who has to be asked about them)."""
    pending = []
    for part in positions:
        start, rows = int(part[0]), exam.plan.index[part]
        waiting = []
        for examinee in examinees:
            path = examinee.path(start, rows)
            stored = None if path is None else read_tensors(path)
            if stored is None:
                waiting.append(examinee)
            else:
                examinee.chunks[start], _ = stored
        if waiting:
            pending.append((part, waiting))
    return pending


@dataclass
class _Session:
    """One run: asks, measures, keeps the time."""

    exam: Exam
    batch_size: int
    seconds: dict[str, float] = field(default_factory=lambda: {"model": 0.0, "judges": 0.0, "truth": 0.0})

    @cached_property
    def identity(self) -> Identity:
        return Identity(self.exam.dataset)

    @cached_property
    def matcher(self) -> Matcher:
        return Matcher(self.exam.dataset, self.exam.suite.references)

    @cached_property
    def instruments(self) -> Instruments:
        return Instruments(self._measure, self.exam.spaces)

    def _measure(self, images: Tensor) -> dict[str, Reading]:
        begun = time.perf_counter()
        measured = measure_all(self.exam.panels, images)
        self.seconds["judges"] += time.perf_counter() - begun
        return measured

    def examine_chunk(self, part: Tensor, waiting: Sequence[Examinee], advance: Callable[[int], None]) -> None:
        """Ask about some positions of the plan, and store what the metrics took."""
        while True:
            taken: list[dict[str, Tensor]] = [{} for _ in waiting]  # by position: names may repeat
            try:
                for positions in part.split(self.batch_size):
                    shared = _Shared(self, positions)
                    for examinee, tensors in zip(waiting, taken, strict=True):
                        _Questions(shared, examinee, tensors).ask()
                        advance(len(positions))
                break
            except RuntimeError as error:
                if not out_of_memory(error) or self.batch_size == 1:
                    raise
                self.batch_size //= 2
                for examinee in waiting:
                    for metric in examinee.metrics:
                        metric.reset()
                if self.exam.device.type == "cuda":
                    torch.cuda.empty_cache()
        start, rows = int(part[0]), self.exam.plan.index[part]
        for examinee, tensors in zip(waiting, taken, strict=True):
            for metric in examinee.metrics:
                tensors |= {f"{metric.name}/{state}": value.contiguous() for state, value in metric.dump().items()}
                metric.reset()
            path = examinee.path(start, rows)
            if path is not None:
                write_tensors(path, tensors, optional=examinee.optional)
            examinee.chunks[start] = tensors


class _Shared:
    """One batch of samples with everything that does not depend on the model."""

    def __init__(self, session: _Session, positions: Tensor):
        self.session, self.exam, self.positions = session, session.exam, positions
        self.rows = self.exam.plan.index[positions]
        self.image = self.exam.dataset.card.image
        self.factual = self.exam.dataset.split(SPLIT).take(self.rows)
        self.view = View(picture(self.factual, self.image), session.instruments)
        self._floors: dict[str, dict[str, Tensor]] = {}
        self._truths: dict[str, dict[str, Tensor] | None] = {}
        self._matched: dict[str, View] = {}
        self._partner: list[View] = []

    def wanted(self, variable: str) -> Tensor:
        """Values that single questions set."""
        return self.exam.plan.single[variable][self.positions]

    def floor(self, variable: str) -> dict[str, Tensor]:
        """Counterfactual attributes, as far as they are known; the image unchanged."""
        if variable not in self._floors:
            held = {variable: self.wanted(variable)}
            self._floors[variable] = self.session.identity.attributes(self.factual, held)
        return self._floors[variable]

    def truth(self, variable: str) -> dict[str, Tensor] | None:
        """The true counterfactual, where it is known."""
        if variable not in self._truths:
            begun = time.perf_counter()
            held, dataset = {variable: self.wanted(variable)}, self.exam.dataset
            known = dataset.knows_truth([variable])
            self._truths[variable] = dataset.truth(SPLIT, self.rows, held) if known else None
            self.session.seconds["truth"] += time.perf_counter() - begun
        return self._truths[variable]

    def partner(self) -> View:
        """Images of other samples: those half the test split away, of another group wherever that can be."""
        if not self._partner:
            split = self.exam.dataset.split(SPLIT)
            self._partner.append(
                View(split.take(partners(split.group)[self.rows])[self.image], self.session.instruments)
            )
        return self._partner[0]

    def matched(self, variable: str) -> View:
        """Real images with the counterfactual attributes."""
        if variable not in self._matched:
            keys = [f"matched/{variable}/{row}" for row in self.rows.tolist()]
            drawn = SampleNoise(self.exam.seed, keys).uniform(1)[:, 0]
            rows = self.session.matcher.random(self.floor(variable), drawn)
            images = self.exam.dataset.reference(self.exam.suite.references).take(rows)[self.image]
            self._matched[variable] = View(images, self.session.instruments)
        return self._matched[variable]


def partners(group: Tensor) -> Tensor:
    """For every sample another one, of another group: the next one in a fixed random order that is a stranger.

    Args:
        group: (N,).

    Returns:
        (N,), rows. A sample is its own partner only if there is no other group.
    """
    count = len(group)
    order = torch.randperm(count, generator=torch.Generator().manual_seed(count))
    found, partner = torch.zeros(count, dtype=torch.bool), torch.arange(count)
    for step in range(1, count):
        other = order.roll(-step)
        new = ~found[order] & (group[order] != group[other])
        partner[order[new]] = other[new]
        found[order[new]] = True
        if found.all():
            break
    return partner


class _Questions:
    """One examinee and one batch: every question is asked once, and every metric looks at the answer."""

    def __init__(self, shared: _Shared, examinee: Examinee, taken: dict[str, Tensor]):
        self.shared, self.examinee, self.taken = shared, examinee, taken
        self.exam, self.session = shared.exam, shared.session
        self.passes: float | None = None
        self.batch = Batch(
            shared.factual,
            shared.image,
            self.session.instruments,
            shared.view,
            null=(lambda: self.null) if self.exam.plan.cycles and self.can_answer(()) else None,
            partner=shared.partner,
            matched=shared.matched,
            noise=self._noise,
        )

    def can_answer(self, variables: Sequence[str]) -> bool:
        """Whether this model is asked about these variables."""
        contestant = self.examinee.contestant
        return contestant is not None and models.can_answer(contestant.model, list(variables))

    def ask(self) -> None:
        """Ask everything; `taken` receives answers to look at, and how far their pixels reach."""
        asked = self.examinee.asks
        answers: dict[str, Samples] = {}
        if "null" in asked and self.examinee.contestant is not None:
            for answer in self._null_questions():
                self._judge(answer)
        if asked & {"single", "return", "pair"}:
            for answer in self._single_questions(answers):
                self._judge(answer)
                if self.shared.positions[0] < SHOWN:
                    self._show(answer)
        for kind, questions in (("return", self._return_questions), ("pair", self._pair_questions)):
            if kind in asked:
                for answer in questions(answers):
                    self._judge(answer)

    def _judge(self, answer: Counterfactual) -> None:
        for metric in self.examinee.metrics:
            if metric.cells and answer.kind in metric.asks:
                metric.update(answer)

    @cached_property
    def null(self) -> Mapping[str, Tensor]:
        """The answer to one null intervention."""
        return self._call(self.shared.factual, {}, "null/1")

    def _null_questions(self) -> Iterator[Counterfactual]:
        given = self.shared.factual
        for cycle in range(1, self.exam.plan.cycles + 1) if self.can_answer(()) else ():
            answer = self.null if cycle == 1 else self._call(given, {}, f"null/{cycle}")
            given = Samples(answer, self.shared.rows)
            yield Counterfactual(
                self.batch, "null", (), answer, cycle, floor=self.shared.factual, truth=self.shared.factual
            )

    def _single_questions(self, answers: dict[str, Samples]) -> Iterator[Counterfactual]:
        for name in self.exam.plan.single:
            held, floor, cost = {name: self.shared.wanted(name)}, self.shared.floor(name), {}
            answer: Mapping[str, Tensor]
            if self.examinee.contestant is None:
                answer = self.shared.factual
            elif self.can_answer([name]):
                begun = time.perf_counter()
                answer = self._single(name, held)
                cost = self._cost(time.perf_counter() - begun)
                answers[name] = Samples(answer, self.shared.rows, held)
            else:
                continue
            truth = None if self.examinee.contestant is None else self.shared.truth(name)
            yield Counterfactual(
                self.batch, "single", (name,), answer, wanted=held, floor=floor, truth=truth, cost=cost
            )

    def _single(self, name: str, held: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        assert self.examinee.contestant is not None
        if isinstance(self.examinee.contestant.model, Truth):  # everybody else's truth has been rendered already
            known = self.shared.truth(name)
            assert known is not None
            return known
        return self._call(self.shared.factual, held, f"single/{name}", count=True)

    def _return_questions(self, answers: Mapping[str, Samples]) -> Iterator[Counterfactual]:
        for name, back in self.exam.plan.undo.items():
            if name in answers:
                held = {name: back[self.shared.positions]}
                answer = self._call(answers[name], held, f"return/{name}")
                yield Counterfactual(self.batch, "return", (name,), answer, wanted=held)

    def _pair_questions(self, answers: Mapping[str, Samples]) -> Iterator[Counterfactual]:
        for a, b in self.exam.plan.pairs:
            if a in answers and b in answers and self.can_answer([a, b]):
                first = self._call(answers[a], {b: self.shared.wanted(b)}, f"pair/{a}/{b}")
                second = self._call(answers[b], {a: self.shared.wanted(a)}, f"pair/{b}/{a}")
                yield Counterfactual(self.batch, "pair", (a, b), first, other=second)

    def _call(
        self, given: Samples, held: Mapping[str, Tensor], question: str, count: bool = False
    ) -> dict[str, Tensor]:
        """The model's answer, checked."""
        contestant = self.examinee.contestant
        assert contestant is not None
        begun = time.perf_counter()
        noise = SampleNoise(self.exam.seed, [f"{question}/{row}" for row in given.index.tolist()])
        asked = (contestant.model, given, held, noise, self.exam.dataset.variables)
        if count:
            with counted_passes(self.examinee.networks, given.count) as passes:
                checked = models.ask(*asked)
            self.passes = passes.mean
        else:
            checked = models.ask(*asked)
        image = self.shared.image
        self._note_reach(checked)
        if image and torch.equal(checked[image].to(self.shared.view.images.dtype), self.shared.view.images):
            checked[image] = self.shared.view.images  # so that it is not measured again
        self.session.seconds["model"] += time.perf_counter() - begun
        return checked

    def _note_reach(self, answer: Mapping[str, Tensor]) -> None:
        if self.shared.image:
            pixels = answer[self.shared.image], self.shared.view.images
            ends = torch.tensor([float(end) for images in pixels for end in images.aminmax()], dtype=torch.float64)
            self.taken[_REACH] = _widest([ends, *([self.taken[_REACH]] if _REACH in self.taken else [])])

    def _cost(self, seconds: float) -> dict[str, float]:
        contestant = self.examinee.contestant
        assert contestant is not None
        found = {
            "seconds": seconds / len(self.shared.rows),
            "evaluations": self.passes,
            "parameters": float(contestant.parameters),
            "peak_memory": peak_memory(self.exam.device),
            "training_time": contestant.training.get("seconds"),
        }
        return {name: float(value) for name, value in found.items() if value is not None}

    def _noise(self) -> NoiseSample | None:
        contestant = self.examinee.contestant
        if contestant is None or not isinstance(contestant.model, models.HasNoise):
            return None
        factual, rows = self.shared.factual, self.shared.rows.tolist()
        abducted = contestant.model.abduct(factual, SampleNoise(self.exam.seed, [f"abduct/{row}" for row in rows]))
        prior = contestant.model.sample_noise(len(rows), SampleNoise(self.exam.seed, [f"prior/{row}" for row in rows]))
        return NoiseSample(_flat(abducted), _flat(prior))

    def _show(self, answer: Counterfactual) -> None:
        if self.examinee.contestant is None or not self.shared.image:
            return
        (variable,) = answer.intervened
        few, image = slice(0, max(0, SHOWN - int(self.shared.positions[0]))), self.shared.image
        parts = {"factual": answer.factual[image], "wanted": answer.wanted[variable], "answered": answer.values[image]}
        if answer.truth is not None:
            parts["truth"] = answer.truth[image]
        for part, value in parts.items():
            key, new = f"shown/{variable}/{part}", value[few].clone()
            self.taken[key] = torch.cat([self.taken[key], new]) if key in self.taken else new


def _widest(ends: Sequence[Tensor]) -> Tensor:
    """(4,): smallest and largest of some (smallest, largest, smallest, largest)."""
    whole = torch.stack(list(ends))
    return torch.stack([whole[:, 0].min(), whole[:, 1].max(), whole[:, 2].min(), whole[:, 3].max()])


def _flat(noise: Mapping[str, Mapping[str, Tensor]]) -> dict[str, Tensor]:
    return {
        f"{variable}.{part}": value.flatten(1).cpu()
        for variable, parts in noise.items()
        for part, value in parts.items()
    }


def unanswered(exam: Exam, contestant: Contestant) -> dict[str, str]:
    """Questions that a model declines -> why they have no number."""
    reasons = {
        f"do({name})": f"{contestant.name} does not answer this question"
        for name in exam.plan.single
        if not models.can_answer(contestant.model, [name])
    }
    if exam.plan.cycles and not models.can_answer(contestant.model, []):
        reasons["null intervention"] = f"{contestant.name} does not answer this question"
    return reasons
