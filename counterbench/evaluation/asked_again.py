"""Whether a model's answer depends on anything but the question: a few samples are asked about again, in other ways."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor

from counterbench import models
from counterbench.causal.chance import SampleNoise
from counterbench.causal.variables import Continuous
from counterbench.evaluation.exam import SPLIT, Exam
from counterbench.evaluation.taking import SHOWN, Shown
from counterbench.models.cost import out_of_memory
from counterbench.models.model import Contestant
from counterbench.plans.question import Question
from counterbench.records.record import UNSTEADY

DEPENDS = (
    f"{UNSTEADY} the batch or on what was asked before: asked again about a few samples, the model answered otherwise, "
    "so its numbers are those of one run"
)
SAMPLES = SHOWN
"""Samples that are asked about again: those whose answers an evaluation shows."""
_SHARE, _LEVELS, _RELATIVE = 0.999, 1.0, 1e-4
"""Answers are equal if this share of their pixels is within so many grey levels, and every quantity within this share of itself."""


def depends(contestant: Contestant, exam: Exam, shown: Mapping[str, Shown]) -> bool:
    """Whether the answers about the first samples change when they are asked about alone, reversed, in a larger batch, or again.

    Args:
        contestant: who was examined; answers that are looked up are never asked for again.
        exam: the questions.
        shown: intervened variable -> the answers that were judged, of the same samples.
    """
    if contestant.looked_up:
        return False
    again = _Again(contestant, exam)
    questions = [question for question in exam.plan.questions if question.kind == "single" or question.cycle == 1]
    with torch.no_grad():
        return any(
            again.differs(question, shown.get(question.variable))
            for question in questions
            if models.can_answer(contestant.model, list(question.held))
        )


class _Again:
    """Asks about the first samples of a plan, in batches of any kind."""

    def __init__(self, contestant: Contestant, exam: Exam):
        self.contestant, self.exam, self.image = contestant, exam, exam.dataset.card.image
        self.first = torch.arange(min(SAMPLES, len(exam.plan.index)))

    def differs(self, question: Question, judged: Shown | None) -> bool:
        """Whether any way of asking gets another answer."""
        count = len(self.first)
        alone = self.answers(question, self.first.split(1))
        if judged is not None and not _same_images(alone[self.image], judged.answered[:count]):
            return True
        return any(not self._same(alone, other) for other in self._otherwise(question))

    def _otherwise(self, question: Question) -> Iterator[dict[str, Tensor]]:
        """Answers about the samples reversed, twice, and in a batch of twice their number."""
        count = len(self.first)
        backwards = self.answers(question, [self.first.flip(0)])
        yield {name: value.flip(0) for name, value in backwards.items()}
        yield self.answers(question, [self.first])
        company = torch.arange(min(2 * count, len(self.exam.plan.index)))
        yield {name: value[:count] for name, value in self.answers(question, [company]).items()}

    def answers(self, question: Question, batches: Sequence[Tensor]) -> dict[str, Tensor]:
        """The answers about some positions of the plan, batch by batch."""
        parts = [part for positions in batches for part in self._answered(question, positions)]
        return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}

    def _answered(self, question: Question, positions: Tensor) -> list[Mapping[str, Tensor]]:
        """One batch, or its halves where an accelerator is out of memory."""
        part, dataset = question.at(positions), self.exam.dataset
        noise = SampleNoise(self.exam.seed, part.streams())
        try:
            given = dataset.split(SPLIT).take(part.rows)
            return [
                models.ask(self.contestant.model, given, part.held, noise=noise, variables=dataset.variables),
            ]
        except RuntimeError as error:
            if not out_of_memory(error) or len(positions) == 1:
                raise
        halves = positions.split((len(positions) + 1) // 2)
        return [one for half in halves for one in self._answered(question, half)]

    def _same(self, first: Mapping[str, Tensor], second: Mapping[str, Tensor]) -> bool:
        for name, variable in self.exam.dataset.variables.items():
            if name == self.image:
                same = _same_images(first[name], second[name])
            elif isinstance(variable, Continuous):
                unit = variable.high - variable.low
                same = torch.allclose(
                    first[name].double(), second[name].double(), rtol=_RELATIVE, atol=_RELATIVE * unit
                )
            else:
                same = torch.equal(first[name].long(), second[name].long())
            if not same:
                return False
        return True


def _same_images(first: Tensor, second: Tensor) -> bool:
    """Whether all but a few pixels are within a grey level of each other."""
    return float(((first - second).abs() <= _LEVELS).double().mean()) >= _SHARE
