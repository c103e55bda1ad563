"""The real training images that metrics compare with: their feature vectors, and which of them share a variable's value."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from counterbench.causal.variables import Continuous, Variable
from counterbench.datasets.cache import remembered
from counterbench.datasets.dataset import REFERENCES, Dataset
from counterbench.datasets.split import Split
from counterbench.errors import ConfigError
from counterbench.features.base import FeatureSpace
from counterbench.metrics.statistics.recognition import first_of_each
from counterbench.metrics.trained_on import TrainedOn
from counterbench.metrics.vectors import vectors_of
from counterbench.plans.drawing import TENTHS


@dataclass(frozen=True)
class Grouping:
    """Which values of a variable count as the same: the same class, or the same tenth of the training values, by their count.

    Args:
        variable: its kind decides.
        edges: inner edges of the tenths; empty for a class. Where many values are equal, there are fewer and larger cells.

    Examples:
        >>> groups = Grouping.of(Continuous("width", 0, 100), torch.arange(100))
        >>> groups(torch.tensor([0.0, 5.0, 95.0])).tolist()
        [0, 0, 9]
    """

    variable: Variable
    edges: Tensor

    @classmethod
    def of(cls, variable: Variable, train: Tensor) -> Grouping:
        """The groups of a variable, from its training values."""
        if not isinstance(variable, Continuous):
            return cls(variable, torch.empty(0))
        inner = np.arange(1, TENTHS) / TENTHS
        return cls(variable, torch.from_numpy(np.unique(np.quantile(train.double().numpy(), inner))))

    def __call__(self, values: Tensor) -> Tensor:
        """(N,) natural values -> (N,) numbers of their groups."""
        if not isinstance(self.variable, Continuous):
            return values.long()
        return torch.searchsorted(self.edges, values.double(), right=True)


class References:
    """Real training images, seen through feature spaces.

    Args:
        dataset: whose.
        count: how many; see :meth:`counterbench.datasets.dataset.Dataset.reference`.

    Examples:
        >>> from counterbench.datasets import load
        >>> references = References(load("ellipse"), count=100)
        >>> {len(value) for value in references.attributes.values()}
        {100}
    """

    def __init__(self, dataset: Dataset, count: int = REFERENCES):
        self.dataset, self.count = dataset, count
        self._groupings: dict[str, Grouping] = {}
        self._features: dict[tuple[FeatureSpace, bool], Tensor] = {}
        self._galleries: dict[FeatureSpace, tuple[Tensor, Tensor]] = {}
        self._trained_on: dict[str, TrainedOn] = {}

    def training(self, variable: str) -> Tensor:
        """Natural values of one attribute in the whole training split, (M,)."""
        return self.dataset.attributes("train")[variable]

    @cached_property
    def attributes(self) -> dict[str, Tensor]:
        """Natural values of all attributes, (M,) each."""
        rows = self.dataset.reference_rows(self.count)
        return {name: value[rows] for name, value in self.dataset.attributes("train").items()}

    def grouping(self, variable: str) -> Grouping:
        """Which values of a variable count as the same."""

        def of_training() -> Grouping:
            return Grouping.of(self.dataset.variables[variable], self.training(variable))

        return remembered(self._groupings, variable, of_training)

    def features(self, space: FeatureSpace, whole: bool = False) -> Tensor:
        """Their vectors, (M, D); kept in the cache, for they are the same for every model.

        Args:
            space: that makes vectors.
            whole: of the whole training split.
        """
        return remembered(self._features, (space, whole), lambda: self._extract(space, whole))

    def gallery(self, space: FeatureSpace) -> tuple[Tensor, Tensor]:
        """Everybody whom a test image may show: vectors of one test image per group, (G, D), and their groups, (G,)."""
        return remembered(self._galleries, space, lambda: self._gallery(space))

    def trained_on(self, seen: Mapping[str, Any] | None) -> TrainedOn:
        """The training images that copies would be copies of.

        Args:
            seen: which; see :class:`counterbench.metrics.trained_on.TrainedOn`.
        """
        key = json.dumps(seen, sort_keys=True, default=list)
        return remembered(self._trained_on, key, lambda: TrainedOn(self.dataset, seen))

    def _gallery(self, space: FeatureSpace) -> tuple[Tensor, Tensor]:
        test = self.dataset.split("test")
        first = first_of_each(test.group)
        one_each = Split("gallery", {name: value[first] for name, value in test.values.items()}, test.group[first])
        return vectors_of(one_each, self.dataset.card.image, space), test.group[first]

    def _extract(self, space: FeatureSpace, whole: bool) -> Tensor:
        split = self.dataset.split("train") if whole else self.dataset.reference(self.count)
        return vectors_of(split, self.dataset.card.image, space)


class GivenReferences(References):
    """Real samples that somebody gives as tensors: they are the references, and the whole training split.

    Args:
        variables: by name.
        image: name of the image; empty where there is none.
        real: natural values, (M, ...) each.

    Examples:
        >>> width = Continuous("width", 0, 8)
        >>> given = GivenReferences({"width": width}, "", {"width": torch.tensor([1.0, 2.0])})
        >>> given.training("width").tolist(), sorted(given.attributes)
        ([1.0, 2.0], ['width'])
    """

    def __init__(self, variables: Mapping[str, Variable], image: str, real: Mapping[str, Tensor]):
        self.variables, self.image, self.real = variables, image, real
        self._groupings, self._features = {}, {}

    def training(self, variable: str) -> Tensor:
        return self.real[variable]

    @cached_property
    def attributes(self) -> dict[str, Tensor]:
        return {name: value for name, value in self.real.items() if name != self.image}

    def grouping(self, variable: str) -> Grouping:
        return remembered(self._groupings, variable, lambda: Grouping.of(self.variables[variable], self.real[variable]))

    def _extract(self, space: FeatureSpace, whole: bool) -> Tensor:
        return torch.cat([space.extract(part) for part in self.real[self.image].split(500)])

    def gallery(self, space: FeatureSpace) -> tuple[Tensor, Tensor]:
        raise ConfigError("Who an image shows is known of a dataset alone; use counterbench.evaluate(model, dataset).")

    def trained_on(self, seen: Mapping[str, Any] | None) -> TrainedOn:
        raise ConfigError(
            "What a model was trained on is known of a dataset alone; use counterbench.evaluate(model, dataset)."
        )
