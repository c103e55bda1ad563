"""What is made once: prepared splits on disk, written atomically and checked whenever they are read, and values in memory."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from counterbench.datasets.split import Split
from counterbench.storage.files import cache_folder
from counterbench.storage.tensors import read_tensors, write_tensors

Key = TypeVar("Key")
Value = TypeVar("Value")

_GROUP = "group"


def remembered(values: dict[Key, Value], key: Key, make: Callable[[], Value]) -> Value:
    """The value under `key`, made on first use; it lives as long as the dictionary, and so as long as its owner."""
    if key not in values:
        values[key] = make()
    return values[key]


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
