"""Versions of the software that a record names."""

from __future__ import annotations

import platform
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version

_PACKAGES = ("counterbench", "torch", "numpy", "scipy", "scikit-learn", "scikit-image", "pyro-ppl", "pytorch-lightning")


@lru_cache(maxsize=1)
def versions() -> dict[str, str]:
    """Name -> version, of Python and the packages that decide the numbers."""
    found = {"python": platform.python_version(), "platform": platform.platform(terse=True)}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "unknown"
    return found
