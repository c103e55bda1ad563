"""Distances between graphs, against hand-made cases and against what they mean."""

import numpy as np
import pytest

from counterbench.discovery.base import Found
from counterbench.discovery.comparison import hamming_distance, intervention_distance, order_errors, sortability


def random_dag(nodes, share, seed):
    rng = np.random.default_rng(seed)
    order = rng.permutation(nodes)
    dag = np.zeros((nodes, nodes), dtype=bool)
    dag[np.ix_(order, order)] = np.triu(rng.random((nodes, nodes)) < share, 1)
    return dag


def effects_by_adjustment(found, truth, seed):
    """Pairs whose effect, adjusted for the found parents, is not the true total effect, in a linear model with weights in general position."""
    rng = np.random.default_rng(seed)
    nodes = len(truth)
    weights = np.where(truth, rng.uniform(0.5, 2, truth.shape) * rng.choice([-1, 1], truth.shape), 0.0)
    spread = rng.uniform(0.5, 2, nodes)
    total = np.linalg.inv(np.eye(nodes) - weights)  # [i, j]: total effect of i on j
    covariance = total.T @ np.diag(spread) @ total
    wrong = 0
    for i in range(nodes):
        parents = np.flatnonzero(found[:, i])
        for j in range(nodes):
            if i == j:
                continue
            if j in parents:
                adjusted = 0.0
            else:
                given = [i, *parents]
                adjusted = np.linalg.solve(covariance[np.ix_(given, given)], covariance[given, j])[0]
            wrong += abs(adjusted - total[i, j]) > 1e-8
    return wrong


@pytest.mark.parametrize("seed", range(25))
def test_the_intervention_distance_counts_the_effects_that_adjustment_gets_wrong(seed):
    truth, found = random_dag(6, 0.4, seed), random_dag(6, 0.4, seed + 1000)
    assert intervention_distance(found, truth) == effects_by_adjustment(found, truth, seed)
    assert intervention_distance(truth, truth) == 0
    fuller = np.triu(np.ones((6, 6), dtype=bool), 1)[np.ix_(*[np.argsort(topological(truth))] * 2)]
    assert intervention_distance(fuller, truth) == 0  # too many causes in the right order bias nothing


def topological(dag):
    order, left = [], set(range(len(dag)))
    while left:
        root = next(node for node in sorted(left) if not any(dag[other, node] for other in left))
        order.append(root)
        left.remove(root)
    return order


def test_hamming_counts_pairs():
    truth = np.zeros((4, 4), dtype=bool)
    truth[0, 1] = truth[1, 2] = truth[2, 3] = True
    extra, turned, undirected = truth.copy(), truth.copy(), truth.copy()
    extra[0, 3] = True
    turned[0, 1], turned[1, 0] = False, True
    undirected[0, 1] = False
    pair = np.zeros_like(truth)
    pair[0, 1] = pair[1, 0] = True
    nothing = np.zeros_like(truth)
    strange = np.zeros_like(truth)
    strange[0, 3] = strange[3, 0] = True  # joined by nothing in truth
    cases = {
        1: [Found(extra, nothing), Found(turned, nothing), Found(undirected, pair), Found(truth, strange)],
        3: [Found(nothing, nothing)],
    }
    for distance, graphs in cases.items():
        assert [hamming_distance(graph, truth) for graph in graphs] == [distance] * len(graphs)


def test_order_errors_and_sortability():
    truth = np.zeros((3, 3), dtype=bool)
    truth[0, 1] = truth[1, 2] = True
    assert order_errors([0, 1, 2], truth) == 0
    assert order_errors([2, 1, 0], truth) == 1
    assert np.isnan(order_errors([0, 1, 2], np.zeros((3, 3), dtype=bool)))
    assert sortability(np.array([1.0, 2.0, 3.0]), truth) == 1
    assert sortability(np.array([1.0, 1.0 + 1e-9, 1.0]), truth) == 0.5
    # Two arrows and one path of two: falling along one arrow and along the path.
    assert sortability(np.array([3.0, 1.0, 2.0]), truth) == pytest.approx(1 / 3)
