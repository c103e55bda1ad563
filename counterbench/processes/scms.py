"""Random structural causal models without images: seeded graphs and mechanisms whose counterfactuals are known."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np

from counterbench.errors import ConfigError, DataError, short

Kind = Literal["linear", "anm", "pnl", "discrete"]
KINDS: tuple[Kind, ...] = ("linear", "anm", "pnl", "discrete")
"""Linear with Gaussian noise; additive noise on random smooth functions; the same behind an invertible curve (post-nonlinear); classes."""
CLASSES = 3
"""Of every discrete variable."""
_FEATURES = 50
_NOISE = (0.4, 0.8)
"""Range of the standard deviation of the noise, where a node without causes has 1."""
_HIDDEN = (1.0, 1.5)
"""Range of what a hidden cause of unit variance adds, up or down, to a quantity."""


@dataclass(frozen=True)
class RandomSCM:
    """A random causal model over x1, x2, ...; everything follows from its arguments.

    Args:
        kind: of the mechanisms, one of :data:`KINDS`.
        nodes: how many variables.
        edges: how many arrows, on average: each pair is joined with the same probability (an Erdos-Renyi graph, randomly ordered).
        seed: of graph and mechanisms.
        hidden: how many common causes nobody observes; each acts on the two ends of an arrow, or on any two where there is none. Graph
            and mechanisms of the others are the same with and without them.

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
    hidden: int = 0

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ConfigError(f"There is no kind {short(self.kind)} of random models; give {', '.join(KINDS)}.")
        if self.nodes < 2 or self.edges < 0 or self.hidden < 0 or not 0 <= self.seed < 1 << 32:
            raise ConfigError(
                f"A random model of {self.nodes} variables, {self.edges:g} arrows, {self.hidden} hidden causes and seed {self.seed}: give two "
                "variables at least, no negative numbers, and a seed below 2^32."
            )
        if self.edges > (most := self.nodes * (self.nodes - 1) // 2):
            raise ConfigError(f"{self.nodes} variables have {most} arrows at most, and {self.edges:g} are asked for.")

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

    @cached_property
    def confounded(self) -> tuple[tuple[int, int], ...]:
        """The two variables that each hidden cause acts on, by number."""
        rng = self._rng(3)
        arrows = np.argwhere(self.adjacency)
        pairs = arrows if len(arrows) else np.argwhere(np.triu(np.ones_like(self.adjacency), 1))
        chosen = pairs[rng.choice(len(pairs), self.hidden, replace=self.hidden > len(pairs))]
        return tuple((int(first), int(second)) for first, second in chosen)

    def draw_noise(self, count: int, rng: np.random.Generator) -> np.ndarray:
        """(count, nodes + hidden): what makes individuals, standard normal, of discrete variables uniform; then the hidden causes."""
        own = rng.random((count, self.nodes)) if self.kind == "discrete" else rng.standard_normal((count, self.nodes))
        return np.concatenate([own, rng.standard_normal((count, self.hidden))], 1)

    def values(self, noise: np.ndarray, interventions: Mapping[str, np.ndarray] | None = None) -> dict[str, np.ndarray]:
        """Every variable, from the noise and what is set.

        Args:
            noise: (N, nodes + hidden), from :meth:`draw_noise`.
            interventions: name -> (N,), values that are set; classes are whole numbers from 0.

        Returns:
            name -> (N,), float64.

        Raises:
            DataError: for a variable or a class that there is not.
        """
        interventions = interventions or {}
        if strange := [name for name in interventions if name not in self.names]:
            raise DataError(f"There is no variable {strange[0]!r}; this model has {self.names[0]} to {self.names[-1]}.")
        found = np.empty((len(noise), self.nodes))
        for node in map(int, self._order):
            name = self.names[node]
            if name in interventions:
                found[:, node] = self._required(name, interventions[name])
            else:
                unseen = self._unseen(node, noise[:, self.nodes :])
                found[:, node] = self._mechanism(node, found[:, self.parents(node)], noise[:, node], unseen)
        return dict(zip(self.names, found.T.copy(), strict=True))

    def _required(self, name: str, values: np.ndarray) -> np.ndarray:
        if self.kind == "discrete" and not np.isin(values, range(CLASSES)).all():
            raise DataError(f"{name}: a class is a whole number from 0 to {CLASSES - 1}.")
        return values

    def _unseen(self, node: int, causes: np.ndarray) -> np.ndarray:
        """What the hidden causes add to a variable, (N,)."""
        added = np.zeros(len(causes))
        for number, (cause, ends) in enumerate(zip(causes.T, self.confounded, strict=True)):
            if node in ends:
                rng = self._rng(4, number, node)
                added += rng.uniform(*_HIDDEN) * rng.choice([-1.0, 1.0]) * cause
        return added

    def _mechanism(self, node: int, causes: np.ndarray, noise: np.ndarray, unseen: np.ndarray) -> np.ndarray:
        rng = self._rng(2, node)
        if self.kind == "discrete":
            return _class(causes, noise, unseen, rng)
        spread = rng.uniform(*_NOISE) if causes.shape[1] else 1.0
        if self.kind == "linear":
            weights = rng.uniform(0.5, 1.5, causes.shape[1]) * rng.choice([-1.0, 1.0], causes.shape[1])
            mean = causes @ weights / max(1.0, np.sqrt((weights**2).sum()))
        else:
            mean = _smooth(causes, rng)
        value = mean + unseen + spread * noise
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


def _class(causes: np.ndarray, noise: np.ndarray, unseen: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The class that a table of probabilities gives to each combination of causes: the smallest whose cumulative one exceeds the noise.

    What is unseen raises the last class and lowers the first.
    """
    weights = rng.standard_normal((causes.shape[1], CLASSES, CLASSES)) * 1.5
    logits = np.tile(rng.standard_normal(CLASSES) * 0.5, (len(noise), 1))
    for column, weight in zip(causes.T, weights, strict=True):
        logits = logits + weight[column.astype(int)]
    logits = logits + unseen[:, None] * np.linspace(-1.0, 1.0, CLASSES)
    shares = np.exp(logits - logits.max(1, keepdims=True))
    shares /= shares.sum(1, keepdims=True)
    classes: np.ndarray = (noise[:, None] > shares.cumsum(1)[:, :-1]).sum(1).astype(float)
    return classes
