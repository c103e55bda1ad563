"""What a command sets in its own environment before numerical libraries are imported."""

from __future__ import annotations

from collections.abc import MutableMapping

_WAITING = {"OMP_WAIT_POLICY": "passive", "KMP_BLOCKTIME": "0"}
"""Of GNU's and of LLVM's OpenMP; torch is built with either."""
_SAID_BY_USER = (*_WAITING, "GOMP_SPINCOUNT")


def settle(environment: MutableMapping[str, str]) -> None:
    """Threads that wait sleep instead of spinning, and pictures are drawn without a screen.

    Args:
        environment: of this process. Whatever it says about waiting threads already stays as it is.
    """
    if not any(name in environment for name in _SAID_BY_USER):
        environment.update(_WAITING)
    # Commands draw into files only, and the backend of a notebook that started one need not be installed here.
    environment["MPLBACKEND"] = "agg"
