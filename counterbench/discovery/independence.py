"""Is a variable independent of another, given a third? A test for numbers and classes side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from counterbench.discovery.table import CLASSES, Observations

_WAVES = 100
"""Random Fourier features of what is conditioned on."""
_RIDGES = 10.0 ** np.arange(-3, 4)
_CONFIDENCE = 0.95


@dataclass(frozen=True)
class Dependence:
    """What a test says.

    Args:
        p: how often independent variables would look as dependent as these.
        correlation: the largest correlation, in size, between what is left of the two.
        low, high: its 95 % interval (Fisher's transform, Bonferroni over the correlations of which it is the largest).
    """

    p: float
    correlation: float
    low: float
    high: float


class Independence:
    """Conditional independence by the generalised covariance measure (Shah & Peters, Annals of Statistics 2020).

    Both variables are regressed on what is given, and the residuals of independent ones are uncorrelated. Numbers count as themselves and their
    squares, classes as indicators; the regression is ridge on random Fourier features, its penalty chosen by generalised cross-validation. What
    has been regressed once is remembered.

    Args:
        table: the samples.
        seed: of the random features.

    Examples:
        >>> rng = np.random.default_rng(0)
        >>> cause = rng.standard_normal((500, 1))
        >>> both = np.sin(cause) + 0.5 * rng.standard_normal((500, 2))
        >>> table = Observations(dict.fromkeys("abc", "continuous"), np.concatenate([cause, both], 1))
        >>> independence = Independence(table)
        >>> independence.test("b", "c").p < 1e-6, independence.test("b", "c", given=["a"]).p > 0.05
        (True, True)
    """

    def __init__(self, table: Observations, *, seed: int = 0):
        self.table, self.seed = table, seed
        self._seen = {name: _seen(table, name) for name in table.names}
        self._left: dict[tuple[str, tuple[str, ...]], np.ndarray] = {}
        self._designs: dict[tuple[str, ...], tuple[np.ndarray, np.ndarray]] = {}
        self._verdicts: dict[tuple[str, str, tuple[str, ...]], Dependence] = {}

    def test(self, first: str, second: str, *, given: Sequence[str] = ()) -> Dependence:
        """Whether two variables are independent.

        Args:
            first, second: names, in any order.
            given: what is held fixed.
        """
        one, other = sorted((first, second))
        key = one, other, tuple(sorted(given))
        if key not in self._verdicts:
            self._verdicts[key] = _verdict(self._residual(one, key[2]), self._residual(other, key[2]))
        return self._verdicts[key]

    def _residual(self, name: str, given: tuple[str, ...]) -> np.ndarray:
        """What is left of a variable, (N, p)."""
        key = name, given
        if key not in self._left:
            seen = self._seen[name]
            self._left[key] = _regressed(seen, *self._design(given)) if given else seen - seen.mean(0)
        return self._left[key]

    def _design(self, given: tuple[str, ...]) -> tuple[np.ndarray, np.ndarray]:
        """Left singular vectors and squared singular values of the features of what is given."""
        if given not in self._designs:
            read = np.concatenate([self._seen[name][:, : _linear(self.table, name)] for name in given], 1)
            rng = np.random.default_rng([self.seed, read.shape[1]])
            width = rng.choice([0.5, 1.0, 2.0], _WAVES) / np.sqrt(read.shape[1])
            waves = np.cos(
                read @ (rng.standard_normal((read.shape[1], _WAVES)) * width) + rng.uniform(0, 2 * np.pi, _WAVES)
            )
            features = np.concatenate([read, waves], 1)
            left, singular, _ = np.linalg.svd(features - features.mean(0), full_matrices=False)
            self._designs[given] = left, singular**2
        return self._designs[given]


def _linear(table: Observations, name: str) -> int | None:
    """How many of its columns a variable is conditioned on by: of a number the first one."""
    return None if table.kinds[name] in CLASSES else 1


def _seen(table: Observations, name: str) -> np.ndarray:
    """What of a variable is looked at, (N, p): indicators of all classes but one, or a number and its square, of unit variance."""
    values = table.values[:, table.names.index(name)]
    if table.kinds[name] in CLASSES:
        columns = (values[:, None] == np.unique(values)[None, 1:]).astype(float)
    else:
        number = (values - values.mean()) / values.std()
        columns = np.stack([number, number**2], 1)
    scaled: np.ndarray = (columns - columns.mean(0)) / columns.std(0).clip(min=1e-12)
    return scaled


def _regressed(targets: np.ndarray, left: np.ndarray, squares: np.ndarray) -> np.ndarray:
    """Residuals of ridge regressions, each with the penalty that generalised cross-validation prefers, (N, p)."""
    centred = targets - targets.mean(0)
    weights = left.T @ centred
    best = np.full(centred.shape[1], np.inf)
    chosen: np.ndarray = np.empty_like(centred)
    for ridge in _RIDGES:
        shrunk = squares / (squares + ridge)
        residual = centred - left @ (shrunk[:, None] * weights)
        score = (residual**2).mean(0) / (1 - (1 + shrunk.sum()) / len(centred)) ** 2
        chosen[:, score < best] = residual[:, score < best]
        best = np.minimum(best, score)
    return chosen


def _verdict(first: np.ndarray, second: np.ndarray) -> Dependence:
    """Wald's test that all products of residuals are 0 on average."""
    count = len(first)
    products = (first[:, :, None] * second[:, None, :]).reshape(count, -1)
    mean = products.mean(0)
    covariance = np.atleast_2d(np.cov(products, rowvar=False))
    # Under independence the covariance of products is the product of covariances. With rare classes the empirical one is far too small
    # somewhere, with numbers whose spread varies the other one may be, so the more careful of both counts.
    under_independence = np.kron(first.T @ first, second.T @ second) / count**2
    p = max(_wald(mean, one, count) for one in (covariance, under_independence))
    sizes = np.sqrt((first**2).mean(0)[:, None] * (second**2).mean(0)[None]).ravel().clip(min=1e-12)
    correlations = np.clip(mean / sizes, -0.999999, 0.999999)
    largest = float(correlations[np.abs(correlations).argmax()])
    # The largest of several: all of them lie in their intervals at once (Bonferroni).
    half = stats.norm.ppf(1 - (1 - _CONFIDENCE) / 2 / len(correlations)) / np.sqrt(max(1, count - 3))
    low, high = np.tanh(np.arctanh(largest) + np.array([-half, half]))
    return Dependence(p, largest, float(low), float(high))


def _wald(mean: np.ndarray, covariance: np.ndarray, count: int) -> float:
    """How often a mean of so many products would be as far from 0."""
    rank = max(1, int(np.linalg.matrix_rank(covariance, hermitian=True)))
    statistic = count * mean @ np.linalg.pinv(covariance, hermitian=True) @ mean
    return float(stats.chi2.sf(statistic, rank))
