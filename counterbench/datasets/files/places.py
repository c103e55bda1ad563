"""Shared by readers of published files: where the files lie, and which individual belongs to which split."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from itertools import accumulate
from pathlib import Path

from counterbench.errors import DataError


def folder_of(source: str, data_dir: Path | None, file: str, how: str) -> Path:
    """The folder that holds `file`: the data folder itself, or the one called like the source in it.

    Raises:
        DataError: ending with `how`, what to do about it.
    """
    if data_dir is None:
        raise DataError(f"The source {source!r} needs the published files. {how}.")
    for folder in (data_dir, data_dir / source):
        if (folder / file).is_file():
            return folder
    raise DataError(f"Neither {data_dir} nor {data_dir / source} holds {file}. {how}.")


def split_by_hash(label: str, shares: Mapping[str, float]) -> str:
    """The split of a group by a hash of its name: new groups move no old ones.

    Args:
        label: of the group.
        shares: split -> share of the groups; they add up to 1.
    """
    place = int(hashlib.sha256(label.encode()).hexdigest()[:8], 16) / 16**8
    edges = zip(shares, accumulate(shares.values()), strict=True)
    return next((name for name, edge in edges if place < edge), list(shares)[-1])
