"""A draft of a card for a folder of images and a table: `counterbench new dataset NAME --csv FILE --images FOLDER`."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

import yaml

from counterbench import datasets
from counterbench.catalog.names import require_name
from counterbench.datasets.dataset import Dataset
from counterbench.datasets.table import read_table
from counterbench.errors import ConfigError, DataError
from counterbench.runtime.terminal import one_line
from counterbench.storage.files import write_text

GROUPS = (
    *(f"{who}{end}" for who in ("patient", "subject", "participant", "individual") for end in ("_id", "id", "")),
    "group",
)
"""Columns that say who is in an image, by name, the surest first."""
RESERVED = {"id", "training", "group", "split", "image", "file"}
"""What a variable may not be called here: the reader knows columns by these names."""
FEW = 12
"""Different whole numbers that are taken for classes."""
MOST = 50
"""Classes at most; a text with more of them is no variable."""
_YES_NO = {"0", "1", "yes", "no", "true", "false"}


@dataclass
class Draft:
    """What a table seems to hold.

    Args:
        variables: name -> what the card says of it.
        columns: name -> its column, where that is called otherwise.
        remarks: what somebody who knows the data must look at.
    """

    variables: dict[str, dict[str, object]] = field(default_factory=dict)
    columns: dict[str, str] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)


def draft_card(name: str, csv: Path, images: Path) -> Path:
    """Write a card beside a table, and read everything that it declares.

    Args:
        name: of the dataset; the card is called NAME.yaml.
        csv: one row per image.
        images: folder of the images.

    Returns:
        The card.

    Raises:
        ConfigError: if the card is there already. DataError: for a table that cannot be read, or without a column of files.
    """
    try:
        require_name(name)
    except ValueError as error:
        raise ConfigError(str(error)) from error
    home = csv.parent.resolve()
    path = home / f"{name}.yaml"
    if path.exists():
        raise ConfigError(f"{path} is there already; choose another name, or remove it first.")
    table, _ = read_table(csv)
    file = _files(table, images, csv)
    draft = _looked_at({column: values for column, values in table.items() if column not in (file, "split")})
    if file != "file":
        draft.columns["image"] = file
    if not draft.variables:
        raise DataError(
            f"{csv} has no column that could be an attribute: {'; '.join(draft.remarks) or 'there is none'}."
        )
    shape = _shape(images / table[file][0])
    write_text(path, _text(name, csv, images, home=home, draft=draft, shape=shape))
    try:
        sizes(datasets.load(str(path)))
    except (ConfigError, DataError) as error:
        raise DataError(f"{path} is drafted, and does not fit yet: {error}") from error
    return path


def sizes(dataset: Dataset) -> dict[str, int]:
    """How many samples every split has; their attributes are read and checked on the way, their images are not."""
    return {split: len(next(iter(dataset.attributes(split).values()))) for split in dataset.splits}


def _files(table: Mapping[str, Sequence[str]], images: Path, csv: Path) -> str:
    """The column that names files in the folder."""
    for column in sorted(table, key=lambda column: column != "file"):
        if all(value and (images / value).is_file() for value in table[column][:20]):
            return column
    raise DataError(f"{csv}: no column names files in {images}; one entry per row, such as 0001.png.")


def _looked_at(table: Mapping[str, Sequence[str]]) -> Draft:
    draft = Draft()
    who = min((GROUPS.index(column.lower()), column) for column in [*table, "group"] if column.lower() in GROUPS)[1]
    for column, values in table.items():
        if column == who:
            if column != "group":
                draft.columns["group"] = column
            draft.remarks.append(f"{column}: taken for who is in an image; whoever is in several is in one split alone")
            continue
        entry, remark = _variable(values)
        if entry is not None:
            name = _name(column, draft.variables)
            draft.variables[name] = entry
            if name != column:
                draft.columns[name] = column
        if remark:
            draft.remarks.append(f"{column}: {remark}")
    return draft


def _variable(values: Sequence[str]) -> tuple[dict[str, object] | None, str]:
    """(what the card says of a column, what must be looked at); nothing for what is no variable."""
    different = sorted(set(values))
    if len(different) < 2:
        return None, "left out, it is the same in every row"
    if "" in different:
        return None, f"left out, {sum(value == '' for value in values)} of {len(values)} rows say nothing"
    if {value.lower() for value in different} <= _YES_NO:
        return {"kind": "binary"}, ""
    numbers = {value: number for value in different if (number := _number(value)) is not None}
    if len(numbers) == len(different):
        return _quantity(numbers)
    if len(different) > MOST:
        return (
            None,
            f"left out, it has {len(different)} different texts; if it says who is in an image: group under columns",
        )
    return {"kind": "categorical", "classes": different}, ""


def _quantity(numbers: Mapping[str, float]) -> tuple[dict[str, object] | None, str]:
    """Of a column of numbers, as they are written."""
    low, high = min(numbers.values()), max(numbers.values())
    if low == high:
        return None, "left out, it is the same in every row"
    whole = all(number == int(number) for number in numbers.values())
    if whole and len(set(numbers.values())) == len(numbers) <= FEW:
        classes = sorted(numbers, key=lambda text: numbers[text])
        told = f"{len(classes)} whole numbers, taken for classes; ordinal, or continuous with a range?"
        return {"kind": "categorical", "classes": classes}, told
    entry: dict[str, object] = {"kind": "continuous", "range": list(_around(low, high)), "unit": ""}
    return entry, "give its unit, and the range that it can have"


def _around(low: float, high: float) -> tuple[float, float]:
    """A round range that holds two numbers.

    >>> _around(0.31, 9.7), _around(52, 91)
    ((0, 10), (50, 100))
    """
    step = 10 ** math.floor(math.log10(high - low))
    ends = (math.floor(low / step) * step, math.ceil(high / step) * step)
    return tuple(int(end) if end == int(end) else round(end, 10) for end in ends)  # type: ignore[return-value]


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _name(column: str, taken: Mapping[str, object]) -> str:
    """A column's name as a variable may have it, of which there is none yet."""
    plain = re.sub(r"[^A-Za-z0-9_-]+", "_", column).strip("_-")[:56] or "column"
    names = (plain if not number else f"{plain}_{number + 1}" for number in count())
    return next(name for name in names if name not in taken and name not in RESERVED)


def _shape(image: Path) -> list[int]:
    import PIL.Image

    try:
        with PIL.Image.open(image) as picture:
            return [1 if picture.mode in ("L", "1") else 3, picture.height, picture.width]
    except OSError as error:
        raise DataError(f"{image} cannot be read as an image ({error}).") from error


def _text(name: str, csv: Path, images: Path, *, home: Path, draft: Draft, shape: list[int]) -> str:
    """The card, with what is to be filled in as remarks."""
    table: dict[str, object] = {"csv": csv.name, "images": os.path.relpath(images.resolve(), home)}
    table |= {"columns": draft.columns} if draft.columns else {}
    image = {"kind": "image", "shape": shape, "parents": list(draft.variables), "intervenable": False}
    card: dict[str, object] = {
        "name": name,
        "title": name,
        "description": "(say what is in the images)",
        "reader": "table",
        "variables": {**{one: {**entry, "parents": []} for one, entry in draft.variables.items()}, "image": image},
        "default_source": "mine",
    }
    card |= {"group": _name(draft.columns["group"], {})} if "group" in draft.columns else {}
    card["sources"] = {
        "mine": {"embedded": False, "description": "(say what these are)", "licence": "(say it)", "table": table}
    }
    remarks = [
        "A draft. Say who causes whom: `parents: [...]` of every attribute; the graph must have no cycle.",
        *draft.remarks,
    ]
    text = yaml.safe_dump(card, sort_keys=False, default_flow_style=None, width=110, allow_unicode=True)
    return "".join(f"# {one_line(remark)}\n" for remark in remarks) + text
