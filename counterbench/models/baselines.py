"""Baselines: models that have learned nothing. Every number of a record is shown beside theirs."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import cached_property
from typing import ClassVar

import torch
from torch import Tensor

from counterbench.catalog.cards import Card
from counterbench.causal.chance import Generator, normal, uniform
from counterbench.causal.samples import Samples
from counterbench.datasets.dataset import REFERENCES, Dataset
from counterbench.datasets.matching import Matcher
from counterbench.datasets.source import DrawsUnseen, Source
from counterbench.errors import ConfigError
from counterbench.models.building import load_reference
from counterbench.models.targets import Targets
from counterbench.networks.spatial import everywhere

NOISE = 10.0
"""Standard deviation of the baseline `noise`, in grey levels."""


class Identity:
    """Returns the image unchanged: the floor of every table.

    Its attributes are those that the question should lead to (see :class:`counterbench.models.targets.Targets`), so that it is
    asked for the same change as everybody and fails by the whole of it. Without an image it changes nothing but what is set.
    """

    needs_image: ClassVar[bool] = False
    needs_rows: ClassVar[bool] = True

    def __init__(self, dataset: Dataset, *, references: int = REFERENCES, split: str = "test"):
        self.dataset, self.references, self.split = dataset, references, split
        self.targets = Targets(dataset, load_reference(dataset.card, dataset.source), split=split)

    def attributes(self, given: Samples, interventions: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Counterfactual values of everything but the image, as far as they are known."""
        done = {**given.done, **interventions}
        if not done:
            return dict(given)
        return {**given, **interventions, **self.targets.known(given.index, done)}

    def counterfactual(
        self, factual: Samples, interventions: Mapping[str, Tensor], generator: Generator = None
    ) -> dict[str, Tensor]:
        image = self.dataset.card.image
        if not image:  # the true consequences would be the whole answer
            return {**factual, **interventions}
        return {**self.attributes(factual, interventions), image: factual[image]}

    def draw(self, attributes: Samples, generator: Generator = None) -> dict[str, Tensor]:
        """The real image of the split that has these very attributes: held-out data that nobody drew, the ceiling of drawn samples."""
        return _observed(self.dataset, self.split, attributes)


class Noise(Identity):
    """Adds white noise of 10 grey levels, whatever is asked: what a metric says of a change without meaning."""

    needs_image = True

    def counterfactual(
        self, factual: Samples, interventions: Mapping[str, Tensor], generator: Generator = None
    ) -> dict[str, Tensor]:
        answer = super().counterfactual(factual, interventions, generator)
        image = answer[self.dataset.card.image]
        noisy = image + NOISE * normal(tuple(image.shape), generator, image)
        return {**answer, self.dataset.card.image: noisy.clamp(0, 255)}


class _RealImages(Identity):
    """Answers with a real training image that has the wanted attributes."""

    needs_image = True

    @cached_property
    def _matcher(self) -> Matcher:
        return Matcher(self.dataset, self.references)

    def counterfactual(
        self, factual: Samples, interventions: Mapping[str, Tensor], generator: Generator = None
    ) -> dict[str, Tensor]:
        image = self.dataset.card.image
        attributes = self.attributes(factual, interventions)
        rows = self._choose(attributes, factual[image], generator)
        images = self.dataset.reference(self.references).values[image][rows]
        return {**attributes, image: images.to(factual[image].dtype)}

    def draw(self, attributes: Samples, generator: Generator = None) -> dict[str, Tensor]:
        """A random real training image with the attributes: what a perfect memory draws."""
        drawn = uniform((attributes.count, 1), generator)[:, 0]
        rows, image = self._matcher.random(attributes, drawn), self.dataset.card.image
        return {**attributes, image: self.dataset.reference(self.references).values[image][rows]}

    def _choose(self, attributes: Mapping[str, Tensor], image: Tensor, generator: Generator) -> Tensor:
        """Rows of the reference images, (N,)."""
        raise NotImplementedError


class Retrieve(_RealImages):
    """Returns the real training image with the wanted attributes that looks most like the factual one."""

    def _choose(self, attributes: Mapping[str, Tensor], image: Tensor, generator: Generator) -> Tensor:
        return self._matcher.most_alike(attributes, image)


class Resample(_RealImages):
    """Returns a random real training image with the wanted attributes: another individual."""

    def _choose(self, attributes: Mapping[str, Tensor], image: Tensor, generator: Generator) -> Tensor:
        return self._matcher.random(attributes, uniform((len(image), 1), generator)[:, 0])


class TrueCounterfactual:
    """Returns the true counterfactual, where the process is known: the ceiling of every table."""

    needs_image: ClassVar[bool] = False
    needs_rows: ClassVar[bool] = True

    def __init__(self, dataset: Dataset, *, references: int = REFERENCES, split: str = "test"):
        self.dataset, self.split = dataset, split

    def can_answer(self, intervened: Collection[str]) -> bool:
        """Only questions whose true answer is known."""
        return self.dataset.knows_truth(intervened)

    def counterfactual(
        self, factual: Samples, interventions: Mapping[str, Tensor], generator: Generator = None
    ) -> dict[str, Tensor]:
        # Of a second intervention the truth is the truth of both: it is the world that is asked, not the first answer.
        done = {**factual.done, **interventions}
        if not done:
            return dict(factual)
        observed = self.dataset.split(self.split).take(factual.index)
        attributes = self.dataset.true_attributes(self.split, factual.index, done)
        back = torch.stack([_same(attributes[name], observed[name]) for name in self.dataset.card.attributes]).all(0)
        image = self.dataset.card.image
        if not image:
            return attributes
        if back.all():
            return {**attributes, image: observed[image]}
        answer = self.dataset.truth(self.split, factual.index, done)
        # Where everything is as it was observed, so is the image (rendering again could round differently).
        return {
            **answer,
            image: torch.where(everywhere(back[:, None], observed[image]), observed[image], answer[image]),
        }

    def draw(self, attributes: Samples, generator: Generator = None) -> dict[str, Tensor]:
        """The real image of the split that has these very attributes."""
        return _observed(self.dataset, self.split, attributes)


class Oracle(TrueCounterfactual):
    """Renders the counterfactual exactly, with the luck that no image shows drawn from its law given everything visible."""

    needs_image = True
    draws: ClassVar[int] = 1

    def can_answer(self, intervened: Collection[str]) -> bool:
        return isinstance(self.dataset.behind, DrawsUnseen) and super().can_answer(intervened)

    def counterfactual(
        self, factual: Samples, interventions: Mapping[str, Tensor], generator: Generator = None
    ) -> dict[str, Tensor]:
        done, source = {**factual.done, **interventions}, self.dataset.behind
        observed = self.dataset.split(self.split).take(factual.index)
        if not isinstance(source, DrawsUnseen):
            raise ConfigError(f"Nobody knows what no image of {self.dataset.card.name}/{self.dataset.source} shows.")
        if not done:
            return dict(factual)
        chance = uniform((len(factual.index), self.draws * source.unseen), generator)
        chance = chance.view(len(factual.index), self.draws, source.unseen)
        # Where what is set is what was there, everything is as it was observed.
        moved = torch.stack([~_same(value, observed[name]) for name, value in done.items()]).any(0).nonzero()[:, 0]
        answer = {name: value.clone() for name, value in observed.items()}
        if len(moved):
            held = {name: value[moved] for name, value in done.items()}
            possible = [
                source.possible_counterfactual(self.split, factual.index[moved], held, one)
                for one in chance[moved].unbind(1)
            ]
            for name, value in answer.items():
                value[moved] = self._middle([one[name] for one in possible]).to(value.dtype)
        return answer

    def _middle(self, possible: list[Tensor]) -> Tensor:
        """One answer from some possible ones."""
        return possible[0]


class OracleMedian(Oracle):
    """Returns the median of 20 possible counterfactuals, pixel by pixel: no answer that knows as little is nearer to the truth in L1."""

    draws = 20

    def _middle(self, possible: list[Tensor]) -> Tensor:
        return torch.stack(possible).median(0).values


def _observed(dataset: Dataset, split: str, attributes: Samples) -> dict[str, Tensor]:
    """Attributes of a split's rows with the images that were observed there."""
    image = dataset.card.image
    return {**attributes, image: dataset.split(split).take(attributes.index)[image]}


def _same(first: Tensor, second: Tensor) -> Tensor:
    """(N,): equal up to rounding, in all its numbers."""
    return torch.isclose(first.double(), second.double(), rtol=1e-5, atol=1e-8).reshape(len(first), -1).all(1)


BASELINES: dict[str, type[Identity] | type[TrueCounterfactual]] = {
    "identity": Identity,
    "noise": Noise,
    "retrieve": Retrieve,
    "resample": Resample,
    "truth": TrueCounterfactual,
    "oracle": Oracle,
    "oracle_median": OracleMedian,
}


def available(card: Card, source: Source | None = None) -> list[str]:
    """The baselines that a dataset can have, in the order of the table: without images there are three less, and the oracles need a
    source that knows what no image shows.

    Args:
        card: of the dataset.
        source: where its samples come from; None for those that all sources have.
    """
    return [
        name
        for name, baseline in BASELINES.items()
        if (card.image or not baseline.needs_image)
        and (not issubclass(baseline, Oracle) or isinstance(source, DrawsUnseen))
    ]


def require(name: str, card: Card, source: Source) -> None:
    """Raise ConfigError for a baseline that a dataset cannot have."""
    usable = available(card, source)
    if name in usable:
        return
    if card.image:
        why = f"draws what no image shows, and {card.name}/{source.name} cannot"
    else:
        why = f"changes images, and {card.name} has none"
    raise ConfigError(f"The baseline {name!r} {why}; take {', '.join(usable)}.")
