"""By how well a variable follows from all others: a baseline that no change of units alters."""

from __future__ import annotations

import numpy as np

from counterbench.discovery.base import Ranked, standardised
from counterbench.plugins.registry import discoverers


@discoverers.register()
class R2Sort(Ranked):
    """Variables in the order of the share of variance that a linear regression on all others explains (Reisach et al. 2023)."""

    def order(self, values: np.ndarray, generator: np.random.Generator) -> list[int]:
        return [int(column) for column in explained(values).argsort(kind="stable")]


def explained(values: np.ndarray) -> np.ndarray:
    """R^2 of every variable given all others, (d,): 1 - 1 / (the inverse correlation matrix's diagonal).

    Args:
        values: (N, d).

    Examples:
        >>> rng = np.random.default_rng(0)
        >>> cause = rng.standard_normal(1000)
        >>> explained(np.stack([cause, cause + rng.standard_normal(1000)], 1)).round(1).tolist()
        [0.5, 0.5]
    """
    scaled = standardised(values)
    correlation = scaled.T @ scaled / len(scaled) + 1e-9 * np.eye(
        scaled.shape[1]
    )  # columns may follow from others exactly
    shares: np.ndarray = np.clip(1 - 1 / np.linalg.inv(correlation).diagonal(), 0, 1)
    return shares
