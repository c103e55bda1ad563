"""Memory of this process."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
"""Parameters of glibc's mallopt: above which free end the heap shrinks, and from which size on a block is a mapping of its own."""
_DEFAULT, _LARGE, _LARGEST = 128 * 1024, 2**30, 2**31 - 1


def give_back() -> None:
    """Give memory that has been freed back to the system: glibc keeps holes between what is still used, and they add up to gigabytes."""
    if (glibc := _glibc()) is not None:
        glibc.malloc_trim(0)


@contextmanager
def freed_kept() -> Iterator[None]:
    """Inside the block, memory that is freed stays with this process; afterwards it is given back.

    A training step allocates what the step before has freed. glibc returns large blocks to the system each time, which must then hand
    out zeroed pages again; benchmarks/speed/training.py measures what that costs (up to 27 % of a step).
    """
    glibc = _glibc()
    if glibc is None:
        yield
        return
    _set(glibc, mmap=_LARGE, trim=_LARGEST)
    try:
        yield
    finally:
        _set(glibc, mmap=_DEFAULT, trim=_DEFAULT)
        glibc.malloc_trim(0)


def _set(glibc: Any, *, mmap: int, trim: int) -> None:
    glibc.mallopt(_MMAP_THRESHOLD, mmap)
    glibc.mallopt(_TRIM_THRESHOLD, trim)


@cache
def _glibc() -> Any:
    """The C library of this process, None where there is another allocator."""
    try:
        library = ctypes.CDLL(None)
        return library if library.mallopt and library.malloc_trim else None
    except (AttributeError, OSError, TypeError):
        return None
