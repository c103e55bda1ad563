"""Whether numbers of preservation were earned: follow-up questions are put to somebody who has seen nothing, and with noise.

Composition, reversibility and commutativity rest on answers that are fed back. A model that remembers what it was asked, hides the
photograph in its answer, or returns its input where nothing is asked has the best numbers without preserving anything.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import torch
from torch import Tensor

from counterbench.causal.chance import SampleNoise
from counterbench.causal.samples import Samples
from counterbench.causal.variables import Continuous
from counterbench.evaluation.asked_again import Values, ask, same
from counterbench.evaluation.exam import SPLIT, Exam
from counterbench.metrics.answers import l1
from counterbench.models.model import Contestant, Model
from counterbench.models.untouched import Untouched
from counterbench.plans.question import Question
from counterbench.records.record import NOT_SHOWN
from counterbench.storage.files import without_folders

NOISE, STRONG = 2, 8
"""Grey levels by which answers are moved at most before they are fed back: what hides in low bits is lost; and four times as much."""
_OF_NOISE, _OF_STRONG = 0.5, 0.5
"""Answers carry more than one sees if little noise costs more than this share of itself, and of what strong noise costs."""
_NEARER, _LEVELS = 1.25, 0.25
"""The null answer is one of a kind if setting a variable to its own value loses more than so many times as much, and so many grey levels."""
_MOVED = 1e-3
"""Share of the way to the middle of its range by which a quantity is set off its own value, so that nobody recognises it."""

_FILES = "answers from files cannot be asked for again from somebody who had not seen the photographs"


def not_shown(
    contestant: Contestant, untouched: Untouched | None, exam: Exam, judged: Mapping[str, Values]
) -> list[str]:
    """Why numbers of preservation tell nothing of a model, as flags of its record; nothing where they do.

    Args:
        contestant: who was examined; answers from files cannot be asked for again.
        untouched: the model as it was before; None for answers that are looked up, whom nobody can ask.
        exam: the questions.
        judged: question -> the answers that were judged, of the samples that are asked about again.
    """
    if untouched is None:
        # Of kept answers, what was found when they were asked for stands in their record.
        followed = any(one.follows is not None and one.name in judged for one in exam.plan.questions)
        return [f"{NOT_SHOWN}: {_FILES}"] if followed and not contestant.kept else []
    again = _Again(contestant, untouched, exam, judged)
    with torch.no_grad():
        reasons = [reason for check in (again.remembers, again.carries, again.shortens) if (reason := check())]
    return [f"{NOT_SHOWN}: {without_folders(reason)}" for reason in reasons]


class _Again:
    """Puts questions to copies of a model that have seen nothing before, each copy one question."""

    def __init__(self, contestant: Contestant, untouched: Untouched, exam: Exam, judged: Mapping[str, Values]):
        self.contestant, self.exam, self.judged = contestant, exam, judged
        self.problem = untouched.problem
        self.copy: Callable[[], Model] = (lambda: contestant.model) if self.problem else untouched.copy
        self.image = exam.dataset.card.image
        # Where there are images, numbers of preservation are about them alone.
        self.compared = (self.image,) if self.image else tuple(exam.dataset.variables)
        listed = [question.at(exam.sample) for question in exam.plan.questions if question.name in judged]
        self.followed = [question for question in listed if question.follows is not None]
        self.asked = {question.name: question for question in listed}
        self.factual = exam.dataset.split(SPLIT).take(exam.plan.index[exam.sample])

    def remembers(self) -> str:
        """Whether follow-up questions about its answers get others from who has not seen what these are answers to."""
        if not self.followed:
            return ""
        if self.problem:
            return f"no copy that had seen nothing before could be asked: {self.problem}"
        for question in self.followed:
            answer = ask(self.copy(), question, self._given(question), self.exam)
            if not same(answer, self.judged[question.name], self.exam, names=self.compared):
                return "asked about its own answers, a copy that had seen nothing before answered otherwise, so they rest on more than the question"
        return ""

    def carries(self) -> str:
        """Whether what follows from its answers rests on what nobody can see in them."""
        for question in self.followed if self.image else ():
            little, strong, moved = self._costs(question)
            if little > _OF_NOISE * moved and little > _OF_STRONG * strong:
                return (
                    f"its answers carry more than one sees: moved by at most {NOISE} grey levels before they were fed back, "
                    f"{little:.3g} grey levels were lost, and {strong:.3g} with {STRONG}"
                )
        return ""

    def _costs(self, question: Question) -> tuple[float, float, float]:
        """What little and strong noise cost, and the size of the little one; medians over samples in grey levels, since a few answers of
        an honest model may jump."""
        given, model, goal = self._given(question), self.copy(), self._goal(question)
        clean = l1(goal, ask(model, question, given, self.exam)[self.image])
        costs, sizes = [], []
        for most in (NOISE, STRONG):
            noisy = _moved(given[self.image], question, most, self.exam)
            moved = Samples({**given, self.image: noisy}, given.index, done=given.done)
            costs.append(float((l1(goal, ask(model, question, moved, self.exam)[self.image]) - clean).median()))
            sizes.append(float(l1(given[self.image], noisy).median()))
        return costs[0], costs[1], sizes[0]

    def shortens(self) -> str:
        """Whether the null answer is nearer to the photograph than those where a variable is set to the value that it has."""
        if not self.image or "null/1" not in self.judged:
            return ""
        photograph = self.factual[self.image]
        null = float(l1(photograph, self.judged["null/1"][self.image]).mean())
        for question in self.asked.values():
            if question.kind == "single":
                kept = replace(question, values=self._own(question.variable))
                lost = float(l1(photograph, ask(self.copy(), kept, self.factual, self.exam)[self.image]).mean())
                if lost > _NEARER * null + _LEVELS:
                    return (
                        f"asked for nothing, its answer is {null:.3g} grey levels from the photograph, and {lost:.3g} where {question.variable} "
                        "is set to the value that it has, so the null answer says nothing of the others"
                    )
        return ""

    def _given(self, question: Question) -> Samples:
        assert question.follows is not None
        return Samples(self.judged[question.follows.name], question.rows, done=question.follows.held)

    def _goal(self, question: Question) -> Tensor:
        """What the metric compares an answer with: the photograph; of a pair, the answer in the other order."""
        if question.kind != "pair":
            return self.factual[self.image]
        other = "/".join(("pair", *reversed(question.intervened)))
        return self.judged[other][self.image]

    def _own(self, name: str) -> Tensor:
        """A variable's factual values; those of a quantity by a thousandth off, where nothing has to change either."""
        variable, own = self.exam.dataset.variables[name], self.factual[name]
        return own + _MOVED * ((variable.low + variable.high) / 2 - own) if isinstance(variable, Continuous) else own


def _moved(image: Tensor, question: Question, most: int, exam: Exam) -> Tensor:
    """Images with uniform noise of whole grey levels, at most so many, from a stream of each row's own."""
    keys = [f"moved/{most}/{question.name}/{row}" for row in question.rows.tolist()]
    noise = (SampleNoise(exam.seed, keys).uniform(*image.shape[1:]) * (2 * most + 1)).floor() - most
    return (image + noise.to(image.dtype)).clamp(0, 255)
