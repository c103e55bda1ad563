"""Stroke intensity, in closed form."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from counterbench.causal.variables import Variable
from counterbench.errors import ConfigError
from counterbench.judges.base import Judge
from counterbench.plugins.registry import judges

_BRIGHTEST = 6
"""Pixels whose excess over the next is cut off: a few bright specks are no stroke."""
_SOFT = 0.1
"""A pixel counts as above a level by how far it is above, within this share of the stroke's height."""
_CENTRE = (1.3, 0.75, 0.5, 0.85)
"""Where the shape of an ordinary stroke lies: the polynomial is written around it."""
TERMS = 15


def shape_of_profile(images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Background, height and shape of the strokes.

    A blurred stroke is lower and has softer flanks: how many pixels lie above a quarter, three quarters and nine tenths of its height,
    each relative to those above half of it, and the mean of the latter.

    Args:
        images: (N, *sides), grey levels.

    Returns:
        background (N,) and height (N,), in grey levels, and shape (N, 4), all float64.
    """
    flat = images.flatten(1).double()
    top = flat.topk(_BRIGHTEST, 1).values[:, -1:]
    background = flat.median(1, keepdim=True).values
    height = (top - background).clamp(min=1)
    level = (torch.minimum(flat, top) - background) / height

    def above(share: float) -> Tensor:
        return ((level - share) / _SOFT + 0.5).clamp(0, 1)

    half = above(0.5)
    area = half.sum(1).clamp(min=1)
    shape = [above(share).sum(1) / area for share in (0.25, 0.75, 0.9)] + [(half * level).sum(1) / area]
    return background[:, 0], height[:, 0], torch.stack(shape, 1)


def terms(shape: Tensor) -> Tensor:
    """The quadratic polynomial's terms in the shape of a profile: (N, 4) -> (N, 15)."""
    around = shape - torch.tensor(_CENTRE, dtype=shape.dtype, device=shape.device)
    first, second = torch.triu_indices(4, 4, device=shape.device)
    return torch.cat([torch.ones_like(around[:, :1]), around, around[:, first] * around[:, second]], 1)


@judges.register()
class Intensity(Judge):
    """Grey level of the stroke as it would be without blur: background + height times a polynomial in the shape of its profile.

    The definition of Pawlowski et al. (NeurIPS 2020), the median of the pixels at or above half of the range, measures sharpness as well:
    a blur of half a pixel lowers it by 15 grey levels.

    Args:
        variable: continuous, in grey levels.
        coefficients: of the 15 terms, fitted on sharp, blurred and noisy images of the judge split.
    """

    kinds = ("continuous",)

    def __init__(self, variable: Variable, coefficients: Sequence[float]):
        super().__init__(variable)
        if len(coefficients) != TERMS:
            raise ConfigError(f"intensity: {len(coefficients)} coefficients given; the polynomial has {TERMS} terms.")
        self.coefficients = tuple(coefficients)

    @property
    def fingerprint(self) -> str:
        return f"intensity v2 coefficients={self.coefficients}"

    def _measure(self, images: Tensor) -> Tensor:
        background, height, shape = shape_of_profile(images[:, 0])
        weights = torch.tensor(self.coefficients, dtype=torch.float64, device=images.device)
        return (background + height * (terms(shape) * weights).sum(1).clamp(0, 2)).clamp(0, 255)
