"""Files: atomic writes, hashes, and where things are kept between runs."""

from __future__ import annotations

import errno
import hashlib
import os
import re
import stat
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

from counterbench.errors import CacheWarning, ConfigError, DataError, RecordError

if TYPE_CHECKING:
    import numpy as np


UNFINISHED = "unfinished"
"""Subfolder of what a run has made so far; gone when the run has come to its end."""
MANIFEST = "manifest.json"
"""In the folder of a trained model: how it was trained."""
_PART = ".part"
"""In the name of a file that is being written, before its ending."""

LARGEST = 256 << 20
"""Bytes of a file by somebody else that is read into memory."""
_LONGEST = 100
"""Characters of a file's name that is made of somebody's words."""


def require_regular(path: Path, largest: int | None = LARGEST) -> None:
    """Fail for what is no ordinary file: reading a pipe may never end, nor a device.

    Args:
        path: of a file by somebody else.
        largest: bytes that it may have; None for any number.

    Raises:
        OSError: as opening a file does, so that whoever reads says it in the same words.
    """
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        what = "folder" if stat.S_ISDIR(status.st_mode) else "pipe, device or socket"
        raise OSError(errno.EINVAL, f"it is a {what}, and no ordinary file", str(path))
    if largest is not None and status.st_size > largest:
        raise OSError(errno.EFBIG, f"it has {status.st_size:,} bytes, and may have {largest:,}", str(path))


def read_bounded(path: Path, largest: int = LARGEST) -> bytes:
    """The bytes of an ordinary file that is not too large.

    Raises:
        OSError: see :func:`require_regular`.
    """
    require_regular(path, largest)
    with path.open("rb") as stream:
        # Some files of the system have no size until they are read.
        content = stream.read(largest + 1)
    if len(content) > largest:
        raise OSError(errno.EFBIG, f"it has more than {largest:,} bytes", str(path))
    return content


def require_inside(path: Path, folder: Path) -> None:
    """Fail for a path that leads out of a folder by somebody else, through a link.

    Raises:
        DataError: naming it.
    """
    if not Path(os.path.realpath(path)).is_relative_to(os.path.realpath(folder)):
        raise DataError(f"{path} is a link that leads out of {folder}; put the file itself there.")


def own_subfolder(folder: Path, name: str) -> Path:
    """A subfolder to write in, made where it is missing; a link is never followed.

    Raises:
        DataError: if it is a link. RecordError: if it cannot be made.
    """
    path = folder / name
    if path.is_symlink():
        raise DataError(
            f"{path} is a link; nothing is written through it. Remove it, and a folder is made in its place."
        )
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RecordError(f"Cannot write {path}: {error.strerror or error}.") from error
    return path


def without_folders(text: str) -> str:
    """A text in which every absolute path is shortened to its last part: whose machine it was is nobody's business.

    >>> without_folders("weights.pth is not in /home/ada/.cache/weights (from https://example.org/a/b)")
    'weights.pth is not in weights (from https://example.org/a/b)'
    """
    return re.sub(r"(?<![\w:/.)])(?:/|~/|[A-Za-z]:\\)(?:[^\s/\\'\"]+[/\\])+", "", text)


def cache_folder() -> Path:
    """`$COUNTERBENCH_CACHE`, else the user's cache folder."""
    if given := os.environ.get("COUNTERBENCH_CACHE"):
        return Path(given).expanduser()
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "counterbench"


def warn_of_cache(error: BaseException) -> None:
    """Say, once, that the cache cannot be written: the same words whichever file it was."""
    reason = getattr(error, "strerror", None) or error
    warnings.warn(
        f"the cache {cache_folder()} cannot be written ({reason}), so what it could keep is made anew each time. "
        "Set COUNTERBENCH_CACHE to a folder that can be written, with free space.",
        CacheWarning,
        stacklevel=2,
    )


@contextmanager
def same_time(path: Path) -> Iterator[None]:
    """Keep the time at which a file was written: what changes in the block is how it is shown, not what was computed."""
    before = path.stat()
    yield
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


@contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """A temporary path beside `path` that replaces it when the block ends well, and vanishes when it does not.

    Raises:
        RecordError: if the folder cannot be written or the disk is full; an older file stays as it was.
    """
    temporary: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem}.", suffix=_PART + path.suffix)
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
    """A name as part of a file's name and of a link: letters, digits, points and hyphens, not too many; no two names give the same."""
    plain = re.sub(r"[^A-Za-z0-9._-]", "-", name)[:_LONGEST]
    return plain if plain == name and name.strip(".") else f"{plain}-{hashlib.sha256(name.encode()).hexdigest()[:6]}"


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


@contextmanager
def claimed(folder: Path) -> Iterator[None]:
    """Keep a folder of results to this process for the length of a block; a process that dies gives it back.

    What such a process was writing is removed. If the folder is empty at the end, it is removed, and so is its subfolder of
    unfinished things.

    Raises:
        RecordError: if another process has it, or nothing can be written there.
    """
    require_writable(folder)
    lock = FileLock(folder / ".lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise RecordError(
            f"{folder} is in use by another run. Wait until it ends, or choose another --output."
        ) from None
    try:
        _remove_parts(folder)
        yield
    finally:
        # Removed while it is held: whoever comes next makes a new one.
        with suppress(OSError):
            (folder / ".lock").unlink()
        lock.release()
        for empty in (folder / UNFINISHED, folder):
            with suppress(OSError):
                empty.rmdir()


def _remove_parts(folder: Path) -> None:
    """Remove the half-written files of runs that were killed; the folder must be claimed, so that nobody writes there now."""
    for part in (*folder.glob(f".*{_PART}*"), *(folder / UNFINISHED).glob(f".*{_PART}*")):
        with suppress(OSError):
            part.unlink()


def require_picture(path: Path) -> None:
    """Fail now for a picture that could not be drawn later.

    Raises:
        ConfigError: for a file whose ending is no format of pictures.
    """
    if path.suffix.lower() not in (".png", ".svg", ".pdf", ".jpg"):
        raise ConfigError(f"{path}: a picture's name must end with .png, .svg, .pdf or .jpg.")


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
