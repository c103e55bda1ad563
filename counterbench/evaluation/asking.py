"""Asking one contestant every question of a plan about one batch of images."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from counterbench import models
from counterbench.causal.chance import SampleNoise
from counterbench.causal.samples import Samples
from counterbench.evaluation import putting
from counterbench.evaluation.batches import SharedBatch
from counterbench.evaluation.exam import Exam
from counterbench.evaluation.taking import AGAIN, OUTSIDE, REACH, SHOWN, WANTED, Taking, widest
from counterbench.mechanisms.capabilities import PredictsNoise
from counterbench.metrics.answers import Answers, Batch, Drawing, NoiseSample, PhraseMaps
from counterbench.models.baselines import Identity, TrueCounterfactual
from counterbench.models.cost import counted_passes, peak_memory
from counterbench.models.grounding import Rule, forgetful, ground, reader_of
from counterbench.models.model import Answer, CanDraw, Contestant, HasNoise, Model, checked_answer, shown_to
from counterbench.models.scm import StructuralCausalModel
from counterbench.plans.question import ALONE, Question, words_of

_ROUNDING = 1e-6
"""Of single precision, as a share of a quantity: some steps of its last digit."""
_THREE_STEPS = StructuralCausalModel.counterfactual


@runtime_checkable
class AnswersByQuestion(Protocol):
    """Answers that were made elsewhere: they are told the question itself, and look the answer up. No model that is asked is told it."""

    def answer_question(self, question: Question, given: Samples) -> Mapping[str, Tensor]:
        """Natural values of every variable for each row of the question, (N, ...).

        Args:
            question: what is asked.
            given: the samples, or the earlier answers, that it is asked about.
        """
        ...


@runtime_checkable
class HasOthers(Protocol):
    """Answers of several trainings of one recipe, of which one is judged."""

    def others(self, question: Question, given: Samples) -> Sequence[Mapping[str, Tensor]]:
        """The answers of the other trainings.

        Args:
            question: what is asked.
            given: the samples that it is asked about.
        """
        ...


@dataclass(frozen=True)
class SharedAbduction:
    """The exogenous noise behind a batch of photographs, inferred once for all questions about them.

    Args:
        noise: variable -> part -> (N, ...).
        seconds: that it took.
        passes: through an average weight; None for a model without weights.
    """

    noise: Mapping[str, dict[str, Tensor]]
    seconds: float
    passes: float | None


class Asking:
    """One contestant and one batch: every question is asked once, and every metric looks at the answer.

    Args:
        batch: the samples, with what all contestants share.
        taking: who is asked, and the metrics.
        taken: receives answers to look at, and how far their pixels reach.
    """

    def __init__(self, batch: SharedBatch, taking: Taking, taken: dict[str, Tensor]):
        self.shared, self.taking, self.taken = batch, taking, taken
        self.exam = batch.exam
        self.answers: dict[str, Mapping[str, Tensor]] = {}
        self.passes: float | None = None
        self._abducted: dict[int, Mapping[str, dict[str, Tensor]]] = {}
        self._null = next((question for question in batch.questions if question.cycle == 1), None)
        first = self._null
        self.batch = Batch(
            batch.factual,
            batch.image,
            instruments=batch.shared.instruments,
            view=batch.view,
            null=None if first is None or not self.takes(first) else lambda: self.answer(first),
            matched=batch.matched,
            noise=self._noise,
            shake=batch.shake if batch.image else None,
            held_out=(lambda: batch.held_out) if batch.image else None,
            drawing=self._drawing(),
            regions=batch.regions,
            grounding=self._grounding(),
        )

    def takes(self, question: Question) -> bool:
        """Whether this contestant is asked: it answers such questions, and has answered what this one begins with. Real images
        with the counterfactual attributes stand for answers to single and joint questions."""
        contestant = self.taking.contestant
        if contestant is None:
            return question.kind in ALONE
        begun = question.follows is None or question.follows.name in self.answers
        return begun and putting.takes(contestant.model, question)

    def ask(self) -> None:
        """Ask everything that a metric judges, in the order of the plan: later questions begin with earlier answers."""
        for question in self.shared.questions:
            if self.taking.needs(question) and self.takes(question):
                abduction = self._abduction_for(question)
                begun = time.perf_counter()
                values = self.answer(question)
                seconds = time.perf_counter() - begun
                # A question costs what it would cost alone: the shared abduction counts in every one.
                self._judge(question, values, seconds + (abduction.seconds if abduction else 0.0))
        if self.taking.keeping is not None:
            _ = self.batch.null_values  # whoever judges again may compare with the answer to nothing
            self.taking.keeping.add(self.shared.rows, self.answers)

    def release(self) -> None:
        """Let go of all answers, and of what was seen in them. They know who gave them, and would stay until the next garbage collection."""
        self.answers.clear()
        self._abducted.clear()
        del self.batch

    def answer(self, question: Question) -> Mapping[str, Tensor]:
        """The answer to a question, checked; asked once.

        Raises:
            ModelError: for an answer that is none.
        """
        if question.name not in self.answers:
            contestant = self.taking.contestant
            values = self.shared.real(question) if contestant is None else self._asked(contestant, question)
            self.answers[question.name] = values
        return self.answers[question.name]

    def _asked(self, contestant: Contestant, question: Question) -> Answer:
        given, variables, model = self._given(question), self.exam.dataset.variables, contestant.model
        with self.shared.shared.timed("model"):
            if contestant.looked_up and isinstance(model, AnswersByQuestion):
                values = checked_answer(model.answer_question(question, given), variables, question.held, given.count)
            elif (known := self._returned(question)) is not None:
                values = known
            else:
                abduction = self._abduction_for(question)
                noise = SampleNoise(self.exam.seed, question.streams())
                costed = self.taking.networks if question.kind == "single" else []  # only their cost is judged
                with counted_passes(costed, given.count) as passes:
                    values = self._answered(model, question, given, abduction.noise if abduction else None, noise)
                before = abduction.passes if abduction else None
                self.passes = passes.mean if before is None or passes.mean is None else passes.mean + before
        self._note_reach(values)
        self._keep(question, values)
        return values

    def _returned(self, question: Question) -> Answer | None:
        """The answer to the null intervention before this one, where it returned what it was asked about: this question is that one again."""
        before = question.follows
        if question.kind != "null" or before is None:
            return None
        answer, given = self.answers[before.name], self._given(before)
        return answer if isinstance(answer, Answer) and _equal(answer, given, self.shared.image) else None

    def _answered(
        self,
        model: Model,
        question: Question,
        given: Samples,
        abducted: Mapping[str, dict[str, Tensor]] | None,
        streams: SampleNoise,
    ) -> Answer:
        """One answer of a model that is asked: from noise that was abducted, or with streams of chance of its own."""
        variables = self.exam.dataset.variables
        if abducted is None or not isinstance(model, StructuralCausalModel):
            return putting.put(question, model, given, noise=streams, variables=variables)
        return checked_answer(model.generate(abducted, question.held), variables, question.held, given.count)

    def _keep(self, question: Question, values: Mapping[str, Tensor]) -> None:
        """Keep what is asked again when all has been asked."""
        kept = torch.isin(self.shared.positions, self.exam.sample)
        if self.taking.optional or not kept.any():
            return
        for name, value in values.items():
            # Images are whole grey levels.
            part = (value.to(torch.uint8) if name == self.shared.image else value)[kept]
            key = f"{AGAIN}/{question.name}/{name}"
            self.taken[key] = torch.cat([self.taken[key], part]) if key in self.taken else part

    def _abduction_for(self, question: Question) -> SharedAbduction | None:
        """The shared abduction, where a question is about the observed samples: later ones begin with answers, and drawn individuals
        with nothing."""
        begins = question.follows is None and question.kind != "sample"
        return self._abduction if begins else None

    @cached_property
    def _abduction(self) -> SharedAbduction | None:
        """Pearl's first step for the observed samples; None for a model whose answers are not abduction, action and prediction."""
        contestant = self.taking.contestant
        model = None if contestant is None else contestant.model
        if not isinstance(model, StructuralCausalModel) or type(model).counterfactual is not _THREE_STEPS:
            return None
        factual, streams = shown_to(model, self.shared.factual), self._streams("row")
        begun = time.perf_counter()
        with self.shared.shared.timed("model"), counted_passes(self.taking.networks, factual.count) as passes:
            noise = model.abduct(factual, streams)
        return SharedAbduction(noise, time.perf_counter() - begun, passes.mean)

    def _streams(self, name: str) -> SampleNoise:
        return SampleNoise(self.exam.seed, [f"{name}/{row}" for row in self.shared.rows.tolist()])

    def _given(self, question: Question) -> Samples:
        """What a question is asked about: the observed samples, or the model's own answers, image and attributes."""
        if question.follows is None:
            return self.shared.factual
        return Samples(self.answers[question.follows.name], self.shared.rows, done=question.follows.held)

    def _judge(self, question: Question, values: Mapping[str, Tensor], seconds: float) -> None:
        answers = self._answers(question, values, seconds)
        if answers is None:
            return
        for metric in self.taking.metrics:
            if metric.cells and question.kind in metric.asks:
                metric.update(answers)
        if question.kind in ALONE and self.shared.positions[0] < SHOWN:
            self._show(answers)

    def _answers(self, question: Question, values: Mapping[str, Tensor], seconds: float) -> Answers | None:
        """What metrics judge; None where a pair waits for its other order."""
        batch, factual, real = self.batch, self.shared.factual, self.taking.contestant is None
        if question.kind == "null":
            return Answers(batch, question, values, targets=factual, truth=factual)
        if question.kind in ALONE:
            targets = self.shared.targets(question)
            if real:
                return Answers(batch, question, values, targets, own=values)
            truth, cost = self.shared.truth(question), self._cost(seconds)
            drawn, others = self._draws(question), self._others(question)
            return Answers(batch, question, values, targets, truth, cost=cost, drawn=drawn, others=others)
        if question.kind == "sample":
            return Answers(batch, question, values, targets=factual)
        if question.kind == "return":
            return Answers(batch, question, values)
        if question.swaps is None or question.swaps.name not in self.answers:
            return None
        return Answers(batch, question.swaps, self.answers[question.swaps.name], other=values)

    def _draws(self, question: Question) -> Callable[[int], Mapping[str, Tensor]] | None:
        """Other draws of an answer, by number; None where answers are looked up."""
        contestant = self.taking.contestant
        if contestant is None or contestant.looked_up:
            return None
        return lambda number: self._drawn(question, number)

    def _others(self, question: Question) -> Sequence[Mapping[str, Tensor]]:
        contestant = self.taking.contestant
        model = None if contestant is None else contestant.model
        return model.others(question, self._given(question)) if isinstance(model, HasOthers) else ()

    def _drawn(self, question: Question, number: int) -> Mapping[str, Tensor]:
        """Another draw of an answer: abduction and prediction with the chance of that draw, the same in all questions about a row."""
        contestant = self.taking.contestant
        assert contestant is not None
        model, given = contestant.model, self.shared.factual
        streams = self._streams(f"draw {number}")
        with self.shared.shared.timed("model"):
            if (
                self._abduction is not None
                and isinstance(model, StructuralCausalModel)
                and number not in self._abducted
            ):
                self._abducted[number] = model.abduct(shown_to(model, given), streams)
            return self._answered(model, question, given, self._abducted.get(number), streams)

    def _note_reach(self, answer: Answer) -> None:
        if answer.ends is None or answer.outside is None:
            return
        seen = (float(end) for end in self.shared.view.images.aminmax())
        ends = torch.tensor([*answer.ends, *seen], dtype=torch.float64)
        outside = torch.stack([answer.outside.sum(), torch.tensor(len(answer.outside), dtype=torch.float64)])
        self.taken[REACH] = widest([ends, *([self.taken[REACH]] if REACH in self.taken else [])])
        self.taken[OUTSIDE] = self.taken[OUTSIDE] + outside if OUTSIDE in self.taken else outside

    def _cost(self, seconds: float) -> dict[str, float]:
        contestant = self.taking.contestant
        assert contestant is not None
        known = {
            "seconds": seconds / len(self.shared.rows),
            "evaluations": self.passes,
            "parameters": float(contestant.parameters),
            "peak_memory": peak_memory(self.exam.device),
            "training_time": contestant.training.get("seconds"),
        }
        return {name: float(value) for name, value in known.items() if value is not None}

    def _drawing(self) -> Drawing | None:
        """New individuals beyond those of the plan; None for models that draw none, and for baselines, which draw by rows of the test split."""
        contestant = self.taking.contestant
        if (
            contestant is None
            or contestant.looked_up
            or not self.shared.image
            or not isinstance(contestant.model, CanDraw)
        ):
            return None
        model, image = contestant.model, self.shared.image
        if isinstance(model, (Identity, TrueCounterfactual)):
            return None

        def draw(attributes: Mapping[str, Tensor], streams: Sequence[str]) -> Tensor:
            noise, rows = SampleNoise(self.exam.seed, streams), torch.arange(len(streams))
            with self.shared.shared.timed("model"):
                answer = models.draw(model, attributes, rows, noise=noise, variables=self.exam.dataset.variables)
            return answer[image]

        def noise_norm(images: Tensor, attributes: Mapping[str, Tensor], streams: Sequence[str]) -> Tensor:
            assert isinstance(model, StructuralCausalModel)
            with self.shared.shared.timed("model"):
                return model.noise_norm(image, {**attributes, image: images}, SampleNoise(self.exam.seed, streams))

        known = isinstance(model, StructuralCausalModel) and isinstance(model.mechanisms[image], PredictsNoise)
        return Drawing(draw, noise_norm if known else None)

    def _grounding(self) -> PhraseMaps | None:
        """Where the model looks for phrases, and where the same network did before its training; None for a model that reads none."""
        contestant, image = self.taking.contestant, self.shared.image
        model = None if contestant is None or contestant.looked_up else contestant.model
        if not isinstance(model, StructuralCausalModel) or reader_of(model, image) is None:
            return None
        scm: StructuralCausalModel = model

        def asked(of: Callable[[], StructuralCausalModel]) -> Callable[[Sequence[str], Mapping[str, Any]], Tensor]:
            def maps(phrases: Sequence[str], rule: Mapping[str, Any]) -> Tensor:
                with self.shared.shared.timed("model"):
                    return ground(of(), self.shared.factual, phrases, image=image, rule=Rule(**rule))

            return maps

        return PhraseMaps(asked(lambda: scm), asked(lambda: forgetful(scm, image)))

    def _noise(self) -> NoiseSample | None:
        contestant = self.taking.contestant
        if contestant is None or not isinstance(contestant.model, HasNoise):
            return None
        model, abduction = contestant.model, self._abduction
        abducted: Mapping[str, Mapping[str, Tensor]]
        if abduction is not None:
            abducted = abduction.noise
        else:
            abducted = model.abduct(shown_to(model, self.shared.factual), self._streams("row"))
        prior = model.sample_noise(len(self.shared.rows), self._streams("prior"))
        return NoiseSample(_flat(abducted), _flat(prior))

    def _show(self, answers: Answers) -> None:
        if self.taking.contestant is None or self.taking.optional or not self.shared.image:
            return
        name = words_of(answers.intervened)
        few, image = slice(0, max(0, SHOWN - int(self.shared.positions[0]))), self.shared.image
        parts = {
            "factual": answers.factual[image],
            "answered": answers.values[image],
        }
        parts |= {f"{WANTED}{variable}": value for variable, value in answers.wanted.items()}
        if answers.truth is not None:
            parts["truth"] = answers.truth[image]
        null = self._null
        # Of answers from files some may be missing: noise stands for those.
        if null is not None and null.name in self.answers and not self.taking.contestant.coverage:
            parts["null"] = self.answers[null.name][image]
        for part, value in parts.items():
            new = value[few].clone()
            if new.ndim == 5:  # volumes are many numbers, and whole grey levels
                new = new.round().clamp(0, 255).to(torch.uint8)
            key = f"shown/{name}/{part}"
            self.taken[key] = torch.cat([self.taken[key], new]) if key in self.taken else new


def _equal(answer: Mapping[str, Tensor], given: Mapping[str, Tensor], image: str) -> bool:
    """Whether an answer is what was asked about: images to the last bit, quantities up to their rounding."""
    return all(
        torch.equal(value, given[name].to(value))
        if name == image
        else torch.allclose(value, given[name].to(value), rtol=_ROUNDING, atol=_ROUNDING)
        for name, value in answer.items()
    )


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
    reasons |= {
        f"do({a} + {b})": f"{contestant.name} does not answer this question"
        for a, b in exam.plan.joint
        if not models.can_answer(contestant.model, [a, b])
    }
    if exam.plan.captions and not models.can_draw(contestant.model):
        reasons["sample"] = f"{contestant.name} draws no new individuals"
    if exam.plan.cycles and not models.can_answer(contestant.model, []):
        reasons["null intervention"] = f"{contestant.name} does not answer this question"
    return reasons
