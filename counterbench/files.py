"""Files: atomic writes, hashes, and where things are kept between runs."""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from counterbench.errors import ConfigError, DataError, RecordError

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor


def cache_folder() -> Path:
    """`$COUNTERBENCH_CACHE`, else the user's cache folder."""
    if given := os.environ.get("COUNTERBENCH_CACHE"):
        return Path(given).expanduser()
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "counterbench"


@contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """A temporary path beside `path` that replaces it when the block ends well, and vanishes when it does not.

    Raises:
        RecordError: if the folder cannot be written or the disk is full; an older file stays as it was.
    """
    temporary: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem}.", suffix=path.suffix)
        os.close(handle)
        temporary = Path(name)
        yield temporary
        # mkstemp makes files that only their owner can read; a result is an ordinary file.
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)
        temporary.replace(path)
    except OSError as error:
        raise RecordError(
            f"Cannot write {path}: {error.strerror or error}. Choose a folder that can be written, with free space."
        ) from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a text file atomically."""
    with atomic(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_png(pixels: np.ndarray, path: Path) -> None:
    """Write an image, (C, H, W), uint8, one or three channels, atomically."""
    import PIL.Image

    array = pixels.transpose(1, 2, 0)
    with atomic(path) as temporary:
        PIL.Image.fromarray(array[..., 0] if array.shape[2] == 1 else array).save(temporary, format="PNG")


def slug(name: str) -> str:
    """A name as part of a file's name and of a link: letters, digits, points and hyphens; no two names give the same."""
    plain = re.sub(r"[^A-Za-z0-9._-]", "-", name)
    return plain if plain == name else f"{plain}-{hashlib.sha256(name.encode()).hexdigest()[:6]}"


def require_writable(folder: Path) -> None:
    """Fail now rather than after an hour's work.

    Raises:
        RecordError: if no file can be made in `folder`.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise RecordError(f"Cannot write to {folder}: {error.strerror or error}. Choose another folder.") from error


def require_picture(path: Path) -> None:
    """Fail now for a picture that could not be drawn later.

    Raises:
        ConfigError: for a file whose ending is no format of pictures.
    """
    if path.suffix.lower() not in (".png", ".svg", ".pdf", ".jpg"):
        raise ConfigError(f"{path}: a picture's name must end with .png, .svg, .pdf or .jpg.")


def save_figure(figure: Any, path: Path, dpi: int = 150) -> None:
    """Write a matplotlib figure atomically."""
    with atomic(path) as temporary:
        figure.savefig(temporary, dpi=dpi)


def remove_empty(folder: Path) -> None:
    """Remove a folder if there is nothing in it."""
    with suppress(OSError):
        folder.rmdir()


def sha256_of_file(path: Path) -> str:
    """Hexadecimal SHA-256 of a file's bytes."""
    try:
        with path.open("rb") as stream:
            digest = hashlib.sha256()
            while block := stream.read(1 << 20):
                digest.update(block)
    except OSError as error:
        raise DataError(f"Cannot read {path}: {error.strerror or error}.") from error
    return digest.hexdigest()


def sha256_of_tensors(tensors: dict[str, Tensor]) -> str:
    """Hexadecimal SHA-256 of named tensors: names, types, shapes and bytes, in order of name."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        array = tensors[name].detach().cpu().contiguous().numpy()
        digest.update(f"{name} {array.dtype.str} {array.shape}\n".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()
