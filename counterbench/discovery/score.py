"""Leaves by the variance of the Hessian's diagonal, with a kernel estimate (SCORE)."""

from __future__ import annotations

import numpy as np

from counterbench.discovery.base import Ordering, standardised
from counterbench.discovery.hessian import bending, stein_hessian
from counterbench.plugins.registry import discoverers


@discoverers.register()
class Score(Ordering):
    """In an additive-noise model the log density bends equally everywhere along a leaf, and along nothing else: SCORE (Rolland et al., ICML 2022).

    Args:
        alpha: significance level of the pruning; 1 keeps every arrow along the order.
        ridge: of the kernel regression.
        relative: whether the variance is divided by the squared mean; False for the published criterion.
    """

    def __init__(self, *, alpha: float = 0.001, ridge: float = 0.001, relative: bool = True):
        super().__init__(alpha=alpha)
        if ridge <= 0:
            raise ValueError("ridge is above 0")
        self.ridge, self.relative = ridge, relative

    def order(self, values: np.ndarray, generator: np.random.Generator) -> list[int]:
        left = list(range(values.shape[1]))
        leaves: list[int] = []
        scaled = standardised(values)
        while len(left) > 1:
            curvature = stein_hessian(scaled[:, left], ridge=self.ridge)
            leaves.append(left.pop(int(bending(curvature, relative=self.relative).argmin())))
        return [*left, *reversed(leaves)]
