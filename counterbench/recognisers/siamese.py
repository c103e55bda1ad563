"""A verifier that looks at both images of a pair with one network, and at where its two answers differ."""

from __future__ import annotations

import torch
from torch import Tensor

from counterbench.plugins.registry import recognisers
from counterbench.recognisers.verifier import Verifier


@recognisers.register()
class Siamese(Verifier):
    """Two images by the mean absolute difference of their vectors, trained pair by pair (Packhäuser et al., Scientific Reports 2022).

    Examples:
        >>> east, north = torch.eye(2)
        >>> Siamese.score(torch.stack([east, north]), east[None]).tolist()
        [[-0.0], [-1.0]]
    """

    title = "verification by pairs"

    @staticmethod
    def vectors_of(outputs: Tensor) -> Tensor:
        return outputs

    @staticmethod
    def score(first: Tensor, second: Tensor) -> Tensor:
        return -torch.cdist(first, second, p=1) / first.shape[1]
