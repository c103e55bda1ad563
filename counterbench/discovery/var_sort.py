"""By variance: a baseline that reads the units."""

from __future__ import annotations

import numpy as np

from counterbench.discovery.base import Ranked
from counterbench.plugins.registry import discoverers


@discoverers.register()
class VarSort(Ranked):
    """Variables in the order of their variance, as they are measured: wins where noise adds up along the graph, by units alone (Reisach et al. 2021)."""

    def order(self, values: np.ndarray, generator: np.random.Generator) -> list[int]:
        return [int(column) for column in values.var(0).argsort(kind="stable")]
