"""Files of pictures, decoded several at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from counterbench.runtime.progress import bar

_BLOCK = 512


def decoded(files: Sequence[Path], read: Callable[[Path], np.ndarray], shape: Sequence[int], title: str) -> Tensor:
    """(N, C, *spatial), uint8, in the order of the files.

    Args:
        files: one per sample.
        read: the pixels of a file, (C, *spatial).
        shape: (C, *spatial).
        title: of the progress bar.
    """
    images = torch.empty((len(files), *shape), dtype=torch.uint8)
    with ThreadPoolExecutor() as pool, bar(len(files), title) as advance:
        for start in range(0, len(files), _BLOCK):
            block = files[start : start + _BLOCK]
            images[start : start + len(block)] = torch.from_numpy(np.stack(list(pool.map(read, block))))
            advance(len(block))
    return images
