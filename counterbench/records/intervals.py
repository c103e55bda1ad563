"""Intervals and tests from totals per cluster: the one place where the spread of a number is worked out. Imports no torch.

Every number is (nearly) a sum of what the clusters add to it, its influences; their spread is the number's standard error. Means and
ratios get t limits, corrected for skewness by a bootstrap of whole clusters; shares get those of an exact binomial with as many samples
as they are worth. Where fewer clusters than :data:`FEWEST` bear on a number, nothing is said of its spread.

Numbers of several trainings of one recipe have a second level: what each training adds. Both spreads are added (Howe 1974). Three trainings are too
few to be resampled: a bootstrap that draws them as well is too short by a third, so resamples tell the skewness of the clusters alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple, Protocol

import numpy as np
from scipy.stats import beta, norm
from scipy.stats import t as student

LEVEL = 0.95
FEWEST = 10.0
"""Effective clusters below which a number has no interval and no p-value. Where a class is rare, as many effective clusters are
about a quarter as many samples of it."""
_BLOCK = 250  # resamples whose weights are held at once
_KEPT = 1 << 22  # counts of resamples that are kept: 16 MB
_COUNTED = 10  # resamples beyond a value that make counting precise enough


class Declared(Protocol):
    """What a metric says of a number, as far as intervals hang on it."""

    @property
    def kind(self) -> str:
        """`mean`, `skill` (1 - ratio) and `root` (its square root) have intervals."""
        ...

    @property
    def bounds(self) -> tuple[float | None, float | None]:
        """The least and the most that it can be."""
        ...


class Influenced(Protocol):
    """Several statistics of the same clusters."""

    def point(self) -> np.ndarray:
        """(K,), the values on the data."""
        ...

    def influence(self) -> np.ndarray:
        """(G, K), what each cluster adds to each value beyond its share, 0 for a cluster without data; the sum is 0."""
        ...

    def effective(self) -> np.ndarray:
        """(K,), how many clusters of equal weight would know as much."""
        ...

    def trainings(self) -> list[np.ndarray]:
        """(S, K) for each group of trainings, what each training adds to each value beyond its share; the sum over it is 0."""
        ...


@dataclass(frozen=True)
class Ratios:
    """Several statistics of the form sum(numerator) / sum(denominator), over the same clusters.

    A mean is the ratio of the sum of scores to their number; 1 - skill is the ratio of two sums of errors.

    Args:
        numerator: (G, K), totals per cluster.
        denominator: (G, K), likewise.
        seeds: of several trainings, whose mean the totals are: numerators and denominators of each over all clusters, (S, K) each.
    """

    numerator: np.ndarray
    denominator: np.ndarray
    seeds: tuple[np.ndarray, np.ndarray] | None = None

    @classmethod
    def side_by_side(cls, ratios: Sequence[Ratios]) -> Ratios:
        """Statistics over the same clusters, and of the same trainings, as one, in this order."""
        seeds = [one.seeds for one in ratios if one.seeds is not None]
        return cls(
            np.hstack([one.numerator for one in ratios]),
            np.hstack([one.denominator for one in ratios]),
            (np.hstack([top for top, _ in seeds]), np.hstack([below for _, below in seeds])) if seeds else None,
        )

    @classmethod
    def mean(cls, trainings: Sequence[Ratios]) -> Ratios:
        """The same statistics of several trainings as one: that of a training that is drawn at random."""
        return cls(
            np.mean([one.numerator for one in trainings], 0),
            np.mean([one.denominator for one in trainings], 0),
            (
                np.stack([one.numerator.sum(0) for one in trainings]),
                np.stack([one.denominator.sum(0) for one in trainings]),
            ),
        )

    def of_each(self, trainings: int) -> Ratios:
        """The same, said of every one of some trainings: what is about all of them together has no chance of theirs."""
        sums = tuple(np.repeat(part.sum(0, keepdims=True), trainings, 0) for part in (self.numerator, self.denominator))
        return Ratios(self.numerator, self.denominator, (sums[0], sums[1]))

    @property
    def clusters(self) -> int:
        """How many clusters."""
        return len(self.numerator)

    def point(self) -> np.ndarray:
        with np.errstate(invalid="ignore", divide="ignore"):
            ratios: np.ndarray = self.numerator.sum(0) / self.denominator.sum(0)
        return np.where(np.isfinite(ratios), ratios, np.nan)

    def influence(self) -> np.ndarray:
        point = np.nan_to_num(self.point())
        with np.errstate(invalid="ignore", divide="ignore"):
            added: np.ndarray = (self.numerator - point * self.denominator) / self.denominator.sum(0)
        # What rounding leaves of nothing is no spread.
        noise = 1e-12 * (
            np.abs(point) + np.abs(self.numerator).max(0, initial=0) / np.abs(self.denominator.sum(0)).clip(1e-300)
        )
        return np.where(np.isfinite(added) & (np.abs(added) > noise), added, 0.0)

    def effective(self) -> np.ndarray:
        """Kish's effective number, (sum of weights)^2 / sum of squared weights."""
        weights = np.abs(self.denominator)
        numbers: np.ndarray = weights.sum(0) ** 2 / np.square(weights).sum(0).clip(1e-300)
        return numbers

    def trainings(self) -> list[np.ndarray]:
        if self.seeds is None:
            return []
        top, below = self.seeds
        with np.errstate(invalid="ignore", divide="ignore"):
            added = (top - np.nan_to_num(self.point()) * below) / below.sum(0)
        return [np.where(np.isfinite(added), added, 0.0)]

    def samples(self) -> np.ndarray:
        """(K,), sums of the denominators: the number of samples, of statistics of classes the effective one."""
        total: np.ndarray = self.denominator.sum(0)
        return total


@dataclass(frozen=True)
class Differences:
    """first - second, statistic by statistic: a paired comparison.

    Args:
        first: the statistics of one side.
        second: those of the other side, over the same clusters.
        transform: applied to the ratios of both before subtracting, e.g. the distance from a target: ratios (K,) -> (values, slopes).
    """

    first: Influenced
    second: Influenced
    transform: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]] = lambda ratios: (ratios, np.ones_like(ratios))

    def point(self) -> np.ndarray:
        (first, _), (second, _) = (self.transform(side.point()) for side in (self.first, self.second))
        return _apart(first, second)

    def influence(self) -> np.ndarray:
        first, second = (self.transform(side.point())[1] * side.influence() for side in (self.first, self.second))
        return _apart(first, second)

    def effective(self) -> np.ndarray:
        fewer: np.ndarray = np.minimum(self.first.effective(), self.second.effective())
        return fewer

    def trainings(self) -> list[np.ndarray]:
        """Those of both sides: nobody has paired them."""
        return [
            sign * self.transform(side.point())[1] * block
            for side, sign in ((self.first, 1.0), (self.second, -1.0))
            for block in side.trainings()
        ]


def _apart(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """first - second, and 0 where they differ by rounding alone."""
    difference: np.ndarray = first - second
    return np.where(np.abs(difference) > 1e-12 * (np.abs(first) + np.abs(second)), difference, 0.0)


def value_of(kind: str, ratio: float) -> float:
    """A number of some kind from the ratio of its totals: 1 - ratio for a skill, the square root for a root, else the ratio.

    >>> value_of("skill", 0.25), value_of("root", 0.25)
    (0.75, 0.5)
    """
    if kind == "root":
        return math.sqrt(max(ratio, 0.0))
    return 1 - ratio if kind == "skill" else ratio


def slope_of(kind: str, ratio: float) -> float:
    """Derivative of :func:`value_of` by the ratio."""
    if kind == "root":
        return 0.5 / math.sqrt(ratio) if ratio > 0 else 0.0
    return -1.0 if kind == "skill" else 1.0


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


class Spread(NamedTuple):
    """How far statistics are known, (K,) each but for the last."""

    point: np.ndarray
    error: np.ndarray
    """Standard errors; NaN where too few clusters bear on a value."""
    freedom: np.ndarray
    """Effective clusters - 1; where trainings add to the spread, those of the sum."""
    studentised: np.ndarray
    """(B, K), (value - point) / standard error on resamples of whole clusters; NaN where one has no spread."""


def spread_of(statistics: Influenced, resamples: int, seed: int) -> Spread:
    """Standard errors, and how skewed the errors are (bootstrap-t: Efron & Tibshirani 1993, chapter 12).

    Args:
        statistics: of which they are wanted.
        resamples: number of bootstrap samples.
        seed: of the resampling.
    """
    point, influence, effective = statistics.point(), statistics.influence(), statistics.effective()
    known = np.isfinite(point) & (effective >= FEWEST - 1e-9)
    freedom = np.where(known, effective - 1, np.nan)
    variance = np.square(influence).sum(0) * effective / freedom
    variance, freedom = with_trainings(variance, freedom, statistics.trainings())
    error = np.where(known, np.sqrt(variance), np.nan)
    return Spread(point, error, freedom, _studentised(influence, resamples, seed))


def with_trainings(
    variance: np.ndarray, freedom: np.ndarray, trainings: Sequence[np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """(variance, degrees of freedom) of values whose trainings were drawn as well as their clusters.

    Half of the 95 % interval is the root of the sum of squares of the halves that each source of chance would give alone (Howe 1974), each with
    its own degrees of freedom; the result is the number at which Student's interval has that length. Degrees of freedom from the variances
    themselves (Satterthwaite 1946) are too many just where three trainings are close by chance.

    Args:
        variance: (K,), of the clusters.
        freedom: (K,), its degrees of freedom.
        trainings: what each training of a group adds, (S, K) each.

    >>> spread, freedom = with_trainings(np.array([1.0]), np.array([100.0]), [np.array([[-1.0], [0.0], [1.0]])])
    >>> float(spread[0]), round(float(freedom[0]), 2)
    (4.0, 2.26)
    """
    if not trainings:
        return variance, freedom
    parts = [(variance, freedom)]
    parts += [
        (np.square(block).sum(0) * len(block) / (len(block) - 1), np.full(block.shape[1], len(block) - 1.0))
        for block in trainings
    ]
    total: np.ndarray = np.sum([part for part, _ in parts], 0)
    squares = np.sum([part * np.square(student.ppf((1 + LEVEL) / 2, free)) for part, free in parts], 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        quantile = np.sqrt(squares / total)
    # The quantile falls with the degrees of freedom, and interpolation wants what rises.
    found = np.exp(np.interp(-quantile, -_QUANTILES, np.log(_FREEDOMS)))
    return total, np.where(total > 0, found, freedom)


_FREEDOMS = np.geomspace(1, 1e6, 2000)
_QUANTILES = student.ppf((1 + LEVEL) / 2, _FREEDOMS)


SCARCE = 1e-3
"""A resample that has less than this share of the spread has drawn none of the few clusters that say anything: it tells no error."""


def _studentised(influence: np.ndarray, resamples: int, seed: int) -> np.ndarray:
    """(resamples, K), sums of influences over standard errors on bootstrap samples of whole clusters."""
    clusters, squares = len(influence), np.square(influence)
    least = SCARCE * squares.sum(0)
    few = clusters * resamples <= _KEPT
    blocks = []
    for counts in _resampled(clusters, resamples, seed) if few else _resamples(clusters, resamples, seed):
        weights = counts.astype(np.float64)
        moved = weights @ influence
        variance = weights @ squares - moved**2 / clusters
        with np.errstate(invalid="ignore", divide="ignore"):
            blocks.append(np.where(variance > least, moved / np.sqrt(variance), np.nan))
    return np.concatenate(blocks)


def _resamples(clusters: int, resamples: int, seed: int) -> Iterator[np.ndarray]:
    """How often each cluster is drawn, (<= 250, clusters), block by block."""
    rng, uniform = np.random.default_rng([seed, clusters]), np.full(clusters, 1 / clusters)
    for start in range(0, resamples, _BLOCK):
        yield rng.multinomial(clusters, uniform, min(_BLOCK, resamples - start))


@lru_cache(maxsize=4)
def _resampled(clusters: int, resamples: int, seed: int) -> tuple[np.ndarray, ...]:
    """The same, kept: all pairs of rows of a board are drawn alike, and drawing is most of the work."""
    return tuple(block.astype(np.int32) for block in _resamples(clusters, resamples, seed))


def limits(spread: Spread, *, level: float = LEVEL) -> tuple[np.ndarray, np.ndarray]:
    """(low, high), (K,) each: the outer ends of Student's t interval and of the bootstrap-t interval.

    The first is too short on the side of a long tail, the second where little varies; together they hold what they say down to
    :data:`FEWEST` clusters. NaN where too few clusters bear on a value; the point itself where nothing varies.
    """
    usual = student.ppf((1 + level) / 2, spread.freedom)
    drawn = np.where(np.isnan(spread.studentised).all(0), 0.0, spread.studentised)
    under, over = _quantiles(drawn, [(1 - level) / 2, (1 + level) / 2])
    low = spread.point - np.maximum(usual, over) * spread.error
    high = spread.point + np.maximum(usual, -under) * spread.error
    return low, high


def _quantiles(drawn: np.ndarray, shares: Sequence[float]) -> np.ndarray:
    """Of every column, (B, K) -> (shares, K), without its NaN; columns that have none go together, which is much faster."""
    whole = ~np.isnan(drawn).any(0)
    found = np.empty((len(shares), drawn.shape[1]))
    if whole.any():
        found[:, whole] = np.quantile(drawn[:, whole], shares, axis=0)
    if not whole.all():
        found[:, ~whole] = np.nanquantile(drawn[:, ~whole], shares, axis=0)
    return found


_NOTHING = 1e-9
"""p (1 - p) of a share that does not vary: of a million samples, one would make a thousand times as much."""


def share_limits(ratios: Ratios, *, level: float = LEVEL) -> tuple[np.ndarray, np.ndarray]:
    """(low, high), (K,) each, of shares: exact binomial limits (Clopper & Pearson 1934) with the effective number of samples.

    That number is p (1 - p) / standard error^2, corrected for the few clusters that the error is known from (Korn & Graubard 1998), at
    most the number of samples. Where nothing varies, all right or all wrong, it is the effective number of clusters.

    Returns:
        NaN where fewer clusters than :data:`FEWEST` bear on a share.
    """
    share, effective = np.clip(ratios.point(), 0, 1), ratios.effective()
    effective = np.where(effective >= FEWEST - 1e-9, effective, np.nan)
    variance = np.square(ratios.influence()).sum(0) * effective / (effective - 1)
    variance, freedom = with_trainings(variance, effective - 1, ratios.trainings())
    apart = share * (1 - share)
    certain = norm.ppf((1 + level) / 2) / student.ppf((1 + level) / 2, freedom)
    varies = (variance > 0) & (apart > _NOTHING)  # of pseudo-values, rounding leaves all but 1 of a share of 1
    worth = np.where(varies, apart / np.where(varies, variance, 1.0) * certain**2, effective)
    worth = np.where(varies, np.minimum(worth, ratios.samples()), worth)
    tail, right = (1 - level) / 2, share * worth
    wrong = worth - right
    low = np.where(right > 0, beta.ppf(tail, np.where(right > 0, right, 1.0), wrong + 1), 0.0)
    high = np.where(wrong > 0, beta.ppf(1 - tail, right + 1, np.where(wrong > 0, wrong, 1.0)), 1.0)
    return np.where(np.isfinite(worth), low, np.nan), np.where(np.isfinite(worth), high, np.nan)


def intervals(ratios: Ratios, declared: Sequence[Declared], resamples: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """95 % intervals of numbers, as they are stored: of a skill, those of 1 - ratio; none beyond what a number can be.

    Args:
        ratios: totals per cluster, K numbers.
        declared: (K,), what their metrics say of them.
        resamples: number of bootstrap samples.
        seed: of the resampling.

    Returns:
        (low, high), (K,) each; NaN for costs, where a value is undefined, and where fewer clusters than :data:`FEWEST` bear on it.
    """
    return intervals_at((LEVEL,), ratios, declared, resamples=resamples, seed=seed)[0]


def intervals_at(
    levels: Sequence[float], ratios: Ratios, declared: Sequence[Declared], *, resamples: int, seed: int
) -> list[tuple[np.ndarray, np.ndarray]]:
    """The same at several levels, from one bootstrap."""
    spread = spread_of(ratios, resamples, seed)
    return [_intervals(ratios, declared, spread, level) for level in levels]


def _intervals(
    ratios: Ratios, declared: Sequence[Declared], spread: Spread, level: float
) -> tuple[np.ndarray, np.ndarray]:
    low, high = limits(spread, level=level)
    for ends, of_shares in zip((low, high), share_limits(ratios, level=level), strict=True):
        shares = [one.kind == "mean" and tuple(one.bounds) == (0.0, 1.0) for one in declared]
        ends[shares] = of_shares[shares]
    skills = np.array([one.kind == "skill" for one in declared], dtype=bool)
    low, high = np.where(skills, 1 - high, low), np.where(skills, 1 - low, high)
    for k, one in enumerate(declared):
        if one.kind == "root":
            low[k], high[k] = (value_of("root", end) if np.isfinite(end) else end for end in (low[k], high[k]))
        if one.kind not in ("mean", "skill", "root"):
            low[k] = high[k] = np.nan
        low[k], high[k] = np.clip((low[k], high[k]), *one.bounds)
    return low, high


def p_values(spread: Spread) -> np.ndarray:
    """(K,), two-sided: how likely values as far from 0 are by chance. 1 where too few clusters bear on a value to tell.

    Student's t test over clusters; never less than the share of resamples that are as far off, where enough are to be counted. Where
    every cluster says exactly the same, chance is as small as the resamples can tell.
    """
    count = len(spread.studentised)
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio = spread.point / spread.error
    beyond = np.minimum(np.sum(spread.studentised >= ratio, 0), np.sum(spread.studentised <= ratio, 0))
    counted = 2 * (beyond + 1) / (count + 1)
    p = 2 * student.sf(np.abs(ratio), spread.freedom)
    p = np.where(beyond >= _COUNTED, np.maximum(p, counted), p)
    p = np.where(spread.error == 0, np.where(spread.point == 0, 1.0, 2 / (count + 1)), p)
    return np.where(np.isnan(p), 1.0, np.minimum(p, 1.0))
