"""How well a map of an image agrees with a region of it: area under the ROC curve, contrast, overlap, its brightest point."""

from __future__ import annotations

import torch
from torch import Tensor

THRESHOLDS = (0.1, 0.2, 0.3, 0.4, 0.5)
"""At which overlap is measured, of a map from 0 to 1 (Vilouras et al. 2024)."""
CONTRAST_LIMIT = 10.0
"""The most that a contrast-to-noise ratio counts, either way: a map of two levels has no noise."""


def auc(maps: Tensor, inside: Tensor) -> Tensor:
    """Probability that a pixel inside is above one outside, ties counting half: 0.5 for a constant map.

    Args:
        maps: (N, ...).
        inside: the same shape, bool.

    Returns:
        (N,), float64; NaN where nothing or everything is inside.

    Examples:
        >>> maps, inside = torch.tensor([[0.0, 1.0, 2.0, 2.0], [5.0, 5.0, 5.0, 5.0]]), torch.tensor([[False, False, True, False]] * 2)
        >>> [round(value, 4) for value in auc(maps, inside).tolist()]
        [0.8333, 0.5]
    """
    values, within = maps.double().flatten(1).contiguous(), inside.flatten(1)
    ordered = values.sort(1).values
    ranks = (torch.searchsorted(ordered, values) + torch.searchsorted(ordered, values, right=True) + 1) / 2
    inner, outer = within.sum(1).double(), (~within).sum(1).double()
    above = (ranks * within).sum(1) - inner * (inner + 1) / 2
    return torch.where((inner > 0) & (outer > 0), above / (inner * outer), torch.nan)


def contrast(maps: Tensor, inside: Tensor) -> Tensor:
    """Signed contrast-to-noise ratio, (mean inside - mean outside) / sqrt(variance inside + variance outside), at most 10 either way.

    An inverted map is below 0 (published code takes the absolute value, which rewards it); a constant map is 0.

    Args:
        maps: (N, ...).
        inside: the same shape, bool.

    Returns:
        (N,), float64; NaN where nothing or everything is inside.

    Examples:
        >>> maps, inside = torch.tensor([[0.0, 2.0, 4.0, 6.0]]), torch.tensor([[False, False, True, True]])
        >>> round(float(contrast(maps, inside)), 4)
        2.8284
    """
    values, within = maps.double().flatten(1), inside.flatten(1)
    mean_in, variance_in = _moments(values, within)
    mean_out, variance_out = _moments(values, ~within)
    difference, noise = mean_in - mean_out, (variance_in + variance_out).sqrt()
    ratio = difference / noise.clamp(min=1e-300)
    nothing = (difference == 0) | (values.amax(1) == values.amin(1))  # means of one number can differ by rounding
    return torch.where(nothing, 0.0, ratio.clamp(-CONTRAST_LIMIT, CONTRAST_LIMIT)).where(
        ~(mean_in + mean_out).isnan(), torch.nan
    )


def _moments(values: Tensor, where: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and variance over some positions of every row, NaN where there are none."""
    count = where.sum(1).double()
    count = torch.where(count > 0, count, torch.nan)
    mean = (values * where).sum(1) / count
    return mean, ((values - mean[:, None]).square() * where).sum(1) / count


def scaled(maps: Tensor) -> Tensor:
    """Every map from 0 to 1, float64; a constant map is 0 everywhere.

    Examples:
        >>> scaled(torch.tensor([[1.0, 3.0], [2.0, 2.0]])).tolist()
        [[0.0, 1.0], [0.0, 0.0]]
    """
    flat = maps.double().flatten(1)
    low, high = flat.amin(1, keepdim=True), flat.amax(1, keepdim=True)
    return ((flat - low) / (high - low).clamp(min=1e-300)).reshape(maps.shape)


def overlap(maps: Tensor, inside: Tensor) -> Tensor:
    """Intersection over union of the region and of where the map, from 0 to 1, is at least .1, .2, .3, .4 and .5; their mean.

    Args:
        maps: (N, ...).
        inside: the same shape, bool.

    Returns:
        (N,), float64; 0 for a constant map, NaN where nothing is inside.

    Examples:
        >>> maps, inside = torch.tensor([[0.0, 0.25, 0.9, 1.0]]), torch.tensor([[False, False, True, True]])
        >>> round(float(overlap(maps, inside)), 4)
        0.8667
    """
    values, within = scaled(maps).flatten(1), inside.flatten(1)
    shares = []
    for threshold in THRESHOLDS:
        marked = values >= threshold
        shares.append((marked & within).sum(1).double() / (marked | within).sum(1).clamp(min=1))
    return torch.where(within.any(1), torch.stack(shares).mean(0), torch.nan)


def pointing(maps: Tensor, inside: Tensor) -> Tensor:
    """Whether the highest point lies inside; where several are equally high, the share of them that does, and 0 for a constant map.

    Args:
        maps: (N, ...).
        inside: the same shape, bool.

    Returns:
        (N,), float64; NaN where nothing is inside.

    Examples:
        >>> maps, inside = torch.tensor([[0.0, 2.0, 2.0], [1.0, 1.0, 1.0]]), torch.tensor([[False, False, True]] * 2)
        >>> pointing(maps, inside).tolist()
        [0.5, 0.0]
    """
    values, within = maps.double().flatten(1), inside.flatten(1)
    highest = values == values.amax(1, keepdim=True)
    share = (highest & within).sum(1).double() / highest.sum(1)
    return torch.where(within.any(1), torch.where(highest.all(1), 0.0, share), torch.nan)


def dice(first: Tensor, second: Tensor, parts: int) -> Tensor:
    """Dice of every part of two segmentations: twice what they share, relative to what both hold.

    Args:
        first: (N, ...), numbers of parts.
        second: the same shape.
        parts: how many there are.

    Returns:
        (N, parts), float64; NaN where neither holds a part.

    Examples:
        >>> dice(torch.tensor([[0, 1, 1, 1]]), torch.tensor([[0, 0, 1, 1]]), 3).tolist()
        [[0.6666666666666666, 0.8, nan]]
    """
    a, b = first.flatten(1), second.flatten(1)
    found = []
    for part in range(parts):
        one, other = a == part, b == part
        both = (one.sum(1) + other.sum(1)).double()
        found.append(torch.where(both > 0, 2 * (one & other).sum(1) / both.clamp(min=1), torch.nan))
    return torch.stack(found, 1)
