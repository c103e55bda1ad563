"""The scores behind a record as totals per independent unit: enough for paired comparisons, and small. Imports no torch.

Beside a record lie the scores of every sample (`samples.parquet`, some megabytes) and their totals per cluster
(`totals.safetensors`, some hundred kilobytes), which are what every interval and test is made of. Where there are more clusters
than :data:`MOST`, neighbours are put together: unions of independent units are independent units.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from counterbench.errors import RecordError
from counterbench.files import atomic
from counterbench.records import SAMPLES, TOTALS
from counterbench.statistics import Ratios, cluster_totals

MOST = 256
"""Units in a file of totals."""
BY = ("metric", "quantity", "intervened", "measured", "cycles", "space")
Key = tuple[str, str, str, str, int, str]


@dataclass(frozen=True)
class Totals:
    """Totals of every number of a record.

    Args:
        units: (G,), numbers of the clusters, ascending.
        numbers: number -> its totals per cluster, (G, 1).
        merged: whether clusters were put together.
    """

    units: np.ndarray
    numbers: Mapping[Key, Ratios]
    merged: bool


def of_samples(path: Path, units: np.ndarray | None = None, merge: bool = False) -> Totals:
    """Totals of the scores per sample in a file.

    Args:
        path: `samples.parquet`.
        units: all clusters there are, ascending; None for those in the file.
        merge: put clusters together as in a file of totals.

    Raises:
        RecordError: if it is missing or damaged.
    """
    return of_table(_table(path), units, merge)


def of_table(table: Any, units: np.ndarray | None = None, merge: bool = False) -> Totals:
    """The same of scores in memory, a pyarrow table."""
    group = table["group"].to_numpy()
    units = np.unique(group) if units is None else units
    place = np.searchsorted(units, group)
    if merge and len(units) > MOST:
        place, count = place * MOST // len(units), MOST
    else:
        count = len(units)
    return Totals(np.arange(count) if merge else units, _sums(table, place, count), merge)


def units_of(path: Path) -> np.ndarray:
    """The clusters in a file of scores per sample, ascending."""
    units: np.ndarray = np.unique(_table(path, ["group"])["group"].to_numpy())
    return units


def read(record: Path, merge: bool = False) -> Totals:
    """Totals of a record: from the scores per sample beside it, else from its file of totals.

    Args:
        record: the record's file.
        merge: as in a file of totals, so that both kinds can be compared.

    Raises:
        RecordError: if there is neither, or it is damaged.
    """
    samples = beside(record, SAMPLES)
    if samples.exists():
        return of_samples(samples, merge=merge)
    return _read(beside(record, TOTALS), samples)


def beside(record: Path, name: str) -> Path:
    """The file `name` of a record: in its folder, or beside `model.json` as `model.<name>`."""
    return record.with_name(name) if record.name == "record.json" else record.with_name(f"{record.stem}.{name}")


def write(totals: Totals, path: Path) -> None:
    """Store totals atomically, in single precision.

    Raises:
        ValueError: for totals of clusters that were not put together.
    """
    from safetensors.numpy import save

    if not totals.merged:
        raise ValueError("only totals of merged clusters are stored")
    keys = sorted(totals.numbers)
    parts = {
        name: np.concatenate([getattr(totals.numbers[key], name) for key in keys], 1).astype(np.float32)
        for name in ("numerator", "denominator")
    }
    with atomic(path) as temporary:
        temporary.write_bytes(save(parts, metadata={"keys": json.dumps(keys), "by": ", ".join(BY)}))


def _read(path: Path, samples: Path) -> Totals:
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        raise RecordError(
            f"Neither {samples} nor {path} is there; a comparison needs the scores per sample, or their totals, beside the record."
        )
    try:
        with safe_open(path, framework="numpy") as stored:
            keys = [tuple(key) for key in json.loads(stored.metadata()["keys"])]
            top, below = (stored.get_tensor(name).astype(np.float64) for name in ("numerator", "denominator"))
        if top.shape != below.shape or top.ndim != 2 or top.shape[1] != len(keys):
            raise ValueError("the table and its names do not fit")
        if not (np.isfinite(top).all() and np.isfinite(below).all()):
            raise ValueError("some totals are no numbers")
        numbers = {key: Ratios(top[:, [k]], below[:, [k]]) for k, key in enumerate(keys)}
    except (SafetensorError, OSError, KeyError, ValueError, TypeError) as error:
        raise RecordError(f"{path} is damaged ({error}); make the record again.") from error
    return Totals(np.arange(len(top)), numbers, True)


def _table(path: Path, columns: Sequence[str] = (*BY, "group", "score", "relative_to")) -> Any:
    import pyarrow
    import pyarrow.parquet

    try:
        return pyarrow.parquet.read_table(path, columns=list(columns))
    except (OSError, pyarrow.ArrowException, KeyError) as error:
        raise RecordError(
            f"{path} is missing or damaged ({error}); a comparison needs the scores per sample beside the record."
        ) from error


def _sums(table: Any, place: np.ndarray, count: int) -> dict[Key, Ratios]:
    """Totals per cluster of every number."""
    coded = [_codes(table[name]) for name in BY]
    score, relative_to = (table[name].to_numpy() for name in ("score", "relative_to"))
    sizes = [len(values) for _, values in coded]
    combined = np.ravel_multi_index([codes for codes, _ in coded], sizes)
    found: dict[Key, Ratios] = {}
    for code in np.unique(combined):
        rows = combined == code
        key = tuple(values[at] for (_, values), at in zip(coded, np.unravel_index(code, sizes), strict=True))
        totals = [cluster_totals(part[rows], place[rows], count)[:, None] for part in (score, relative_to)]
        found[key] = Ratios(*totals)  # type: ignore[index]
    return found


def _codes(column: Any) -> tuple[np.ndarray, list[Any]]:
    """A column as (codes, values)."""
    encoded = column.combine_chunks()
    encoded = encoded if hasattr(encoded, "dictionary") else encoded.dictionary_encode()
    return encoded.indices.to_numpy(zero_copy_only=False), encoded.dictionary.to_pylist()
