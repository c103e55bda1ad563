"""Models without learning, between which every number stands."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

from torch import Tensor

from counterbench.datasets.base import Dataset
from counterbench.randomness import Generator
from counterbench.samples import Samples


class Identity:
    """Returns the image unchanged: the floor of every table.

    Its attributes are the true counterfactual ones where the process is known (else the factual ones with the intervened
    replaced), so that it is asked for the same change as everybody and fails by the whole of it.
    """

    def __init__(self, dataset: Dataset, split: str = "test"):
        self.dataset, self.split = dataset, split

    def counterfactual(
        self, factual: Samples, interventions: Mapping[str, Tensor], generator: Generator = None
    ) -> dict[str, Tensor]:
        if not interventions:
            return dict(factual)
        image = self.dataset.card.image
        known = self.dataset.true_attributes(self.split, factual.index, interventions)
        return {**factual, **interventions, **known, image: factual[image]}


class Truth:
    """Returns the true counterfactual, where the process is known: the ceiling of every table."""

    def __init__(self, dataset: Dataset, split: str = "test"):
        self.dataset, self.split = dataset, split

    def can_answer(self, intervened: Collection[str]) -> bool:
        """Only questions whose true answer is known."""
        return self.dataset.knows_truth(intervened)

    def counterfactual(
        self, factual: Samples, interventions: Mapping[str, Tensor], generator: Generator = None
    ) -> dict[str, Tensor]:
        return self.dataset.truth(self.split, factual.index, interventions) if interventions else dict(factual)


BASELINES: dict[str, Callable[[Dataset], Any]] = {"identity": Identity, "truth": Truth}
