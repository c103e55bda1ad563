"""Outlines of parts over pictures."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

COLOURS = ("#00000000", "#e6ab02", "#1b9e77", "#386cb0", "#d7301f", "#7570b3", "#e7298a", "#66a61e")
"""Of the parts, in their order; the background has none, and further ones begin again after it."""


def plane_of(maps: Tensor) -> Tensor:
    """(N, H, W): maps as they are, of volumes (N, D, H, W) the central axial slice.

    Examples:
        >>> tuple(plane_of(torch.zeros(2, 4, 6, 8)).shape)
        (2, 6, 8)
    """
    return maps[:, maps.shape[1] // 2] if maps.ndim == 4 else maps


def colour_of(part: int) -> str:
    """The colour of a part's contour.

    Examples:
        >>> colour_of(1) == colour_of(8)
        True
    """
    return COLOURS[0] if part == 0 else COLOURS[1 + (part - 1) % (len(COLOURS) - 1)]


def draw_contours(axis: Any, mask: Tensor, *, corner: tuple[float, float] | None = None) -> None:
    """The outlines of the parts of one image, exactly along the edges of its pixels.

    Args:
        axis: where it is drawn, over the image.
        mask: (H, W), numbers of parts.
        corner: left and upper end of the square of side 1 that the image is fitted into; None for pixels.
    """
    from matplotlib.collections import LineCollection

    high, wide = mask.shape
    scale = 1.0 if corner is None else 1.0 / max(high, wide)
    left, above = (-0.5, -0.5) if corner is None else corner
    if corner is not None:
        left, above = left + (1 - wide * scale) / 2, above + (1 - high * scale) / 2
    for part, lines in edges_of(mask).items():
        placed = [[(left + x * scale, above + y * scale) for x, y in line] for line in lines]
        axis.add_collection(LineCollection(placed, colors=colour_of(part), linewidths=0.8), autolim=False)


def edges_of(mask: Tensor) -> dict[int, list[list[tuple[int, int]]]]:
    """The outlines of the parts of one image along the edges of its pixels: part -> lines between two corners (x, y); none of the background.

    Args:
        mask: (H, W), numbers of parts.

    Examples:
        >>> edges_of(torch.tensor([[0, 2]]))
        {2: [[(1, 0), (2, 0)], [(1, 1), (2, 1)], [(1, 0), (1, 1)], [(2, 0), (2, 1)]]}
    """
    found = {}
    for part in mask.unique().tolist():
        if part == 0:
            continue
        inside = torch.nn.functional.pad((mask == part).int(), (1, 1, 1, 1))
        # An edge lies wherever one of two neighbours belongs to the part and the other does not.
        across = [[(x - 1, y), (x, y)] for y, x in (inside[1:, :] != inside[:-1, :]).nonzero().tolist()]
        down = [[(x, y - 1), (x, y)] for y, x in (inside[:, 1:] != inside[:, :-1]).nonzero().tolist()]
        found[int(part)] = across + down
    return found


def contours_svg(mask: Tensor) -> str:
    """:func:`edges_of` as an SVG picture of the size of the image, to be laid over it.

    Args:
        mask: (H, W), numbers of parts.
    """
    high, wide = mask.shape
    paths = []
    for part, lines in edges_of(mask).items():
        steps = "".join(f"M{x} {y}{'v' if x == to else 'h'}1" for (x, y), (to, _) in lines)
        paths.append(
            f'<path d="{steps}" fill="none" stroke="{colour_of(part)}" stroke-width="1.5" vector-effect="non-scaling-stroke"/>'
        )
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {wide} {high}" width="{wide}" height="{high}" preserveAspectRatio="none">'
    return head + "".join(paths) + "</svg>\n"
