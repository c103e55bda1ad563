"""Arrows that an order allows and the data does not need are left out, as CAM does it (Buehlmann, Peters, Ernest, Annals of Statistics 2014)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import stats

from counterbench.errors import ConfigError

_KNOTS, _DEGREE = 5, 3


def prune(values: np.ndarray, order: Sequence[int], *, alpha: float = 0.001) -> np.ndarray:
    """Which earlier variables of an order each variable needs, in an additive model of cubic splines: an F test per cause.

    Args:
        values: (N, d), standardised.
        order: columns, causes before effects.
        alpha: significance level; 1 keeps every arrow along the order.

    Returns:
        (d, d), bool; [i, j] is i -> j.
    """
    directed = np.zeros((values.shape[1],) * 2, dtype=bool)
    for place, child in enumerate(order):
        before = list(order[:place])
        if before and alpha < 1:
            keep = additive_p_values(values[:, before], values[:, child]) < alpha
            directed[np.array(before)[keep], child] = True
        elif before:
            directed[before, child] = True
    return directed


def additive_p_values(causes: np.ndarray, effect: np.ndarray) -> np.ndarray:
    """How little each cause adds to an additive model of the others: p values of F tests, (k,).

    Args:
        causes: (N, k).
        effect: (N,).

    Examples:
        >>> rng = np.random.default_rng(0)
        >>> causes = rng.standard_normal((500, 2))
        >>> p = additive_p_values(causes, causes[:, 0] ** 2 + 0.5 * rng.standard_normal(500))
        >>> bool(p[0] < 1e-6), bool(p[1] > 0.01)
        (True, True)
    """
    bases = [splines(cause) for cause in causes.T]
    count = len(effect)
    full = np.concatenate([np.ones((count, 1)), *bases], 1)
    left = _residual(full, effect)
    freedom = count - full.shape[1]
    if freedom < 1:
        raise ConfigError(
            f"{count} samples are too few to tell which of {len(bases)} causes are needed; give more than {full.shape[1]}, or fewer variables."
        )
    found = []
    for number, basis in enumerate(bases):
        rest = [other for place, other in enumerate(bases) if place != number]
        without = _residual(np.concatenate([np.ones((count, 1)), *rest], 1), effect)
        gain = max(0.0, without - left) / basis.shape[1] / max(left / freedom, 1e-300)
        found.append(stats.f.sf(gain, basis.shape[1], freedom))
    return np.array(found)


def splines(values: np.ndarray) -> np.ndarray:
    """Cubic B-splines of one variable, knots at its quantiles, centred; the value itself where it takes few values.

    Args:
        values: (N,).

    Returns:
        (N, number of functions).
    """
    from sklearn.preprocessing import SplineTransformer

    if len(np.unique(values)) <= _KNOTS:
        made = values[:, None]
    else:
        made = SplineTransformer(_KNOTS, _DEGREE, knots="quantile", include_bias=False).fit_transform(values[:, None])
    centred: np.ndarray = made - made.mean(0)
    return centred


def _residual(columns: np.ndarray, effect: np.ndarray) -> float:
    """What is left of the sum of squares. A touch of ridge, for splines of discrete values may depend on each other."""
    normal = columns.T @ columns
    normal[np.diag_indices_from(normal)] += 1e-9 * len(effect)
    weights = np.linalg.solve(normal, columns.T @ effect)
    return float(((effect - columns @ weights) ** 2).sum())
