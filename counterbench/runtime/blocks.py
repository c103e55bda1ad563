"""Looking at images so that a reading depends on the image alone: in blocks of one size, on one thread.

A network's output for an image moves in its last digits with the number of images that are given at once, and with the number of threads
that share the work: matrix products are cut into other pieces. Judges and feature spaces therefore see blocks of one size.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

BLOCK = 16
"""Images that are looked at together."""


@contextmanager
def one_thread() -> Iterator[None]:
    """Compute on one thread inside the block: another number of threads is another order of summation."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def in_blocks(look: Callable[..., Tensor], *images: Tensor) -> Tensor:
    """look(*images), computed block by block; a short last block is filled up with copies of its last image.

    Args:
        look: (N, ...) tensors -> (N, ...), each row from the same row of its arguments alone.
        images: (N, ...) each, the same N; an N of 0 is passed on as it is.

    Returns:
        (N, ...), on the device where `look` leaves it.

    >>> in_blocks(lambda images: images.flatten(1).mean(1), torch.ones(3, 1, 4, 4))
    tensor([1., 1., 1.])
    """
    count = len(images[0])
    with one_thread():
        if not count:
            return look(*images)
        seen = []
        for start in range(0, count, BLOCK):
            rows = torch.arange(start, start + BLOCK).clamp(max=count - 1)
            seen.append(look(*(part[rows.to(part.device)] for part in images)))
    return torch.cat(seen)[:count]
