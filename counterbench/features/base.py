"""The base class of feature spaces: an image becomes a vector, and two images have a distance."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

import torch
from torch import Tensor

from counterbench.features.downloads import Needed
from counterbench.runtime.blocks import in_blocks


class FeatureSpace(ABC):
    """Image -> vector; each image's vector depends on that image alone."""

    title: ClassVar[str]
    vectors: ClassVar[bool] = True
    """Whether :meth:`extract` is there; a space may know distances only."""
    needs: ClassVar[tuple[Needed, ...]] = ()
    """Files that the user has to fetch once; see `counterbench doctor`."""

    @property
    @abstractmethod
    def fingerprint(self) -> str:
        """What decides its vectors, as text: the hash of its weights, or its formula."""

    def extract(self, images: Tensor) -> Tensor:
        """Vectors of a batch.

        Args:
            images: (N, C, H, W), of volumes (N, C, D, H, W), grey levels 0-255.

        Returns:
            (N, D), float32, on the CPU.
        """
        with torch.no_grad():
            return in_blocks(self._extract, images.to(torch.float32)).to("cpu", torch.float32)

    def distance(self, first: Tensor, second: Tensor) -> Tensor:
        """How far apart two batches of images are, pair by pair: (N,), float64. Default: 1 - cosine of their vectors."""
        return cosine_distance(self.extract(first), self.extract(second))

    def _extract(self, images: Tensor) -> Tensor:
        raise NotImplementedError(f"{type(self).__name__} knows distances only.")


def cosine_distance(first: Tensor, second: Tensor) -> Tensor:
    """1 - cosine of the angle between vectors, (N, D), (N, D) -> (N,), float64, 0 to 2.

    Two vectors that are both nil are 0 apart; one that is nil and one that is not, 1.
    """
    a, b = first.double(), second.double()
    lengths = a.norm(dim=1) * b.norm(dim=1)
    # Half the squared distance of the unit vectors: exactly 0 for equal vectors, unlike 1 - <a, b>.
    unit = [vector / vector.norm(dim=1, keepdim=True).clamp(min=1e-300) for vector in (a, b)]
    apart = 0.5 * (unit[0] - unit[1]).square().sum(1)
    nil = (a.norm(dim=1) == 0) & (b.norm(dim=1) == 0)
    return torch.where(lengths > 0, apart, torch.where(nil, 0.0, 1.0))


def as_rgb(images: Tensor) -> Tensor:
    """(N, C, H, W) -> (N, 3, H, W): grey is repeated, nothing is rescaled by what happens to be in the batch."""
    return images.expand(-1, 3, -1, -1) if images.shape[1] == 1 else images
