"""Two models on the same questions: paired differences, intervals and p-values of every number. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.stats import wilcoxon

from counterbench.leaderboard.scored import ScoredRecord
from counterbench.records.estimate import TARGETS, regret
from counterbench.records.intervals import Differences, Ratios, limits, p_values, slope_of, spread_of, value_of
from counterbench.records.record import Number
from counterbench.records.row_skill import MARGIN
from counterbench.records.totals import Key

LEVEL = 0.05


@dataclass(frozen=True)
class Difference:
    """One number of two models.

    Args:
        key: which number.
        first: name of a model.
        second: name of the other.
        value: first - second.
        low: lower end of its 95 % interval, of paired differences; NaN where too few clusters bear on it.
        high: upper end.
        advantage: how much nearer to the best possible `first` is than `second`, in the number's unit.
        effect: the advantage in standard deviations of the clusters' paired differences, with its interval.
        p_bootstrap: of a t test over clusters, checked by a bootstrap; adjusted by Holm over all numbers of the pair.
        margin: 1 % of the number's scale, from doing nothing to the truth (of what doing nothing wins: from 0 to a random image).
        p_wilcoxon: the same of a signed-rank test over clusters; NaN where no cluster differs, for statistics of a whole set, and where
            one side is several trainings.
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
        return within(self.low, self.high, self.margin)

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
    pair = (first.stacked(keys), second.stacked(keys))
    trained = any(one.seeds is not None for one in pair)
    kinds = [numbers[key][0].kind for key in keys]
    directions = [numbers[key][0].direction for key in keys]

    def values(ratios: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        # Of a skill, the totals of the error are stored.
        own = [(value_of(kind, ratio), slope_of(kind, ratio)) for kind, ratio in zip(kinds, ratios, strict=True)]
        return np.array([value for value, _ in own]), np.array([slope for _, slope in own])

    def regrets(ratios: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        own = values(ratios)[0]
        slopes = [_slope(numbers[key][0], ratio) for key, ratio in zip(keys, ratios, strict=True)]
        return np.array([regret(value, way) for value, way in zip(own, directions, strict=True)]), np.array(slopes)

    difference, lost = (spread_of(Differences(*pair, transform=way), resamples, seed) for way in (values, regrets))
    (low, high), (least, most), p = limits(difference), limits(lost), p_values(lost)
    results = []
    for k, key in enumerate(keys):
        paired = _Paired(numbers[key][0], *(Ratios(one.numerator[:, [k]], one.denominator[:, [k]]) for one in pair))
        deviation = paired.spread()
        effect = [-float(end[k]) / deviation if deviation > 0 else 0.0 for end in (lost.point, most, least)]
        results.append(
            Difference(
                key=key,
                first=first.name,
                second=second.name,
                value=float(difference.point[k]),
                low=float(low[k]),
                high=float(high[k]),
                advantage=-float(lost.point[k]),
                effect=(effect[0], effect[1], effect[2]),
                p_bootstrap=float(p[k]),
                # Pseudo-values of a cluster differ also where two models' answers do not; ranks of clusters know no trainings.
                p_wilcoxon=float("nan")
                if numbers[key][0].statistic == "pseudo" or trained
                else _wilcoxon(paired.lost()),
                margin=margin(numbers[key][0]),
            )
        )
    return results


def margin(number: Number) -> float:
    """What makes no difference: 1 % of the way from doing nothing to the truth or, of what doing nothing wins, from 0 to a random image;
    0 where these are not known."""
    ends = number.references
    if number.preserves:
        return MARGIN * abs(ends["resample"].value) if "resample" in ends else 0.0
    if number.floor is None or number.ceiling is None:
        return 0.0
    return MARGIN * abs(number.floor.value - number.ceiling.value)


def within(low: float, high: float, margin: float) -> bool:
    """Whether a difference with this interval certainly lies within the margin."""
    return -margin <= low and high <= margin


def verdict_of(
    value: float, low: float, high: float, *, p: float, margin: float
) -> Literal["first", "second", "equal", "undecided"]:
    """Who of two is better, more being better.

    Args:
        value: the difference, first - second.
        low: lower end of its interval.
        high: upper end.
        p: how likely it is by chance.
        margin: what makes no difference.
    """
    if within(low, high, margin):
        return "equal"
    if not p < LEVEL:
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

    def _errors(self, centres: tuple[float, float], slopes: tuple[float, float]) -> tuple[np.ndarray, np.ndarray]:
        """Each model's totals relative to a ratio, times a slope by which more is worse, (G,) each."""
        first, second = (
            slope * (ratios.numerator[:, 0] - centre * ratios.denominator[:, 0])[self._known]
            for ratios, centre, slope in zip((self.first, self.second), centres, slopes, strict=True)
        )
        return first, second

    @property
    def _slopes(self) -> tuple[float, float]:
        first, second = (_slope(self.number, float(ratios.point()[0])) for ratios in (self.first, self.second))
        return first, second

    @property
    def _known(self) -> np.ndarray:
        known: np.ndarray = (self.first.denominator[:, 0] != 0) & (self.second.denominator[:, 0] != 0)
        return known

    def spread(self) -> float:
        """Standard deviation of the clusters' linear influences on the difference of the regrets."""
        first, second = self._errors((float(self.first.point()[0]), float(self.second.point()[0])), self._slopes)
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
        # Of a root the slopes of two models differ in size as well: only their signs leave equal totals equal.
        worse, worse_of_second = (float(np.sign(slope)) for slope in self._slopes)
        first, second = self._errors((centre, centre), (worse, worse_of_second))
        lost: np.ndarray = first - second
        return lost


def _slope(number: Number, ratio: float) -> float:
    """Derivative of a number's regret by the ratio of its totals; 0 at a target that is reached."""
    slope = slope_of(number.kind, ratio)
    if number.direction in TARGETS:
        return slope * float(np.sign(value_of(number.kind, ratio) - TARGETS[number.direction]))
    return -slope if number.direction == "higher" else slope


def _wilcoxon(units: np.ndarray) -> float:
    """Signed-rank test over clusters; NaN where nothing differs."""
    if not np.any(units != 0):
        return float("nan")
    return float(wilcoxon(units, zero_method="pratt").pvalue)
