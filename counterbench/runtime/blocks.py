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
"""Images that are looked at together; fewer of what is larger than a picture, see :func:`block_of`."""
PICTURE = 3 * 256 * 256
"""Numbers of the largest picture that is looked at in whole blocks."""
_ROOM = 1 << 21
"""Numbers of volumes that are looked at together: 8 MiB."""
_HELD = 1 << 25
"""Numbers that are held together: 128 MiB."""


def at_once(size: int, most: int, *, room: int = _HELD) -> int:
    """How many images at a time: as many as usual, but no more than fit, and one at least.

    Args:
        size: numbers of one image.
        most: how many pictures there would be.
        room: how many numbers there may be together.

    >>> at_once(32 * 32, 500), at_once(96**3, 500)
    (500, 37)
    """
    return max(1, min(most, room // max(1, size)))


def block_of(size: int) -> int:
    """How many images of that many numbers are looked at together: :data:`BLOCK` pictures, or fewer volumes.

    >>> block_of(3 * 218 * 178), block_of(64**3), block_of(96**3)
    (16, 8, 2)
    """
    return BLOCK if size <= PICTURE else at_once(size, BLOCK, room=_ROOM)


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
        seen, block = [], block_of(images[0][0].numel())
        for start in range(0, count, block):
            rows = torch.arange(start, start + block).clamp(max=count - 1)
            seen.append(look(*(part[rows.to(part.device)] for part in images)))
    return torch.cat(seen)[:count]
