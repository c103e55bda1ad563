"""Comparing records that answer the same questions: all numbers and pairs, tied ranks. Imports no torch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations
from typing import Any

import numpy as np

from counterbench.errors import RecordError
from counterbench.leaderboard.order import Order, order
from counterbench.leaderboard.paired import Difference, differences
from counterbench.leaderboard.scored import ScoredRecord
from counterbench.records.intervals import holm
from counterbench.records.record import Number, Record
from counterbench.records.totals import BY, Key

RESAMPLES = 10_000
"""Of the independent units, behind every interval and p-value."""


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
        order: the models by row skill.
        records: of the models.
    """

    names: tuple[str, ...]
    numbers: dict[Key, list[Number]]
    ranks: dict[Key, list[int]]
    differences: list[Difference]
    clusters: int
    notes: tuple[str, ...] = ()
    order: Order = field(default_factory=Order)
    records: tuple[Record, ...] = ()

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
                    **{name: getattr(one, name) for name in ("first", "second", "value", "advantage")},
                    **{name: None if np.isnan(end := getattr(one, name)) else end for name in ("low", "high")},
                    "p_bootstrap": one.p_bootstrap,
                    "p_wilcoxon": None if np.isnan(one.p_wilcoxon) else one.p_wilcoxon,
                    "better": one.better,
                }
                for one in self.differences
            ],
        }


def compare(
    entries: Sequence[ScoredRecord], resamples: int = RESAMPLES, *, seed: int = 0, detail: bool = False
) -> Comparison:
    """All paired differences between all records.

    Args:
        entries: from :func:`load`.
        resamples: of the clusters.
        seed: of the resampling.
        detail: include the numbers that the short table leaves out.
    """
    numbers, notes = _shared(entries, detail)
    adjusted: list[Difference] = []
    for first, second in combinations(entries, 2):
        raw = differences(first, second, numbers, resamples=resamples, seed=seed)
        p_values = [holm(np.array([getattr(one, name) for one in raw])) for name in ("p_bootstrap", "p_wilcoxon")]
        adjusted += [
            replace(one, p_bootstrap=float(bootstrap), p_wilcoxon=float(wilcoxon))
            for one, bootstrap, wilcoxon in zip(raw, *p_values, strict=True)
        ]
    names = tuple(entry.name for entry in entries)
    beaten = Counter((one.key, one.second if one.better == one.first else one.first) for one in adjusted if one.better)
    ranks = {key: [1 + beaten[key, name] for name in names] for key in numbers}
    clusters = next(iter(entries[0].ratios.values())).clusters
    records = tuple(entry.record for entry in entries)
    return Comparison(
        names, numbers, ranks, adjusted, clusters, tuple(notes), order(entries, resamples, seed=seed), records
    )


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
        and not any(numbers[key].no_rank for numbers in listed)
        and not (differ and number.depends_on_temperature)
        and (detail or not number.detail)
    }
    if not shared:
        raise RecordError("These records have no number in common; evaluate them with the same metrics.")
    words = ", ".join(f"{name} {value:g}" for name, value in temperatures.items() if value is not None)
    hidden = dependent_on_temperature(entries[0].record) if differ else ""
    notes = [f"{hidden} is left out: the pixel-noise temperatures differ ({words})"] if hidden else []
    hindered = {(number.metric, number.no_rank) for numbers in listed for number in numbers.values() if number.no_rank}
    return shared, [*notes, *(f"numbers of {metric} are left out: {why}" for metric, why in sorted(hindered))]


def dependent_on_temperature(record: Record) -> str:
    """The metrics whose numbers are comparable only at one pixel-noise temperature, in words; empty if there are none."""
    metrics = dict.fromkeys(number.metric for number in record.numbers if number.depends_on_temperature)
    return ", ".join(name.replace("_", " ") for name in metrics)
