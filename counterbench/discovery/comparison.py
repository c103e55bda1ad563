"""How far one graph is from another."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from counterbench.discovery.base import Found

if TYPE_CHECKING:
    import networkx


def hamming_distance(found: Found, truth: np.ndarray) -> int:
    """Structural Hamming distance: pairs of variables that are joined otherwise; a pair without direction, where the truth has one, counts 1.

    Args:
        found: a graph.
        truth: (d, d), bool; [i, j] is i -> j.

    Examples:
        >>> truth = np.array([[0, 1, 0], [0, 0, 1], [0, 0, 0]], dtype=bool)
        >>> hamming_distance(Found.ordered(truth.T, (2, 1, 0)), truth), hamming_distance(Found(np.zeros_like(truth), truth | truth.T), truth)
        (2, 2)
    """
    same = (found.directed == truth) & (found.directed.T == truth.T) & ~found.undirected
    return int(np.triu(~same, 1).sum())


def intervention_distance(found: np.ndarray, truth: np.ndarray) -> int:
    """Structural intervention distance: pairs (i, j) of which the parents of i in the found graph are no valid adjustment for the effect of i on j.

    Valid is what the adjustment criterion allows in the true graph (Peters and Buehlmann 2015; Shpitser, VanderWeele, Robins 2010): no
    parent lies behind i on a directed path to j, and the parents close every path that is not directed.

    Args:
        found: (d, d), bool, without cycle; [i, j] is i -> j.
        truth: likewise.

    Examples:
        >>> truth = np.array([[0, 1, 0], [0, 0, 1], [0, 0, 0]], dtype=bool)
        >>> intervention_distance(truth, truth), intervention_distance(truth.T, truth)
        (0, 6)
    """
    import networkx

    graph = networkx.from_numpy_array(truth.astype(int), create_using=networkx.DiGraph)
    below = {node: networkx.descendants(graph, node) for node in graph}
    wrong = 0
    for cause in graph:
        given = set(np.flatnonzero(found[:, cause]).tolist())
        for effect in graph:
            if effect == cause:
                continue
            if effect in given:  # the found graph says that nothing reaches it
                wrong += effect in below[cause]
            else:
                wrong += not _adjusts(graph, below, cause, effect, given)
    return wrong


def _adjusts(graph: networkx.DiGraph, below: dict[int, set[int]], cause: int, effect: int, given: set[int]) -> bool:
    """Whether adjusting for `given` gives the effect of one variable on another."""
    import networkx

    between = {node for node in below[cause] if node == effect or effect in below[node]}
    forbidden = between.union(*(below[node] for node in between)) if between else set()
    if given & forbidden:
        return False
    opened = graph.copy()
    opened.remove_edges_from([(cause, node) for node in between if graph.has_edge(cause, node)])
    return bool(networkx.is_d_separator(opened, {cause}, {effect}, given))


def order_errors(order: Sequence[int], truth: np.ndarray) -> float:
    """The share of true arrows that point backwards in an order; NaN where there is none.

    Args:
        order: columns, causes before effects.
        truth: (d, d), bool; [i, j] is i -> j.

    Examples:
        >>> order_errors([1, 0, 2], np.array([[0, 1, 0], [0, 0, 1], [0, 0, 0]], dtype=bool))
        0.5
    """
    place = np.empty(len(order))
    place[list(order)] = np.arange(len(order))
    causes, effects = np.nonzero(truth)
    return float((place[causes] > place[effects]).mean()) if len(causes) else float("nan")


def sortability(ranking: np.ndarray, truth: np.ndarray) -> float:
    """How far a number per variable rises along the arrows: for every length of path the pairs that such a path joins, and of all these the
    share along which it does; ties count half.

    Of variances it is var-sortability (Reisach et al. 2021), of explained shares R^2-sortability. .5 is chance; near 1, whoever sorts by that
    number finds the graph.

    Args:
        ranking: (d,).
        truth: (d, d), bool; [i, j] is i -> j.

    Returns:
        From 0 to 1; NaN without arrows.

    Examples:
        >>> sortability(np.array([1.0, 2.0, 3.0]), np.array([[0, 1, 0], [0, 0, 1], [0, 0, 0]], dtype=bool))
        1.0
    """
    step = truth.astype(float)
    paths, right, total = step.copy(), 0.0, 0.0
    equal = np.isclose(ranking[:, None], ranking[None], rtol=1e-6, atol=0)
    rises = np.where(equal, 0.5, ranking[:, None] < ranking[None])
    for _ in range(len(truth) - 1):
        reached = paths > 0
        right += float(rises[reached].sum())
        total += float(reached.sum())
        paths = paths @ step
    return right / total if total else float("nan")
