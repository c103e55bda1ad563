"""PC: pairs that no condition separates, and the ways that colliders give away."""

from __future__ import annotations

import numpy as np

from counterbench.discovery.base import Discoverer, Found, standardised
from counterbench.discovery.libraries import contained, of_endpoints
from counterbench.discovery.table import CLASSES, CONTINUOUS
from counterbench.plugins.registry import discoverers


@discoverers.register(extra="discovery")
class PC(Discoverer):
    """PC of causal-learn (Spirtes, Glymour, Scheines 2000): Fisher's z of partial correlations, or G^2 where all variables are classes.

    Args:
        alpha: significance level of every test.
    """

    reads = CONTINUOUS | CLASSES
    mixes = False

    def __init__(self, *, alpha: float = 0.01):
        self.alpha = alpha

    def find(self, values: np.ndarray, generator: np.random.Generator, *, discrete: bool) -> Found:
        with contained():
            from causallearn.search.ConstraintBased.PC import pc

            data, test = (values, "gsq") if discrete else (standardised(values), "fisherz")
            return of_endpoints(pc(data, self.alpha, test, show_progress=False).G.graph)
