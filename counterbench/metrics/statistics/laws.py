"""How far two laws are apart that are known by samples of different individuals, as pseudo-values.

Individuals are divided at random into halves, by unit: what a model answers about one half is held against what is true of the other,
and the other way round. Who copies the truth of each individual is as far from that of the others as any fresh sample of the true law is.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from counterbench.metrics.statistics.distributions import frechet_apart

_BLOCK = 1024

Apart = Callable[[Tensor, Tensor, Tensor, Tensor], tuple[float, Tensor, Tensor]]
"""(samples (N, D), others (M, D), their units (N,) and (M,)) -> (distance, influence of each sample (N,) and other (M,))."""


def halves(unit: Tensor) -> Tensor:
    """Which half each sample is in: units are divided at random, once and for all.

    Args:
        unit: (N,), whole numbers.

    Returns:
        (N,), bool.

    Examples:
        >>> half = halves(torch.tensor([7, 7, 9, 9, 12, 12]))
        >>> bool(half[0] == half[1]), int(half.sum()) in (2, 4)
        (True, True)
    """
    _, codes = unit.unique(return_inverse=True)
    count = int(codes.max()) + 1
    second = torch.arange(count) % 2 == 1
    return second[torch.randperm(count, generator=torch.Generator().manual_seed(count))][codes]


def across(answered: Tensor, true: Tensor, unit: Tensor, apart: Apart) -> Tensor:
    """A distance between the law of answers and that of the truth of other individuals, both ways, as pseudo-values.

    Args:
        answered: (N, D).
        true: (N, D), row i about the same individual as row i of `answered`.
        unit: (N,), whole numbers: the independent unit of each row.
        apart: the distance.

    Returns:
        (N,), float64; their mean is the distance, their sums over units spread as it does. NaN if there are fewer than four units.

    Examples:
        >>> true = torch.randn(400, 2, generator=torch.Generator().manual_seed(0))
        >>> far, near = (float(across(x, true, torch.arange(400), energy_apart).mean()) for x in (true + 1, true))
        >>> far > 0.3, abs(near) < 0.05
        (True, True)
    """
    if len(unit.unique()) < 4:
        return torch.full((len(unit),), torch.nan, dtype=torch.float64)
    half, count = halves(unit), len(unit)
    value, spread = 0.0, torch.zeros(count, dtype=torch.float64)
    for own, other in ((half, ~half), (~half, half)):
        one, of_own, of_other = apart(answered[own], true[other], unit[own], unit[other])
        value += one / 2
        for rows, influence in ((own, of_own), (other, of_other)):
            # Weights within a half are shares of it, those of the whole are shares of all.
            spread[rows] += (influence - influence.mean()) * count / int(rows.sum()) / 2
    return value + spread - spread.mean()


def energy_apart(first: Tensor, second: Tensor, unit: Tensor, other_unit: Tensor) -> tuple[float, Tensor, Tensor]:
    """Energy distance 2 E|x - y| - E|x - x'| - E|y - y'| (Szekely and Rizzo 2013) over pairs of different units, unbiased.

    Args:
        first: (N, D).
        second: (M, D), of other units.
        unit: (N,), whole numbers.
        other_unit: (M,), whole numbers.

    Returns:
        (distance, influence of each row of `first`, influence of each row of `second`).

    Examples:
        >>> zero, units = torch.zeros(2, 1), torch.arange(2)
        >>> energy_apart(zero, zero + 3, units, units + 2)[0]
        6.0
    """
    between, across_rows, across_columns = _mean_distance(first, second, None, None)
    within, of_first, _ = _mean_distance(first, first, unit, unit)
    beyond, of_second, _ = _mean_distance(second, second, other_unit, other_unit)
    value = 2 * between - within - beyond
    return value, 2 * (across_rows - of_first), 2 * (across_columns - of_second)


def _mean_distance(
    first: Tensor, second: Tensor, unit: Tensor | None, other: Tensor | None
) -> tuple[float, Tensor, Tensor]:
    """Mean distance over pairs, of different units where these are given, and how much each row and column moves it."""
    x, y = first.double(), second.double()
    sums, pairs = torch.zeros(len(x), dtype=torch.float64), torch.zeros(len(x), dtype=torch.float64)
    below, counted = torch.zeros(len(y), dtype=torch.float64), torch.zeros(len(y), dtype=torch.float64)
    for start in range(0, len(x), _BLOCK):
        rows = slice(start, start + _BLOCK)
        distance = torch.cdist(x[rows], y, compute_mode="donot_use_mm_for_euclid_dist")
        apart = torch.ones_like(distance) if unit is None or other is None else (unit[rows, None] != other).double()
        distance *= apart
        sums[rows], pairs[rows] = distance.sum(1), apart.sum(1)
        below += distance.sum(0)
        counted += apart.sum(0)
    total = float(sums.sum() / pairs.sum())
    scale = float(pairs.sum())
    return total, len(x) * (sums - total * pairs) / scale, len(y) * (below - total * counted) / scale


def frechet_between(first: Tensor, second: Tensor, unit: Tensor, other_unit: Tensor) -> tuple[float, Tensor, Tensor]:
    """Squared Frechet distance of two sets of vectors; see :func:`energy_apart` for arguments and results.

    Examples:
        >>> real, units = torch.tensor([[0.0], [1.0], [2.0]]), torch.arange(3)
        >>> round(frechet_between(real + 3, real, units, units + 3)[0], 6)
        9.0
    """
    return frechet_apart(first, second)
