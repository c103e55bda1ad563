"""Do intervals and tests hold what they say? Data of known laws, drawn many times: how often the interval holds the true value.

python docs/coverage.py  # some minutes; writes docs/coverage.json, from which docs/make.py makes the tables of docs/intervals.md
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from scipy.stats import norm

from counterbench.metrics.statistics.classification import auroc, balanced_accuracy, f1_parts
from counterbench.metrics.statistics.neighbours import prdc
from counterbench.records.intervals import Differences, Ratios, cluster_totals, holm, intervals, p_values, spread_of

STORED = Path(__file__).with_name("coverage.json")
SIZES = ((250, 8), (139, 1), (50, 2), (25, 8), (13, 8))
"""Clusters, and samples in each."""
ALIKE = 0.3
"""Correlation of samples of one cluster, before they are transformed."""
RESAMPLES = 1000
MEAN = SimpleNamespace(kind="mean", bounds=(None, None))
SHARE = SimpleNamespace(kind="mean", bounds=(0.0, 1.0))
SKILL = SimpleNamespace(kind="skill", bounds=(None, 1.0))
Drawn = tuple[Ratios, float, Any]
"""Totals of many data sets, one a column; the true value; what the number is declared as."""


def normal(rng: np.random.Generator, clusters: int, each: int, count: int) -> np.ndarray:
    """(clusters, each, count), standard normal, correlated within clusters."""
    common, own = rng.normal(size=(clusters, 1, count)), rng.normal(size=(clusters, each, count))
    return ALIKE**0.5 * common + (1 - ALIKE) ** 0.5 * own


def mean_of(transform: Callable[[np.ndarray], np.ndarray], true: float) -> Callable[..., Drawn]:
    """Means of transformed normal scores."""

    def draw(rng: np.random.Generator, clusters: int, each: int, count: int) -> Drawn:
        totals = transform(normal(rng, clusters, each, count)).sum(1)
        return Ratios(totals, np.full(totals.shape, float(each))), true, MEAN

    return draw


def share(true: float) -> Callable[..., Drawn]:
    """Shares of right answers."""

    def draw(rng: np.random.Generator, clusters: int, each: int, count: int) -> Drawn:
        totals = (normal(rng, clusters, each, count) < norm.ppf(true)).sum(1).astype(float)
        return Ratios(totals, np.full(totals.shape, float(each))), true, SHARE

    return draw


def skill(rng: np.random.Generator, clusters: int, each: int, count: int) -> Drawn:
    """1 - sum of errors / sum of errors of doing nothing, both skewed and alike."""
    before = normal(rng, clusters, each, count)
    after = 0.8 * before + 0.6 * normal(rng, clusters, each, count)
    return Ratios(0.3 * np.exp(0.8 * after).sum(1), np.exp(0.8 * before).sum(1)), 0.7, SKILL


def unequal(rng: np.random.Generator, clusters: int, each: int, count: int) -> Drawn:
    """Means over clusters of one to twice as many samples less one."""
    scores = normal(rng, clusters, 2 * each - 1, count)
    there = np.arange(2 * each - 1)[:, None] < rng.integers(1, 2 * each, (clusters, 1, count))
    return Ratios((scores * there).sum(1), there.sum(1).astype(float)), 0.0, MEAN


LAWS: dict[str, Callable[..., Drawn]] = {
    "mean, normal": mean_of(lambda z: z, 0.0),
    "mean, normal, unequal clusters": unequal,
    "mean, exponential (skewness 2)": mean_of(lambda z: -norm.logsf(z), 1.0),
    "mean, lognormal 1 (skewness 6)": mean_of(np.exp, float(np.exp(0.5))),
    "mean, lognormal 1.5 (skewness 33)": mean_of(lambda z: np.exp(1.5 * z), float(np.exp(1.125))),
    "skill, of lognormal errors": skill,
    **{f"share of {true:g}": share(true) for true in (0.5, 0.9, 0.97, 0.99, 0.995, 0.999)},
}
CLASSES = ((250, 8, 0.5, 0.95), (250, 8, 0.03, 0.998), (200, 1, 0.5, 0.998), (200, 1, 0.1, 0.998), (100, 1, 0.06, 0.95))
"""Clusters, samples in each, share of the rarer class, area under the curve."""
NEIGHBOURS = ((200, 1, 16), (62, 8, 16), (125, 4, 32))
"""Clusters, samples in each, numbers of a vector."""


def coverage(law: str, clusters: int, each: int, count: int, seed: int = 0) -> float:
    """How often the interval holds the true value; where there is a dash, nothing is claimed."""
    ratios, true, declared = LAWS[law](np.random.default_rng([seed, clusters]), clusters, each, count)
    low, high = intervals(ratios, [declared] * count, RESAMPLES, seed)
    there = np.isfinite(low)
    return float(np.mean((low <= true)[there] & (true <= high)[there]))


def of_classes(clusters: int, each: int, rare: float, area: float, count: int, seed: int = 0) -> dict[str, float]:
    """The same of statistics of a binary judge; where there is a dash, nothing is claimed."""
    rng, apart = np.random.default_rng([seed, clusters]), norm.ppf(area) * 2**0.5
    right = norm.cdf(apart / 2)
    mistaken = 1 - right  # in both classes alike
    true = {"AUROC": area, "balanced accuracy": right, "F1": 2 * rare * right / (2 * rare * right + mistaken)}
    hits: dict[str, list[bool]] = {name: [] for name in true}
    unit = np.repeat(np.arange(clusters), each)
    for _ in range(count):
        target = (rng.random(clusters * each) < rare).astype(int)
        score = norm.cdf(normal(rng, clusters, each, 1).ravel() + apart * (target - 0.5))
        named = (score > 0.5).astype(int)
        columns = {"AUROC": auroc(target, score), "balanced accuracy": balanced_accuracy(target, named)}
        columns["F1"] = f1_parts(target, named)
        for name, parts in columns.items():
            totals = Ratios(*(cluster_totals(part, unit, clusters)[:, None] for part in parts))
            low, high = intervals(totals, [SHARE], RESAMPLES // 10, seed)
            if np.isfinite(low[0]):
                hits[name].append(bool(low[0] <= true[name] <= high[0]))
    return {name: float(np.mean(found)) for name, found in hits.items()}


def of_neighbours(clusters: int, each: int, width: int, count: int, seed: int = 0) -> dict[str, float]:
    """The same of precision, recall, density and coverage, against their means over all data sets of this size."""
    unit = torch.arange(clusters).repeat_interleave(each)
    values: dict[str, list[float]] = {}
    ends: dict[str, list[np.ndarray]] = {}
    for number in range(count):
        rng = np.random.default_rng([seed, clusters, number])
        x = normal(rng, clusters, each, width).reshape(-1, width)
        y = rng.normal(size=x.shape)
        for name, pseudo in prdc(torch.from_numpy(0.9 * x + 0.1), torch.from_numpy(y), unit=unit).items():
            totals = cluster_totals(pseudo.numpy(), unit.numpy(), clusters)[:, None]
            ratios = Ratios(totals, np.full((clusters, 1), float(each)))
            values.setdefault(name, []).append(float(ratios.point()[0]))
            declared = SimpleNamespace(kind="mean", bounds=(0.0, None)) if name == "density" else SHARE
            ends.setdefault(name, []).append(np.concatenate(intervals(ratios, [declared], RESAMPLES // 4, seed)))
    mean = {name: np.mean(found) for name, found in values.items()}
    return {name: float(np.mean([low <= mean[name] <= high for low, high in found])) for name, found in ends.items()}


TRAININGS = ((3, 250, 0.02), (3, 250, 0.1), (3, 250, 0.5), (5, 250, 0.1), (3, 50, 0.1))
"""Trainings, clusters, standard deviation between trainings in units of that between clusters."""


def of_trainings(trainings: int, clusters: int, between: float, count: int, seed: int = 0) -> dict[str, float]:
    """Means of several trainings of one recipe about the same clusters: intervals with the chance of trainings, those of one training, and
    percentiles of a bootstrap that draws trainings and clusters."""
    hits: dict[str, list[bool]] = {}
    for number in range(count):
        rng = np.random.default_rng([seed, trainings, clusters, number])
        scores = between * rng.normal(size=(trainings, 1)) + rng.normal(size=clusters)
        scores = scores + 0.5 * rng.normal(size=scores.shape)
        each = [Ratios(row[:, None], np.ones((clusters, 1))) for row in scores]
        rows = rng.multinomial(trainings, np.full(trainings, 1 / trainings), RESAMPLES) / trainings
        columns = rng.multinomial(clusters, np.full(clusters, 1 / clusters), RESAMPLES) / clusters
        ends = {
            "both": [end[0] for end in intervals(Ratios.mean(each), [MEAN], RESAMPLES // 4, number)],
            "one": [end[0] for end in intervals(each[0], [MEAN], RESAMPLES // 4, number)],
            "resampled": list(np.quantile(((rows @ scores) * columns).sum(1), [0.025, 0.975])),
        }
        for name, (low, high) in ends.items():
            hits.setdefault(name, []).append(bool(low <= 0 <= high))
    return {name: float(np.mean(found)) for name, found in hits.items()}


TESTED: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "normal": lambda z: z,
    "lognormal 1.5": lambda z: np.exp(1.5 * z),
    "share of 0.98": lambda z: (z < norm.ppf(0.98)).astype(float),
}


def false_alarms(law: str, clusters: int, each: int, pairs: int, numbers: int = 60, seed: int = 0) -> dict[str, float]:
    """Two models that are equally good: how often a number differs beyond chance, and how often any of a pair does after Holm."""
    raw, any_of_pair = [], []
    for pair in range(pairs):
        rng = np.random.default_rng([seed, clusters, pair])
        first, second = (TESTED[law](normal(rng, clusters, each, numbers)).sum(1) for _ in range(2))
        size = np.full(first.shape, float(each))
        p = p_values(spread_of(Differences(Ratios(first, size), Ratios(second, size)), RESAMPLES, pair))
        raw.append(p)
        any_of_pair.append(bool((holm(p) < 0.05).any()))
    together = np.concatenate(raw)
    return {
        "p < 0.05": float(np.mean(together < 0.05)),
        "p < 0.001": float(np.mean(together < 0.001)),
        "any, after Holm": float(np.mean(any_of_pair)),
    }


def measured(count: int, few: int, sizes: Sequence[tuple[int, int]] = SIZES) -> dict[str, Any]:
    """Everything.

    Args:
        count: data sets behind each coverage of means and shares.
        few: the same where every data set takes long.
        sizes: clusters, and samples in each.
    """
    return {
        "data_sets": count,
        "few": few,
        "sizes": [list(size) for size in sizes],
        "coverage": {law: [coverage(law, *size, count) for size in sizes] for law in LAWS},
        "classes": [{"of": list(one), **of_classes(*one, few)} for one in CLASSES],
        "neighbours": [{"of": list(one), **of_neighbours(*one, few // 2)} for one in NEIGHBOURS],
        "trainings": [{"of": list(one), **of_trainings(*one, 5 * few)} for one in TRAININGS],
        "tests": {
            f"{law}, {clusters} clusters": false_alarms(law, clusters, 8, few)
            for law in TESTED
            for clusters in (250, 25)
        },
    }


def main() -> None:
    """Run everything and store it."""
    torch.set_num_threads(1)
    STORED.write_text(json.dumps(measured(2000, 200), indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
