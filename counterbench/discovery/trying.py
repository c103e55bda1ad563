"""One method on one table: its graph, how often each arrow comes back on other samples, and what a known graph says to it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from counterbench.causal.graph import CausalGraph
from counterbench.discovery.base import Discoverer, Found
from counterbench.discovery.comparison import hamming_distance, intervention_distance, order_errors, sortability
from counterbench.discovery.r2_sort import explained
from counterbench.discovery.table import CLASSES, Observations
from counterbench.errors import ConfigError, GraphError
from counterbench.plugins import registry
from counterbench.plugins.extras import require_extra
from counterbench.plugins.factory import make
from counterbench.runtime.progress import bar

SORTABLE = 0.8
"""From here on sorting by variance is said to find the graph."""


@dataclass(frozen=True)
class Discovery:
    """What was found.

    Args:
        method: its name.
        table: the samples that were looked at.
        found: the graph.
        frequency: (d, d), how often i -> j came back; a pair without direction counts half for each way. NaN without resamples.
        resamples: how often samples were drawn anew, with replacement.
        options: of the method.
        seed: of every draw.
    """

    method: str
    table: Observations
    found: Found
    frequency: np.ndarray
    resamples: int
    options: dict[str, object]
    seed: int

    @property
    def graph(self) -> CausalGraph | None:
        """The graph, in the words of a card; None where a pair has no direction or there is a cycle."""
        if self.found.undirected.any():
            return None
        try:
            return graph_of(self.found.directed, self.table)
        except GraphError:
            return None

    @property
    def truth(self) -> np.ndarray | None:
        """(d, d), bool: the known graph."""
        return None if self.table.truth is None else matrix_of(self.table.truth, self.table.names)

    def comparison(self) -> dict[str, float]:
        """How far the graph is from the known one: empty where there is none.

        `hamming` counts pairs, `intervention` ordered pairs (only of a graph without undirected pairs), `order_errors` is the share of true
        arrows that point backwards in the order, `precision` and `recall` are of arrows with their direction.
        """
        truth, found = self.truth, self.found
        if truth is None:
            return {}
        scores: dict[str, float] = {"hamming": hamming_distance(found, truth)}
        if self.graph is not None:
            scores["intervention"] = intervention_distance(found.directed, truth)
        if found.order is not None:
            scores["order_errors"] = order_errors(found.order, truth)
        right = float((found.directed & truth).sum())
        scores["precision"] = right / count if (count := float(found.directed.sum())) else float("nan")
        scores["recall"] = right / count if (count := float(truth.sum())) else float("nan")
        return scores

    def warnings(self) -> list[str]:
        """What a reader has to know before believing the arrows."""
        against = self.truth if self.truth is not None else self.found.directed
        of = "the known graph" if self.truth is not None else "the graph that was found"
        said = []
        values = self.table.values
        by_variance = sortability(values.var(0), against)
        if by_variance >= SORTABLE:
            said.append(
                f"var-sortability {by_variance:.2f}: along {of} variances rise, so sorting by the units alone finds it. All methods but "
                "var_sort look at standardised values; one that does not would only seem to discover."
            )
        by_share = sortability(explained(values), against)
        if by_share >= SORTABLE:
            said.append(
                f"R2-sortability {by_share:.2f}: along {of} variables follow better and better from all others; r2_sort finds it without any "
                "theory of causes."
            )
        return said


def discover(
    method: str, table: Observations, *, resamples: int = 0, seed: int = 0, options: dict[str, object] | None = None
) -> Discovery:
    """Look for a graph.

    Args:
        method: a name of the registry `discoverers`.
        table: samples.
        resamples: how often it is looked for again, on samples drawn with replacement.
        seed: of every draw.
        options: of the method.

    Raises:
        ConfigError: for an unknown option, or variables that the method cannot read. UnavailableError: without the library that it needs.

    Examples:
        >>> rng = np.random.default_rng(0)
        >>> cause = rng.uniform(-1, 1, 500)
        >>> effect = cause**3 + 0.2 * rng.standard_normal(500)
        >>> table = Observations({"cause": "continuous", "effect": "continuous"}, np.stack([cause, effect], 1))
        >>> discover("score", table).graph.edges
        [('cause', 'effect')]
    """
    options = options or {}
    family = registry.discoverers.get(method)
    if extra := registry.discoverers.extra_of(method):
        require_extra(extra, f"The method {method!r}")
    discoverer: Discoverer = make(f"The method {method!r}", family, (), options)
    discrete = _require_readable(method, discoverer, table)
    found = _found_by(method, discoverer, table.values, np.random.default_rng([seed, 0]), discrete)
    counted = np.zeros(found.directed.shape)
    with bar(resamples, f"Resampling for {method}") as advance:
        for number in range(resamples):
            generator = np.random.default_rng([seed, 1 + number])
            rows = generator.integers(len(table.values), size=len(table.values))
            other = _found_by(method, discoverer, _varied(table.values[rows], generator, discrete), generator, discrete)
            counted += other.directed + 0.5 * other.undirected
            advance(1)
    frequency = counted / resamples if resamples else np.full(counted.shape, np.nan)
    return Discovery(method, table, found, frequency, resamples, options, seed)


def readable(method: str, table: Observations) -> tuple[Observations, list[str]]:
    """(what a method can read of a table, the names that are left out); where it does not mix kinds, continuous variables count more.

    Args:
        method: a name of the registry `discoverers`.
        table: samples.

    Raises:
        ConfigError: if fewer than two variables are left.
    """
    family = registry.discoverers.get(method)
    kept = [name for name, kind in table.kinds.items() if kind in family.reads]
    continuous = [name for name in kept if table.kinds[name] not in CLASSES]
    if not family.mixes and len(continuous) > 1:
        kept = continuous
    elif not family.mixes:
        kept = [name for name in kept if name not in continuous]
    if len(kept) < 2:
        raise ConfigError(
            f"{method} can read {len(kept)} of the variables of {table.title}; it needs two {' or '.join(sorted(family.reads))} ones at least."
        )
    return table.only(kept), [name for name in table.names if name not in kept]


def _found_by(
    method: str, discoverer: Discoverer, values: np.ndarray, generator: np.random.Generator, discrete: bool
) -> Found:
    """What a method finds.

    Raises:
        ConfigError: where its arithmetic fails.
    """
    try:
        return discoverer.find(values, generator, discrete=discrete)
    except (ValueError, IndexError, AssertionError, ArithmeticError, np.linalg.LinAlgError) as error:
        if isinstance(error, ConfigError):
            raise
        raise ConfigError(
            f"{method} fails on {len(values)} samples of {values.shape[1]} variables ({error}); give more rows, leave out variables that follow "
            "from others exactly, or choose another method."
        ) from error


def _varied(values: np.ndarray, generator: np.random.Generator, discrete: bool) -> np.ndarray:
    """Drawn samples; a column of numbers that a resample leaves constant is noise instead, which no arrow fits."""
    still = np.ptp(values, axis=0) == 0
    if discrete or not still.any():
        return values
    return np.where(still, generator.standard_normal(values.shape), values)


def _require_readable(method: str, discoverer: Discoverer, table: Observations) -> bool:
    """Whether all variables are classes.

    Raises:
        ConfigError: for variables that the method cannot read.
    """
    still = [name for name, column in zip(table.names, table.values.T, strict=True) if np.ptp(column) == 0]
    if still:
        raise ConfigError(
            f"{', '.join(still)}: the same in all {len(table.values)} samples that are looked at, so nothing can depend on it; leave it out with --only, "
            "or raise --rows."
        )
    strange = [name for name, kind in table.kinds.items() if kind not in discoverer.reads]
    readable = [name for name in table.names if name not in strange]
    if strange:
        listed = ", ".join(f"{name} ({table.kinds[name]})" for name in strange)
        hint = f"leave them out with --only {','.join(readable)}" if len(readable) > 1 else "choose another method"
        raise ConfigError(
            f"{method} cannot read {listed}: it needs {' or '.join(sorted(discoverer.reads))} variables; {hint}."
        )
    discrete = [name for name, kind in table.kinds.items() if kind in CLASSES]
    if not discoverer.mixes and discrete and len(discrete) < len(table.kinds):
        raise ConfigError(
            f"{method} reads continuous variables or classes, not both side by side; leave out {', '.join(discrete)} with --only, or the others."
        )
    return len(discrete) == len(table.kinds)


def matrix_of(graph: CausalGraph, names: tuple[str, ...]) -> np.ndarray:
    """(d, d), bool: [i, j] is an arrow from names[i] to names[j].

    Examples:
        >>> matrix_of(CausalGraph({"a": [], "b": ["a"]}), ("a", "b")).tolist()
        [[False, True], [False, False]]
    """
    directed = np.zeros((len(names),) * 2, dtype=bool)
    for parent, child in graph.edges:
        directed[names.index(parent), names.index(child)] = True
    return directed


def graph_of(directed: np.ndarray, table: Observations) -> CausalGraph:
    """The graph of a matrix.

    Raises:
        GraphError: for a cycle.
    """
    names = table.names
    return CausalGraph({name: [names[i] for i in np.flatnonzero(directed[:, j])] for j, name in enumerate(names)})
