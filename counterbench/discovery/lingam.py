"""LiNGAM: linear mechanisms whose noise is not Gaussian."""

from __future__ import annotations

import numpy as np

from counterbench.discovery.base import Discoverer, Found, standardised
from counterbench.discovery.libraries import contained
from counterbench.plugins.registry import discoverers


@discoverers.register(extra="discovery")
class LiNGAM(Discoverer):
    """DirectLiNGAM of causal-learn (Shimizu et al., JMLR 2011); its weights come from an adaptive lasso, so that most are 0."""

    def find(self, values: np.ndarray, generator: np.random.Generator, *, discrete: bool) -> Found:
        with contained():
            from causallearn.search.FCMBased import lingam

            model = lingam.DirectLiNGAM()
            model.fit(standardised(values))
        return Found.ordered(np.asarray(model.adjacency_matrix_).T != 0, model.causal_order_)
