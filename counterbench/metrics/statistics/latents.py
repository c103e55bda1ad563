"""Latents of a representation: do they hold the attributes, do they hang on each other, and does their order hold?"""

from __future__ import annotations

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from scipy.stats import rankdata
from sklearn.linear_model import Ridge
from sklearn.model_selection import KFold, cross_val_predict
from torch import Tensor

from counterbench.discovery.base import standardised
from counterbench.discovery.pruning import prune
from counterbench.discovery.score import Score

_FOLDS = 5


def matched_correlation(latents: Tensor, attributes: Tensor) -> Tensor:
    """Mean correlation coefficient: each attribute is matched to one latent, so that the absolute correlations are largest together
    (Hyvarinen & Morioka, NeurIPS 2016).

    Args:
        latents: (N, d).
        attributes: (N, m).

    Returns:
        (N,), pseudo-values whose mean is the coefficient; an attribute without a latent left counts 0.

    Examples:
        >>> drawn = torch.randn(500, 3, generator=torch.Generator().manual_seed(0))
        >>> round(float(matched_correlation(-2 * drawn.flip(1), drawn).mean()), 3)
        1.0
    """
    first, second = _standard(latents.double().numpy()), _standard(attributes.double().numpy())
    rho = first.T @ second / len(first)
    total = np.zeros(len(first))
    for latent, attribute in zip(*linear_sum_assignment(-np.abs(rho)), strict=True):
        total += _correlation_parts(first[:, latent], second[:, attribute], rho[latent, attribute])
    return torch.from_numpy(total / second.shape[1])


def rank_dependence(latents: Tensor) -> Tensor:
    """Mean absolute rank correlation over all pairs of latents.

    Args:
        latents: (N, d).

    Returns:
        (N,), pseudo-values whose mean it is; ranks are taken as they are.

    Examples:
        >>> line = torch.linspace(0, 1, 100)
        >>> round(float(rank_dependence(torch.stack([line, line.exp(), -line], 1)).mean()), 3)
        1.0
    """
    ranks = _standard(rankdata(latents.double().numpy(), axis=0))
    count, width = ranks.shape
    rho = ranks.T @ ranks / count
    sign = np.sign(rho) - np.diag(np.sign(np.diag(rho)))
    size = np.abs(rho) * (sign != 0)
    # |rho| + sign (a b - rho (a^2 + b^2) / 2), summed over ordered pairs.
    parts = ((ranks @ sign) * ranks).sum(1) - (ranks**2) @ size.sum(1) + size.sum()
    return torch.from_numpy(parts / (width * (width - 1)))


def linear_errors(latents: Tensor, attribute: Tensor) -> tuple[Tensor, Tensor]:
    """Squared errors of a linear reader that has not seen the sample, and of the mean alone; 1 - their ratio is a linear R^2.

    Args:
        latents: (N, d).
        attribute: (N,).

    Returns:
        (errors, errors of the mean), (N,) each.

    Examples:
        >>> drawn = torch.randn(200, 2, generator=torch.Generator().manual_seed(0))
        >>> error, blind = linear_errors(drawn, 3 * drawn[:, 0] - drawn[:, 1])
        >>> bool(error.sum() < 1e-3 * blind.sum())
        True
    """
    read, told = _standard(latents.double().numpy()), attribute.double().numpy()
    folds = KFold(_FOLDS, shuffle=True, random_state=0)
    guessed = cross_val_predict(Ridge(1e-3), read, told, cv=folds)
    blind = cross_val_predict(Ridge(1e-3), np.zeros((len(told), 1)), told, cv=folds)
    return torch.from_numpy((guessed - told) ** 2), torch.from_numpy((blind - told) ** 2)


def order_divergence(latents: Tensor) -> float:
    """Share of the arrows found among latents that point from a later one to an earlier one; 0 where none is found.

    Args:
        latents: (N, d), in the order that they are said to follow.

    Returns:
        A share, 0 to 1: the arrows are those of the method `score`, pruned.

    Examples:
        >>> noise = torch.randn(400, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        >>> chain = torch.stack([noise[:, 0], torch.sin(2 * noise[:, 0]) + 0.4 * noise[:, 1]], 1)
        >>> order_divergence(chain), order_divergence(chain.flip(1))
        (0.0, 1.0)
    """
    values = standardised(latents.double().numpy())
    arrows = prune(values, Score().order(values, np.random.default_rng(0)), alpha=0.001)
    return float(np.tril(arrows, -1).sum() / arrows.sum()) if arrows.any() else 0.0


def _standard(values: np.ndarray) -> np.ndarray:
    """Mean 0, standard deviation 1; a constant column is 0."""
    centred: np.ndarray = values - values.mean(0)
    scale = centred.std(0)
    return centred / np.where(scale > 0, scale, 1.0)


def _correlation_parts(first: np.ndarray, second: np.ndarray, rho: float) -> np.ndarray:
    """|rho| and its linear approximation: pseudo-values of an absolute correlation of standardised columns, (N,)."""
    parts: np.ndarray = abs(rho) + np.sign(rho) * (first * second - rho * (first**2 + second**2) / 2)
    return parts
