"""Is an image linked to an individual that was trained on? How alike images are, and how alike those of others are by chance."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from counterbench.audits.copies import tile_distance
from counterbench.runtime.blocks import at_once

PIXELS = "pixels"
"""Who links images by their nearest neighbours in pixels, not by a verifier of individuals."""
FALSE_POSITIVES = 0.05
"""Share of images of others that are linked by chance."""
_ROOM = 1 << 26

Score = Callable[[Tensor, Tensor], Tensor]
"""How alike images are, however they are shown, (N, ...), (M, ...) -> (N, M): the more, the larger."""


def pixel_score(images: Tensor, others: Tensor) -> Tensor:
    """Minus the largest distance of any tile, (N, M), in grey levels: 0 for equal images.

    Examples:
        >>> black, white = torch.zeros(1, 1, 4, 4), torch.full((1, 1, 4, 4), 255.0)
        >>> pixel_score(black, torch.cat([black, white])).tolist()
        [[-0.0, -255.0]]
    """
    return -tile_distance(images, others)


def best_match(
    score: Score, shown: Tensor, gallery: Tensor, *, group: Tensor | None = None, owner: Tensor | None = None
) -> Tensor:
    """The score of the most similar image of a gallery, (N,), float64; minus infinity where nobody is left in it.

    Args:
        score: how alike.
        shown: (N, ...).
        gallery: (M, ...).
        group: (N,), whose images of the gallery do not count; None to count all.
        owner: (M,), whose images the gallery's are.

    Examples:
        >>> score = lambda first, second: -(first[:, None] - second).abs()
        >>> shown, gallery = torch.tensor([0.0, 4.0]), torch.tensor([1.0, 9.0])
        >>> best_match(score, shown, gallery).tolist()
        [-1.0, -3.0]
        >>> best_match(score, shown, gallery, group=torch.tensor([7, 5]), owner=torch.tensor([7, 8])).tolist()
        [-9.0, -3.0]
    """
    best = torch.full((len(shown),), -torch.inf, dtype=torch.float64)
    size = at_once(max(len(shown), gallery[0].numel()) if len(gallery) else 1, max(len(gallery), 1), room=_ROOM)
    for start in range(0, len(gallery), size):
        near = score(shown, gallery[start : start + size]).double()
        if group is not None and owner is not None:
            near = near.masked_fill(group[:, None] == owner[start : start + size], -torch.inf)
        best = torch.maximum(best, near.amax(1))
    return best


@dataclass(frozen=True)
class Linker:
    """Who says whether an image is linked to a training image, calibrated on images of others.

    A threshold for single pairs would be reached by chance where the gallery is large; so it is one for the best match over the whole gallery.

    Args:
        score: how alike.
        others: (H,), best matches of real images whose individuals were not trained on.

    Examples:
        >>> linker = Linker(pixel_score, torch.arange(100.0, dtype=torch.float64))
        >>> round(linker.threshold(), 2), linker.rank(torch.tensor([0.0, 200.0])).tolist()
        (94.05, [0.005, 1.0])
    """

    score: Score
    others: Tensor

    def threshold(self, false_positives: float = FALSE_POSITIVES) -> float:
        """What more than this is counts as linked; this share of images of others does."""
        return float(self.others.quantile(1 - false_positives))

    def linked(self, best: Tensor, *, false_positives: float = FALSE_POSITIVES) -> Tensor:
        """Whether images are linked, (N,), by their best matches."""
        return best > self.threshold(false_positives)

    def rank(self, best: Tensor) -> Tensor:
        """How often images of others are less alike, (N,), float64; a tie counts half. Its mean is the area under the ROC curve."""
        ordered, best = self.others.sort().values, best.double()
        below, up_to = (torch.searchsorted(ordered, best, right=right) for right in (False, True))
        return (below + up_to).double() / (2 * len(ordered))

    def paired(self, shown: Tensor, others: Tensor) -> Tensor:
        """The scores of pairs, (N,), float64."""
        pairs = [self.score(one[None], other[None])[0] for one, other in zip(shown, others, strict=True)]
        return torch.cat(pairs).double() if pairs else torch.empty(0, dtype=torch.float64)
