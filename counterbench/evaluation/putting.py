"""Putting one question to one model: whether it takes it, and its checked answer."""

from __future__ import annotations

from collections.abc import Mapping

from counterbench import models
from counterbench.causal.chance import Generator
from counterbench.causal.samples import Samples
from counterbench.causal.variables import Variable
from counterbench.models.model import Answer, Model
from counterbench.plans.question import Question


def takes(model: Model, question: Question) -> bool:
    """Whether a model answers such questions."""
    if question.kind == "sample":
        return models.can_draw(model)
    return models.can_answer(model, list(question.intervened))


def put(
    question: Question, model: Model, given: Samples, *, noise: Generator, variables: Mapping[str, Variable]
) -> Answer:
    """A model's answer, checked.

    Args:
        question: about some samples.
        model: who is asked.
        given: these samples, or the earlier answers about them; of a sample, only the attributes of the question are shown.
        noise: one stream of chance for each.
        variables: of the dataset.

    Raises:
        ModelError: for an answer that is none.
    """
    if question.kind == "sample":
        return models.draw(model, question.held, question.rows, noise=noise, variables=variables)
    return models.ask(model, given, question.held, noise=noise, variables=variables)
