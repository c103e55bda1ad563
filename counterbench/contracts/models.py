"""What a model promises; see :class:`counterbench.models.loading.Model`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from counterbench import models
from counterbench.causal.chance import SampleNoise
from counterbench.causal.samples import Samples
from counterbench.contracts.base import Finding, NotAskedError, require, run, unlike
from counterbench.datasets.dataset import Dataset
from counterbench.metrics.answers import wrong_scale
from counterbench.models.model import Answer, Contestant, shown_to
from counterbench.models.reachable import evaluation_mode
from counterbench.models.untouched import Untouched

COUNT = 8


@dataclass(frozen=True)
class ModelCase:
    """A model with some samples to ask about.

    Args:
        contestant: the model.
        dataset: what it is asked about.
        factual: the first test samples.
    """

    contestant: Contestant
    dataset: Dataset
    factual: Samples

    @property
    def questions(self) -> dict[str, dict[str, Tensor]]:
        """What is set, by name; every variable gets the values of other samples, but those that the model declines."""
        shifted = {name: self.factual[name].roll(1, 0) for name in self.dataset.card.intervenable}
        asked = {"": {}, **{name: {name: value} for name, value in shifted.items()}}
        return {name: held for name, held in asked.items() if models.can_answer(self.contestant.model, list(held))}

    def ask(self, held: Mapping[str, Tensor], rows: slice = slice(None), *, reverse: bool = False) -> Answer:
        """The answer to one question about some rows, checked as the evaluation checks it."""
        order = torch.arange(self.factual.count)[rows]
        order = order.flip(0) if reverse else order
        factual = Samples({name: value[order] for name, value in self.factual.items()}, self.factual.index[order])
        asked = {name: value[order] for name, value in held.items()}
        noise = SampleNoise(0, factual.index.tolist())
        with torch.no_grad():
            return models.ask(self.contestant.model, factual, asked, noise=noise, variables=self.dataset.variables)


def check(name: str, dataset: Dataset) -> Iterator[Finding]:
    """Check the model `name` on the first test samples of a dataset."""
    contestant = models.load(name, dataset)
    case = ModelCase(contestant, dataset, dataset.split("test").take(slice(0, COUNT)))
    yield from run(CHECKS, case, dataset.card.name)


def answers_nothing_asked(case: ModelCase) -> None:
    """answers the null intervention with a value of every variable."""
    if "" not in case.questions:
        raise NotAskedError("it declines the null intervention; composition will not be measured")
    case.ask({})


def answers_every_intervention(case: ModelCase) -> None:
    """answers an intervention on each variable, and returns what was set."""
    declined = [name for name in case.dataset.card.intervenable if name not in case.questions]
    for held in case.questions.values():
        case.ask(held)
    if declined:
        raise NotAskedError(f"it declines {', '.join(f'do({name})' for name in declined)}; the table will say so")


def is_in_evaluation_mode(case: ModelCase) -> None:
    """its networks are in evaluation mode."""
    with evaluation_mode(case.contestant.model) as switched:
        require(
            not switched, "a network of it is in training mode, where answers depend on the batch; call eval() on it"
        )


def images_are_grey_levels(case: ModelCase) -> None:
    """images are grey levels from 0 to 255."""
    image = case.dataset.card.image
    if not image:
        raise NotAskedError("the dataset has no images")
    ends, factual = case.ask(_any(case)).ends, case.factual[image].aminmax()
    odd = wrong_scale([*(ends or (0.0, 0.0)), *(float(end) for end in factual)])
    require(not odd, f"{odd}; clamp them, or scale 0..1 by 255 and -1..1 by (x + 1) * 127.5")


def only_descendants_change(case: ModelCase) -> None:
    """attributes that an intervention cannot reach stay as they were."""
    card, graph = case.dataset.card, case.dataset.graph
    for name, held in case.questions.items():
        reached = {name, *(graph.descendants(name) if name else ()), card.image}
        kept = {other: case.factual[other] for other in card.attributes if other not in reached}
        moved = unlike(kept, case.ask(held), tolerance=1e-3)
        after = f"do({name})" if name else "the null intervention"
        require(
            not moved,
            f"after {after} its answer has another {', '.join(moved)}, which no causal path leads to; return the factual values",
        )


def no_answer_depends_on_its_batch(case: ModelCase) -> None:
    """the same question gets the same answer alone, in company and in any order."""
    held, image = _any(case), case.dataset.card.image
    whole, backwards = case.ask(held), case.ask(held, reverse=True)
    moved = unlike(whole, {name: value.flip(0) for name, value in backwards.items()}, tolerance=1e-3)
    alone = [case.ask(held, slice(i, i + 1)) for i in range(case.factual.count)]
    moved += unlike(whole, {name: torch.cat([one[name] for one in alone]) for name in whole}, tolerance=1e-3)
    if image in moved:
        shift = float((whole[image] - torch.cat([one[image] for one in alone])).abs().max())
        require(
            shift < 1,
            f"its images differ by up to {shift:.3g} grey levels between batches; normalise nothing over the batch, and draw with "
            "counterbench.causal.chance from the generator that is given (one stream per sample)",
        )
    others = sorted({name for name in moved if name != image})
    require(not others, f"its {', '.join(others)} depend on the batch; see counterbench.causal.chance")


def chance_is_the_generators(case: ModelCase) -> None:
    """asked again it answers the same, whatever the global seed is."""
    held, answers = _any(case), []
    for outer in (1, 2):
        torch.manual_seed(outer)
        answers.append(case.ask(held))
    moved = unlike(answers[0], answers[1])
    require(
        not moved,
        f"its {', '.join(moved)} changed between two equal questions; draw from the generator that is given, not from torch's global one",
    )


def leaves_its_input_alone(case: ModelCase) -> None:
    """does not write into the samples that it is given."""
    held = _any(case)
    before = {name: value.clone() for name, value in (*case.factual.items(), *held.items())}
    with torch.no_grad():
        shown = shown_to(case.contestant.model, case.factual)
        case.contestant.model.counterfactual(shown, held, SampleNoise(0, case.factual.index.tolist()))
    moved = unlike(before, {**shown, **held})
    require(not moved, f"it changed its input {', '.join(moved)} in place; copy before you write")


def can_be_copied(case: ModelCase) -> None:
    """a copy can be made of it that has seen no question."""
    untouched = Untouched(case.contestant.model, code=case.contestant.code)
    case.ask(_any(case))
    require(
        not untouched.problem,
        f"{untouched.problem}; hold tensors, numbers, networks and containers in the model itself, else its numbers of preservation "
        "(composition, reversibility, ...) have no rank",
    )


def noise_is_noise(case: ModelCase) -> None:
    """abducted noise and noise of the prior have the same names and sizes."""
    model = case.contestant.model
    if not isinstance(model, models.HasNoise):
        raise NotAskedError("it has no methods abduct and sample_noise; abduction will not be measured")
    noise = SampleNoise(0, case.factual.index.tolist())
    with torch.no_grad():
        abducted = model.abduct(shown_to(model, case.factual), noise)
        prior = model.sample_noise(case.factual.count, SampleNoise(1, case.factual.index.tolist()))
    shapes = [
        {f"{variable}.{part}": tuple(value.shape) for variable, parts in drawn.items() for part, value in parts.items()}
        for drawn in (abducted, prior)
    ]
    require(shapes[0] == shapes[1], f"abduct gives {shapes[0]}, sample_noise {shapes[1]}; they must be alike")


def _any(case: ModelCase) -> dict[str, Tensor]:
    """The last question that it answers: an intervention, unless it answers none of them."""
    require(case.questions, "it answers no question: can_answer says no to everything")
    return list(case.questions.values())[-1]


CHECKS = (
    answers_nothing_asked,
    answers_every_intervention,
    is_in_evaluation_mode,
    images_are_grey_levels,
    only_descendants_change,
    no_answer_depends_on_its_batch,
    chance_is_the_generators,
    leaves_its_input_alone,
    can_be_copied,
    noise_is_noise,
)
