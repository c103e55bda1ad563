"""Scores of the baselines in an exam, stored as safetensors, so that the next model of the same exam need not compute them again."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from counterbench.metrics.base import Cell, Column
from counterbench.storage.files import warn_of_cache
from counterbench.storage.tensors import read_tensors, write_tensors

_KEPT = 120
"""Results of baselines that are kept in the cache: those of the last twenty exams."""


def save_columns(path: Path, columns: Sequence[Column]) -> bool:
    """Write columns to the cache, atomically; returns whether they lie there now."""
    tensors: dict[str, Tensor] = {}
    for number, column in enumerate(columns):
        tensors[f"{number}/index"] = column.index.to(torch.int32)
        tensors[f"{number}/value"] = column.value
        if not (column.reference == 1).all():
            tensors[f"{number}/reference"] = column.reference
    described = [{"metric": column.metric, "cell": asdict(column.cell)} for column in columns]
    return write_tensors(path, tensors, metadata={"columns": json.dumps(described)}, optional=True)


def load_columns(path: Path) -> list[Column] | None:
    """What :func:`save_columns` has written, or None if it is not there or not intact."""
    stored = read_tensors(path)
    if stored is None:
        return None
    tensors, metadata = stored
    columns = []
    try:
        for number, entry in enumerate(json.loads(metadata["columns"])):
            value, index = tensors[f"{number}/value"], tensors[f"{number}/index"].long()
            reference = tensors.get(f"{number}/reference")
            # JSON has lists where a cell has tuples.
            fields: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in entry["cell"].items()}
            cell = Cell(**fields)
            columns.append(Column(entry["metric"], cell, index, value, reference=reference))
    except (KeyError, ValueError, TypeError):
        return None
    return columns


def prune(folder: Path, kept: int = _KEPT) -> None:
    """Leave only the folders in `folder` that were used last."""
    try:
        folders = sorted((path for path in folder.iterdir() if path.is_dir()), key=lambda path: path.stat().st_mtime)
    except OSError:
        return
    for path in folders[:-kept]:
        shutil.rmtree(path, ignore_errors=True)


def touch(folder: Path) -> bool:
    """Make a folder of the cache, or mark it as used now; False if it cannot be written."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        folder.touch()
    except OSError as error:
        warn_of_cache(error)
        return False
    return True
