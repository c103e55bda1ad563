"""How far two sets of feature vectors are apart, as pseudo-values: per pair of samples, with the statistic as their mean.

Sample i of either set is one unit: the answer to a question and the real image that was matched with it. The pseudo-values
are the statistic plus each unit's influence on it (the infinitesimal jackknife), so that their spread gives its interval.
"""

from __future__ import annotations

import torch
from torch import Tensor

_BLOCK = 1024
_TIE = 1e-6
"""Relative to a radius: who is that near to its rim is inside. A retrieved image is one of the real ones, and rounding must not decide."""


def moments(features: Tensor) -> tuple[Tensor, Tensor]:
    """Mean (D,) and unbiased covariance (D, D), float64.

    Examples:
        >>> mean, covariance = moments(torch.tensor([[0.0], [2.0]]))
        >>> mean.tolist(), covariance.tolist()
        ([1.0], [[2.0]])
    """
    values = features.double()
    mean = values.mean(0)
    centred = values - mean
    return mean, centred.T @ centred / max(len(values) - 1, 1)


def _root(matrix: Tensor, inverse: bool = False) -> Tensor:
    """Symmetric square root, or its pseudo-inverse."""
    values, vectors = torch.linalg.eigh(matrix)
    floor = values.max().clamp(min=0) * len(values) * torch.finfo(values.dtype).eps
    kept = values > floor
    roots = torch.where(kept, values.clamp(min=0).sqrt(), 0.0)
    if inverse:
        roots = torch.where(kept, 1 / roots.clamp(min=1e-300), 0.0)
    root: Tensor = (vectors * roots) @ vectors.T
    return root


def frechet_of_moments(mean: Tensor, covariance: Tensor, other_mean: Tensor, other_covariance: Tensor) -> float:
    """|m - m'|^2 + Tr(C + C' - 2 (C C')^(1/2)), the squared Frechet distance of two normals (Dowson & Landau 1982).

    Examples:
        >>> one = torch.eye(1, dtype=torch.float64)
        >>> frechet_of_moments(torch.zeros(1), one, torch.full((1,), 3.0), 4 * one)  # 3^2 + (1 - 2)^2
        10.0
    """
    root = _root(covariance)
    inner = torch.linalg.eigvalsh(root @ other_covariance @ root).clamp(min=0).sqrt().sum()
    gap = (mean - other_mean).square().sum()
    return float(gap + covariance.trace() + other_covariance.trace() - 2 * inner)


def frechet(answered: Tensor, real: Tensor) -> Tensor:
    """Squared Frechet distance (Heusel et al. 2017) with the influence of each pair.

    Args:
        answered: (N, D), N >= 2.
        real: (N, D), row i matched with row i of `answered`.

    Returns:
        (N,), float64; their mean is the distance.

    Examples:
        >>> real = torch.tensor([[0.0], [1.0], [2.0]])
        >>> round(float(frechet(real + 3, real).mean()), 6)
        9.0
    """
    (mean, covariance), (other_mean, other_covariance) = moments(answered), moments(real)
    value = frechet_of_moments(mean, covariance, other_mean, other_covariance)
    influence = _influence(answered, mean, covariance, other_mean, other_covariance)
    influence += _influence(real, other_mean, other_covariance, mean, covariance)
    return value + influence - influence.mean()


def frechet_against(answered: Tensor, mean: Tensor, covariance: Tensor) -> Tensor:
    """Squared Frechet distance to fixed moments, with the influence of each answer, (N,).

    Examples:
        >>> real = torch.tensor([[0.0], [1.0], [2.0]])
        >>> round(float(frechet_against(real + 3, *moments(real)).mean()), 6)
        9.0
    """
    own = moments(answered)
    influence = _influence(answered, *own, mean, covariance)
    return frechet_of_moments(*own, mean, covariance) + influence - influence.mean()


def _influence(features: Tensor, mean: Tensor, covariance: Tensor, other_mean: Tensor, other: Tensor) -> Tensor:
    """Derivative of the distance with respect to the weight of each row: 2 (m - m') (x - m) + (x - m)' G (x - m), where
    G = I - C'^(1/2) (C'^(1/2) C C'^(1/2))^(-1/2) C'^(1/2) is the derivative by the covariance C."""
    centred = features.double() - mean
    root = _root(other)
    slope = torch.eye(len(mean), dtype=torch.float64) - root @ _root(root @ covariance @ root, inverse=True) @ root
    return 2 * centred @ (mean - other_mean) + (centred @ slope * centred).sum(1)


def _kernel(first: Tensor, second: Tensor) -> Tensor:
    """(x . y / D + 1)^3, the kernel of KID."""
    inner = (first @ second.T).div_(first.shape[1]).add_(1)
    return inner * inner * inner


def _kernel_means(first: Tensor, second: Tensor, others: bool = False) -> tuple[Tensor, Tensor]:
    """Means of k(x_i, y_j) over j, and over i, (N,) and (M,); over j != i only, if only `others` count."""
    rows, columns = [], torch.zeros(len(second), dtype=first.dtype)
    for start in range(0, len(first), _BLOCK):
        block = first[start : start + _BLOCK]
        kernel = _kernel(block, second)
        if others:
            kernel.diagonal(start).zero_()
        rows.append(kernel.sum(1))
        columns += kernel.sum(0)
    return torch.cat(rows) / (len(second) - others), columns / (len(first) - others)


def kid(answered: Tensor, real: Tensor) -> Tensor:
    """Kernel distance: unbiased estimate of the squared MMD with the kernel (x . y / D + 1)^3 (Binkowski et al. 2018).

    The estimate over pairs of units (Gretton et al. 2012, equation 4), unbiased although the two images of a unit are matched.

    Args:
        answered: (N, D), N >= 2.
        real: (N, D), row i matched with row i of `answered`.

    Returns:
        (N,), float64; their mean is the distance, their spread that of the U-statistic's projection.

    Examples:
        >>> features = torch.randn(50, 4, generator=torch.Generator().manual_seed(0))
        >>> bool(kid(features, features).mean().abs() < 1e-12), bool(kid(features + 1, features).mean() > 1)
        (True, True)
    """
    x, y = answered.double(), real.double()
    # Each unit's mean kernel with all other units; the mean of these is the U-statistic, twice their deviation its projection.
    # A unit is no pair with itself in any of the four terms: its answer and its real image share attributes.
    across = _kernel_means(x, y, others=True)
    unit = _kernel_means(x, x, others=True)[0] + _kernel_means(y, y, others=True)[0] - across[0] - across[1]
    return unit.mean() + 2 * (unit - unit.mean())


def _radii(points: Tensor, k: int) -> Tensor:
    """Distance of each point to its k-th nearest other one, (N,)."""
    radii = []
    for block in points.split(_BLOCK):
        distances = torch.cdist(block, points, compute_mode="use_mm_for_euclid_dist")
        radii.append(distances.topk(k + 1, dim=1, largest=False).values[:, k])  # the nearest is the point itself
    return torch.cat(radii)


def prdc(answered: Tensor, real: Tensor, *, k: int = 5) -> dict[str, Tensor]:
    """Precision, recall (Kynkaanniemi et al. 2019), density and coverage (Naeem et al. 2020), per sample.

    Args:
        answered: (N, D), N > k.
        real: (M, D), M > k.
        k: which neighbour sets the radius.

    Returns:
        precision, density: (N,), per answer; recall, coverage: (M,), per real image; the means are the statistics.

    Examples:
        >>> real = torch.tensor([[0.0], [1.0], [2.0], [3.0]])
        >>> {name: float(value.mean()) for name, value in prdc(real[:3] + 50, real, k=1).items()}
        {'precision': 0.0, 'recall': 0.0, 'density': 0.0, 'coverage': 0.0}
    """
    x, y = answered.double(), real.double()
    real_radii, radii = (own * (1 + _TIE) for own in (_radii(y, k), _radii(x, k)))
    inside, covered = torch.zeros(len(x), dtype=torch.float64), torch.zeros(len(y), dtype=torch.bool)
    recalled = torch.zeros(len(y), dtype=torch.bool)
    for start in range(0, len(x), _BLOCK):
        rows = slice(start, start + _BLOCK)
        distances = torch.cdist(x[rows], y, compute_mode="use_mm_for_euclid_dist")
        within = distances <= real_radii
        inside[rows] = within.double().sum(1)
        covered |= within.any(0)
        recalled |= (distances <= radii[rows, None]).any(0)
    return {
        "precision": (inside > 0).double(),
        "recall": recalled.double(),
        "density": inside / k,
        "coverage": covered.double(),
    }
