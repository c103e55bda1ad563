"""Tensors on disk that check themselves: written atomically with the hash of their content, and read only if it still fits."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from counterbench.errors import RecordError
from counterbench.storage.files import atomic, warn_of_cache

_HASH = "fingerprint"


def write_tensors(
    path: Path, tensors: Mapping[str, Tensor], *, metadata: Mapping[str, str] | None = None, optional: bool = False
) -> bool:
    """Write tensors; returns whether they lie there now.

    Args:
        path: a safetensors file.
        tensors: what to keep.
        metadata: words beside them.
        optional: whether this is the cache: if it cannot be written, that costs a warning and time, not the run.

    Raises:
        RecordError: if the file cannot be written, unless it is optional.
    """
    content = {name: tensor.contiguous() for name, tensor in tensors.items()}
    try:
        with atomic(path) as temporary:
            _save(content, {**(metadata or {}), _HASH: sha256_of_tensors(content)}, temporary)
    except RecordError as error:
        if not optional:
            raise
        warn_of_cache(error.__cause__ or error)
        return False
    return True


def _save(tensors: dict[str, Tensor], metadata: dict[str, str], path: Path) -> None:
    try:
        save_file(tensors, path, metadata)
    except SafetensorError as error:  # a full disk, in safetensors' own words
        raise OSError(str(error)) from error


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]] | None:
    """(tensors, metadata) as :func:`write_tensors` has left them, or None if they are not there, not intact or may not be read."""
    try:
        if not path.is_file():
            return None
        with safe_open(path, framework="pt") as stored:
            tensors = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118 - not a mapping
            metadata = dict(stored.metadata() or {})
    except (SafetensorError, OSError):
        return None
    return (tensors, metadata) if metadata.get(_HASH) == sha256_of_tensors(tensors) else None


def sha256_of_tensors(tensors: dict[str, Tensor]) -> str:
    """Hexadecimal SHA-256 of named tensors: names, types, shapes and bytes, in order of name."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        array = tensors[name].detach().cpu().contiguous().numpy()
        digest.update(f"{name} {array.dtype.str} {array.shape}\n".encode())
        digest.update(array.reshape(-1).view("u1").data)  # where it lies: `tobytes` would copy gigabytes
    return digest.hexdigest()
