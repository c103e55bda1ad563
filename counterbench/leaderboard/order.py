"""The order of a board: row skills, paired. Imports no torch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations, pairwise
from typing import Literal

import numpy as np

from counterbench.leaderboard.paired import verdict_of
from counterbench.leaderboard.scored import ScoredRecord
from counterbench.records.intervals import Differences, limits, p_values, spread_of
from counterbench.records.row_skill import MARGIN, RowSkill, skill_key
from counterbench.records.totals import Key

ESTIMATED = " (estimated)"
Verdict = Literal["first", "second", "equal", "undecided"]


@dataclass(frozen=True)
class Place:
    """Where a row stands.

    Args:
        rank: 1 and how many rows are better beyond chance.
        last: the rank that it might have if every undecided comparison went against it.
    """

    rank: int
    last: int


@dataclass(frozen=True)
class RowDifference:
    """Two rows, paired.

    Args:
        first: name of a row.
        second: of the other.
        value: difference of their row skills.
        low: lower end of its 95 % interval.
        high: upper end.
        verdict: who is better beyond chance and by more than the margin; `equal` where the interval lies within it.
    """

    first: str
    second: str
    value: float
    low: float
    high: float
    verdict: Verdict


@dataclass(frozen=True)
class Order:
    """Rows by row skill.

    Args:
        skills: row -> row skill, best first.
        places: row -> where it stands.
        pairs: every two rows.
        notes: who has no place, and why.
        resolution: half the 95 % interval of the difference of neighbouring rows, their median: less cannot be told apart.
    """

    skills: Mapping[str, float] = field(default_factory=dict)
    places: Mapping[str, Place] = field(default_factory=dict)
    pairs: tuple[RowDifference, ...] = ()
    resolution: float | None = None
    notes: tuple[str, ...] = ()


def order(rows: Sequence[ScoredRecord], resamples: int, *, seed: int = 0) -> Order:
    """Put rows in the order of their row skills.

    Args:
        rows: that answered the same questions.
        resamples: of the independent units.
        seed: of the resampling.
    """
    counted = {row.name: _counted(row) for row in rows if row.record.row_skill is not None}
    usual = Counter(counted.values()).most_common(1)[0][0] if counted else ()
    notes = [
        f"{name} has no place: its row skill counts {_words(own)}, that of the others {_words(usual)}"
        for name, own in counted.items()
        if own != usual
    ]
    alike = (row for row in rows if counted.get(row.name) == usual)
    statistics = {row.name: statistic for row in alike if (statistic := _statistic(row)) is not None}
    skills = {name: float(statistic.point()[0]) for name, statistic in statistics.items()}
    skills = dict(sorted(skills.items(), key=lambda item: (-item[1], item[0])))
    pairs = [
        _pair(first, second, Differences(statistics[first], statistics[second]), resamples, seed)
        for first, second in combinations(skills, 2)
    ]
    return Order(skills, _places(skills, pairs), tuple(pairs), _resolution(skills, pairs), tuple(notes))


def _counted(row: ScoredRecord) -> tuple[str, ...]:
    """The interventions that count: the same for everybody, since they follow from the questions and the truth."""
    assert row.record.row_skill is not None
    parts = row.record.row_skill.parts
    return tuple(sorted(part.intervened + ESTIMATED * (part.by == "estimate") for part in parts if not part.left_out))


def _words(names: tuple[str, ...]) -> str:
    words = [f"do({name.removesuffix(ESTIMATED)})" + ESTIMATED * name.endswith(ESTIMATED) for name in names]
    return ", ".join(words) or "nothing"


def _statistic(row: ScoredRecord) -> RowSkill | None:
    """The row skill of a record, from the scores behind it."""
    if row.record.row_skill is None:
        return None
    parts = [part for part in row.record.row_skill.parts if not part.left_out]
    keys: list[Key] = [skill_key(part) for part in parts if part.skill is not None]
    if not keys or any(key not in row.ratios for key in keys):
        return None
    return RowSkill(row.stacked(keys), len(parts) - len(keys))


def _pair(first: str, second: str, difference: Differences, resamples: int, seed: int) -> RowDifference:
    spread = spread_of(difference, resamples, seed)
    ends = limits(spread)
    value, low, high = (float(one[0]) for one in (spread.point, *ends))
    better = verdict_of(value, low, high, p=float(p_values(spread)[0]), margin=MARGIN)
    return RowDifference(first, second, value, low, high, better)


def _places(skills: Mapping[str, float], pairs: Sequence[RowDifference]) -> dict[str, Place]:
    better, open_ = dict.fromkeys(skills, 0), dict.fromkeys(skills, 0)
    for pair in pairs:
        if pair.verdict == "undecided":
            open_[pair.first] += 1
            open_[pair.second] += 1
        elif pair.verdict != "equal":
            better[pair.second if pair.verdict == "first" else pair.first] += 1
    return {name: Place(1 + better[name], 1 + better[name] + open_[name]) for name in skills}


def _resolution(skills: Mapping[str, float], pairs: Sequence[RowDifference]) -> float | None:
    widths = {(pair.first, pair.second): (pair.high - pair.low) / 2 for pair in pairs}
    halves = [widths[one] for one in pairwise(skills) if np.isfinite(widths[one])]
    return float(np.median(halves)) if halves else None
