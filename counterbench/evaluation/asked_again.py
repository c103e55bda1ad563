"""Whether a model's answer depends on anything but the question: a few samples are asked about again, in other ways."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor

from counterbench.causal.chance import SampleNoise
from counterbench.causal.samples import Samples
from counterbench.causal.variables import Continuous, Vector
from counterbench.evaluation.exam import SPLIT, Exam
from counterbench.evaluation.putting import put
from counterbench.models.cost import out_of_memory
from counterbench.models.model import Contestant, Model
from counterbench.plans.question import Question
from counterbench.records.record import UNSTEADY

DEPENDS = (
    f"{UNSTEADY} the batch or on what was asked before: asked again about a few samples, the model answered otherwise, "
    "so its numbers are those of one run"
)
_SHARE, _LEVELS, _RELATIVE = 0.999, 1.0, 1e-4
"""Answers are equal if this share of their pixels is within so many grey levels, and every quantity within this share of itself."""

Values = Mapping[str, Tensor]


def depends(contestant: Contestant, exam: Exam, judged: Mapping[str, Values]) -> bool:
    """Whether the answers about a few observed samples change when they are asked about alone, reversed, in a larger batch, or again.

    Args:
        contestant: who was examined; answers that are looked up are never asked for again.
        exam: the questions.
        judged: question -> the answers that were judged, of the same samples. Only these questions are asked again.
    """
    if contestant.looked_up:
        return False
    again = _Again(contestant.model, exam)
    asked = [question for question in exam.plan.questions if question.follows is None and question.name in judged]
    with torch.no_grad():
        return any(again.differs(question, judged[question.name]) for question in asked)


class _Again:
    """Asks about the same samples of a plan, in batches of any kind."""

    def __init__(self, model: Model, exam: Exam):
        self.model, self.exam = model, exam

    def differs(self, question: Question, judged: Values) -> bool:
        """Whether any way of asking gets another answer."""
        alone = self.answers(question, self.exam.sample.split(1))
        others = (judged, *self._otherwise(question))
        return any(not same(alone, other, self.exam) for other in others)

    def _otherwise(self, question: Question) -> Iterator[Values]:
        """Answers about the samples reversed, twice, and in a batch of twice their number."""
        sample = self.exam.sample
        backwards = self.answers(question, [sample.flip(0)])
        yield {name: value.flip(0) for name, value in backwards.items()}
        yield self.answers(question, [sample])
        others = torch.arange(len(self.exam.plan.index))
        company = torch.cat([sample, others[~torch.isin(others, sample)][: len(sample)]])
        yield {name: value[: len(sample)] for name, value in self.answers(question, [company]).items()}

    def answers(self, question: Question, batches: Sequence[Tensor]) -> dict[str, Tensor]:
        """The answers about some positions of the plan, batch by batch."""
        split = self.exam.dataset.split(SPLIT)
        parts = []
        for positions in batches:
            part = question.at(positions)
            parts.append(ask(self.model, part, split.take(part.rows), self.exam))
        return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}


def ask(model: Model, question: Question, given: Samples, exam: Exam) -> dict[str, Tensor]:
    """The answers to a question about some samples, in one batch, or in its halves where an accelerator is out of memory.

    Args:
        model: who is asked.
        question: about these samples.
        given: what they are, or the earlier answers about them.
        exam: whose noise and variables.
    """
    noise = SampleNoise(exam.seed, question.streams())
    try:
        return dict(put(question, model, given, noise=noise, variables=exam.dataset.variables))
    except RuntimeError as error:
        if not out_of_memory(error) or len(question.rows) == 1:
            raise
    halves = [
        ask(model, question.at(positions), _taken(given, positions), exam)
        for positions in torch.arange(len(question.rows)).split((len(question.rows) + 1) // 2)
    ]
    return {name: torch.cat([half[name] for half in halves]) for name in halves[0]}


def _taken(given: Samples, positions: Tensor) -> Samples:
    done = {name: value[positions] for name, value in given.done.items()}
    return Samples({name: value[positions] for name, value in given.items()}, given.index[positions], done=done)


def same(first: Values, second: Values, exam: Exam, *, names: Sequence[str] | None = None) -> bool:
    """Whether two answers are equal in these variables (None for all), up to what another batch changes in a network's last digits."""
    names = list(exam.dataset.variables) if names is None else names
    return all(_same(first[name], second[name], name, exam) for name in names)


def _same(first: Tensor, second: Tensor, name: str, exam: Exam) -> bool:
    variable = exam.dataset.variables[name]
    if name == exam.dataset.card.image:
        return float(((first - second).abs() <= _LEVELS).double().mean()) >= _SHARE
    if isinstance(variable, Continuous):
        unit = variable.high - variable.low
        return torch.allclose(first.double(), second.double(), rtol=_RELATIVE, atol=_RELATIVE * unit)
    if isinstance(variable, Vector):
        scaled, other = (variable.encode(values, torch.float64) for values in (first, second))
        return torch.allclose(scaled, other, rtol=_RELATIVE, atol=2 * _RELATIVE)
    return torch.equal(first.long(), second.long())
