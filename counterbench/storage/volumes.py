"""Volumes in files: NPZ, and NIfTI where nibabel is installed.

The axes of an array are (channels, depth, height, width): depth from low to high, height from front to back, width to the right. NIfTI
counts (to the right, to the front, up), in voxels whose size nobody knows here: 1 mm.
"""

from __future__ import annotations

import gzip
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy

from counterbench.errors import DataError
from counterbench.storage.files import atomic

NPZ, NIFTI = ".npz", (".nii", ".nii.gz")


def ending_of(path: Path) -> str:
    """The ending of a file's name in small letters, `.nii.gz` as one.

    Examples:
        >>> ending_of(Path("single.a.000001.NII.GZ")), ending_of(Path("single.a.000001.png"))
        ('.nii.gz', '.png')
    """
    name = path.name.lower()
    return NIFTI[1] if name.endswith(NIFTI[1]) else path.suffix.lower()


def name_of(path: Path) -> str:
    """A file's name without its ending.

    Examples:
        >>> name_of(Path("single.a.000001.nii.gz")), name_of(Path("single.a.000001.png"))
        ('single.a.000001', 'single.a.000001')
    """
    return path.name[: len(path.name) - len(ending_of(path))]


def write_volume(pixels: np.ndarray, path: Path) -> None:
    """Write a volume atomically, compressed unless it ends with `.nii`.

    Args:
        pixels: (C, D, H, W), numbers of any plain type.
        path: ends with `.npz`, `.nii` or `.nii.gz`.

    Raises:
        DataError: for NIfTI without nibabel.
    """
    with atomic(path) as temporary:
        if ending_of(path) == NPZ:
            with temporary.open("wb") as stream:
                np.savez_compressed(stream, image=pixels)
            return
        content = _nibabel().Nifti1Image(_to_nifti(pixels), np.eye(4)).to_bytes()
        temporary.write_bytes(gzip.compress(content, mtime=0) if ending_of(path) == NIFTI[1] else content)


def read_archive(path: Path, largest: int) -> np.ndarray:
    """The only array of an NPZ, as it is there.

    Args:
        path: of the file.
        largest: numbers that it may hold.

    Raises:
        ValueError: for another content, or more numbers: nothing is unpacked then.
    """
    with zipfile.ZipFile(path) as archive:
        names = [info.filename for info in archive.infolist()]
        if len(names) != 1 or not names[0].endswith(".npy"):
            raise ValueError(f"it holds {', '.join(names[:3]) or 'nothing'}; expected one array")
        with archive.open(names[0]) as stream:
            read_header = npy.read_array_header_1_0 if npy.read_magic(stream) == (1, 0) else npy.read_array_header_2_0
            shape, by_column, dtype = read_header(stream)
            if dtype.kind not in "fiu":
                raise ValueError("it holds no plain array of numbers")
            count = int(np.prod(shape, dtype=object))
            if count > largest:
                raise ValueError(f"its array is {' x '.join(map(str, shape))}, which is too large")
            numbers = np.frombuffer(stream.read(count * dtype.itemsize), dtype)
    return numbers.reshape(shape, order="F" if by_column else "C")


def read_nifti(path: Path, largest: int) -> np.ndarray:
    """A NIfTI file as (C, D, H, W), float32, however its axes lie.

    Args:
        path: of the file.
        largest: numbers that it may hold.

    Raises:
        DataError: without nibabel. ValueError: for other axes than three, or four of a volume in colours, and for more numbers.
    """
    nibabel = _nibabel()
    image: Any = nibabel.load(path)
    if len(image.shape) not in (3, 4) or np.prod(image.shape, dtype=object) > largest:
        raise ValueError(f"it is {' x '.join(map(str, image.shape))}, which is no volume that fits")
    numbers = np.asarray(nibabel.as_closest_canonical(image).dataobj, dtype=np.float32)
    return _from_nifti(numbers)


def _to_nifti(pixels: np.ndarray) -> np.ndarray:
    """(C, D, H, W) -> (W, H, D), or (W, H, D, C) of several channels, the front last."""
    turned = np.flip(pixels, 2).transpose(3, 2, 1, 0)
    return np.ascontiguousarray(turned[..., 0] if turned.shape[3] == 1 else turned)


def _from_nifti(numbers: np.ndarray) -> np.ndarray:
    """The way back."""
    turned = (numbers if numbers.ndim == 4 else numbers[..., None]).transpose(3, 2, 1, 0)
    return np.ascontiguousarray(np.flip(turned, 2))


def _nibabel() -> Any:
    try:
        import nibabel
    except ImportError:
        raise DataError("Volumes in NIfTI files need nibabel: pip install 'counterbench[adni]'.") from None
    return nibabel
