"""Comparing records that answer the same questions: paired differences, intervals, tests, tied ranks. Imports no torch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from scipy.stats import norm, wilcoxon

from counterbench.errors import RecordError
from counterbench.records import totals
from counterbench.records.intervals import Differences, Ratios, holm, interval, resampled
from counterbench.records.record import SAMPLES, TARGETS, Number, Record, called, file_of, read_record, regret
from counterbench.records.totals import BY, Key, Totals

RESAMPLES = 10_000
"""Of the independent units, behind every interval and p-value."""
LEVEL = 0.05
_COUNTED = 10  # resamples on the other side that make counting precise enough
_SAME = ("dataset", "source", "plan", "data", "judges", "features", "counterbench")


@dataclass(frozen=True)
class ScoredRecord:
    """One record with its scores.

    Args:
        name: how it is called in the comparison.
        record: the numbers.
        ratios: number -> its totals per cluster, (G, 1).
    """

    name: str
    record: Record
    ratios: dict[Key, Ratios]


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

    @property
    def better(self) -> str | None:
        """Who is better beyond chance, or None."""
        if not self.p_bootstrap < LEVEL:
            return None
        return self.first if self.advantage > 0 else self.second


@dataclass(frozen=True)
class Comparison:
    """Everything between some records.

    Args:
        names: the models.
        numbers: number -> its value for every model, in the order of `names`.
        ranks: number -> rank of every model: 1 + how many are better beyond chance.
        differences: every number and pair.
        clusters: independent units behind the intervals.
        notes: what a reader must know.
    """

    names: tuple[str, ...]
    numbers: dict[Key, list[Number]]
    ranks: dict[Key, list[int]]
    differences: list[Difference]
    clusters: int
    notes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "models": list(self.names),
            "clusters": self.clusters,
            "notes": list(self.notes),
            "numbers": [
                {
                    **dict(zip(BY, key, strict=True)),
                    "values": {name: number.value for name, number in zip(self.names, numbers, strict=True)},
                    "ranks": dict(zip(self.names, self.ranks[key], strict=True)),
                    "baselines": {name: end.value for name, end in numbers[0].references.items()},
                    "leaked": [name for name, number in zip(self.names, numbers, strict=True) if number.leaked],
                }
                for key, numbers in self.numbers.items()
            ],
            "differences": [
                {
                    **dict(zip(BY, one.key, strict=True)),
                    **{name: getattr(one, name) for name in ("first", "second", "value", "low", "high", "advantage")},
                    "p_bootstrap": one.p_bootstrap,
                    "p_wilcoxon": None if np.isnan(one.p_wilcoxon) else one.p_wilcoxon,
                    "better": one.better,
                }
                for one in self.differences
            ],
        }


def load(paths: Sequence[Path]) -> list[ScoredRecord]:
    """Read records with their scores.

    Args:
        paths: folders of `counterbench evaluate`, or the record files in them.

    Raises:
        RecordError: if one is missing or damaged, or two cannot be compared; it says which field differs.
    """
    if len(paths) < 2:
        raise RecordError("A comparison needs at least two records.")
    files = [file_of(path) for path in paths]
    records = [read_record(path) for path in files]
    for path, record in zip(files[1:], records[1:], strict=True):
        require_comparable(records[0], record, files[0], path)
    names = [called(record) for record in records]
    if len(set(names)) < len(names):
        names = [f"{name}-{record.inputs.hash[:6]}" for name, record in zip(names, records, strict=True)]
    if len(set(names)) < len(names):
        raise RecordError("The same record was given twice; a comparison needs different ones.")
    found = totals_of(files)
    entries = [
        ScoredRecord(name, record, dict(totals.numbers))
        for name, record, totals in zip(names, records, found, strict=True)
    ]
    for path, entry in zip(files, entries, strict=True):
        require_own(path, entry)
    return entries


def require_comparable(first: Record, second: Record, one: Path, other: Path) -> None:
    """Raise RecordError, naming the field that differs, unless two records answer the same questions on the same data."""
    for field in _SAME:
        a, b = getattr(first.inputs, field), getattr(second.inputs, field)
        if field == "features":  # a space that only one of them used says nothing about the others
            shared = a.keys() & b.keys()
            a, b = {key: a[key] for key in shared}, {key: b[key] for key in shared}
        if field == "data":  # what the card says in words may change; pixels, attributes and questions may not
            a, b = ({key: value for key, value in given.items() if key != "card"} for given in (a, b))
        if a != b:
            raise RecordError(
                f"{one} and {other} cannot be compared: the field {field!r} differs ({_short(a)} against {_short(b)}). Evaluate both with the same dataset, source, suite, seed and limit."
            )


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= 60 else text[:57] + "..."


def totals_of(files: Sequence[Path]) -> list[Totals]:
    """Totals of records: the same clusters, in the same order, of every record; put together where one of them has no finer ones."""
    samples = [totals.beside(path, SAMPLES) for path in files]
    if not all(path.exists() for path in samples):
        found = [totals.read(path, merge=True) for path in files]
        if len({len(one.units) for one in found}) > 1:
            raise RecordError("These records have different independent units; they cannot be paired.")
        return found
    units = np.unique(np.concatenate([totals.units_of(path) for path in samples]))
    return [totals.of_samples(path, units) for path in samples]


def require_own(path: Path, entry: ScoredRecord) -> None:
    """Raise RecordError if these scores are not the ones that the record was made from."""
    for number in entry.record.numbers:
        if number.kind not in ("mean", "skill"):
            continue
        if number.key not in entry.ratios:
            if number.detail:
                continue  # no board needs it
            raise RecordError(
                f"The scores beside {path} lack {number.metric} {number.quantity}, which is in the record."
            )
        ratio = float(entry.ratios[number.key].point()[0])
        found = 1 - ratio if number.kind == "skill" else ratio
        if not abs(found - number.value) <= 1e-5 * (1 + abs(number.value)):  # totals are stored in single precision
            raise RecordError(
                f"The scores beside {path} are not those of the record: {number.metric} {number.quantity} is {found:g} there and {number.value:g} in the record."
            )


def compare(
    entries: Sequence[ScoredRecord], resamples: int = RESAMPLES, seed: int = 0, detail: bool = False
) -> Comparison:
    """All paired differences between all records.

    Args:
        entries: from :func:`load`.
        resamples: of the clusters.
        seed: of the resampling.
        detail: include the numbers that the short table leaves out.
    """
    numbers, notes = _shared(entries, detail)
    differences: list[Difference] = []
    for first, second in combinations(entries, 2):
        found = _differences(first, second, numbers, resamples, seed)
        adjusted = [holm(np.array([getattr(one, name) for one in found])) for name in ("p_bootstrap", "p_wilcoxon")]
        differences += [
            Difference(**{**vars(one), "p_bootstrap": float(p), "p_wilcoxon": float(w)})
            for one, p, w in zip(found, *adjusted, strict=True)
        ]
    names = tuple(entry.name for entry in entries)
    beaten = Counter(
        (one.key, one.second if one.better == one.first else one.first) for one in differences if one.better
    )
    ranks = {key: [1 + beaten[key, name] for name in names] for key in numbers}
    clusters = next(iter(entries[0].ratios.values())).clusters
    return Comparison(names, numbers, ranks, differences, clusters, tuple(notes))


def _shared(entries: Sequence[ScoredRecord], detail: bool) -> tuple[dict[Key, list[Number]], list[str]]:
    """(numbers that every record has, with scores; what was left out): costs are no matter of chance, and some numbers are
    comparable only at one pixel-noise temperature."""
    temperatures = {entry.name: entry.record.pixel_temperature for entry in entries}
    differ = len({value for value in temperatures.values() if value is not None}) > 1
    listed = [entry.record.by_key for entry in entries]
    shared = {
        key: [numbers[key] for numbers in listed]
        for key, number in listed[0].items()
        if all(key in numbers for numbers in listed)
        and all(key in entry.ratios for entry in entries)
        and number.role != "resource"
        and not (differ and number.depends_on_temperature)
        and (detail or not number.detail)
    }
    if not shared:
        raise RecordError("These records have no number in common; evaluate them with the same metrics.")
    words = ", ".join(f"{name} {value:g}" for name, value in temperatures.items() if value is not None)
    hidden = dependent_on_temperature(entries[0].record) if differ else ""
    return shared, [f"{hidden} is left out: the pixel-noise temperatures differ ({words})"] if hidden else []


def dependent_on_temperature(record: Record) -> str:
    """The metrics whose numbers are comparable only at one pixel-noise temperature, in words; empty if there are none."""
    metrics = dict.fromkeys(number.metric for number in record.numbers if number.depends_on_temperature)
    return ", ".join(name.replace("_", " ") for name in metrics)


def _differences(
    first: ScoredRecord, second: ScoredRecord, numbers: dict[Key, list[Number]], resamples: int, seed: int
) -> list[Difference]:
    """All numbers of two models on the same resamples."""
    keys = list(numbers)
    pair = (_stacked(first, keys), _stacked(second, keys))
    skill = np.array([numbers[key][0].kind == "skill" for key in keys])
    directions = [numbers[key][0].direction for key in keys]

    def values(ratios: np.ndarray) -> np.ndarray:
        return np.where(skill, 1 - ratios, ratios)  # of a skill, the totals of the error are stored

    def regrets(ratios: np.ndarray) -> np.ndarray:
        own = values(ratios)
        return np.stack([regret(own[..., k], direction) for k, direction in enumerate(directions)], -1)

    difference = _bootstrap(Differences(*pair, transform=values), resamples, seed)
    lost = _bootstrap(Differences(*pair, transform=regrets), resamples, seed)
    made = []
    for k, key in enumerate(keys):
        paired = _Paired(numbers[key][0], *(Ratios(one.numerator[:, [k]], one.denominator[:, [k]]) for one in pair))
        spread = paired.spread()
        effect = [-float(end[k]) / spread if spread > 0 else 0.0 for end in (lost.point, lost.high, lost.low)]
        made.append(
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
            )
        )
    return made


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
    chosen = [entry.ratios[key] for key in keys]
    return Ratios(np.hstack([one.numerator for one in chosen]), np.hstack([one.denominator for one in chosen]))


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
