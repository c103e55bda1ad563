"""Prepared splits on disk: written once, atomically, and checked whenever they are read."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from counterbench.datasets.base import Split
from counterbench.errors import RecordError
from counterbench.files import atomic, cache_folder

_GROUP = "group"


def cached(key: str, name: str, prepare: Callable[[], Split]) -> Split:
    """The split `name` under `key`, from the cache if an intact copy lies there, else prepared and stored.

    A copy whose content does not match the fingerprint stored with it is prepared anew. A cache that cannot be written
    costs time, not the run.
    """
    path = _path(key, name)
    split = _read(path, name)
    if split is None:
        split = prepare()
        try:
            tensors = {key: value.contiguous() for key, value in {**split.values, _GROUP: split.group}.items()}
            with atomic(path) as temporary:
                temporary.write_bytes(save(tensors, {"fingerprint": split.fingerprint}))
        except RecordError:
            pass
    return split


def is_cached(key: str, name: str) -> bool:
    """Whether a copy of the split lies there, intact or not."""
    return _path(key, name).is_file()


def _path(key: str, name: str) -> Path:
    return cache_folder() / "data" / key / f"{name}.safetensors"


def _read(path: Path, name: str) -> Split | None:
    if not path.is_file():
        return None
    try:
        with safe_open(path, framework="pt") as stored:
            tensors = {key: stored.get_tensor(key) for key in stored.keys()}  # noqa: SIM118 - not a mapping
            fingerprint = (stored.metadata() or {}).get("fingerprint")
        split = Split(name, {key: value for key, value in tensors.items() if key != _GROUP}, tensors[_GROUP])
    except (SafetensorError, OSError, KeyError):
        return None
    return split if split.fingerprint == fingerprint else None
