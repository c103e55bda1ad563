"""Statistics of a binary judge over a whole set, per sample: pairs of numbers whose sums have the statistic as their ratio.

The denominators of balanced accuracy and of the area under a curve are what a sample weighs, so that their sum is the effective number
of samples: four times that of the rarer class where it is rare. The numerators are the statistic times that weight, plus the sample's
influence on it (the infinitesimal jackknife).
"""

from __future__ import annotations

import numpy as np
from scipy.stats import rankdata


def balanced_accuracy(target: np.ndarray, named: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(numerators, denominators), (N,) each, with the ratio (sensitivity + specificity) / 2; NaN if a class never occurs.

    Args:
        target: (N,), 0 or 1.
        named: (N,), 0 or 1, what the judge says.

    Examples:
        >>> numerator, weight = balanced_accuracy(np.array([1, 1, 1, 0]), np.array([1, 1, 1, 1]))
        >>> float(numerator.sum() / weight.sum()), weight.tolist()
        (0.5, [0.5, 0.5, 0.5, 1.5])
    """
    right, positive = (target == named).astype(float), target == 1
    if positive.all() or not positive.any():
        return _unknown(len(target))
    sensitivity, specificity = right[positive].mean(), right[~positive].mean()
    beyond = np.where(positive, right - sensitivity, right - specificity)
    return _weighted((sensitivity + specificity) / 2, beyond, positive)


def _unknown(count: int) -> tuple[np.ndarray, np.ndarray]:
    return np.full(count, np.nan), np.ones(count)


def _weighted(value: float, beyond: np.ndarray, positive: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A statistic that is the mean of one over each class: what samples add to it, and what they weigh.

    Args:
        value: the statistic.
        beyond: (N,), how far each sample's contribution is from the mean of its class.
        positive: (N,), which class.
    """
    share = positive.mean()
    weight = np.where(positive, 2 * (1 - share), 2 * share)
    # A class of share s counts half, so each of its samples counts 1 / (2 s): the weight over its mean, 4 s (1 - s).
    return value * weight + beyond * weight, weight


def auroc(target: np.ndarray, score: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(numerators, denominators), (N,) each, with the area under the receiver operating characteristic as their ratio, ties counting
    half (DeLong et al. 1988); NaN if a class never occurs.

    Args:
        target: (N,), 0 or 1.
        score: (N,), higher for 1.

    Examples:
        >>> numerator, weight = auroc(np.array([0, 0, 1, 1]), np.array([0.1, 0.4, 0.35, 0.8]))
        >>> float(numerator.sum() / weight.sum())
        0.75
    """
    positive = target == 1
    n1, n0 = int(positive.sum()), int((~positive).sum())
    if not n1 or not n0:
        return _unknown(len(target))
    whole = rankdata(score)
    placement = np.empty(len(score))
    # How many of the other class each sample beats (or, for the negatives, is beaten by), as a share.
    placement[positive] = (whole[positive] - rankdata(score[positive])) / n0
    placement[~positive] = 1 - (whole[~positive] - rankdata(score[~positive])) / n1
    area = placement[positive].mean()
    return _weighted(area, 2 * (placement - area), positive)


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
