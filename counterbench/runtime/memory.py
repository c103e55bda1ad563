"""Memory of this process."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from functools import cache


def give_back() -> None:
    """Give memory that has been freed back to the system: glibc keeps holes between what is still used, and they add up to gigabytes."""
    _trim()(0)


@cache
def _trim() -> Callable[[int], object]:
    """glibc's malloc_trim; nothing where there is another allocator."""
    try:
        trim: Callable[[int], object] = ctypes.CDLL(None).malloc_trim
    except (AttributeError, OSError, TypeError):
        return lambda padding: None
    return trim
