"""Pairing noise with data by optimal transport within a batch, without letting noise depend on the parents."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor


def coupled(
    value: Tensor, noise: Tensor, exact: Sequence[Tensor], near: Sequence[Tensor], *, weight: float = 100.0
) -> Tensor:
    """Which noise each value gets, (N,): a permutation with the least sum of squared distances.

    Noise i starts out with the parents of value i. It may go to values with equal parents only; continuous parents, which are never equal, add
    their squared distance (standardised over the batch) to the cost instead (Cheng & Schwing 2025, "The Curse of Conditions").

    Args:
        value: (N, ...).
        noise: (N, ...), of the same shape.
        exact: parents that must be equal, (N, size) each.
        near: parents that must be near, (N, size) each.
        weight: of the latter's squared distance.

    Examples:
        >>> value, noise = torch.tensor([[0.0], [1.0], [5.0]]), torch.tensor([[0.9], [0.1], [-3.0]])
        >>> coupled(value, noise, [torch.tensor([[0.0], [0.0], [1.0]])], []).tolist()
        [1, 0, 2]
    """
    cost = torch.cdist(value.flatten(1).double(), noise.flatten(1).double()).square()
    if near:
        parents = torch.cat([parent.flatten(1).double() for parent in near], 1)
        spread = parents.std(0, correction=0).clamp(min=1e-12)
        cost = cost + weight * torch.cdist(parents / spread, parents / spread).square()
    cells = torch.zeros(len(value), dtype=torch.long)
    if exact:
        together = torch.cat([parent.flatten(1) for parent in exact], 1)
        cells = together.unique(dim=0, return_inverse=True)[1].cpu()
    chosen = torch.arange(len(value))
    table = cost.cpu()
    for cell in cells.unique():
        rows = (cells == cell).nonzero()[:, 0]
        order = linear_sum_assignment(table[rows][:, rows].numpy())[1]
        chosen[rows] = rows[torch.from_numpy(order)]
    return chosen.to(value.device)
