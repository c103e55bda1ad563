"""How far two sets of feature vectors are apart, as pseudo-values: per pair of samples, with the statistic as their mean.

Sample i of either set is one unit: the answer to a question and the real image that was matched with it. The pseudo-values
are the statistic plus each unit's influence on it (the infinitesimal jackknife), so that their spread gives its interval.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

_BLOCK = 512
_MEDIAN = 500
"""Real vectors between which the width of a Gaussian kernel is taken."""


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
    value, of_answers, of_real = frechet_apart(answered, real)
    influence = of_answers + of_real
    return value + influence - influence.mean()


def frechet_apart(first: Tensor, second: Tensor) -> tuple[float, Tensor, Tensor]:
    """Squared Frechet distance of two sets that need not be of one size, with the influence of each row.

    Args:
        first: (N, D), N >= 2.
        second: (M, D), M >= 2.

    Returns:
        (distance, (N,), (M,)).

    Examples:
        >>> real = torch.tensor([[0.0], [1.0], [2.0]])
        >>> round(frechet_apart(real + 3, real[[0, 0, 1, 1, 2, 2]])[0], 3) > 9
        True
    """
    (mean, covariance), (other_mean, other_covariance) = moments(first), moments(second)
    value = frechet_of_moments(mean, covariance, other_mean, other_covariance)
    return (
        value,
        _influence(first, mean, covariance, other_mean, other_covariance),
        _influence(second, other_mean, other_covariance, mean, covariance),
    )


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


def kid(answered: Tensor, real: Tensor, *, unit: Tensor | None = None, real_unit: Tensor | None = None) -> Tensor:
    """Kernel distance: unbiased estimate of the squared MMD with the kernel (x . y / D + 1)^3 (Binkowski et al. 2018).

    See :func:`squared_mmd`.

    Returns:
        (N,), float64; their mean is the distance.

    Examples:
        >>> features = torch.randn(50, 4, generator=torch.Generator().manual_seed(0))
        >>> bool(kid(features, features).mean().abs() < 1e-12), bool(kid(features + 1, features).mean() > 1)
        (True, True)
    """
    return squared_mmd(answered, real, "cubic", unit=unit, real_unit=real_unit)


def squared_mmd(
    answered: Tensor, real: Tensor, kernel: str, *, unit: Tensor | None = None, real_unit: Tensor | None = None
) -> Tensor:
    """Unbiased estimate of the squared maximum mean discrepancy of two sets with a kernel.

    The estimate over pairs of questions (Gretton et al. 2012, equation 4), unbiased although the two images of a question are matched.
    Pairs of questions that share a unit, be it of the answers or of the real images, are left out of all four terms: images of one
    individual are alike, and would make any two sets look different.

    Args:
        answered: (N, D), N >= 2.
        real: (N, D), row i matched with row i of `answered`.
        kernel: `cubic`, (x . y / D + 1)^3; `linear`, x . y / D, which compares means alone; `gaussian`, exp(-|x - y|^2 / 2 h^2), h the
            median distance between the first 500 real vectors.
        unit: (N,), whole numbers: the independent unit that each answer is about; None where each has its own.
        real_unit: (N,), that of each real image, numbered as in `unit`; None where each has its own.

    Returns:
        (N,), float64; their mean is the distance, their spread that of the U-statistic's projection. NaN if all share one unit.

    Examples:
        >>> features = torch.randn(50, 4, generator=torch.Generator().manual_seed(0))
        >>> round(float(squared_mmd(features + 1, features, "linear").mean()), 6)  # the squared distance of the means, per number
        1.0
    """
    (x, y), of = _prepared(answered, real, kernel)
    unit, real_unit = _units(unit, real_unit, len(x))
    sums, pairs = torch.zeros(2, len(x), dtype=torch.float64).unbind(0)
    starts = range(0, len(x), _BLOCK)
    for first, second in ((slice(i, i + _BLOCK), slice(j, j + _BLOCK)) for i in starts for j in starts if j >= i):
        gap = of(x[first], x[second]).add_(of(y[first], y[second]))
        gap.sub_(of(x[first], y[second])).sub_(of(y[first], x[second]))
        apart = _apart(unit[first], real_unit[first], unit[second], real_unit[second])
        gap.mul_(apart)
        sums[first] += gap.sum(1)
        pairs[first] += apart.sum(1)
        if second != first:
            sums[second] += gap.sum(0)
            pairs[second] += apart.sum(0)
    value = sums.sum() / pairs.sum()
    influence = 2 * len(x) * (sums - value * pairs) / pairs.sum()
    return value + influence - influence.mean()


_Kernel = Callable[[Tensor, Tensor], Tensor]


def _prepared(answered: Tensor, real: Tensor, kernel: str) -> tuple[tuple[Tensor, Tensor], _Kernel]:
    """Vectors as the function of two blocks of them wants it, and that function."""
    if kernel == "cubic":
        return (_with_one(answered), _with_one(real)), _kernel
    size = answered.shape[1] ** 0.5
    x, y = answered.double() / size, real.double() / size
    if kernel == "linear":
        return (x, y), lambda first, second: first @ second.T
    some = torch.pdist(y[:_MEDIAN])
    width = some[some > 0].quantile(0.5) if bool((some > 0).any()) else some.new_ones(())
    return (x / width, y / width), _gaussian


def _gaussian(first: Tensor, second: Tensor) -> Tensor:
    """exp(-|x - y|^2 / 2)."""
    apart = torch.cdist(first, second, compute_mode="donot_use_mm_for_euclid_dist")
    return apart.square_().div_(-2).exp_()


def _with_one(features: Tensor) -> Tensor:
    """(N, D + 1), so that the inner product of two rows is x . y / D + 1."""
    values = features.double() / features.shape[1] ** 0.5
    return torch.cat([values, torch.ones_like(values[:, :1])], 1)


def _kernel(first: Tensor, second: Tensor) -> Tensor:
    """(x . y / D + 1)^3, the kernel of KID, of vectors by :func:`_with_one`."""
    inner = first @ second.T
    return inner.square().mul_(inner)


def _units(unit: Tensor | None, real_unit: Tensor | None, count: int) -> tuple[Tensor, Tensor]:
    """Units of answers and of real images; those that nobody named have numbers below all others."""
    named = [part for part in (unit, real_unit) if part is not None]
    own = min([0, *(int(part.min()) for part in named)]) - 1 - torch.arange(2 * count)
    return own[:count] if unit is None else unit, own[count:] if real_unit is None else real_unit


def _apart(unit: Tensor, real_unit: Tensor, other: Tensor, other_real: Tensor) -> Tensor:
    """(N, M): whether two questions share no unit."""
    apart = unit[:, None] != other
    for own, foreign in ((unit, other_real), (real_unit, other), (real_unit, other_real)):
        apart &= own[:, None] != foreign
    return apart
