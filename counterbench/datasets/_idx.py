"""The IDX format of MNIST, gzipped or not."""

from __future__ import annotations

import gzip
import math
import zlib
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from counterbench.errors import DataError


def read_idx(path: Path) -> Tensor:
    """Read an IDX file of unsigned bytes.

    Raises:
        DataError: if it is truncated, damaged or something else.
    """
    try:
        raw = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path} cannot be read ({error}); it may be truncated, fetch it again.") from error
    if len(raw) < 4 or raw[:3] != b"\0\0\x08":
        raise DataError(f"{path} is not an IDX file of unsigned bytes (it must begin with 00 00 08).")
    axes = raw[3]
    shape = (
        tuple(int(size) for size in np.frombuffer(raw, ">i4", count=axes, offset=4)) if len(raw) >= 4 + 4 * axes else ()
    )
    body = len(raw) - 4 - 4 * axes
    if not shape or body != math.prod(shape):
        raise DataError(
            f"{path} announces {' x '.join(map(str, shape)) or 'nothing'} bytes but holds {max(body, 0)}; it is truncated."
        )
    return torch.from_numpy(np.frombuffer(raw, np.uint8, offset=4 + 4 * axes).reshape(shape).copy())
