"""Whose image is it? The nearest neighbour among one image of everybody."""

from __future__ import annotations

import torch
from torch import Tensor

_BLOCK = 1000


def first_of_each(group: Tensor) -> Tensor:
    """(G,), the first row of every group, ascending.

    >>> first_of_each(torch.tensor([7, 7, 3, 7, 3])).tolist()
    [0, 2]
    """
    order = group.sort(stable=True)
    starts = torch.ones(len(group), dtype=torch.bool)
    starts[1:] = order.values[1:] != order.values[:-1]
    return order.indices[starts].sort().values


def recognised(
    vectors: Tensor, group: Tensor, gallery: Tensor, owner: Tensor, *, observed: Tensor | None = None
) -> Tensor:
    """Whether the nearest vector of a gallery belongs to the same individual.

    Args:
        vectors: (N, D), of unit length.
        group: (N,), whose they are.
        gallery: (M, D), of unit length, one of everybody.
        owner: (M,), whose those are.
        observed: (N, D), the image that each answer is about, which hangs in the gallery too; None for none.

    Returns:
        (N,), bool; someone as near as one's own does not count against it.

    >>> east, north = torch.eye(2)
    >>> recognised(torch.stack([east, east]), torch.tensor([4, 5]), torch.stack([east, north]), torch.tensor([4, 5])).tolist()
    [True, False]
    """
    found = []
    for rows in torch.arange(len(vectors)).split(_BLOCK):
        part = vectors[rows].double()
        near = part @ gallery.double().T
        own = torch.where(group[rows, None] == owner, near, -torch.inf).amax(1)
        if observed is not None:
            own = torch.maximum(own, (part * observed[rows].double()).sum(1))
        found.append(own >= near.amax(1) - 1e-6)
    return torch.cat(found) if found else torch.empty(0, dtype=torch.bool)
