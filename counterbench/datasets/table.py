"""The reader `table`: a folder of images and a CSV file with one row per image."""

from __future__ import annotations

import csv
import hashlib
import re
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
import PIL.Image
import torch
from torch import Tensor

from counterbench.catalog.cards import TableEntry
from counterbench.causal.variables import Binary, Continuous, Image, Variable
from counterbench.datasets.dataset import Dataset
from counterbench.datasets.files.decoding import decoded
from counterbench.datasets.files.places import split_by_hash
from counterbench.datasets.source import SPLITS, Contents, FileSource
from counterbench.errors import ConfigError, DataError, suggestion
from counterbench.plugins.registry import datasets
from counterbench.storage.pictures import read_picture

SHARES = {"train": 0.6, "validation": 0.1, "judge": 0.15, "test": 0.15}
"""Shares of the groups, where the table has no column `split`."""
_NOUNS = {"1": 1, "0": 0, "yes": 1, "no": 0, "true": 1, "false": 0}


class Folder(FileSource):
    """A folder of images and a CSV with one row per image."""

    @property
    def _entry(self) -> TableEntry:
        entry = self.card.sources[self.name].table
        if entry is None:
            raise ConfigError(
                f"{self.card.path or self.card.name}: the reader 'table' needs the key sources.{self.name}.table with 'csv' "
                "and 'images'."
            )
        return entry

    @property
    def _home(self) -> Path:
        beside = self.card.path.parent if self.card.path else Path()
        # A data folder that is set for other datasets must not hide what lies beside the card.
        return self.data_dir if self.data_dir and (self.data_dir / self._entry.csv).is_file() else beside

    @property
    def _image(self) -> Image:
        image = self.variables[self.card.image]
        assert isinstance(image, Image)
        return image

    @cached_property
    def _rows(self) -> tuple[Contents, Sequence[str]]:
        """(every row of the table, checked; its split)."""
        if not self.card.image:
            raise ConfigError(
                f"{self.card.path or self.card.name}: the reader 'table' needs a variable of the kind image."
            )
        entry, home = self._entry, self._home
        path = home / entry.csv
        table, lines = read_table(path)
        column = {name: entry.columns.get(name, name) for name in self.card.attributes}
        column |= {name: entry.columns.get(name, default) for name, default in _PLACES.items()}
        known = {*self.card.attributes, *_PLACES}
        for name in entry.columns:
            if name not in known:
                raise ConfigError(
                    f"{self.card.path}: columns: {name!r} is no variable.{suggestion(name, sorted(known))}"
                )
        for name in dict.fromkeys((*self.card.attributes, "image", *entry.columns)):
            if column[name] not in table:
                have = ", ".join(table)
                raise DataError(f"{path} has no column {column[name]!r} (for {name}); its columns are: {have}.")
        values = {
            name: _values(self.variables[name], table[column[name]], lines, f"{path}, column {column[name]!r}")
            for name in self.card.attributes
        }
        files = [home / entry.images / name for name in table[column["image"]]]
        for line, file in zip(lines, files, strict=True):
            if not file.is_file():
                raise DataError(f"{path}, line {line}: there is no image {file}.")
        labels = table.get(column["group"]) or [str(number) for number in range(len(files))]
        split = table.get(column["split"]) or [split_by_hash(label, SHARES) for label in labels]
        _check_splits(split, labels, files, lines, SPLITS, path)
        number = {label: position for position, label in enumerate(dict.fromkeys(labels))}
        return Contents(files, values, torch.tensor([number[label] for label in labels])), split

    def find(self, split: str) -> Contents:
        everything, splits = self._rows
        rows = [row for row, name in enumerate(splits) if name == split]
        if not rows:
            have = ", ".join(sorted(set(splits)))
            raise DataError(f"{self._home / self._entry.csv} has no row in the split {split!r}; it has: {have}.")
        values = {name: value[rows] for name, value in everything.values.items()}
        return Contents([everything.files[row] for row in rows], values, everything.group[rows])

    def key(self, contents: Contents) -> str:
        digest = hashlib.sha256(f"{self._image.shape}\n".encode())
        for file in contents.files:
            digest.update(f"{file} {file.stat().st_size} {file.stat().st_mtime_ns}\n".encode())
        return f"table-{digest.hexdigest()[:16]}"

    def decode(self, contents: Contents, split: str) -> Tensor:
        image = self._image
        return decoded(contents.files, lambda file: _picture(file, image), image.shape, f"Reading images ({split})")


@datasets.register()
class TableDataset(Dataset):
    """Reader for cards whose sources have the key `table`; no Python needed (docs/bring-your-own.md).

    Images of the formats PNG, JPEG, BMP, GIF, WEBP, TIFF and PPM, as large as the card says, or larger and of the same proportions. Without a column `split`, groups (or rows,
    where there are none) are divided 60 / 10 / 15 / 15 by a hash of their name, so that new rows move no old ones.
    """

    any_source = Folder


_PLACES = {"image": "file", "split": "split", "group": "group"}


def read_table(path: Path) -> tuple[dict[str, list[str]], list[int]]:
    """(column -> entries, the line of the file that each row is on)."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as stream:
            reader = csv.reader(stream)
            header = [name.strip() for name in next(reader, [])]
            numbered = [(reader.line_num, row) for row in reader if row]
    except OSError as error:
        raise DataError(
            f"{path} cannot be read: {error.strerror or error}. Give its folder with --data-dir."
        ) from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path} is not a table of comma-separated values in UTF-8 ({error}).") from error
    if not numbered or len(set(header)) != len(header):
        raise DataError(
            f"{path} needs a first line with the names of the columns, each once, and at least one row below it."
        )
    for line, row in numbered:
        if len(row) != len(header):
            raise DataError(f"{path}, line {line} has {len(row)} entries; the first line names {len(header)} columns.")
    table = {name: [row[position].strip() for _, row in numbered] for position, name in enumerate(header)}
    return table, [line for line, _ in numbered]


def _values(variable: Variable, entries: Sequence[str], lines: Sequence[int], where: str) -> Tensor:
    """Natural values of one variable."""
    values: list[float] = []
    for line, entry in zip(lines, entries, strict=True):
        if isinstance(variable, Continuous):
            values.append(_number(variable, entry, f"{where}, line {line}"))
        else:
            values.append(_class(variable, entry, f"{where}, line {line}"))
    return torch.tensor(values, dtype=torch.float32 if isinstance(variable, Continuous) else torch.long)


def _number(variable: Continuous, entry: str, where: str) -> float:
    try:
        value = float(entry)
    except ValueError:
        raise DataError(
            f"{where}: {entry!r} is no number; {variable.name} is in {variable.unit or 'numbers'}."
        ) from None
    if not variable.low <= value <= variable.high:
        raise DataError(
            f"{where}: {variable.name} is {value:g}, outside the card's range {variable.low:g} to {variable.high:g}; correct the "
            "value, or widen the range."
        )
    return value


def _class(variable: Variable, entry: str, where: str) -> int:
    names = {str(name): number for number, name in enumerate(getattr(variable, "classes", ()))}
    names = _NOUNS if isinstance(variable, Binary) else names
    key = entry.lower() if isinstance(variable, Binary) else entry
    if key not in names and re.fullmatch(r"\d+\.0+", key):
        key = key.partition(".")[0]  # how tables with a gap in a column write whole numbers
    if key not in names:
        raise DataError(f"{where}: {entry!r} is no class of {variable.name}; its classes are: {', '.join(names)}.")
    return names[key]


def _check_splits(
    split: Sequence[str],
    labels: Sequence[str],
    files: Sequence[Path],
    lines: Sequence[int],
    known: Sequence[str],
    path: Path,
) -> None:
    """Raise DataError where a split has no such name, or shows a model what it will be asked about."""
    home: dict[tuple[str, str], str] = {}
    for line, name, label, file in zip(lines, split, labels, files, strict=True):
        if name not in known:
            raise DataError(
                f"{path}, line {line}: {name!r} is no split; give {', '.join(known)}.{suggestion(name, known)}"
            )
        if not label:
            raise DataError(f"{path}, line {line}: the group is empty; every row needs one, be it a number of its own.")
        for kind, what in (("group", label), ("image", str(file))):
            if home.setdefault((kind, what), name) != name:
                raise DataError(
                    f"{path}, line {line}: the {kind} {what!r} is in {home[kind, what]!r} and in {name!r}; everything of a {kind} must "
                    "lie in one split, or a model is asked about what it has seen."
                )


def _picture(file: Path, image: Image) -> np.ndarray:
    channels, height, width = image.channels, image.height, image.width
    picture = read_picture(file, channels)
    if picture.size != (width, height):
        if picture.width < width or picture.width * height != picture.height * width:
            raise DataError(
                f"{file} is {picture.width} x {picture.height} pixels; the card says {width} x {height}, and only larger images of the "
                "same proportions are reduced."
            )
        picture = picture.resize((width, height), PIL.Image.Resampling.BOX)
    pixels = np.asarray(picture)
    return pixels[None] if channels == 1 else pixels.transpose(2, 0, 1)
