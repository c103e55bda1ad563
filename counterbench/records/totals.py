"""The scores behind a record as totals per independent unit: enough for paired comparisons, and small. Imports no torch.

Beside a record lie the scores of every sample (`samples.parquet`, some megabytes) and their totals per cluster
(`totals.safetensors`, some hundred kilobytes), which are what every interval and test is made of. Where there are more clusters
than :data:`MOST`, neighbours are put together: unions of independent units are independent units.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from counterbench.errors import RecordError
from counterbench.records.intervals import Ratios, cluster_totals
from counterbench.records.record import SAMPLES, TOTALS
from counterbench.storage.files import atomic, require_regular

MOST = 256
"""Units in a file of totals."""
BY = ("metric", "quantity", "intervened", "measured", "cycles", "space")
_SEEDS = ("seed_numerator", "seed_denominator")
"""In a file of totals of several trainings: those of each training over all clusters."""
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


def of_samples(path: Path, units: np.ndarray | None = None, *, merge: bool = False) -> Totals:
    """Totals of the scores per sample in a file.

    Args:
        path: `samples.parquet`.
        units: all clusters there are, ascending; None for those in the file.
        merge: put clusters together as in a file of totals.

    Raises:
        RecordError: if it is missing or damaged.
    """
    return of_table(table(path, ("group", "score", "relative_to")), units, merge=merge)


def of_table(table: Any, units: np.ndarray | None = None, *, merge: bool = False) -> Totals:
    """The same of scores in memory, a pyarrow table."""
    group = table["group"].to_numpy()
    units = np.unique(group) if units is None else units
    place, count = np.searchsorted(units, group), len(units)
    if merge:
        place, count = put_together(place, count)
    return Totals(np.arange(count) if merge else units, _sums(table, place, count), merge)


def put_together(place: np.ndarray, count: int) -> tuple[np.ndarray, int]:
    """(number of the unit, how many units there are), after neighbours were put together where there are too many.

    >>> place, count = put_together(np.array([0, 511]), 512)
    >>> place.tolist(), count
    ([0, 255], 256)
    """
    return (place * MOST // count, MOST) if count > MOST else (place, count)


def units_of(path: Path) -> np.ndarray:
    """The clusters in a file of scores per sample, ascending."""
    units: np.ndarray = np.unique(table(path, ("group",))["group"].to_numpy())
    return units


def scores_of(path: Path, metrics: Collection[str]) -> dict[Key, tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Number -> (rows, scores, what they are relative to), of some metrics, from the scores per sample in a file.

    Raises:
        RecordError: if it is missing or damaged.
    """
    scores = table(path, ("row", "score", "relative_to"))
    numbers, keys = _numbered(scores)
    columns = [scores[name].to_numpy() for name in ("row", "score", "relative_to")]
    found = {key: numbers == number for number, key in keys.items() if key[0] in metrics}
    return {key: (columns[0][lines], columns[1][lines], columns[2][lines]) for key, lines in found.items()}


def wrong_rows(record: Path, test_images: int, *, of_sets: Collection[Key] = ()) -> Iterator[str]:
    """What cannot be in the scores per sample beside a record, if there are any: rows that do not exist, or twice in one number.

    Args:
        record: the record's file.
        test_images: how many rows the test split has.
        of_sets: numbers in which an image may have several answers: those of whole sets, and costs.

    Raises:
        RecordError: if the scores are damaged.
    """
    samples = beside(record, SAMPLES)
    if not samples.exists():
        return
    scored = table(samples, ("row",))
    rows = scored["row"].to_numpy()
    if len(rows) and not 0 <= rows.min() <= rows.max() < test_images:
        yield f"{samples.name} scores rows {rows.min()} to {rows.max()}; the test split has {test_images}"
        return
    numbers, keys = _numbered(scored)
    once = ~np.isin(numbers, [code for code, key in keys.items() if key in of_sets])
    _, times = np.unique(numbers[once] * test_images + rows[once], return_counts=True)
    if (times > 1).any():
        yield f"{samples.name} scores {(times > 1).sum():,} samples more than once"


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
    whole = Ratios.side_by_side([totals.numbers[key] for key in keys])
    parts = {"numerator": whole.numerator.astype(np.float32), "denominator": whole.denominator.astype(np.float32)}
    if whole.seeds is not None:
        parts |= dict(zip(_SEEDS, whole.seeds, strict=True))
    with atomic(path) as temporary:
        temporary.write_bytes(save(parts, metadata={"keys": json.dumps(keys), "by": ", ".join(BY)}))


def _read(path: Path, samples: Path) -> Totals:
    from safetensors import SafetensorError, safe_open

    if not path.exists():
        raise RecordError(
            f"Neither {samples} nor {path} is there; a comparison needs the scores per sample, or their totals, beside the record."
        )
    try:
        require_regular(path)
        with safe_open(path, framework="numpy") as stored:
            keys = [tuple(key) for key in json.loads(stored.metadata()["keys"])]
            top, below = (stored.get_tensor(name).astype(np.float64) for name in ("numerator", "denominator"))
            seeds = [stored.get_tensor(name) for name in _SEEDS] if set(_SEEDS) <= set(stored.keys()) else []
        if top.shape != below.shape or top.ndim != 2 or top.shape[1] != len(keys):
            raise ValueError("the table and its names do not fit")
        if any(part.shape != (len(seeds[0]), len(keys)) or len(part) < 2 for part in seeds):
            raise ValueError("the table of the trainings and its names do not fit")
        if not all(np.isfinite(part).all() for part in (top, below, *seeds)):
            raise ValueError("some totals are no numbers")
        numbers = {
            key: Ratios(top[:, [k]], below[:, [k]], (seeds[0][:, [k]], seeds[1][:, [k]]) if seeds else None)
            for k, key in enumerate(keys)
        }
        if len(numbers) < len(keys):
            raise ValueError("a number is there twice")
    except (SafetensorError, OSError, KeyError, ValueError, TypeError, RecursionError) as error:
        raise RecordError(f"{path} is damaged ({error}); make the record again.") from error
    return Totals(np.arange(len(top)), numbers, True)


def table(path: Path, columns: Sequence[str]) -> Any:
    """Scores per sample as a pyarrow table: what names their numbers, and some more columns.

    Args:
        path: `samples.parquet`.
        columns: of row, group, score, relative_to.

    Raises:
        RecordError: if it is missing, damaged, or a column holds something else than it should.
    """
    import pyarrow
    import pyarrow.parquet

    try:
        require_regular(path, None)
        if lacking := [name for name in (*BY, *columns) if name not in pyarrow.parquet.read_schema(path).names]:
            raise ValueError(f"it lacks the column {lacking[0]!r}")
        scores = pyarrow.parquet.read_table(path, columns=[*BY, *columns])
        _require_types(scores.select([*BY, *columns]))
    except (OSError, pyarrow.ArrowException, KeyError, ValueError) as error:
        raise RecordError(
            f"{path} is missing or damaged ({error}); a comparison needs the scores per sample beside the record."
        ) from error
    return scores


def _require_types(scores: Any) -> None:
    """Raise ValueError unless names are words, places whole numbers and scores finite numbers, and none is missing."""
    from pyarrow import types

    for name in scores.column_names:
        column, kind = scores[name], scores[name].type
        if name in ("score", "relative_to"):
            fits, wanted = types.is_floating(kind), "numbers"
        elif name in ("cycles", "row", "group"):
            fits, wanted = types.is_integer(kind), "whole numbers"
        else:
            kind = kind.value_type if types.is_dictionary(kind) else kind
            fits, wanted = types.is_string(kind) or types.is_large_string(kind), "words"
        if not fits:
            raise ValueError(f"the column {name!r} holds {str(column.type)[:80]}; expected {wanted}")
        if column.null_count or (types.is_floating(kind) and not np.isfinite(column.to_numpy()).all()):
            raise ValueError(f"the column {name!r} lacks values in places; expected {wanted} everywhere")


def _numbered(table: Any) -> tuple[np.ndarray, dict[int, Key]]:
    """(which number each line is about, that number's key)."""
    coded = [_codes(table[name]) for name in BY]
    sizes = [len(values) for _, values in coded]
    combined: np.ndarray = np.ravel_multi_index([codes for codes, _ in coded], sizes)
    keys = {}
    for code in np.unique(combined):
        places = np.unravel_index(code, sizes)
        keys[int(code)] = tuple(values[at] for (_, values), at in zip(coded, places, strict=True))
    return combined, keys


def _sums(table: Any, place: np.ndarray, count: int) -> dict[Key, Ratios]:
    """Totals per cluster of every number."""
    combined, keys = _numbered(table)
    score, relative_to = (table[name].to_numpy() for name in ("score", "relative_to"))
    sums: dict[Key, Ratios] = {}
    for code, key in keys.items():
        rows = combined == code
        totals = [cluster_totals(part[rows], place[rows], count)[:, None] for part in (score, relative_to)]
        sums[key] = Ratios(totals[0], totals[1])
    return sums


def _codes(column: Any) -> tuple[np.ndarray, list[Any]]:
    """A column as (codes, values)."""
    encoded = column.combine_chunks()
    encoded = encoded if hasattr(encoded, "dictionary") else encoded.dictionary_encode()
    return encoded.indices.to_numpy(zero_copy_only=False), encoded.dictionary.to_pylist()
