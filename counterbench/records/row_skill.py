"""The number that orders a board: how much nearer to the truth than doing nothing is, over all interventions. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from counterbench.records.intervals import Ratios

if TYPE_CHECKING:
    from counterbench.records.record import RowPart

TRUTH_SKILL, CHANGE_SKILL = ("truth", "truth_skill"), ("truth", "change_skill")
"""(metric, quantity) of the numbers behind it: is the answer right, and is the change right?"""
ESTIMATED_SKILL = ("estimate", "estimated_skill")
"""The same of what stands for truth skill where the truth is not known."""
LEAST_CHANGE = 1.0
"""Grey levels: where the truth itself (else pinned models) changes less on average, an intervention orders nothing."""
UNANSWERED = -1.0
"""What an intervention counts that a model does not answer: no answer is worse than any."""
MARGIN = 0.01
"""Row skills whose difference certainly lies within this are equal: 1 % of the way from doing nothing to the truth."""


def skill_key(part: RowPart) -> tuple[str, str, str, str, int, str]:
    """The number behind one intervention of a row skill."""
    return (*(TRUTH_SKILL if part.by == "truth" else ESTIMATED_SKILL), part.intervened, "", 0, "")


def bounded(ratio: np.ndarray) -> np.ndarray:
    """(E0 - E) / (E0 + E) from E / E0: 0 for doing nothing, 1 for the truth, never below -1, and no clipping, so that the order of bad
    answers stays.

    >>> bounded(np.array([0.0, 1.0, 3.0])).tolist()
    [1.0, 0.0, -0.5]
    """
    share: np.ndarray = (1 - ratio) / (1 + ratio)
    return share


@dataclass(frozen=True)
class RowSkill:
    """The mean over interventions of the bounded skill, as a statistic of clusters.

    Args:
        errors: E and E0 of each answered intervention, (G, K) each.
        unanswered: how many interventions have no answer; each counts -1.
    """

    errors: Ratios
    unanswered: int = 0

    def _count(self) -> int:
        return int(self.errors.numerator.shape[1]) + self.unanswered

    def point(self) -> np.ndarray:
        total = bounded(self.errors.point()).sum(keepdims=True) + UNANSWERED * self.unanswered
        mean: np.ndarray = total / self._count()
        return mean

    def influence(self) -> np.ndarray:
        return self._moved(self.errors.influence())

    def trainings(self) -> list[np.ndarray]:
        return [self._moved(block) for block in self.errors.trainings()]

    def _moved(self, influence: np.ndarray) -> np.ndarray:
        slopes = -2 / np.square(1 + self.errors.point())  # of the bounded skill by E / E0
        moved: np.ndarray = (slopes * influence).sum(1, keepdims=True) / self._count()
        return moved

    def effective(self) -> np.ndarray:
        fewest: np.ndarray = self.errors.effective().min(keepdims=True)
        return fewest
