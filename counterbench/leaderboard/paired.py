"""Two models on the same questions: paired differences, intervals and p-values of every number. Imports no torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from scipy.stats import norm, wilcoxon

from counterbench.leaderboard.scored import ScoredRecord
from counterbench.records.intervals import Differences, Ratios, interval, resampled, value_of
from counterbench.records.record import TARGETS, Number, regret
from counterbench.records.totals import Key

LEVEL = 0.05
_MARGIN = 0.01
_COUNTED = 10  # resamples on the other side that make counting precise enough


@dataclass(frozen=True)
class Difference:
    """One number of two models.

    Args:
        key: which number.
        first: name of a model.
        second: name of the other.
        value: first - second.
        low: lower end of its 95 % interval (paired BCa bootstrap).
        high: upper end.
        advantage: how much nearer to the best possible `first` is than `second`, in the number's unit.
        effect: the advantage in standard deviations of the clusters' paired differences, with its interval.
        p_bootstrap: adjusted by Holm over all numbers of the pair.
        margin: 1 % of the number's scale, from doing nothing to the truth (of what doing nothing wins: from 0 to a random image).
        p_wilcoxon: the same of a signed-rank test over clusters; NaN where no cluster differs, and for statistics of a whole set.
    """

    key: Key
    first: str
    second: str
    value: float
    low: float
    high: float
    advantage: float
    effect: tuple[float, float, float]
    p_bootstrap: float
    p_wilcoxon: float
    margin: float = 0.0

    @property
    def equal(self) -> bool:
        """Whether they certainly differ by no more than the margin."""
        return -self.margin <= self.low and self.high <= self.margin

    @property
    def better(self) -> str | None:
        """Who is better beyond chance and not equal, or None."""
        if self.equal or not self.p_bootstrap < LEVEL:
            return None
        return self.first if self.advantage > 0 else self.second


def differences(
    first: ScoredRecord, second: ScoredRecord, numbers: dict[Key, list[Number]], *, resamples: int, seed: int
) -> list[Difference]:
    """All numbers of two models on the same resamples."""
    keys = list(numbers)
    pair = (_stacked(first, keys), _stacked(second, keys))
    kinds = [numbers[key][0].kind for key in keys]
    directions = [numbers[key][0].direction for key in keys]

    def values(ratios: np.ndarray) -> np.ndarray:
        # Of a skill, the totals of the error are stored.
        return np.stack([value_of(kind, ratios[..., k]) for k, kind in enumerate(kinds)], -1)

    def regrets(ratios: np.ndarray) -> np.ndarray:
        own = values(ratios)
        return np.stack([regret(own[..., k], direction) for k, direction in enumerate(directions)], -1)

    difference = _bootstrap(Differences(*pair, transform=values), resamples, seed)
    lost = _bootstrap(Differences(*pair, transform=regrets), resamples, seed)
    results = []
    for k, key in enumerate(keys):
        paired = _Paired(numbers[key][0], *(Ratios(one.numerator[:, [k]], one.denominator[:, [k]]) for one in pair))
        spread = paired.spread()
        effect = [-float(end[k]) / spread if spread > 0 else 0.0 for end in (lost.point, lost.high, lost.low)]
        results.append(
            Difference(
                key=key,
                first=first.name,
                second=second.name,
                value=float(difference.point[k]),
                low=float(difference.low[k]),
                high=float(difference.high[k]),
                advantage=-float(lost.point[k]),
                effect=(effect[0], effect[1], effect[2]),
                p_bootstrap=_p_value(float(lost.point[k]), lost.drawn[:, k]),
                # Pseudo-values of a cluster differ also where two models' answers do not.
                p_wilcoxon=float("nan") if numbers[key][0].statistic == "pseudo" else _wilcoxon(paired.lost()),
                margin=margin(numbers[key][0]),
            )
        )
    return results


def margin(number: Number) -> float:
    """What makes no difference: 1 % of the way from doing nothing to the truth or, of what doing nothing wins, from 0 to a random image;
    0 where these are not known."""
    ends = number.references
    if number.preserves:
        return _MARGIN * abs(ends["resample"].value) if "resample" in ends else 0.0
    if number.floor is None or number.ceiling is None:
        return 0.0
    return _MARGIN * abs(number.floor.value - number.ceiling.value)


def verdict_of(
    value: float, low: float, high: float, drawn: np.ndarray, *, margin: float
) -> Literal["first", "second", "equal", "undecided"]:
    """Who of two is better, more being better.

    Args:
        value: the difference, first - second.
        low, high: its interval.
        drawn: (B,), the difference on resamples.
        margin: what makes no difference.
    """
    if -margin <= low and high <= margin:
        return "equal"
    if not _p_value(value, drawn) < LEVEL:
        return "undecided"
    return "first" if value > 0 else "second"


@dataclass(frozen=True)
class _Paired:
    """One number of two models, cluster by cluster.

    Args:
        number: its kind and direction.
        first, second: its totals per cluster, (G, 1); a cluster in which one of them has no data says nothing.
    """

    number: Number
    first: Ratios
    second: Ratios

    def _errors(self, centres: tuple[float, float]) -> tuple[np.ndarray, np.ndarray]:
        """Each model's totals relative to a ratio, signed so that more is worse, (G,) each."""
        first, second = (
            _slope(self.number, float(ratios.point()[0]))
            * (ratios.numerator[:, 0] - centre * ratios.denominator[:, 0])[self._known]
            for ratios, centre in zip((self.first, self.second), centres, strict=True)
        )
        return first, second

    @property
    def _known(self) -> np.ndarray:
        known: np.ndarray = (self.first.denominator[:, 0] != 0) & (self.second.denominator[:, 0] != 0)
        return known

    def spread(self) -> float:
        """Standard deviation of the clusters' linear influences on the difference of the regrets."""
        first, second = self._errors((float(self.first.point()[0]), float(self.second.point()[0])))
        sizes = [max(float(ratios.denominator.mean()), 1e-300) for ratios in (self.first, self.second)]
        influence = first / sizes[0] - second / sizes[1]
        return float(influence.std(ddof=1)) if len(influence) > 1 else 0.0

    def lost(self) -> np.ndarray:
        """How much worse the first model is than the second in each cluster, (G,): exactly 0 where both have the same totals.

        Both are seen from one ratio. Seen each from its own, as their influences are, they would differ also where their answers
        do not, by the size of the cluster.
        """
        target = TARGETS.get(self.number.direction)
        if target is None:
            centre = float(self.first.point()[0] + self.second.point()[0]) / 2
        else:
            centre = 1 - target if self.number.kind == "skill" else target
        first, second = self._errors((centre, centre))
        lost: np.ndarray = first - second
        return lost


def _slope(number: Number, ratio: float) -> float:
    """Derivative of a number's regret by the ratio of its totals: 1 or -1, and 0 at a target that is reached."""
    turned = -1.0 if number.kind == "skill" else 1.0
    if number.direction in TARGETS:
        value = 1 - ratio if number.kind == "skill" else ratio
        return turned * float(np.sign(value - TARGETS[number.direction]))
    return -turned if number.direction == "higher" else turned


def _stacked(entry: ScoredRecord, keys: Sequence[Key]) -> Ratios:
    ratios = [entry.ratios[key] for key in keys]
    return Ratios(np.hstack([one.numerator for one in ratios]), np.hstack([one.denominator for one in ratios]))


class _Bootstrap(NamedTuple):
    """Statistics on the data, (K,), their intervals, and their values on resamples, (B, K)."""

    point: np.ndarray
    low: np.ndarray
    high: np.ndarray
    drawn: np.ndarray


def _bootstrap(statistics: Differences, resamples: int, seed: int) -> _Bootstrap:
    point = statistics.point()
    if statistics.clusters < 2:
        nothing = np.full_like(point, np.nan)
        return _Bootstrap(point, nothing, nothing, np.zeros((1, len(point))))
    drawn = resampled(statistics, resamples, seed)
    return _Bootstrap(point, *interval(point, drawn, statistics.jackknife()), drawn)


def _p_value(point: float, drawn: np.ndarray) -> float:
    """Two-sided: how rarely the resamples fall on the other side of no difference (Davison & Hinkley 1997, ch. 4).

    Where hardly any do, counting says only that p is small, and a correction for a hundred tests would hide every difference; there
    the tail of the resamples is taken to be that of a normal distribution (Knijnenburg et al. 2009 do the same with another tail).
    """
    drawn = drawn[np.isfinite(drawn)]
    if point == 0 or len(drawn) < 2:
        return 1.0
    other = min(np.sum(drawn <= 0), np.sum(drawn >= 0))
    counted = 2 * (other + 1) / (len(drawn) + 1)
    spread = float(drawn.std())
    if other >= _COUNTED or spread == 0:
        return float(min(1.0, counted))
    return float(min(counted, 2 * norm.sf(abs(float(drawn.mean())) / spread)))


def _wilcoxon(units: np.ndarray) -> float:
    """Signed-rank test over clusters; NaN where nothing differs."""
    if not np.any(units != 0):
        return float("nan")
    return float(wilcoxon(units, zero_method="pratt").pvalue)
