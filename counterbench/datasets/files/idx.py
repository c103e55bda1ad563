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

LARGEST = 2**30
"""Bytes that are read at most; MNIST's largest file has 47 million."""


def read_idx(path: Path) -> Tensor:
    """Read an IDX file of unsigned bytes with one to three axes; never more of it than its header announces.

    Raises:
        DataError: if it is truncated, damaged, larger than :data:`LARGEST`, or something else.
    """
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as stream:
            head = stream.read(4)
            if head[:3] != b"\0\0\x08" or head[3:] not in (b"\1", b"\2", b"\3"):
                raise DataError(
                    f"{path} is not an IDX file of unsigned bytes (it must begin with 00 00 08 and 1 to 3 axes)."
                )
            sizes = stream.read(4 * head[3])
            shape = tuple(np.frombuffer(sizes, ">u4").tolist()) if len(sizes) == 4 * head[3] else (0,)
            announced = " x ".join(map(str, shape))
            if math.prod(shape) > LARGEST:
                raise DataError(
                    f"{path} announces {announced} bytes, more than {LARGEST}; it is damaged, fetch it again."
                )
            body = stream.read(math.prod(shape) + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path} cannot be read ({error}); it may be truncated, fetch it again.") from error
    if len(sizes) < 4 * head[3] or len(body) < math.prod(shape):
        raise DataError(f"{path} announces {announced} bytes but holds {len(body)}; it is truncated.")
    if len(body) > math.prod(shape):
        raise DataError(f"{path} announces {announced} bytes but holds more; it is damaged, fetch it again.")
    return torch.from_numpy(np.frombuffer(body, np.uint8).reshape(shape).copy())
