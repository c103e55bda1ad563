"""GES: the class of graphs with the best score, by adding and then removing arrows."""

from __future__ import annotations

import numpy as np

from counterbench.discovery.base import Discoverer, Found, standardised
from counterbench.discovery.libraries import contained, of_endpoints
from counterbench.plugins.registry import discoverers


@discoverers.register(extra="discovery")
class GES(Discoverer):
    """GES of causal-learn (Chickering 2002), with the BIC of linear Gaussian models."""

    def find(self, values: np.ndarray, generator: np.random.Generator, *, discrete: bool) -> Found:
        with contained():
            from causallearn.search.ScoreBased.GES import ges

            return of_endpoints(ges(standardised(values), "local_score_BIC")["G"].graph)
