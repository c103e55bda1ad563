"""ADNI as a user with access has it: ADNIMERGE.csv, and skull-stripped volumes in MNI space."""

from __future__ import annotations

import csv
import hashlib
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from counterbench.datasets.files.places import folder_of, split_by_hash
from counterbench.datasets.files.volumes import CORNER, FIELD, head, slices
from counterbench.errors import DataError
from counterbench.processes.phantom import SLICES
from counterbench.processes.template import CENTRE, CUBE
from counterbench.runtime.progress import bar
from counterbench.runtime.words import counted

TABLE = "ADNIMERGE.csv"
COLUMNS = ("PTID", "EXAMDATE", "AGE", "Years_bl", "PTGENDER", "APOE4", "WholeBrain", "Ventricles")
DAYS_APART = 120
"""A scan belongs to the visit of the same subject that is nearest in time, and to none if that is further away."""
SHARES = {"train": 0.65, "validation": 0.1, "judge": 0.1, "test": 0.15}
"""Shares of the subjects."""
FINAL = "registered"
"""What the name of the volume to be read begins with, where others lie beside it."""

_SUBJECT = re.compile(r"\d{3}_S_\d{4,}(?!\d)")
_REPEAT = re.compile(r"MPR[^/]*-R|MP-?RAGE[^/]*(REPEAT|_2(?!\d))", re.IGNORECASE)
"""What the series is called that was taken once more on the same day."""
_MISSING = {"", "na", "n/a", "#n/a", "nan", "null", "none", "unknown", "."}
_CODE = -4
"""What ADNI writes for a number that is missing."""
_DATE = re.compile(r"(?<!\d)(\d{4})-?(\d{2})-?(\d{2})(?!\d)")
_ARCHIVED = re.compile(r"\d{4}-\d{2}-\d{2}_\d{2}_\d{2}_\d{2}(\.\d+)?")
"""How the archive calls the folder of a scan: its day and its time."""
_HOW = f"Give --data-dir, or set COUNTERBENCH_DATA, to the folder that holds {TABLE} and the volumes (docs/adni.md)"


Ranges = tuple[tuple[str, float, float], ...]
"""(variable, lowest, highest value that can be)."""


@dataclass(frozen=True)
class Visit:
    """One line of the table: the values in the units of the card, and the years since the first visit."""

    day: date
    line: int
    years: float
    values: Mapping[str, float]


@dataclass(frozen=True)
class Scan:
    """One volume and what is known of the visit."""

    path: Path
    subject: str
    day: date
    values: Mapping[str, float]


def scans(data_dir: Path | None, ranges: Ranges = ()) -> tuple[list[Scan], list[str]]:
    """(every volume with a complete visit, sorted; sentences about visits and volumes left out).

    Args:
        data_dir: a folder that holds everything, or has a folder `adni` that does.
        ranges: visits with other values are left out.

    Raises:
        DataError: if the table or the volumes are missing, or none belongs to a visit.
    """
    folder = folder_of("adni", data_dir, TABLE, _HOW)
    visits, notes = _plausible(_visits(folder / TABLE), ranges)
    files = sorted(path for path in folder.rglob("*.nii*") if path.name.endswith((".nii", ".nii.gz")))
    if not files:
        raise DataError(f"{folder} holds no NIfTI volumes (*.nii, *.nii.gz). {_HOW}.")
    found, unnamed, unmatched = [], 0, 0
    for path in files:
        named = _named(path.relative_to(folder))
        if named is None:
            unnamed += 1
            continue
        subject, day = named
        near = min(visits.get(subject, []), key=lambda visit: abs((visit.day - day).days), default=None)
        if near is None or abs((near.day - day).days) > DAYS_APART:
            unmatched += 1
            continue
        found.append(Scan(path, subject, day, near.values))
    found, repeats = _one_each(found)
    if repeats:
        notes.append(f"{repeats} volumes left out: scans repeated on the same day")
    if unnamed:
        notes.append(
            f"{unnamed} volumes left out: no one subject (123_S_4567) and, below it, one day (2006-04-18) in their path"
        )
    if unmatched:
        notes.append(f"{unmatched} volumes left out: no complete visit within {DAYS_APART} days")
    if not found:
        raise DataError(f"None of the {len(files)} volumes in {folder} can be used: {'; '.join(notes)}. {_HOW}.")
    return found, notes


def _one_each(found: Sequence[Scan]) -> tuple[list[Scan], int]:
    """(one volume per subject and day, how many repeated scans were left out).

    Preparing a scan leaves others beside it, which are not registered; and subjects were often scanned twice on a day, of which the
    first scan is taken.
    """
    groups: dict[tuple[str, date], dict[Path, list[Scan]]] = {}
    for scan in found:
        groups.setdefault((scan.subject, scan.day), {}).setdefault(scan.path.parent, []).append(scan)
    kept: list[Scan] = []
    repeats = 0
    for folders in groups.values():
        scans = [_final(several) for several in folders.values()]
        scans.sort(key=lambda scan: (_REPEAT.search(str(scan.path)) is not None, str(scan.path)))
        kept.append(scans[0])
        repeats += len(scans) - 1
    return kept, repeats


def _final(several: Sequence[Scan]) -> Scan:
    """The volume to be read among those in one folder."""
    final = [scan for scan in several if scan.path.name.startswith(FINAL)] if len(several) > 1 else several
    if len(final) != 1:
        names = ", ".join(scan.path.name for scan in several)
        raise DataError(
            f"Subject {several[0].subject} has {len(several)} volumes of {several[0].day} in {several[0].path.parent} ({names}), and "
            f"{len(final)} of them are called {FINAL}*: leave one per scan, or call the registered one so."
        )
    return final[0]


def _named(path: Path) -> tuple[str, date] | None:
    """(subject, day) as the path says: the archive's folder of the scan, else the one day in the names from the subject on.

    Days above the subject are not those of a scan: whole downloads are called like that.
    """
    named = [number for number, part in enumerate(path.parts) if _SUBJECT.search(part)]
    subjects = set(_SUBJECT.findall(str(path)))
    if len(subjects) != 1:
        return None
    parts = path.parts[named[0] :]
    archived = [part for part in parts if _ARCHIVED.fullmatch(part)]
    days = {day for part in archived or parts for day in _days(_SUBJECT.sub("", part))}
    return (subjects.pop(), days.pop()) if len(days) == 1 else None


def _days(text: str) -> Iterator[date]:
    for numbers in _DATE.findall(text):
        with suppress(ValueError):
            day = date(*map(int, numbers))
            if 1990 < day.year < 2100:
                yield day


def _visits(path: Path) -> dict[str, list[Visit]]:
    """subject -> every visit in which nothing is missing."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as stream:
            reader = csv.DictReader(stream)
            missing = [name for name in COLUMNS if name not in (reader.fieldnames or ())]
            if missing:
                raise DataError(f"{path} has no column {', '.join(missing)}; it is not the table that ADNI offers.")
            visits: dict[str, list[Visit]] = {}
            for row in reader:
                if not any(_is_missing(row[name]) for name in COLUMNS):
                    visits.setdefault(row["PTID"], []).append(_visit(row, path, reader.line_num))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path} cannot be read: {error}.") from error
    return visits


def _is_missing(entry: str | None) -> bool:
    if entry is None or entry.strip().lower() in _MISSING:
        return True
    try:
        return math.isnan(float(entry)) or float(entry) == _CODE
    except ValueError:
        return False


def _visit(row: Mapping[str, Any], path: Path, line: int) -> Visit:
    try:
        years = float(row["Years_bl"])
        values = {
            "apoe": float(row["APOE4"]),
            "age": float(row["AGE"]) + years,
            "sex": {"Male": 1.0, "Female": 0.0}[row["PTGENDER"]],
            "brain_volume": float(row["WholeBrain"]) / 1000,
            "ventricular_volume": float(row["Ventricles"]) / 1000,
        }
        return Visit(date.fromisoformat(row["EXAMDATE"]), line, years, values)
    except (ValueError, KeyError) as error:
        raise DataError(f"{path}, line {line} cannot be understood ({error}).") from None


def _plausible(visits: Mapping[str, Sequence[Visit]], ranges: Ranges) -> tuple[dict[str, list[Visit]], list[str]]:
    """(visits whose values can be; sentences about the others)."""
    kept: dict[str, list[Visit]] = {}
    impossible: dict[str, list[str]] = {}
    for subject, several in visits.items():
        for visit in several:
            odd = _impossible(visit, ranges)
            if odd is None:
                kept.setdefault(subject, []).append(visit)
            else:
                impossible.setdefault(odd[0], []).append(f"{odd[1]:g} in line {visit.line}")
    notes = [
        f"{counted(len(those), 'visits')} of {TABLE} left out: {what} ({those[0]})"
        for what, those in impossible.items()
    ]
    return kept, notes


def _impossible(visit: Visit, ranges: Ranges) -> tuple[str, float] | None:
    """(what cannot be about a visit, the value); None if everything can."""
    if visit.values["apoe"] not in (0, 1, 2):
        return "APOE4 is not 0, 1 or 2", visit.values["apoe"]
    if visit.years < 0:
        return "Years_bl is negative", visit.years
    for name, low, high in ranges:
        if not low <= visit.values[name] <= high:
            return f"{name} is not within {low:g} to {high:g}", visit.values[name]
    return None


def split_of(subjects: Sequence[str]) -> dict[str, str]:
    """subject -> split, by a hash of its name: adding subjects moves nobody."""
    return {name: split_by_hash(name, SHARES) for name in set(subjects)}


def of_split(scans: Sequence[Scan], notes: Sequence[str], split: str) -> list[Scan]:
    """The scans of the subjects of a split.

    Args:
        scans, notes: as :func:`scans` returns them.
        split: its name.

    Raises:
        DataError: if there are none.
    """
    homes = split_of([scan.subject for scan in scans])
    chosen = [scan for scan in scans if homes[scan.subject] == split]
    if not chosen:
        left_out = "".join(f" {note}." for note in notes)
        raise DataError(
            f"The {split} split is empty: {counted(len(homes), 'subjects', verb='are')} too few for four splits.{left_out}"
        )
    return chosen


def values_of(scans: Sequence[Scan], slices: int = SLICES) -> tuple[dict[str, Tensor], Tensor]:
    """(natural values by variable, number of the subject), one entry per slice: (slices N,) each; one per scan for a slice of each."""
    number = {subject: position for position, subject in enumerate(sorted({scan.subject for scan in scans}))}
    repeated = {
        key: torch.tensor([scan.values[key] for scan in scans]).repeat_interleave(slices) for key in scans[0].values
    }
    values: dict[str, Tensor] = {
        key: value.long() if key in ("apoe", "sex") else value.float() for key, value in repeated.items()
    }
    values["slice"] = torch.arange(slices).repeat(len(scans))
    return values, torch.tensor([number[scan.subject] for scan in scans]).repeat_interleave(slices)


def key(scans: Sequence[Scan], spatial: Sequence[int]) -> str:
    """Follows from the files of the scans, when they were written, their visits and the size of the pictures."""
    of_pictures = (
        f"{spatial[-1]} {FIELD} {CORNER} {SLICES}" if len(spatial) == 2 else f"head {spatial[-1]} {CUBE} {CENTRE}"
    )
    digest = hashlib.sha256(f"{of_pictures}\n".encode())
    for scan in scans:
        status = scan.path.stat()
        digest.update(f"{scan.path} {status.st_size} {status.st_mtime_ns} {sorted(scan.values.items())}\n".encode())
    return f"adni-{digest.hexdigest()[:16]}"


def decode(files: Sequence[Path], spatial: Sequence[int], split: str) -> Tensor:
    """(10 N, 1, side, side), uint8: the slices of N volumes; or (N, 1, side, side, side), these volumes.

    Raises:
        DataError: see :func:`counterbench.datasets.files.volumes.slices`.
    """
    read = slices if len(spatial) == 2 else head
    pictures = []
    with bar(len(files), f"Reading adni ({split})") as advance:
        for path in files:
            pictures.append(read(path, spatial[-1]))
            advance(1)
    return torch.cat(pictures)
