"""Intervals: BCa bootstrap over samples, clustered where several samples share a group."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from scipy.stats import norm

_BLOCK = 250  # resamples whose weights are held at once


class Statistics(Protocol):
    """Several statistics of the same clusters, as functions of the clusters' weights."""

    @property
    def clusters(self) -> int:
        """How many clusters."""
        ...

    def __call__(self, weights: np.ndarray) -> np.ndarray:
        """(B, G) weights of the clusters -> (B, K) values; NaN where nothing is drawn."""
        ...

    def point(self) -> np.ndarray:
        """(K,), the values on the data."""
        ...

    def jackknife(self) -> np.ndarray:
        """(G, K), the values without each cluster."""
        ...


@dataclass(frozen=True)
class Ratios:
    """Several statistics of the form sum(numerator) / sum(denominator), over the same clusters.

    A mean is the ratio of the sum of scores to their number; 1 - skill is the ratio of two sums of errors.

    Args:
        numerator: (G, K), totals per cluster.
        denominator: (G, K), likewise.
    """

    numerator: np.ndarray
    denominator: np.ndarray

    @property
    def clusters(self) -> int:
        return len(self.numerator)

    def __call__(self, weights: np.ndarray) -> np.ndarray:
        with np.errstate(invalid="ignore", divide="ignore"):
            ratio: np.ndarray = (weights @ self.numerator) / (weights @ self.denominator)
        return ratio

    def point(self) -> np.ndarray:
        ratios: np.ndarray = self(np.ones((1, len(self.numerator))))[0]
        return ratios

    def jackknife(self) -> np.ndarray:
        with np.errstate(invalid="ignore", divide="ignore"):
            left: np.ndarray = (self.numerator.sum(0) - self.numerator) / (self.denominator.sum(0) - self.denominator)
        return left


@dataclass(frozen=True)
class Differences:
    """first - second, statistic by statistic, on the same resamples: a paired comparison.

    Args:
        first: the statistics of one side.
        second: those of the other side, over the same clusters.
        transform: applied to the values of both before subtracting, e.g. the distance from a target.
    """

    first: Statistics
    second: Statistics
    transform: Callable[[np.ndarray], np.ndarray] = lambda values: values

    @property
    def clusters(self) -> int:
        return self.first.clusters

    def __call__(self, weights: np.ndarray) -> np.ndarray:
        differences: np.ndarray = self.transform(self.first(weights)) - self.transform(self.second(weights))
        return differences

    def point(self) -> np.ndarray:
        differences: np.ndarray = self.transform(self.first.point()) - self.transform(self.second.point())
        return differences

    def jackknife(self) -> np.ndarray:
        differences: np.ndarray = self.transform(self.first.jackknife()) - self.transform(self.second.jackknife())
        return differences


def value_of(kind: str, ratio: np.ndarray) -> np.ndarray:
    """A number of some kind from the ratio of its totals: 1 - ratio for a skill, the square root for a root, else the ratio.

    >>> value_of("skill", np.array([0.25])).tolist()
    [0.75]
    """
    if kind == "root":
        with np.errstate(invalid="ignore"):
            root: np.ndarray = np.sqrt(ratio)
        return root
    return 1 - ratio if kind == "skill" else ratio


def holm(p: np.ndarray) -> np.ndarray:
    """P-values adjusted for their number (Holm 1979): reject where the result is below the level.

    Args:
        p: (K,); NaN stays NaN and does not count.
    """
    adjusted = np.full(len(p), np.nan)
    known = np.flatnonzero(~np.isnan(p))
    order = known[np.argsort(p[known], kind="stable")]
    factors = np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(np.maximum.accumulate(p[order] * factors), 1)
    return adjusted


def cluster_totals(values: np.ndarray, clusters: np.ndarray, count: int) -> np.ndarray:
    """Sums per cluster, (count,).

    Args:
        values: (N,).
        clusters: (N,), numbers 0 .. count - 1.
        count: number of clusters.
    """
    return np.bincount(clusters, weights=values, minlength=count)


def bca(statistics: Statistics, resamples: int, seed: int, *, level: float = 0.95) -> tuple[np.ndarray, np.ndarray]:
    """Bias-corrected and accelerated bootstrap intervals (Efron 1987; Efron & Tibshirani 1993, chapter 14).

    Whole clusters are resampled. Agrees with `scipy.stats.bootstrap(method="BCa")` on unclustered means, and handles all
    statistics, clusters and ratios in one matrix product.

    Args:
        statistics: of which intervals are wanted.
        resamples: number of bootstrap samples.
        seed: of the resampling.
        level: coverage.

    Returns:
        (low, high), each (K,). NaN where there are fewer than two clusters or the value is undefined; the point itself where
        nothing varies.
    """
    point = statistics.point()
    if statistics.clusters < 2:
        return np.full_like(point, np.nan), np.full_like(point, np.nan)
    return interval(point, resampled(statistics, resamples, seed), statistics.jackknife(), level=level)


def resampled(statistics: Statistics, resamples: int, seed: int) -> np.ndarray:
    """(resamples, K), the statistics on bootstrap samples of whole clusters."""
    clusters = statistics.clusters
    rng = np.random.default_rng([seed, clusters])
    blocks = [min(_BLOCK, resamples - start) for start in range(0, resamples, _BLOCK)]
    uniform = np.full(clusters, 1 / clusters)
    return np.concatenate([statistics(rng.multinomial(clusters, uniform, size).astype(np.float64)) for size in blocks])


def interval(
    point: np.ndarray, drawn: np.ndarray, jackknife: np.ndarray, *, level: float = 0.95
) -> tuple[np.ndarray, np.ndarray]:
    """BCa limits, each (K,), from values on the data, on resamples (B, K), and without each cluster (G, K)."""
    defined = np.isfinite(point)
    point, drawn, jackknife = (np.where(defined, values, 0.0) for values in (point, drawn, jackknife))
    # A ratio whose reference is gone from a resample is undefined there, not infinite.
    drawn, jackknife = (np.where(np.isfinite(values), values, np.nan) for values in (drawn, jackknife))
    tolerance = 1e-12 * np.maximum(1, np.abs(point))
    known = np.maximum(np.isfinite(drawn).sum(0), 1)
    ties = np.sum(np.abs(drawn - point) <= tolerance, axis=0)
    below = (np.sum(drawn < point - tolerance, axis=0) + 0.5 * ties) / known
    limit = 1 / (2 * len(drawn))
    bias = norm.ppf(np.clip(below, limit, 1 - limit))
    left = np.isfinite(jackknife)
    mean = np.nansum(jackknife, axis=0) / np.maximum(left.sum(0), 1)
    spread = np.where(left, mean - jackknife, 0.0)
    cubed, squared = np.sum(spread**3, axis=0), np.sum(spread**2, axis=0)
    acceleration = cubed / np.maximum(6 * squared**1.5, 1e-300)
    ends = []
    for tail in ((1 - level) / 2, (1 + level) / 2):
        z = bias + norm.ppf(tail)
        share = norm.cdf(bias + z / (1 - acceleration * z))
        ends.append(np.array([np.nanquantile(drawn[:, k], share[k]) for k in range(len(point))]))
    constant = np.ptp(np.nan_to_num(drawn, nan=0.0), axis=0) <= tolerance
    return tuple(np.where(defined, np.where(constant, point, end), np.nan) for end in ends)  # type: ignore[return-value]
