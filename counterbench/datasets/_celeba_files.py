"""CelebA as its authors publish it: aligned pictures and three lists."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from counterbench.datasets._published import folder_of
from counterbench.errors import DataError
from counterbench.files import atomic, cache_folder
from counterbench.progress import bar

CROP, SIDE = 150, 64
_PICTURES = "img_align_celeba"
_LISTS = {
    "attributes": "list_attr_celeba.txt",
    "partition": "list_eval_partition.txt",
    "identity": "identity_CelebA.txt",
}
_BLOCK = 512
_HOW = "Give --data-dir, or set COUNTERBENCH_DATA, to the folder that holds img_align_celeba/ and its three lists; `counterbench data prepare --download` fetches them"


def download(data_dir: Path | None) -> None:
    """Fetch pictures and lists (1.4 GB) through torchvision, which checks them, into the folder `celeba` of `data_dir`.

    Raises:
        DataError: without a folder, and where the network does not allow it.
    """
    if data_dir is None:
        raise DataError(
            "CelebA needs a folder to be downloaded to: give --data-dir, or set COUNTERBENCH_DATA. "
            "By downloading you accept its licence: non-commercial research (https://mmlab.ie.cuhk.edu.hk/projects/CelebA.html)."
        )
    from torchvision.datasets import CelebA

    try:
        CelebA(str(data_dir), split="all", download=True)
    except Exception as error:  # torchvision, gdown and the network raise whatever they like
        raise DataError(
            f"CelebA could not be downloaded ({error}). Fetch img_align_celeba.zip and the lists by hand from "
            f"https://mmlab.ie.cuhk.edu.hk/projects/CelebA.html, and unpack them in {data_dir / 'celeba'}."
        ) from error


@dataclass(frozen=True)
class Listing:
    """What the lists say, one entry per picture, in the order of the pictures.

    Args:
        folder: that holds everything.
        names: of the pictures' files.
        attributes: name -> (N,), 0 or 1.
        partition: (N,), 0 train, 1 validation, 2 test.
        identity: (N,), number of the person.
    """

    folder: Path
    names: Sequence[str]
    attributes: Mapping[str, Tensor]
    partition: Tensor
    identity: Tensor


@cache
def listing(data_dir: Path | None, wanted: tuple[str, ...]) -> Listing:
    """Read the lists.

    Args:
        data_dir: a folder that holds them, or has a folder `celeba` that does.
        wanted: names of attributes, as in the list.

    Raises:
        DataError: if something is missing, or the lists do not belong together.
    """
    folder = _home(data_dir)
    order, values = _table(folder / _LISTS["attributes"], header=2)
    columns = _lines(folder / _LISTS["attributes"])[1].split()
    for name in wanted:
        if name not in columns:
            raise DataError(f"{folder / _LISTS['attributes']} has no column {name!r}; it is not CelebA's list.")
    if values.shape[1] != len(columns) or not (np.abs(values) == 1).all():
        raise DataError(f"{folder / _LISTS['attributes']}: every row must hold {len(columns)} numbers, each 1 or -1.")
    sorting = np.argsort(order, kind="stable")
    names = [order[place] for place in sorting]
    others = {}
    for which in ("partition", "identity"):
        said, numbers = _table(folder / _LISTS[which])
        if sorted(said) != names:
            odd = sorted({*said} ^ {*names}) or ["one is there twice"]
            raise DataError(
                f"{folder / _LISTS[which]} and {_LISTS['attributes']} name different pictures ({len(odd)} of them, "
                f"{odd[0]} for one); they must come from the same release."
            )
        others[which] = torch.from_numpy(numbers[np.argsort(said, kind="stable"), 0])
    chosen = {name: torch.from_numpy(values[sorting, columns.index(name)] > 0).long() for name in wanted}
    return Listing(folder, names, chosen, others["partition"], others["identity"])


def _home(data_dir: Path | None) -> Path:
    folder = folder_of("celeba", data_dir, _LISTS["attributes"], _HOW)
    missing = [name for name in (*_LISTS.values(), _PICTURES) if not (folder / name).exists()]
    if missing:
        raise DataError(f"{folder} lacks {', '.join(missing)}. {_HOW}.")
    return folder


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="ascii").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read: {error}.") from error


def _table(path: Path, header: int = 0) -> tuple[list[str], np.ndarray]:
    """(names of files, (N, K) whole numbers behind them), in the order of the list."""
    rows = [line.split(maxsplit=1) for line in _lines(path)[header:] if line.strip()]
    if not rows:
        raise DataError(f"{path} is empty.")
    try:
        # All at once: eight million numbers, one by one, would take ten seconds and a gigabyte.
        numbers = np.array(" ".join(rest for _, rest in rows).split(), dtype=np.int64)
        width = len(rows[0][1].split())
        if any(len(rest.split()) != width for _, rest in rows):
            raise ValueError
    except ValueError:
        raise DataError(_first_odd(path, header)) from None
    return [name for name, _ in rows], numbers.reshape(len(rows), width)


def _first_odd(path: Path, header: int) -> str:
    """What is wrong with the first line that is no file name with as many whole numbers as the others."""
    width = 0
    for number, line in enumerate(_lines(path)[header:], header + 1):
        _, *rest = line.split() or [""]
        if not line.strip():
            continue
        if not all(entry.removeprefix("-").isdecimal() for entry in rest):
            return f"{path}, line {number}: {line.strip()[:60]!r} is no file name with whole numbers."
        width = width or len(rest)
        if not rest or len(rest) != width:
            return f"{path}, line {number} has {len(rest)} numbers; it may be truncated."
    return f"{path} cannot be understood."


def pictures(listed: Listing, rows: Tensor, name: str) -> Tensor:
    """(N, 3, 64, 64), uint8, memory-mapped: decoded once, then kept in the cache.

    Raises:
        DataError: for a picture that is missing or damaged.
    """
    chosen = [listed.names[row] for row in rows.tolist()]
    path = cache_folder() / "data" / f"celeba-{_key(listed.folder, chosen)}" / f"{name}.npy"
    if not path.is_file():
        with atomic(path) as temporary:
            array = np.lib.format.open_memmap(temporary, "w+", np.uint8, (len(chosen), 3, SIDE, SIDE))
            _decode(listed.folder / _PICTURES, chosen, array, name)
            array.flush()
            del array
    # Copy on write: the pages are shared and loaded when they are looked at, and nobody can change the file.
    return torch.from_numpy(np.load(path, mmap_mode="c"))


def _key(folder: Path, names: Sequence[str]) -> str:
    """Follows from which pictures there are and how large their files are."""
    digest = hashlib.sha256(f"{CROP} {SIDE}\n".encode())
    for name in names:
        path = folder / _PICTURES / name
        try:
            digest.update(f"{name} {path.stat().st_size}\n".encode())
        except OSError:
            raise DataError(f"{path} is listed but missing; unpack img_align_celeba.zip again.") from None
    return digest.hexdigest()[:16]


def _decode(folder: Path, names: Sequence[str], array: np.ndarray, what: str) -> None:
    with ThreadPoolExecutor() as pool, bar(len(names), f"Decoding celeba ({what})") as advance:
        for start in range(0, len(names), _BLOCK):
            block = names[start : start + _BLOCK]
            array[start : start + len(block)] = list(pool.map(lambda name: _picture(folder / name), block))
            advance(len(block))


def _picture(path: Path) -> np.ndarray:
    """The central 150 x 150 pixels, reduced to 64 x 64 with antialiasing, (3, 64, 64)."""
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path) as opened:
            picture = opened.convert("RGB")
    except (OSError, UnidentifiedImageError) as error:
        raise DataError(f"{path} is no picture that can be read ({error}); fetch it again.") from error
    if min(picture.size) < CROP:
        raise DataError(f"{path} is {picture.width} x {picture.height}; aligned CelebA pictures are 178 x 218.")
    left, top = round((picture.width - CROP) / 2), round((picture.height - CROP) / 2)
    cropped = picture.crop((left, top, left + CROP, top + CROP))
    return np.asarray(cropped.resize((SIDE, SIDE), Image.Resampling.BILINEAR)).transpose(2, 0, 1)
