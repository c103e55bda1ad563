"""ADNI as a user with access has it: ADNIMERGE.csv, and skull-stripped volumes in MNI space."""

from __future__ import annotations

import csv
import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from counterbench.datasets._cache import cached
from counterbench.datasets._published import folder_of, split_by_hash
from counterbench.datasets.base import Split
from counterbench.errors import DataError
from counterbench.progress import bar
from counterbench.renderers.phantom import SLICES

TABLE = "ADNIMERGE.csv"
COLUMNS = ("PTID", "EXAMDATE", "AGE", "Years_bl", "PTGENDER", "APOE4", "WholeBrain", "Ventricles")
DAYS_APART = 120
"""A scan belongs to the visit of the same subject that is nearest in time, and to none if that is further away."""
SHARES = {"train": 0.65, "validation": 0.1, "judge": 0.1, "test": 0.15}
"""Shares of the subjects."""
FIELD = 180
"""Side of the central part of a slice that is kept, in voxels of 1 mm."""

FINAL = "registered"
"""What the name of the volume to be read begins with, where others lie beside it."""

_SUBJECT = re.compile(r"\d{3}_S_\d{4,}(?!\d)")
_REPEAT = re.compile(r"MPR[^/]*-R|MP-?RAGE[^/]*(REPEAT|_2(?!\d))", re.IGNORECASE)
"""What the series is called that was taken once more on the same day."""
_MISSING = (None, "", "NA", "-4", "-4.0", "Unknown")
_DATE = re.compile(r"(?<!\d)(\d{4})-?(\d{2})-?(\d{2})(?!\d)")
_HOW = f"Give --data-dir, or set COUNTERBENCH_DATA, to the folder that holds {TABLE} and the volumes (docs/adni.md)"


@dataclass(frozen=True)
class Scan:
    """One volume and what is known of the visit."""

    path: Path
    subject: str
    day: date
    values: Mapping[str, float]


@cache
def scans(data_dir: Path | None) -> tuple[list[Scan], list[str]]:
    """(every volume with a complete visit, sorted; sentences about those left out).

    Raises:
        DataError: if the table or the volumes are missing, or none belongs to a visit.
    """
    folder = folder_of("adni", data_dir, TABLE, _HOW)
    visits = _visits(folder / TABLE)
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
        near = min(visits.get(subject, []), key=lambda visit: abs((visit[0] - day).days), default=None)
        if near is None or abs((near[0] - day).days) > DAYS_APART:
            unmatched += 1
            continue
        found.append(Scan(path, subject, day, near[1]))
    found, repeats = _one_each(found)
    notes = []
    if repeats:
        notes.append(f"{repeats} volumes left out: scans repeated on the same day")
    if unnamed:
        notes.append(f"{unnamed} volumes left out: no subject (123_S_4567) and date (2006-04-18) in their path")
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
    """(subject, day) as the path says."""
    subject, days = _SUBJECT.search(str(path)), _DATE.findall(_SUBJECT.sub("", str(path)))
    for numbers in days:
        try:
            day = date(*map(int, numbers))
        except ValueError:
            continue
        if subject and 1990 < day.year < 2100:
            return subject.group(), day
    return None


def _visits(path: Path) -> dict[str, list[tuple[date, dict[str, float]]]]:
    """subject -> (day, values) of every visit in which nothing is missing."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as stream:
            reader = csv.DictReader(stream)
            missing = [name for name in COLUMNS if name not in (reader.fieldnames or ())]
            if missing:
                raise DataError(f"{path} has no column {', '.join(missing)}; it is not the table that ADNI offers.")
            visits: dict[str, list[tuple[date, dict[str, float]]]] = {}
            for number, row in enumerate(reader, 2):
                values = _visit(row, f"{path}, line {number}")
                if values is not None:
                    visits.setdefault(row["PTID"], []).append(values)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path} cannot be read: {error}.") from error
    return visits


def _visit(row: Mapping[str, Any], where: str) -> tuple[date, dict[str, float]] | None:
    if any(row[name] in _MISSING for name in COLUMNS):
        return None
    try:
        values = {
            "apoe": float(int(float(row["APOE4"]))),
            "age": float(row["AGE"]) + float(row["Years_bl"]),
            "sex": {"Male": 1.0, "Female": 0.0}[row["PTGENDER"]],
            "brain_volume": float(row["WholeBrain"]) / 1000,
            "ventricular_volume": float(row["Ventricles"]) / 1000,
        }
        day = date.fromisoformat(row["EXAMDATE"])
    except (ValueError, KeyError) as error:
        raise DataError(f"{where} cannot be understood ({error}).") from None
    if values["apoe"] not in (0, 1, 2):
        raise DataError(f"{where}: APOE4 is {row['APOE4']}; it must be 0, 1 or 2.")
    return day, values


def split_of(subjects: Sequence[str]) -> dict[str, str]:
    """subject -> split, by a hash of its name: adding subjects moves nobody."""
    return {name: split_by_hash(name, SHARES) for name in set(subjects)}


def load(data_dir: Path | None, name: str, side: int) -> Split:
    """One split: slices of every scan of its subjects."""
    everything, _ = scans(data_dir)
    homes = split_of([scan.subject for scan in everything])
    chosen = [scan for scan in everything if homes[scan.subject] == name]
    if not chosen:
        raise DataError(f"The {name} split is empty: {len(homes)} subjects are too few for four splits.")
    digest = hashlib.sha256(f"{side} {FIELD} {SLICES}\n".encode())
    for scan in chosen:
        digest.update(
            f"{scan.path} {scan.path.stat().st_size} {scan.path.stat().st_mtime_ns} {sorted(scan.values.items())}\n".encode()
        )
    return cached(f"adni-{digest.hexdigest()[:16]}", name, lambda: _prepare(chosen, name, side))


def _prepare(chosen: Sequence[Scan], name: str, side: int) -> Split:
    number = {subject: position for position, subject in enumerate(sorted({scan.subject for scan in chosen}))}
    pictures = []
    with bar(len(chosen), f"Reading adni ({name})") as advance:
        for scan in chosen:
            pictures.append(slices(scan.path, side))
            advance(1)
    repeated = {
        key: torch.tensor([scan.values[key] for scan in chosen]).repeat_interleave(SLICES) for key in chosen[0].values
    }
    values: dict[str, Tensor] = {
        key: value.long() if key in ("apoe", "sex") else value.float() for key, value in repeated.items()
    }
    values["slice"] = torch.arange(SLICES).repeat(len(chosen))
    group = torch.tensor([number[scan.subject] for scan in chosen]).repeat_interleave(SLICES)
    return Split(name, {**values, "image": torch.cat(pictures)}, group)


def slices(path: Path, side: int) -> Tensor:
    """The central axial slices of a volume, low to high: (10, 1, side, side), uint8.

    The central 180 x 180 mm, nose up, reduced with antialiasing; the brightest 0.5 % of the brain is white.

    Raises:
        DataError: for a volume that cannot be read or is too small.
    """
    try:
        import nibabel
    except ImportError:
        raise DataError("Reading NIfTI needs nibabel: pip install 'counterbench[adni]'.") from None
    try:
        image = nibabel.as_closest_canonical(nibabel.load(path))
        volume = np.asarray(image.dataobj, dtype=np.float32)
        voxel = tuple(float(size) for size in image.header.get_zooms()[:3])
    except Exception as error:  # nibabel raises a dozen kinds for damaged files
        raise DataError(f"{path} is no volume that can be read ({error}); fetch or prepare it again.") from error
    if volume.ndim != 3 or volume.shape[2] < SLICES or not np.isfinite(volume).all():
        raise DataError(f"{path} is {volume.shape}; expected three axes, at least {SLICES} slices, and finite voxels.")
    if any(abs(size - 1) > 0.05 for size in voxel):
        raise DataError(
            f"{path} has voxels of {' x '.join(f'{s:.2f}' for s in voxel)} mm; register it to MNI space, 1 mm (docs/adni.md)."
        )
    first = (volume.shape[2] - SLICES) // 2
    picked = torch.from_numpy(volume[:, :, first : first + SLICES].copy()).permute(2, 1, 0).flip(1)
    brain = volume[volume > 0]
    white = float(np.percentile(brain, 99.5)) if brain.size else 1.0
    square = _central(picked / white)[:, None]
    small = functional.interpolate(square, (side, side), mode="bilinear", antialias=True, align_corners=False)
    return (255 * small).round().clamp(0, 255).to(torch.uint8)


def _central(slices: Tensor) -> Tensor:
    """Cut or pad with black to FIELD x FIELD."""
    edges = []
    for length in (slices.shape[2], slices.shape[1]):
        before = (FIELD - length) // 2
        edges += [before, FIELD - length - before]
    return functional.pad(slices, edges)
