"""Swellings and fractures of pen strokes, as in Morpho-MNIST (Castro et al., JMLR 2019), at a place and of a size that can be set.

A lesion changes a disk around one point of the stroke's middle line and nothing beyond it:

- a *swelling* magnifies the picture around that point: what lies at a distance r shows what lay at R (r / R)^2;
- a *fracture* takes away a band across the stroke, as wide as the size says.

Both are made on a grid four times as fine as the pixels. What the finer grid does to the rest of the disk is taken back, so that a
pixel differs only where the lesion has changed it, and all sums are done in double precision and rounded, so that the same inputs give
the same bytes on every machine.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from counterbench.processes.strokes import COARSE, SIZE, ridge, shape, upsample

KINDS = ("none", "swelling", "fracture")
SIDES = ("left", "right")
"""Of two strokes at one height, which one."""

_GRID = 4
"""Cells per pixel."""
_NEIGHBOURHOOD = 3.0
"""How far around a point the middle line says in which direction the stroke runs, in px."""
_SIDEWAYS = 0.2
"""How much a pixel to the side counts against a pixel of height, when the place of a lesion is looked for."""
_MARGIN = 1.5
"""How far a fracture reaches beyond the stroke, in px."""


def sites(outline: Tensor, height: Tensor, side: Tensor) -> tuple[Tensor, Tensor]:
    """Where on the stroke a lesion lies, and in which direction the stroke runs there.

    The same glyph has the same middle line however thick it is drawn, so the place does not move with the thickness.

    Args:
        outline: (N, 112, 112), the 4x upsampled glyphs.
        height: (N,), 0 at the top of the glyph and 1 at its bottom.
        side: (N,), number in :data:`SIDES`.

    Returns:
        (centre, direction): (N, 2) each, float64, x and y in pixels of the glyph, and a unit vector.
    """
    found = [
        _sites(ridge(shape(outline[rows], COARSE)), height[rows].double(), side[rows])
        for rows in torch.arange(len(outline)).split(64)
    ]
    centres, directions = (torch.cat(parts) for parts in zip(*found, strict=True))
    return centres, directions


def _sites(line: Tensor, height: Tensor, side: Tensor) -> tuple[Tensor, Tensor]:
    """The same of middle lines, (N, cells, cells) bool."""
    count, cells = len(line), line.shape[1]
    place = (torch.arange(cells, dtype=torch.float64) + 0.5) / COARSE
    rows = line.any(2)
    top = place[rows.int().argmax(1)]
    bottom = place[cells - 1 - rows.flip(1).int().argmax(1)]
    level = top + height * (bottom - top)
    sign = torch.where(side == SIDES.index("left"), 1.0, -1.0).double()
    away = (place[None, :, None] - level[:, None, None]).abs() + _SIDEWAYS * sign[:, None, None] * place[None, None, :]
    nearest = torch.where(line, away, torch.inf).flatten(1).argmin(1)
    centre = torch.stack([place[nearest % cells], place[nearest // cells]], 1)
    x, y = place[None, None, :] - centre[:, 0, None, None], place[None, :, None] - centre[:, 1, None, None]
    near = (line & (x.square() + y.square() <= _NEIGHBOURHOOD**2)).double()
    xx, yy, xy = ((near * product).sum((1, 2)) for product in (x * x, y * y, x * y))
    # The longer axis of the points of the line around here.
    angle = 0.5 * torch.atan2(2 * xy, xx - yy)
    direction = torch.stack([angle.cos(), angle.sin()], 1)
    return centre, direction.reshape(count, 2)


def reach(kind: Tensor, size: Tensor, thickness: Tensor) -> Tensor:
    """Radius of the disk that a lesion can change, (N,), in px; 0 where there is none."""
    swollen = thickness.double() / 2 + 1 + size.double()
    broken = torch.hypot(thickness.double() / 2 + _MARGIN, size.double() / 2)
    return torch.where(
        kind == KINDS.index("swelling"), swollen, torch.where(kind == KINDS.index("fracture"), broken, 0.0)
    )


def apply(
    images: Tensor, centre: Tensor, direction: Tensor, *, kind: Tensor, size: Tensor, thickness: Tensor
) -> Tensor:
    """Put lesions into drawn glyphs.

    Args:
        images: (N, 28, 28), uint8.
        centre, direction: (N, 2) each, from :func:`sites`.
        kind: (N,), number in :data:`KINDS`.
        size: (N,), in px: of a fracture its width, of a swelling how far it reaches beyond the stroke, less one.
        thickness: (N,), of the stroke, in px.

    Returns:
        (N, 28, 28), uint8; glyphs without a lesion stay as they are.
    """
    changed = images.clone()
    for rows in (kind != KINDS.index("none")).nonzero()[:, 0].split(256):
        changed[rows] = _changed(
            images[rows], centre[rows], direction[rows], kind=kind[rows], size=size[rows], thickness=thickness[rows]
        )
    return changed


def _changed(
    images: Tensor, centre: Tensor, direction: Tensor, *, kind: Tensor, size: Tensor, thickness: Tensor
) -> Tensor:
    fine = upsample(images, _GRID)
    place = (torch.arange(SIZE * _GRID, dtype=torch.float64) + 0.5) / _GRID
    x, y = place[None, None, :] - centre[:, 0, None, None], place[None, :, None] - centre[:, 1, None, None]
    radius = (x.square() + y.square()).sqrt()
    furthest = reach(kind, size, thickness)[:, None, None]
    swollen = _magnified(fine, centre, x, y, radius / furthest.clamp(min=1e-9))
    along = x * direction[:, 0, None, None] + y * direction[:, 1, None, None]
    # Half a cell of softness on both sides of the band.
    open_ = ((size.double()[:, None, None] / 2 - along.abs()) * _GRID + 0.5).clamp(0, 1)
    broken = fine * (1 - open_ * (radius <= furthest))
    swelling = (kind == KINDS.index("swelling"))[:, None, None]
    after = torch.where(swelling, swollen, broken)
    difference = functional.avg_pool2d((after - fine)[:, None], _GRID)[:, 0]
    return (images.double() + difference.round(decimals=6)).round_().clamp_(0, 255).to(torch.uint8)


def _magnified(fine: Tensor, centre: Tensor, x: Tensor, y: Tensor, share: Tensor) -> Tensor:
    """What lies within the disk (share < 1) shows what lay nearer to its centre, by the factor of its share of the radius."""
    factor = share.clamp(max=1.0)
    shown_x, shown_y = centre[:, 0, None, None] + x * factor, centre[:, 1, None, None] + y * factor
    grid = torch.stack([shown_x, shown_y], -1) * 2 / SIZE - 1
    sampled = functional.grid_sample(fine[:, None], grid, mode="bilinear", padding_mode="border", align_corners=False)
    return torch.where(share < 1, sampled[:, 0], fine)
