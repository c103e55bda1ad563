"""Strokes on a pixel grid: measure and set the thickness and the grey level of a handwritten glyph.

The renderer follows the Morpho-MNIST recipe (Castro et al., *Morpho-MNIST*, JMLR 2019) with the intensity step of
Deep SCM (Pawlowski et al., NeurIPS 2020), batched and without a morphological thinning:

1. upsample the 28 x 28 glyph with cubic splines, smooth it, binarise at half its range;
2. mean thickness = twice the mean distance to the edge over the ridge of the distance map (the medial axis);
3. move the edge by half the wanted change of thickness, i.e. dilate or erode by a disk, through the distance map;
4. smooth, downsample, and scale so that the median of the bright half equals the wanted intensity.

Distances are square roots of whole numbers, sums and resampling are done in double precision, and every image is rounded
to whole grey levels, so the same inputs give the same bytes on every machine.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import cache

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

SIZE = 28
"""Side of a glyph in pixels."""
OUTLINE = 4 * SIZE
"""Side of the 4x upsampled glyph from which every finer grid is made."""
FINE = 8
"""Grid cells per pixel for rendering."""
COARSE = 4
"""Grid cells per pixel for measuring, which is done far more often than rendering."""
_MAX_HALF_WIDTH = 3.2  # pixels: no stroke of a 28-pixel glyph is wider than 6.4
_CHUNK = 16  # images at a time: their distance maps fit the processor's cache
_BLOCK = 512  # images held as fine grids at once: 25 MiB
_RIDGE_SLOPE = 0.72  # a distance map has slope 1 except on its ridge, where opposite edges meet


@cache
def _operators(cells: int) -> tuple[Tensor, Tensor]:
    """(refine, reduce): 4x outline -> smoothed fine grid, and fine grid -> pixels, each applied on both sides."""
    side = SIZE * cells
    identity = np.eye(OUTLINE)
    finer = identity if cells == 4 else ndimage.zoom(identity, (cells / 4, 1), order=1, mode="nearest", grid_mode=True)
    sigma = cells / 3  # the anti-aliasing width of a factor `cells` in pyramid resampling: 2 * factor / 6
    refine = ndimage.gaussian_filter1d(finer, sigma, axis=0, mode="reflect")
    blur = ndimage.gaussian_filter1d(np.eye(side), sigma, axis=0, mode="reflect")
    reduce = ndimage.zoom(blur, (1 / cells, 1), order=3, mode="mirror", grid_mode=True)
    return torch.from_numpy(refine), torch.from_numpy(reduce)


@cache
def _spline(size: int, factor: int) -> Tensor:
    matrix = ndimage.zoom(np.eye(size), (factor, 1), order=3, mode="mirror", grid_mode=True)
    return torch.from_numpy(matrix)


def upsample(images: Tensor, factor: int = 4) -> Tensor:
    """Cubic-spline upsampling, clipped to each image's own range.

    Args:
        images: (N, S, S), any real dtype.
        factor: whole number of output cells per input pixel.

    Returns:
        (N, S * factor, S * factor), float64.
    """
    source = images.to(torch.float64)
    matrix = _spline(source.shape[-1], factor).to(source.device)
    low, high = source.amin((1, 2), keepdim=True), source.amax((1, 2), keepdim=True)
    return torch.minimum(torch.maximum(matrix @ source @ matrix.T, low), high)


def shape(outline: Tensor, cells: int = FINE) -> Tensor:
    """The glyph as a set of grid cells: the smoothed outline, cut at half its range.

    Args:
        outline: (N, 112, 112), the 4x upsampled glyph.
        cells: grid cells per pixel, 4 or 8.

    Returns:
        (N, 28 * cells, 28 * cells), bool.
    """
    refine = _operators(cells)[0].to(outline.device)
    smooth = refine @ outline @ refine.T
    low, high = smooth.amin((1, 2), keepdim=True), smooth.amax((1, 2), keepdim=True)
    # Rounding keeps cells that tie with the threshold on the same side on every machine.
    return ((smooth - low) - 0.5 * (high - low)).round(decimals=9) >= 0


def distance(inside: Tensor, reach: int) -> Tensor:
    """Euclidean distance of every True cell to the nearest False cell, exact up to `reach` cells, 0 elsewhere.

    Separable lower envelope (Felzenszwalb & Huttenlocher, 2012) with a bounded window: whole numbers only, no loop over
    images or rows.

    Args:
        inside: (N, H, W), bool.
        reach: the largest distance of interest, in cells; larger ones saturate near it.

    Returns:
        (N, H, W), float32, in cells: square roots of whole numbers.
    """
    beyond = reach + 1
    along = torch.where(inside, beyond, 0).to(torch.int16)
    step = 1
    while step <= reach:  # distances along a row double their reach at each step
        wider = along.clone()
        wider[..., :-step] = torch.minimum(wider[..., :-step], along[..., step:] + step)
        wider[..., step:] = torch.minimum(wider[..., step:], along[..., :-step] + step)
        along, step = wider, 2 * step
    squared = along.clamp_(max=beyond).square_()
    best = squared.clone()
    for offset in range(1, reach + 1):
        if offset % 4 == 0 and offset * offset >= int(best.max()):
            break  # no row this far away can improve any cell
        lifted = squared + offset * offset
        torch.minimum(best[:, :-offset], lifted[:, offset:], out=best[:, :-offset])
        torch.minimum(best[:, offset:], lifted[:, :-offset], out=best[:, offset:])
    return best.to(torch.float32).sqrt_()


def _ridge(depth: Tensor) -> Tensor:
    """Where a distance map has no slope or hardly any: (N, H, W) -> (N, H - 2, W - 2), bool."""
    centre = depth[:, 1:-1, 1:-1]
    rise_y = depth[:, 2:, 1:-1] - depth[:, :-2, 1:-1]  # twice the slope
    rise_x = depth[:, 1:-1, 2:] - depth[:, 1:-1, :-2]
    flat = rise_y.square_().add_(rise_x.square_()) < (2 * _RIDGE_SLOPE) ** 2
    found = flat & (centre > 1)
    hairline = ~found.flatten(1).any(1)
    if hairline.any():  # no cell deeper than one: the ridge is the whole line
        found[hairline] = centre[hairline] > 0
    return found


def ridge(inside: Tensor, cells: int = COARSE) -> Tensor:
    """The middle line of glyphs: the ridge of their distance maps.

    Args:
        inside: (N, 28 * cells, 28 * cells), bool, from :func:`shape`.
        cells: grid cells per pixel.

    Returns:
        The same shape, bool; all False where the glyph is empty.
    """
    rows, columns = _around(inside, 1)
    found = torch.zeros_like(inside)
    depth = distance(inside[:, rows, columns], math.ceil(_MAX_HALF_WIDTH * cells))
    found[:, rows, columns][:, 1:-1, 1:-1] = _ridge(depth)
    return found


def mean_thickness(inside: Tensor, cells: int = FINE) -> Tensor:
    """Mean stroke thickness: twice the mean distance to the edge over the ridge of the distance map.

    Args:
        inside: (N, 28 * cells, 28 * cells), bool, from :func:`shape`.
        cells: grid cells per pixel.

    Returns:
        (N,), float64, in pixels; NaN where the glyph is empty.
    """
    rows, columns = _around(inside, 1)
    depth = distance(inside[:, rows, columns], math.ceil(_MAX_HALF_WIDTH * cells))
    on_ridge = _ridge(depth)
    total = (depth[:, 1:-1, 1:-1] * on_ridge).sum((1, 2), dtype=torch.float64)
    return 2 * total / on_ridge.sum((1, 2)) / cells


def _around(inside: Tensor, margin: int) -> tuple[slice, slice]:
    """Rows and columns that hold all True cells of all glyphs and a margin; at least three of each."""
    found = []
    for side in (2, 1):
        there = inside.any(0).any(side - 1).nonzero()[:, 0]
        first, last = (int(there[0]), int(there[-1])) if len(there) else (margin + 1, margin + 1)
        found.append(slice(max(0, first - margin), last + margin + 1))
    return found[0], found[1]


def move_edge(inside: Tensor, shift: Tensor, *, cells: int = FINE) -> Tensor:
    """Dilate (shift > 0) or erode (shift < 0) by a disk, antialiased, and downsample to pixels.

    Args:
        inside: (N, 28 * cells, 28 * cells), bool.
        shift: (N,), how far the edge moves outwards, in pixels.
        cells: grid cells per pixel.

    Returns:
        (N, 28, 28), float64, coverage in [0, 1].
    """
    grow = (shift >= 0)[:, None, None]
    advance = shift.abs().to(torch.float32)[:, None, None] * cells
    reach = max(2, math.ceil(float(advance.max()) + 2)) if len(shift) else 2
    rows, columns = _around(inside, reach + 1)  # nothing is drawn beyond
    inside = inside[:, rows, columns]
    moving = torch.where(grow, inside, ~inside)  # the side that advances; eroding a glyph dilates its background
    gap = distance(~moving, reach)
    covered = (advance - gap + 1).clamp(0, 1)  # the old edge lies half a cell before the first cell beyond it
    covered = torch.where(moving, 1.0, covered)
    covered = torch.where(grow, covered, 1 - covered).to(torch.float64)
    reduce = _operators(cells)[1].to(inside.device)
    return (reduce[:, rows] @ covered @ reduce[:, columns].T).clamp_(0, 1)


def median_intensity(images: Tensor) -> Tensor:
    """Intensity of a glyph: the median of the pixels at or above half of its range.

    Args:
        images: (N, H, W), any scale.

    Returns:
        (N,), the scale of the images.
    """
    flat = images.flatten(1)
    low, high = flat.amin(1, keepdim=True), flat.amax(1, keepdim=True)
    bright = flat >= low + 0.5 * (high - low)
    ordered = torch.where(bright, flat, torch.inf).sort(dim=1).values
    count = bright.sum(1)
    lower = ordered.gather(1, ((count - 1) // 2)[:, None])
    upper = ordered.gather(1, (count // 2)[:, None])
    return ((lower + upper) / 2)[:, 0]


def _chunks(count: int) -> Iterator[slice]:
    return (slice(start, min(start + _CHUNK, count)) for start in range(0, count, _CHUNK))


def render(outline: Tensor, thickness: Tensor, intensity: Tensor, *, drawn: Tensor | None = None) -> Tensor:
    """Draw glyphs with the wanted thickness and intensity.

    Args:
        outline: (N, 112, 112), the 4x upsampled glyphs.
        thickness: (N,), pixels.
        intensity: (N,), grey levels.
        drawn: (N,), the outlines' own thickness; NaN where it is not known yet, and then filled in, to save time later.

    Returns:
        (N, 28, 28), uint8.
    """
    if drawn is None:
        drawn = torch.full((len(outline),), torch.nan, dtype=torch.float64)
    blocks = (slice(start, start + _BLOCK) for start in range(0, len(outline), _BLOCK))
    images = [_render_block(outline[rows], thickness[rows], intensity[rows], drawn[rows]) for rows in blocks]
    return torch.cat(images) if images else torch.empty(0, SIZE, SIZE, dtype=torch.uint8)


def _render_block(outline: Tensor, thickness: Tensor, intensity: Tensor, drawn: Tensor) -> Tensor:
    glyphs = torch.cat([shape(outline[part]) for part in _chunks(len(outline))])
    unknown = drawn.isnan().nonzero()[:, 0]
    for part in _chunks(len(unknown)):
        drawn[unknown[part]] = mean_thickness(glyphs[unknown[part]])
    shifts = (thickness.to(torch.float64) - drawn) / 2
    # Similar shifts together: the window of the distance map is as wide as the widest of its chunk.
    order = shifts.abs().argsort(stable=True)
    images = torch.empty(len(outline), SIZE, SIZE, dtype=torch.uint8)
    for part in _chunks(len(outline)):
        rows = order[part]
        images[rows] = _set_intensity(move_edge(glyphs[rows], shifts[rows]), intensity[rows])
    return images


def _set_intensity(coverage: Tensor, intensity: Tensor) -> Tensor:
    levels = (255 * coverage).round(decimals=6).floor()
    scale = intensity.to(torch.float64) / median_intensity(levels).clamp(min=1)
    # Grey levels are cut, not rounded, as in the published images.
    return (levels * scale[:, None, None]).clamp(0, 255).round(decimals=6).floor().to(torch.uint8)


def measure_thickness(images: Tensor, cells: int = COARSE) -> Tensor:
    """Mean stroke thickness of grey images.

    Args:
        images: (N, 28, 28), any scale.
        cells: grid cells per pixel; finer is slower and a little more precise.

    Returns:
        (N,), float64, in pixels; 0 for an image without contrast, which has no stroke.
    """
    result = torch.empty(len(images), dtype=torch.float64, device=images.device)
    for part in _chunks(len(images)):
        chunk = images[part]
        measured = mean_thickness(shape(upsample(chunk), cells), cells)
        blank = chunk.amax((1, 2)) == chunk.amin((1, 2))
        result[part] = torch.where(blank, 0.0, measured)
    return result
