"""Can the data refute a graph? What it implies is tested, and held against the same graph with shuffled names."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.stats import binomtest

from counterbench.causal.graph import CausalGraph
from counterbench.discovery.independence import Dependence, Independence
from counterbench.discovery.table import Observations, marginal
from counterbench.errors import ConfigError
from counterbench.runtime.progress import bar

_CHANCE = 0.1
"""Share of shuffled graphs, by the upper end of its interval, up to which a graph is told from them."""


@dataclass(frozen=True)
class Claim:
    """Something that a graph says about the data.

    Args:
        first, second: of which variables.
        given: what is held fixed.
        arrow: whether it says that they are dependent, as the ends of an arrow are; else that they are independent.
        verdict: of the test of independence.
        violated: whether the data says otherwise: dependent at the level of the test, all of its kind together (Holm), or, of an arrow, not dependent.
    """

    first: str
    second: str
    given: tuple[str, ...]
    arrow: bool
    verdict: Dependence
    violated: bool


@dataclass(frozen=True)
class Refutation:
    """What the data says of a graph.

    Args:
        graph: that was tested.
        table: the samples.
        claims: every independence that it implies, then every arrow.
        share: of the independences, those that fail one by one, at the level alpha; NaN where it implies none.
        shuffled: the same shares of the graphs with shuffled names; those that imply the same are left out.
        alpha: level of the tests.
        exhaustive: whether these are all that there are.
    """

    graph: CausalGraph
    table: Observations
    claims: tuple[Claim, ...]
    share: float
    shuffled: tuple[float, ...]
    alpha: float
    exhaustive: bool = False

    @property
    def independences(self) -> tuple[Claim, ...]:
        """What must not depend on each other."""
        return tuple(claim for claim in self.claims if not claim.arrow)

    @property
    def arrows(self) -> tuple[Claim, ...]:
        """What must."""
        return tuple(claim for claim in self.claims if claim.arrow)

    def as_good(self) -> tuple[float, float, float]:
        """Share of the graphs with shuffled names that fail as seldom, and its 95 % interval (Wilson; where all were tried, the share
        itself); NaN where there is none."""
        if not self.shuffled or math.isnan(self.share):
            return math.nan, math.nan, math.nan
        hits = sum(other <= self.share + 1e-12 for other in self.shuffled)
        share = hits / len(self.shuffled)
        if self.exhaustive:
            return share, share, share
        interval = binomtest(hits, len(self.shuffled)).proportion_ci(method="wilson")
        return share, float(interval.low), float(interval.high)


def refute(
    table: Observations, graph: CausalGraph, *, permutations: int = 100, alpha: float = 0.05, seed: int = 0
) -> Refutation:
    """Test what a graph implies (the local Markov condition) and whether its arrows are needed.

    The same graph with its names shuffled is the yardstick (Eulig et al. 2023, "Toward falsifying causal graphs using a permutation-based test"):
    a graph that fails as often as those says nothing about these variables.

    Args:
        table: the samples.
        graph: over these names, or more: what depends on variables that the table lacks is not held against it.
        permutations: how many graphs with shuffled names; all of them where there are no more.
        alpha: level of the tests.
        seed: of shuffles and tests.

    Returns:
        Claims with p values, correlations and intervals, and the share of shuffled graphs that fail as seldom.

    Raises:
        ConfigError: for a graph that lacks a variable of the table, or a variable that is the same in all samples.

    Examples:
        >>> rng = np.random.default_rng(0)
        >>> a = rng.standard_normal(800)
        >>> b = np.tanh(a) + 0.5 * rng.standard_normal(800)
        >>> c = b**2 + 0.5 * rng.standard_normal(800)
        >>> table = Observations(dict.fromkeys("abc", "continuous"), np.stack([a, b, c], 1))
        >>> right = refute(table, CausalGraph({"a": [], "b": ["a"], "c": ["b"]}))
        >>> wrong = refute(table, CausalGraph({"a": [], "b": ["a"], "c": ["a"]}))
        >>> right.share, wrong.share
        (0.0, 1.0)
    """
    whole, graph = graph, among(graph, table)
    for name, column in zip(table.names, table.values.T, strict=True):
        if (column == column[0]).all():
            raise ConfigError(
                f"{name} is the same in all {len(column)} samples, so nothing can depend on it; take more rows, or leave it out with --only."
            )
    independence = Independence(table, seed=seed)
    said = [(pair, _tested(independence, pair)) for pair in _statements(whole, table)]
    needed = [(cause, name, _others(graph, cause, name)) for cause, name in graph.edges]
    arrows = [(claim, _tested(independence, claim)) for claim in needed]
    claims = [
        *_claims(said, _holm([verdict.p for _, verdict in said], alpha), arrow=False),
        *_claims(arrows, [verdict.p >= alpha for _, verdict in arrows], arrow=True),
    ]
    statements = [statement for statement, _ in said]
    share, meaning, shuffled = _failing(independence, statements, alpha), _meaning(statements), []
    mappings = list(_shuffles(list(table.names), permutations, seed)) if said else []
    with bar(len(mappings), "Testing graphs with shuffled names") as advance:
        for mapping in mappings:
            others = _statements(_renamed(whole, mapping), table)
            if _meaning(others) != meaning:  # else it is no other graph, for these tests
                shuffled.append(_failing(independence, others, alpha))
            advance(1)
    exhaustive = len(mappings) == _arrangements(table.names)
    return Refutation(graph, table, tuple(claims), share, tuple(shuffled), alpha, exhaustive)


Statement = tuple[str, str, tuple[str, ...]]


def implied(graph: CausalGraph) -> list[Statement]:
    """Every independence of the local Markov condition: a variable and one that it does not cause, given its own causes; each once.

    Examples:
        >>> implied(CausalGraph({"a": [], "b": ["a"], "c": ["b"]}))
        [('c', 'a', ('b',))]
    """
    found: dict[tuple[frozenset[str], frozenset[str]], Statement] = {}
    for name in graph:
        parents = graph.parents(name)
        others = set(graph) - {name, *parents, *graph.descendants(name)}
        for other in sorted(others):
            found.setdefault((frozenset((name, other)), frozenset(parents)), (name, other, parents))
    return list(found.values())


def _tested(independence: Independence, statement: Statement) -> Dependence:
    first, second, given = statement
    return independence.test(first, second, given=given)


def _others(graph: CausalGraph, cause: str, name: str) -> tuple[str, ...]:
    return tuple(parent for parent in graph.parents(name) if parent != cause)


def _claims(said: Sequence[tuple[Statement, Dependence]], violated: Sequence[bool], *, arrow: bool) -> list[Claim]:
    return [
        Claim(first, second, given, arrow, verdict, bool(failed))
        for ((first, second, given), verdict), failed in zip(said, violated, strict=True)
    ]


def _holm(p_values: Sequence[float], alpha: float) -> list[bool]:
    """Which hypotheses are rejected, so that a true one is rejected with a probability of alpha at most (Holm 1979)."""
    rejected = [False] * len(p_values)
    for rank, at in enumerate(np.argsort(p_values, kind="stable")):
        if p_values[at] > alpha / (len(p_values) - rank):
            break
        rejected[at] = True
    return rejected


def _statements(graph: CausalGraph, table: Observations) -> list[Statement]:
    """What a graph implies of the variables of a table: without those statements that a cause which is not in the table breaks."""
    said = implied(among(graph, table))
    if len(graph) == len(table.names):
        return said
    return [(first, second, given) for first, second, given in said if graph.separates(first, second, given=given)]


def _meaning(said: Sequence[Statement]) -> set[tuple[frozenset[str], frozenset[str]]]:
    return {(frozenset((first, second)), frozenset(given)) for first, second, given in said}


def _failing(independence: Independence, said: Sequence[Statement], alpha: float) -> float:
    """Share of independences that fail, each at its own level."""
    return float(np.mean([_tested(independence, claim).p < alpha for claim in said])) if said else math.nan


def _shuffles(names: list[str], count: int, seed: int) -> Iterator[dict[str, str]]:
    """Ways to shuffle names, each once where there are few, and never the one that changes nothing."""
    if _arrangements(names) <= count:
        for order in itertools.islice(itertools.permutations(names), 1, None):
            yield dict(zip(names, order, strict=True))
        return
    rng = np.random.default_rng([seed, len(names)])
    drawn = 0
    while drawn < count:
        order = tuple(rng.permutation(names).tolist())
        if list(order) != names:
            drawn += 1
            yield dict(zip(names, order, strict=True))


def _arrangements(names: Sequence[str]) -> int:
    """In how many other ways names can be shuffled; more than ever are, of many names."""
    return math.factorial(min(len(names), 10)) - 1


def _renamed(graph: CausalGraph, mapping: dict[str, str]) -> CausalGraph:
    def called(name: str) -> str:
        return mapping.get(name, name)

    return CausalGraph({called(name): [called(parent) for parent in graph.parents(name)] for name in graph})


def among(graph: CausalGraph, table: Observations) -> CausalGraph:
    """What is left of a graph among the variables of a table: arrows, and those through others.

    Raises:
        ConfigError: for a variable of the table that the graph does not know.
    """
    if unknown := [name for name in table.names if name not in graph]:
        raise ConfigError(
            f"The graph says nothing of {unknown[0]!r}, which {table.title or 'the table'} has; add it, or choose variables with --only."
        )
    return marginal(graph, list(table.names))


def report(refutation: Refutation) -> dict[str, Any]:
    """Everything that was found, as plain data."""
    share, low, high = refutation.as_good()
    return {
        "title": f"{refutation.table.title}, {len(refutation.table.values)} samples",
        "graph": {name: list(refutation.graph.parents(name)) for name in refutation.graph},
        "alpha": refutation.alpha,
        "claims": [
            {
                "kind": "arrow" if claim.arrow else "independence",
                "first": claim.first,
                "second": claim.second,
                "given": list(claim.given),
                "p": claim.verdict.p,
                "correlation": claim.verdict.correlation,
                "interval": [claim.verdict.low, claim.verdict.high],
                "holds": not claim.violated,
            }
            for claim in refutation.claims
        ],
        "share_failing": _plain(refutation.share),
        "shuffled": list(refutation.shuffled),
        "shuffled_as_good": None if math.isnan(share) else {"share": share, "interval": [low, high]},
        "sentences": sentences(refutation),
    }


def sentences(refutation: Refutation) -> list[str]:
    """What it comes to, in words."""
    said, arrows = refutation.independences, refutation.arrows
    wrong, idle = sum(claim.violated for claim in said), sum(claim.violated for claim in arrows)
    if not said:
        return [
            "This graph joins every pair, so it implies no independence, and no sample can refute it.",
            _of_arrows(idle, len(arrows)),
        ]
    found = [
        f"{wrong} of {len(said)} independences that the graph implies do not hold (Holm, level {refutation.alpha:g}; one by one {refutation.share:.0%} fail)."
        if wrong
        else f"None of the {len(said)} independences that the graph implies is refuted (Holm, level {refutation.alpha:g}; one by one {refutation.share:.0%} fail)."
    ]
    if not refutation.shuffled and refutation.exhaustive:
        found.append(
            "No shuffling of its names makes a graph that implies something else, so there is nothing to hold it against."
        )
    if refutation.shuffled:
        share, low, high = refutation.as_good()
        count = len(refutation.shuffled)
        which, interval = (f"the {count}", "") if refutation.exhaustive else (f"{count}", f" [{low:.0%}, {high:.0%}]")
        tells = "tells" if high <= _CHANCE else "hardly tells"
        found.append(
            f"Of {which} graphs with shuffled names {share:.0%}{interval} fail as seldom: the test {tells} the graph from chance."
        )
    return [*found, _of_arrows(idle, len(arrows))]


def _of_arrows(idle: int, count: int) -> str:
    if not count:
        return "It has no arrows."
    if not idle:
        return f"All {count} arrows join variables that depend on each other, given the other causes."
    return f"{idle} of {count} arrows join variables of which no dependence is seen, given the other causes: they may be too many, or too weak for so few samples."


def _plain(value: float) -> float | None:
    return None if math.isnan(value) else value
