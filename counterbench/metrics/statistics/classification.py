"""Statistics of a binary judge over a whole set, as pseudo-values: per sample, with the statistic as their mean."""

from __future__ import annotations

import numpy as np
from scipy.stats import rankdata


def balanced_accuracy(target: np.ndarray, named: np.ndarray) -> np.ndarray:
    """(N,), mean = (sensitivity + specificity) / 2; NaN if a class never occurs.

    Args:
        target: (N,), 0 or 1.
        named: (N,), 0 or 1, what the judge says.

    Examples:
        >>> float(balanced_accuracy(np.array([1, 1, 1, 0]), np.array([1, 1, 1, 1])).mean())
        0.5
    """
    right, positive = (target == named).astype(float), target == 1
    if positive.all() or not positive.any():
        return np.full(len(target), np.nan)
    share = positive.mean()
    rates = right[positive].mean(), right[~positive].mean()
    influence = np.where(positive, (right - rates[0]) / (2 * share), (right - rates[1]) / (2 * (1 - share)))
    return np.asarray((rates[0] + rates[1]) / 2 + influence)


def auroc(target: np.ndarray, score: np.ndarray) -> np.ndarray:
    """(N,), mean = area under the receiver operating characteristic, ties counting half (DeLong et al. 1988).

    Args:
        target: (N,), 0 or 1.
        score: (N,), higher for 1.

    Examples:
        >>> float(auroc(np.array([0, 0, 1, 1]), np.array([0.1, 0.4, 0.35, 0.8])).mean())
        0.75
    """
    positive = target == 1
    n1, n0 = int(positive.sum()), int((~positive).sum())
    if not n1 or not n0:
        return np.full(len(target), np.nan)
    whole = rankdata(score)
    placement = np.empty(len(score))
    # How many of the other class each sample beats (or, for the negatives, is beaten by), as a share.
    placement[positive] = (whole[positive] - rankdata(score[positive])) / n0
    placement[~positive] = 1 - (whole[~positive] - rankdata(score[~positive])) / n1
    area = placement[positive].mean()
    share = n1 / len(target)
    influence = np.where(positive, (placement - area) / share, (placement - area) / (1 - share))
    return np.asarray(area + influence)


def f1_parts(target: np.ndarray, named: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(numerators, denominators), each (N,), whose sums have the ratio F1 = 2 TP / (2 TP + FP + FN).

    Examples:
        >>> numerator, denominator = f1_parts(np.array([1, 1, 0, 0]), np.array([1, 0, 1, 0]))
        >>> float(numerator.sum() / denominator.sum())
        0.5
    """
    hit = ((target == 1) & (named == 1)).astype(float)
    miss = (target != named).astype(float)
    return 2 * hit, 2 * hit + miss
