"""Versions of the software that a record names."""

from __future__ import annotations

import hashlib
import platform
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

_PACKAGES = ("counterbench", "torch", "numpy", "scipy", "scikit-learn", "scikit-image", "pyro-ppl", "pytorch-lightning")


@lru_cache(maxsize=1)
def source_hash() -> str:
    """SHA-256 of this package's own code: what was computed by other code is never taken for ours."""
    digest = hashlib.sha256()
    folder = Path(__file__).parents[1]
    for path in sorted(folder.rglob("*.py")):
        digest.update(f"{path.relative_to(folder)}\n".encode() + path.read_bytes())
    return digest.hexdigest()


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
