"""The diagonal of the Hessian of the log density at every sample, by Stein's identity with a Gaussian kernel."""

from __future__ import annotations

import numpy as np
from scipy import linalg
from scipy.spatial.distance import pdist

_MOST = 1_000
"""Samples that the width of the kernel is chosen by."""


def stein_hessian(values: np.ndarray, *, ridge: float = 0.001) -> np.ndarray:
    """d^2 log p / d x_j^2 at every sample (Rolland et al. 2022, equations 9 and 10; Li and Turner 2018).

    Stein's identity E[h(x) grad log p(x) + grad h(x)] = 0, with h the kernel against every sample, is solved by ridge regression for the
    gradient; the one of second order for the Hessian's diagonal.

    Args:
        values: (N, d), standardised.
        ridge: added to the kernel matrix.

    Returns:
        (N, d).
    """
    some = values[:: max(1, len(values) // _MOST)]
    width = max(float(np.median(pdist(some))), 1e-12)
    squares = (values**2).sum(1)
    kernel = np.exp(-(squares[:, None] + squares[None] - 2 * values @ values.T).clip(min=0) / (2 * width**2))
    factor = linalg.cho_factor(kernel + ridge * np.eye(len(values)), lower=True)
    total = kernel.sum(1, keepdims=True)
    drawn = kernel @ values
    # Sums over k of the kernel's derivatives at (x_i, x_k) with respect to x_k, without an array of all differences.
    first = (values * total - drawn) / width**2
    second = (values**2 * total - 2 * values * drawn + kernel @ values**2) / width**4 - total / width**2
    gradient = -linalg.cho_solve(factor, first)
    curvature: np.ndarray = linalg.cho_solve(factor, second) - gradient**2
    return curvature


def bending(curvature: np.ndarray, *, relative: bool) -> np.ndarray:
    """How much the Hessian's diagonal varies over the samples, (d,): least along a leaf of an additive-noise model.

    An estimate of a large number varies more than one of a small number, and along a leaf the log density is flatter than elsewhere. So
    the variance alone finds leaves also where no density bends at all, as in linear Gaussian models; divided by the squared mean it
    does not.

    Args:
        curvature: (N, d).
        relative: whether it is divided by the squared mean.

    Examples:
        >>> bending(np.array([[-1.0, -10.0], [-3.0, -30.0]]), relative=True).tolist()
        [0.25, 0.25]
    """
    spread: np.ndarray = curvature.var(0)
    return spread / np.maximum(curvature.mean(0) ** 2, 1e-12) if relative else spread
