"""NOTEARS: a linear model by least squares under a smooth condition of acyclicity."""

from __future__ import annotations

import numpy as np

from counterbench.discovery.base import Discoverer, Found, standardised
from counterbench.discovery.libraries import contained
from counterbench.errors import ConfigError
from counterbench.plugins.registry import discoverers


@discoverers.register(extra="discovery")
class NoTears(Discoverer):
    """Linear NOTEARS of gcastle (Zheng et al., NeurIPS 2018), on standardised values: on raw ones it follows the units (Reisach et al. 2021).

    Args:
        penalty: of the absolute weights.
        threshold: below which a weight is none.
    """

    def __init__(self, *, penalty: float = 0.05, threshold: float = 0.2):
        self.penalty, self.threshold = penalty, threshold

    def find(self, values: np.ndarray, generator: np.random.Generator, *, discrete: bool) -> Found:
        if values.shape[1] < 3:
            raise ConfigError(
                "notears cannot direct a single pair: on standardised values both ways fit alike, and it finds neither."
            )
        with contained():
            from castle.algorithms import Notears

            model = Notears(lambda1=self.penalty, w_threshold=self.threshold)
            model.learn(standardised(values))
        directed = np.asarray(model.causal_matrix) != 0
        return Found(directed, np.zeros_like(directed))
