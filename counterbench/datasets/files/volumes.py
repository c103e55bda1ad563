"""Volumes of ADNI, skull-stripped and registered to MNI space, and the slices that are taken of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from counterbench.errors import DataError
from counterbench.processes.phantom import SLICES
from counterbench.processes.template import CENTRE, CUBE

FIELD = 180
"""Side of the part of a slice that is kept, in voxels of 1 mm."""
CORNER = (-90, -107, 14)
"""The lowest voxel that is kept: millimetres to the right, to the front and up in MNI space."""
_LARGEST = 512  # voxels along an axis
_SPILL = 0.05  # share of the brain, in the slices that are kept, that may lie outside of the part that is kept
_REGISTER = "register it to MNI space, 1 mm (docs/adni.md)"


def slices(path: Path, side: int) -> Tensor:
    """Ten axial slices of a volume in MNI space, low to high: (10, 1, side, side), uint8.

    180 x 180 mm from :data:`CORNER` on, nose up, reduced with antialiasing; the brightest 0.5 % of the brain is white.

    Raises:
        DataError: for a volume that cannot be read or does not lie in MNI space.
    """
    volume, origin = _volume(path)
    first = round(CORNER[2] - origin[2])
    if first < 0 or first + SLICES > volume.shape[2]:
        raise DataError(
            f"{path} reaches from {origin[2]:g} to {origin[2] + volume.shape[2] - 1:g} mm in height, and the slices from {CORNER[2]} to "
            f"{CORNER[2] + SLICES - 1} mm are needed; {_REGISTER}."
        )
    picked = torch.from_numpy(volume[:, :, first : first + SLICES].copy()).permute(2, 1, 0) / _white(volume)
    corner = [0, *(round(CORNER[axis] - origin[axis]) for axis in (1, 0))]
    field = _cut(picked, corner, (SLICES, FIELD, FIELD))
    _require_inside(path, field, picked, f"{FIELD} x {FIELD} mm where MNI space has the brain")
    upright = field.flip(1)[:, None]
    small = functional.interpolate(upright, (side, side), mode="bilinear", antialias=True, align_corners=False)
    return (255 * small).round().clamp(0, 255).to(torch.uint8)


def head(path: Path, side: int) -> Tensor:
    """The whole head in a volume in MNI space: (1, 1, side, side, side), uint8, low to high, nose up, left is left of the subject.

    The 192 mm cube around the middle of the source `template`, averaged over cubes of voxels; the brightest 0.5 % of the brain is white.

    Args:
        path: of the volume.
        side: of the result, in voxels.

    Raises:
        DataError: for a volume that cannot be read or does not lie in MNI space.
    """
    volume, origin = _volume(path)
    voxels, edge = torch.from_numpy(volume.copy()).permute(2, 1, 0) / _white(volume), round(CUBE)
    corner = [round(middle - CUBE / 2 - start) for middle, start in zip(CENTRE, origin[::-1], strict=True)]
    field = _cut(voxels, corner, (edge, edge, edge))
    _require_inside(path, field, voxels, f"{edge} mm where MNI space has the head")
    small = functional.adaptive_avg_pool3d(field.flip(1)[None, None], side)
    return (255 * small).round().clamp(0, 255).to(torch.uint8)


def _volume(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """((X, Y, Z) voxels of 1 mm, to the right, to the front and up; where the first one lies, in mm)."""
    try:
        import nibabel
    except ImportError:
        raise DataError("Reading NIfTI needs nibabel: pip install 'counterbench[adni]'.") from None
    try:
        image: Any = nibabel.load(path)
        fits = len(image.shape) == 3 and max(image.shape) <= _LARGEST
        placed = bool(image.header["sform_code"] or image.header["qform_code"])
        image = nibabel.as_closest_canonical(image) if fits else image
        volume = np.asarray(image.dataobj, dtype=np.float32) if fits else np.empty(0, np.float32)
    except Exception as error:  # nibabel raises a dozen kinds for damaged files
        raise DataError(f"{path} is no volume that can be read ({error}); fetch or prepare it again.") from error
    if not fits or image.shape[2] < SLICES or not np.isfinite(volume).all():
        raise DataError(
            f"{path} is {image.shape}; expected three axes of at most {_LARGEST} voxels, at least {SLICES} slices, and finite voxels."
        )
    _require_axes(path, placed, image.affine[:3, :3])
    return volume, image.affine[:3, 3]


def _require_axes(path: Path, placed: bool, axes: np.ndarray) -> None:
    """Raise DataError unless a step from voxel to voxel is a millimetre along an axis of the space.

    Args:
        path: of the volume.
        placed: whether it says where it lies.
        axes: (3, 3), the steps as columns, in mm.
    """
    steps = np.sqrt((axes**2).sum(0))
    if np.abs(steps - 1).max() > 0.05:
        raise DataError(f"{path} has voxels of {' x '.join(f'{step:.2f}' for step in steps)} mm; {_REGISTER}.")
    if not placed:
        raise DataError(f"{path} does not say where it lies nor which side is left (no sform, no qform); {_REGISTER}.")
    if np.abs(axes - np.diag(np.diag(axes))).max() > 0.02:
        raise DataError(f"{path} lies oblique in space; {_REGISTER}.")


def _white(volume: np.ndarray) -> float:
    """What the brightest 0.5 % of the brain reach."""
    brain = volume[volume > 0]
    return float(np.percentile(brain, 99.5)) if brain.size else 1.0


def _cut(voxels: Tensor, first: Sequence[int], sides: Sequence[int]) -> Tensor:
    """The box of such sides from a voxel on, padded with black where it reaches beyond the volume; first voxels may be negative."""
    box = torch.zeros(*sides)
    inside = tuple(slice(max(start, 0), max(start + side, 0)) for start, side in zip(first, sides, strict=True))
    part = voxels[inside]
    before = [max(-start, 0) for start in first]
    box[tuple(slice(start, start + size) for start, size in zip(before, part.shape, strict=True))] = part
    return box


def _require_inside(path: Path, kept: Tensor, whole: Tensor, where: str) -> None:
    """Raise DataError unless nearly all bright voxels are among those that are kept."""
    shown, there = int((kept > 0.05).sum()), int((whole > 0.05).sum())
    if not there or shown < (1 - _SPILL) * there:
        raise DataError(
            f"{path} has {shown} of {there} bright voxels in the {where}; strip the skull, and {_REGISTER}."
        )
