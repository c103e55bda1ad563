"""Volumes of ADNI, skull-stripped and registered to MNI space, and the slices that are taken of them."""

from __future__ import annotations

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
    brain = volume[volume > 0]
    white = float(np.percentile(brain, 99.5)) if brain.size else 1.0
    picked = torch.from_numpy(volume[:, :, first : first + SLICES].copy()).permute(2, 1, 0) / white
    field = _field(picked, origin)
    shown, there = int((field > 0.05).sum()), int((picked > 0.05).sum())
    if not there or shown < (1 - _SPILL) * there:
        raise DataError(
            f"{path} has {shown} of {there} bright voxels in the {FIELD} x {FIELD} mm where MNI space has the brain; strip the skull, and "
            f"{_REGISTER}."
        )
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
    brain = volume[volume > 0]
    white = float(np.percentile(brain, 99.5)) if brain.size else 1.0
    edge = round(CUBE)
    first = [round(middle - CUBE / 2 - start) for middle, start in zip(CENTRE, origin[::-1], strict=True)]
    field, voxels = torch.zeros(edge, edge, edge), torch.from_numpy(volume.copy()).permute(2, 1, 0) / white
    inside = [slice(max(start, 0), max(start + edge, 0)) for start in first]
    part = voxels[inside[0], inside[1], inside[2]]
    to = [slice(max(-start, 0), max(-start, 0) + size) for start, size in zip(first, part.shape, strict=True)]
    field[to[0], to[1], to[2]] = part
    shown, there = int((field > 0.05).sum()), int((voxels > 0.05).sum())
    if not there or shown < (1 - _SPILL) * there:
        raise DataError(
            f"{path} has {shown} of {there} bright voxels in the {edge} mm where MNI space has the head; strip the skull, and {_REGISTER}."
        )
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


def _field(slices: Tensor, origin: np.ndarray) -> Tensor:
    """(Z, Y, X) cut, or padded with black, to the FIELD x FIELD mm from CORNER on."""
    field = torch.zeros(len(slices), FIELD, FIELD)
    first = [round(CORNER[axis] - origin[axis]) for axis in (1, 0)]
    inside = [slice(max(start, 0), max(start + FIELD, 0)) for start in first]
    part = slices[:, inside[0], inside[1]]
    before = [max(-start, 0) for start in first]
    field[:, before[0] : before[0] + part.shape[1], before[1] : before[1] + part.shape[2]] = part
    return field
