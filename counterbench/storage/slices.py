"""Which slices of a volume are looked at, where something reads or draws pictures: chosen here and nowhere else.

The axes of a volume are depth (z, from low to high), height (y, the front at the top) and width (x).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

AXIAL, CORONAL, SAGITTAL = 2, 3, 4
"""The axis of (N, C, D, H, W) that runs across each kind of slice."""
PLANES = (AXIAL, CORONAL, SAGITTAL)
_BESIDE = 5  # slices on each side of the middle


def slice_of(volumes: Tensor, axis: int = AXIAL, *, index: int | None = None) -> Tensor:
    """One slice of every volume, upright: of an axial one the front is at the top, of the others what is high.

    Args:
        volumes: (N, C, D, H, W).
        axis: across the slice, one of :data:`PLANES`.
        index: from 0; None for the middle, side // 2.

    Returns:
        (N, C, H, W) of an axial slice, (N, C, D, W) of a coronal one, (N, C, D, H) of a sagittal one.

    Examples:
        >>> import torch
        >>> volumes = torch.arange(4.0)[:, None, None].expand(1, 1, 4, 6, 8)
        >>> float(slice_of(volumes).max()), slice_of(volumes, CORONAL)[0, 0, :, 0].tolist()
        (2.0, [3.0, 2.0, 1.0, 0.0])
    """
    plane = volumes.select(axis, volumes.shape[axis] // 2 if index is None else index)
    return plane if axis == AXIAL else plane.flip(2)


def picture_of(images: Tensor, *, index: int | None = None, montage: bool = False) -> Tensor:
    """What is drawn of images: (N, C, H, W) as they are; of volumes, (N, C, D, H, W), the central axial slice.

    Args:
        images: of any type, also differences.
        index: of the axial slice, from 0; None for the middle, D // 2.
        montage: instead, the three orthogonal central slices of volumes side by side, on a ground of zeros.

    Examples:
        >>> import torch
        >>> volumes = torch.zeros(1, 1, 4, 6, 8)
        >>> tuple(picture_of(volumes).shape), tuple(picture_of(volumes, montage=True).shape)
        ((1, 1, 6, 8), (1, 1, 6, 22))
    """
    if images.ndim != 5:
        return images
    return _montage(images, index) if montage else slice_of(images, index=index)


def _montage(volumes: Tensor, index: int | None) -> Tensor:
    planes = [slice_of(volumes, axis, index=index if axis == AXIAL else None) for axis in PLANES]
    tall, wide = max(plane.shape[2] for plane in planes), sum(plane.shape[3] for plane in planes)
    drawn, at = volumes.new_zeros(*volumes.shape[:2], tall, wide), 0
    for plane in planes:
        drawn[:, :, : plane.shape[2], at : at + plane.shape[3]] = plane
        at += plane.shape[3]
    return drawn


def spread_slices(depth: int) -> tuple[int, ...]:
    """Some axial slices from low to high, evenly spaced around the middle one, which is among them.

    Examples:
        >>> spread_slices(96), spread_slices(4)
        ((8, 16, 24, 32, 40, 48, 56, 64, 72, 80, 88), (0, 1, 2, 3))
    """
    step = max(1, depth // (2 * (_BESIDE + 1)))
    places = (depth // 2 + step * number for number in range(-_BESIDE, _BESIDE + 1))
    return tuple(place for place in places if 0 <= place < depth)


def over_planes(look: Callable[..., Tensor], *images: Tensor) -> Tensor:
    """What something that reads pictures says of images: of volumes, the mean over their three orthogonal central slices.

    Args:
        look: (N, C, H, W) each -> (N, ...).
        images: (N, C, H, W) or (N, C, D, H, W) each.

    Examples:
        >>> import torch
        >>> over_planes(lambda pictures: pictures.flatten(1).mean(1), torch.ones(2, 1, 4, 6, 8))
        tensor([1., 1.])
    """
    if images[0].ndim != 5:
        return look(*images)
    said = [look(*(slice_of(part, axis) for part in images)) for axis in PLANES]
    return (said[0] + said[1] + said[2]) / 3
