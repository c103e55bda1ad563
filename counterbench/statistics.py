"""Intervals: BCa bootstrap over samples, clustered where several samples share a group."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.stats import norm

_BLOCK = 250  # resamples whose weights are held at once


@dataclass(frozen=True)
class Ratios:
    """Several statistics of the form sum(numerator) / sum(denominator), over the same clusters.

    A mean is the ratio of the sum of scores to their number; 1 - skill is the ratio of two sums of errors.

    Args:
        numerator, denominator: (G, K), totals per cluster.
    """

    numerator: np.ndarray
    denominator: np.ndarray

    def __call__(self, weights: np.ndarray) -> np.ndarray:
        """(B, G) weights of the clusters -> (B, K) values; NaN where nothing is drawn."""
        with np.errstate(invalid="ignore", divide="ignore"):
            ratio: np.ndarray = (weights @ self.numerator) / (weights @ self.denominator)
        return ratio

    def point(self) -> np.ndarray:
        """(K,), the values on the data."""
        return self(np.ones((1, len(self.numerator))))[0]

    def jackknife(self) -> np.ndarray:
        """(G, K), the values without each cluster."""
        with np.errstate(invalid="ignore", divide="ignore"):
            left: np.ndarray = (self.numerator.sum(0) - self.numerator) / (self.denominator.sum(0) - self.denominator)
        return left


def cluster_totals(values: np.ndarray, clusters: np.ndarray, count: int) -> np.ndarray:
    """Sums per cluster, (count,).

    Args:
        values: (N,).
        clusters: (N,), numbers 0 .. count - 1.
        count: number of clusters.
    """
    return np.bincount(clusters, weights=values, minlength=count)


def bca(ratios: Ratios, resamples: int, seed: int, level: float = 0.95) -> tuple[np.ndarray, np.ndarray]:
    """Bias-corrected and accelerated bootstrap intervals (Efron 1987; Efron & Tibshirani 1993, chapter 14).

    Whole clusters are resampled. Agrees with `scipy.stats.bootstrap(method="BCa")` on unclustered means, and handles all
    statistics, clusters and ratios in one matrix product.

    Args:
        ratios: the statistics.
        resamples: number of bootstrap samples.
        seed: of the resampling.
        level: coverage.

    Returns:
        (low, high), each (K,). NaN where there are fewer than two clusters or the value is undefined; the point itself where
        nothing varies.
    """
    clusters = len(ratios.numerator)
    point = ratios.point()
    if clusters < 2:
        return np.full_like(point, np.nan), np.full_like(point, np.nan)
    rng = np.random.default_rng([seed, clusters])
    blocks = [min(_BLOCK, resamples - start) for start in range(0, resamples, _BLOCK)]
    uniform = np.full(clusters, 1 / clusters)
    drawn = np.concatenate([ratios(rng.multinomial(clusters, uniform, size).astype(np.float64)) for size in blocks])
    return _interval(point, drawn, ratios.jackknife(), level)


def _interval(
    point: np.ndarray, drawn: np.ndarray, jackknife: np.ndarray, level: float
) -> tuple[np.ndarray, np.ndarray]:
    defined = np.isfinite(point)
    point, drawn, jackknife = (np.where(defined, values, 0.0) for values in (point, drawn, jackknife))
    tolerance = 1e-12 * np.maximum(1, np.abs(point))
    below = np.mean(drawn < point - tolerance, axis=0) + 0.5 * np.mean(np.abs(drawn - point) <= tolerance, axis=0)
    limit = 1 / (2 * len(drawn))
    bias = norm.ppf(np.clip(below, limit, 1 - limit))
    spread = np.nanmean(jackknife, axis=0) - jackknife
    cubed, squared = np.nansum(spread**3, axis=0), np.nansum(spread**2, axis=0)
    acceleration = cubed / np.maximum(6 * squared**1.5, 1e-300)
    ends = []
    for tail in ((1 - level) / 2, (1 + level) / 2):
        z = bias + norm.ppf(tail)
        share = norm.cdf(bias + z / (1 - acceleration * z))
        ends.append(np.array([np.nanquantile(drawn[:, k], share[k]) for k in range(len(point))]))
    constant = np.ptp(np.nan_to_num(drawn, nan=0.0), axis=0) <= tolerance
    return tuple(np.where(defined, np.where(constant, point, end), np.nan) for end in ends)  # type: ignore[return-value]
