"""What a method of discovery is: numbers of samples in, arrows between variables out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from counterbench.discovery.pruning import prune
from counterbench.discovery.table import CONTINUOUS, NUMBERED


@dataclass(frozen=True)
class Found:
    """A graph that a method has found.

    Args:
        directed: (d, d), bool; [i, j] is i -> j.
        undirected: (d, d), bool, symmetric: pairs that are joined while the data does not say which way.
        order: causes before effects, where the method finds an order; None elsewhere.
    """

    directed: np.ndarray
    undirected: np.ndarray
    order: tuple[int, ...] | None = None

    @classmethod
    def ordered(cls, directed: np.ndarray, order: Sequence[int]) -> Found:
        """A graph without undirected pairs, and an order that it agrees with."""
        return cls(directed, np.zeros_like(directed), tuple(int(one) for one in order))

    @property
    def joined(self) -> np.ndarray:
        """(d, d), bool, symmetric: pairs that are joined either way."""
        joined: np.ndarray = self.directed | self.directed.T | self.undirected
        return joined


class Discoverer(ABC):
    """A method; a subclass registers with `@registry.discoverers.register()`, and the keyword arguments of its `__init__` are its options."""

    reads: ClassVar[frozenset[str]] = CONTINUOUS
    """Kinds of variables that it can read."""
    mixes: ClassVar[bool] = True
    """Whether continuous and discrete variables may stand side by side."""

    @abstractmethod
    def find(self, values: np.ndarray, generator: np.random.Generator, *, discrete: bool) -> Found:
        """The graph that some samples suggest.

        Args:
            values: (N, d), float64, as they are; a method whose result should not follow from units standardises them.
            generator: of every draw.
            discrete: whether all variables are numbers of classes.
        """


class Ordering(Discoverer):
    """A method that finds an order; arrows along it that additive models do not need are pruned.

    Args:
        alpha: significance level of the pruning; 1 keeps every arrow along the order.
    """

    def __init__(self, *, alpha: float = 0.001):
        if not 0 < alpha <= 1:
            raise ValueError("alpha lies between 0 and 1")
        self.alpha = alpha

    @abstractmethod
    def order(self, values: np.ndarray, generator: np.random.Generator) -> list[int]:
        """Columns, causes before effects.

        Args:
            values: (N, d).
            generator: of every draw.
        """

    def find(self, values: np.ndarray, generator: np.random.Generator, *, discrete: bool) -> Found:
        order = self.order(values, generator)
        return Found.ordered(prune(standardised(values), order, alpha=self.alpha), order)


class Ranked(Ordering):
    """An :class:`Ordering` that reads any numbers, also those of classes in an order."""

    reads = NUMBERED


def standardised(values: np.ndarray) -> np.ndarray:
    """Columns with mean 0 and standard deviation 1.

    Args:
        values: (N, d); none of the columns constant.

    Examples:
        >>> standardised(np.array([[1.0], [3.0]])).ravel().tolist()
        [-1.0, 1.0]
    """
    scaled: np.ndarray = (values - values.mean(0)) / values.std(0)
    return scaled
