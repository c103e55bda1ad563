"""CelebA as its authors publish it: aligned pictures and three lists."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import PIL.Image
import torch
from torch import Tensor

from counterbench.datasets.files.decoding import decoded
from counterbench.datasets.files.places import folder_of
from counterbench.errors import DataError
from counterbench.runtime.words import counted
from counterbench.storage.pictures import PictureError, PictureSizeError, read_picture

ALIGNED = (178, 218)
"""Width and height of the published pictures, in pixels."""
CROP, SIDE = 150, 64
_PICTURES = "img_align_celeba"
_LISTS = {
    "attributes": "list_attr_celeba.txt",
    "partition": "list_eval_partition.txt",
    "identity": "identity_CelebA.txt",
}
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
class Lists:
    """What the lists say, one entry per picture, in the order of the pictures.

    Args:
        pictures: the folder that holds them.
        names: of their files.
        attributes: name -> (N,), 0 or 1.
        partition: (N,), 0 train, 1 validation, 2 test.
        identity: (N,), number of the person.
    """

    pictures: Path
    names: Sequence[str]
    attributes: Mapping[str, Tensor]
    partition: Tensor
    identity: Tensor


def read_lists(data_dir: Path | None, wanted: Sequence[str]) -> Lists:
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
    _require_partition(others["partition"], others["identity"], names, folder)
    chosen = {name: torch.from_numpy(values[sorting, columns.index(name)] > 0).long() for name in wanted}
    return Lists(folder / _PICTURES, names, chosen, others["partition"], others["identity"])


def _require_partition(partition: Tensor, identity: Tensor, names: Sequence[str], folder: Path) -> None:
    """Raise DataError unless all three parts are there and nobody is in two of them, as in what was published."""
    path = folder / _LISTS["partition"]
    unknown = ((partition < 0) | (partition > 2)).nonzero()[:, 0]
    if len(unknown):
        row = int(unknown[0])
        raise DataError(
            f"{path}: {names[row]} is in part {int(partition[row])}; expected 0 (train), 1 (validation) or 2 (test)."
        )
    missing = [str(part) for part in range(3) if not (partition == part).any()]
    if missing:
        raise DataError(
            f"{path} has no picture in part {', '.join(missing)}; expected 0 (train), 1 (validation) and 2 (test)."
        )
    # In order of the person and then of the part, somebody of two parts has neighbours that differ.
    order = torch.from_numpy(np.lexsort((partition.numpy(), identity.numpy())))
    same, moved = identity[order].diff() == 0, partition[order].diff() != 0
    both = (same & moved).nonzero()[:, 0]
    if len(both):
        first, second = int(order[both[0]]), int(order[both[0] + 1])
        raise DataError(
            f"{path}: {names[first]} is in part {int(partition[first])} and {names[second]} in part {int(partition[second])}, but both show "
            f"person {int(identity[first])} by {_LISTS['identity']} ({counted(len(both), 'persons', verb='are')} in two parts); a model would be asked about "
            "whom it has seen."
        )


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
    except (ValueError, OverflowError):
        raise DataError(_first_odd(path, header)) from None
    return [name for name, _ in rows], numbers.reshape(len(rows), width)


def _first_odd(path: Path, header: int) -> str:
    """What is wrong with the first line that is no file name with as many whole numbers as the others."""
    width = 0
    for number, line in enumerate(_lines(path)[header:], header + 1):
        _, *rest = line.split() or [""]
        if not line.strip():
            continue
        if not all(re.fullmatch(r"-?[0-9]{1,18}", entry) for entry in rest):
            return (
                f"{path}, line {number}: {line.strip()[:60]!r} is no file name with whole numbers of at most 18 digits."
            )
        width = width or len(rest)
        if not rest or len(rest) != width:
            return f"{path}, line {number} has {len(rest)} numbers; it may be truncated."
    return f"{path} cannot be understood."


def key(folder: Path, files: Sequence[Path]) -> str:
    """Follows from which pictures of the folder there are, how large their files are, and when they were written."""
    digest = hashlib.sha256(f"{CROP} {SIDE}\n".encode())
    for path in files:
        try:
            status = path.stat()
        except OSError:
            raise DataError(f"{path} is listed but missing; unpack img_align_celeba.zip again.") from None
        digest.update(f"{path.relative_to(folder)} {status.st_size} {status.st_mtime_ns}\n".encode())
    return f"celeba-{digest.hexdigest()[:16]}"


def decode(files: Sequence[Path], split: str) -> Tensor:
    """(N, 3, 64, 64), uint8.

    Raises:
        DataError: for a picture that is missing or damaged, or has another size than aligned pictures have.
    """
    return decoded(files, _picture, (3, SIDE, SIDE), f"Decoding celeba ({split})")


def _picture(path: Path) -> np.ndarray:
    """The central 150 x 150 pixels, reduced to 64 x 64 with antialiasing, (3, 64, 64)."""
    try:
        picture = read_picture(path, 3, size=ALIGNED)
    except PictureSizeError as error:
        raise DataError(
            f"{error}: aligned CelebA pictures are needed (img_align_celeba), neither those in the wild nor CelebA-HQ."
        ) from None
    except PictureError as error:
        raise DataError(f"{error}; fetch it again.") from None
    left, top = round((picture.width - CROP) / 2), round((picture.height - CROP) / 2)
    cropped = picture.crop((left, top, left + CROP, top + CROP))
    pixels: np.ndarray = np.asarray(cropped.resize((SIDE, SIDE), PIL.Image.Resampling.BILINEAR)).transpose(2, 0, 1)
    return pixels
