"""What a weighting is: it makes one number of the losses of a batch, and one of those of an epoch."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

SUBGROUP = "(subgroup)"
"""In a batch: the subgroup of each sample. No variable is called so."""


class Weighting(nn.Module, ABC):
    """Weights samples by their subgroup.

    A subclass registers with `@registry.weightings.register()`; its keyword arguments after `counts` are the options that a recipe may write. What it
    remembers lies in buffers, so that an interrupted training goes on with it.

    Args:
        counts: (G,), training samples of each subgroup; 0 for one that only held-out samples are in.
    """

    counts: Tensor

    def __init__(self, counts: Tensor):
        super().__init__()
        self.register_buffer("counts", counts.float())

    @abstractmethod
    def forward(self, losses: Tensor, subgroup: Tensor) -> Tensor:
        """The loss of a batch that is trained on, a scalar.

        Args:
            losses: (N,), of samples.
            subgroup: (N,), long.
        """

    def of_epoch(self, means: Tensor, counts: Tensor) -> Tensor:
        """The number by which epochs are compared, a scalar. Default: the mean over samples.

        Args:
            means: (G,), mean held-out loss of each subgroup; anything where there is none.
            counts: (G,), held-out samples of each.
        """
        return (means * counts).sum() / counts.sum()

    def shares(self) -> Tensor | None:
        """(G,), how much each subgroup counts at the end; None where that is as in the batches."""
        return None


def means_of(losses: Tensor, subgroup: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """(mean loss of each subgroup, 0 where it has no sample; samples of each), (G,) each.

    Args:
        losses: (N,).
        subgroup: (N,), long.
        count: how many subgroups there are.

    Examples:
        >>> means, counts = means_of(torch.tensor([1.0, 3.0, 5.0]), torch.tensor([0, 0, 2]), 3)
        >>> means.tolist(), counts.tolist()
        ([2.0, 0.0, 5.0], [2.0, 0.0, 1.0])
    """
    counts = torch.zeros(count, dtype=losses.dtype, device=losses.device).index_add(
        0, subgroup, torch.ones_like(losses)
    )
    sums = torch.zeros(count, dtype=losses.dtype, device=losses.device).index_add(0, subgroup, losses)
    return sums / counts.clamp(min=1), counts
