"""Random structural causal models without images: seeded graphs and mechanisms whose counterfactuals are known."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np

from counterbench.errors import DataError

Kind = Literal["linear", "anm", "pnl", "discrete"]
KINDS: tuple[Kind, ...] = ("linear", "anm", "pnl", "discrete")
"""Linear with Gaussian noise; additive noise on random smooth functions; the same behind an invertible curve (post-nonlinear); classes."""
_FEATURES, _CLASSES = 50, 3
_NOISE = (0.4, 0.8)
"""Range of the standard deviation of the noise, where a node without causes has 1."""


@dataclass(frozen=True)
class RandomSCM:
    """A random causal model over x1, x2, ...; everything follows from its arguments.

    Args:
        kind: of the mechanisms, one of :data:`KINDS`.
        nodes: how many variables.
        edges: how many arrows, on average: each pair is joined with the same probability (an Erdos-Renyi graph, randomly ordered).
        seed: of graph and mechanisms.

    Examples:
        >>> scm = RandomSCM("anm", 5, 5, 0)
        >>> noise = scm.draw_noise(100, np.random.default_rng(1))
        >>> values = scm.values(noise)
        >>> set(scm.values(noise, {"x1": 0 * values["x1"]})["x1"].tolist())
        {0.0}
    """

    kind: Kind
    nodes: int
    edges: float
    seed: int

    def _rng(self, *words: int) -> np.random.Generator:
        return np.random.default_rng([self.seed, KINDS.index(self.kind), self.nodes, *words])

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Of the variables."""
        return tuple(f"x{number + 1}" for number in range(self.nodes))

    @cached_property
    def _order(self) -> np.ndarray:
        return self._rng(0).permutation(self.nodes)

    @cached_property
    def adjacency(self) -> np.ndarray:
        """(nodes, nodes), bool; [i, j] is i -> j."""
        share = min(1.0, 2 * self.edges / max(1, self.nodes * (self.nodes - 1)))
        upper = np.triu(self._rng(1).random((self.nodes,) * 2) < share, 1)
        adjacency = np.zeros_like(upper)
        adjacency[np.ix_(self._order, self._order)] = upper
        return adjacency

    def parents(self, node: int) -> list[int]:
        """Direct causes of a node, by number."""
        return [int(parent) for parent in np.flatnonzero(self.adjacency[:, node])]

    def draw_noise(self, count: int, rng: np.random.Generator) -> np.ndarray:
        """(count, nodes): what makes individuals, standard normal; of discrete variables uniform."""
        return rng.random((count, self.nodes)) if self.kind == "discrete" else rng.standard_normal((count, self.nodes))

    def values(self, noise: np.ndarray, interventions: Mapping[str, np.ndarray] | None = None) -> dict[str, np.ndarray]:
        """Every variable, from the noise and what is set.

        Args:
            noise: (N, nodes), from :meth:`draw_noise`.
            interventions: name -> (N,), values that are set.

        Returns:
            name -> (N,), float64.
        """
        interventions = interventions or {}
        if strange := [name for name in interventions if name not in self.names]:
            raise DataError(f"There is no variable {strange[0]!r}; this model has {self.names[0]} to {self.names[-1]}.")
        found = np.empty(noise.shape)
        for node in self._order:
            name = self.names[node]
            if name in interventions:
                found[:, node] = interventions[name]
            else:
                found[:, node] = self._mechanism(int(node), found[:, self.parents(int(node))], noise[:, node])
        return dict(zip(self.names, found.T.copy(), strict=True))

    def _mechanism(self, node: int, causes: np.ndarray, noise: np.ndarray) -> np.ndarray:
        rng = self._rng(2, node)
        if self.kind == "discrete":
            return _class(causes, noise, rng)
        spread = rng.uniform(*_NOISE) if causes.shape[1] else 1.0
        if self.kind == "linear":
            weights = rng.uniform(0.5, 1.5, causes.shape[1]) * rng.choice([-1.0, 1.0], causes.shape[1])
            mean = causes @ weights / max(1.0, np.sqrt((weights**2).sum()))
        else:
            mean = _smooth(causes, rng)
        value = mean + spread * noise
        return _bent(value, rng) if self.kind == "pnl" and causes.shape[1] else value


def _smooth(causes: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A draw of a Gaussian process with unit length scale, by random Fourier features (Rahimi and Recht 2007), (N,)."""
    if not causes.shape[1]:
        return np.zeros(len(causes))
    frequency = rng.standard_normal((causes.shape[1], _FEATURES))
    phase, weight = rng.uniform(0, 2 * np.pi, _FEATURES), rng.standard_normal(_FEATURES)
    drawn: np.ndarray = np.sqrt(2 / _FEATURES) * np.cos(causes @ frequency + phase) @ weight
    return drawn


def _bent(values: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """An invertible curve."""
    return values + rng.uniform(0.5, 1.0) * np.tanh(rng.uniform(1.0, 2.0) * values)


def _class(causes: np.ndarray, noise: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The class that a table of probabilities gives to each combination of causes: the smallest whose cumulative one exceeds the noise."""
    weights = rng.standard_normal((causes.shape[1], _CLASSES, _CLASSES)) * 1.5
    logits = np.tile(rng.standard_normal(_CLASSES) * 0.5, (len(noise), 1))
    for column, weight in zip(causes.T, weights, strict=True):
        logits = logits + weight[column.astype(int)]
    shares = np.exp(logits - logits.max(1, keepdims=True))
    shares /= shares.sum(1, keepdims=True)
    classes: np.ndarray = (noise[:, None] > shares.cumsum(1)[:, :-1]).sum(1).astype(float)
    return classes
