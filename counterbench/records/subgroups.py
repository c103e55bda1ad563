"""The numbers of a record in subgroups of its test images: each, the worst one, and how far apart they are. Imports no torch."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from pydantic import Field

from counterbench.records.estimate import TARGETS, Direction, Estimate, Part, regret


class SubgroupEstimate(Estimate):
    """A number in one subgroup."""

    references: dict[str, float] = Field(description="the same number there of doing nothing and of the ceiling")


class PickedValue(Part):
    """The worst subgroup, or the gap between the best and the worst, with an interval that holds whichever subgroups these truly are."""

    value: float
    low: float
    high: float


class BySubgroup(Part):
    """One number in all subgroups; the row skill, where it names no metric."""

    metric: str = ""
    quantity: str = ""
    intervened: str = ""
    measured: str = ""
    cycles: int = 0
    space: str = ""
    direction: Direction
    values: list[SubgroupEstimate | None] = Field(
        description="in the order of the subgroups; null where nothing can be said"
    )
    why: dict[str, str] = Field(default_factory=dict, description="subgroup -> why nothing can be said of it")
    worst_name: str = Field("", description="the subgroup whose value is worst; empty where all are alike")
    worst: PickedValue | None = Field(
        None,
        description="value and 95 % interval of the worst subgroup; of numbers that are best in the middle, their distance from there; null where "
        "fewer than two subgroups have an interval",
    )
    best_name: str = Field("", description="the subgroup whose value is best; empty where all are alike")
    gap: PickedValue | None = Field(
        None, description="how much worse the worst subgroup is than the best, with its 95 % interval"
    )

    @property
    def key(self) -> tuple[str, str, str, str, int, str]:
        return (self.metric, self.quantity, self.intervened, self.measured, self.cycles, self.space)


class Subgroups(Part):
    """All numbers of a record, divided in one way."""

    by: str = Field(description="variables and roles, as in --by")
    names: list[str]
    images: list[int] = Field(description="test images in each subgroup")
    clusters: list[int] = Field(description="independent units in each")
    row_skill: BySubgroup | None
    numbers: list[BySubgroup]


def simultaneous(level: float, subgroups: int) -> float:
    """The level of each of several intervals that hold together at `level` (Bonferroni).

    >>> simultaneous(0.95, 5)
    0.99
    """
    return 1 - (1 - level) / subgroups


def extremes(
    direction: Direction, values: Sequence[float], low: Sequence[float], high: Sequence[float]
) -> tuple[int, PickedValue, int, PickedValue]:
    """(which is worst, its value, which is best, how far it is from the worst).

    The intervals hold for the worst and the best of the true values, whichever subgroups these are: where the intervals of all subgroups hold together, the
    worst true value lies between the worst of their good ends and the worst of their bad ends. So nobody need correct for having picked.

    Args:
        direction: what is better.
        values: (K,), of the subgroups.
        low, high: (K,), ends of intervals that hold together; see :func:`simultaneous`.

    >>> at, worst, _, gap = extremes("higher", [0.9, 0.5], [0.8, 0.3], [0.95, 0.7])
    >>> at, (worst.value, worst.low, worst.high), round(gap.high, 2)
    (1, (0.5, 0.3, 0.7), 0.65)
    """
    regrets = regret(np.asarray(values, dtype=float), direction)
    least, most = _regret_ends(direction, np.asarray(low, dtype=float), np.asarray(high, dtype=float))
    at, best = int(regrets.argmax()), int(regrets.argmin())
    ends = sorted(_back(direction, end) for end in (least.max(), most.max()))
    worst = PickedValue(value=_back(direction, regrets[at]), low=ends[0], high=ends[1])
    gap = PickedValue(
        value=float(regrets[at] - regrets[best]),
        low=float(max(0.0, least.max() - most.min())),
        high=float(most.max() - least.min()),
    )
    return at, worst, best, gap


def _regret_ends(direction: Direction, low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Ends of the intervals of how far the numbers are from the best."""
    if direction not in TARGETS:
        first, second = regret(low, direction), regret(high, direction)
        return np.minimum(first, second), np.maximum(first, second)
    target = TARGETS[direction]
    inside = (low <= target) & (target <= high)
    nearest = np.minimum(abs(low - target), abs(high - target))
    return np.where(inside, 0.0, nearest), np.maximum(abs(low - target), abs(high - target))


def _back(direction: Direction, value: float) -> float:
    """A regret as a number again; of numbers that are best in the middle it stays the distance from there."""
    return -float(value) if direction == "higher" else float(value)
