"""A verifier by metric learning: images of one individual are nearer to one another than to those of everybody else."""

from __future__ import annotations

from torch import Tensor

from counterbench.plugins.registry import recognisers
from counterbench.recognisers.verifier import Verifier


@recognisers.register()
class Contrastive(Verifier):
    """Two images by the cosine of their vectors (InfoNCE, van den Oord et al. 2018).

    Examples:
        >>> import torch
        >>> east, north = torch.eye(2)
        >>> Contrastive.score(torch.stack([east, north]), east[None]).tolist()
        [[1.0], [0.0]]
    """

    title = "verification by contrast"

    @staticmethod
    def score(first: Tensor, second: Tensor) -> Tensor:
        return first @ second.T
