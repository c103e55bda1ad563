"""Any order: what every method has to beat."""

from __future__ import annotations

import numpy as np

from counterbench.discovery.base import Ranked
from counterbench.plugins.registry import discoverers


@discoverers.register()
class Random(Ranked):
    """A random order, pruned like all others; half of the arrows point backwards."""

    def order(self, values: np.ndarray, generator: np.random.Generator) -> list[int]:
        return [int(column) for column in generator.permutation(values.shape[1])]
