"""Prepared splits on disk: written once, atomically, and checked whenever they are read."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from counterbench.datasets.dataset import Split
from counterbench.storage.files import cache_folder
from counterbench.storage.tensors import read_tensors, write_tensors

_GROUP = "group"


def cached(key: str, name: str, prepare: Callable[[], Split]) -> Split:
    """The split `name` under `key`, from the cache if an intact copy lies there, else prepared and stored.

    A copy whose content does not match the fingerprint stored with it is prepared anew. A cache that cannot be written
    costs time, not the run.
    """
    path = _path(key, name)
    stored = read_tensors(path)
    if stored is not None and _GROUP in stored[0]:
        values, _ = stored
        return Split(name, {key: value for key, value in values.items() if key != _GROUP}, values[_GROUP])
    split = prepare()
    write_tensors(path, {**split.values, _GROUP: split.group}, optional=True)
    return split


def is_cached(key: str, name: str) -> bool:
    """Whether a copy of the split lies there, intact or not."""
    return _path(key, name).is_file()


def _path(key: str, name: str) -> Path:
    return cache_folder() / "data" / key / f"{name}.safetensors"
