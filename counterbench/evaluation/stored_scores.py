"""Scores per sample behind a record, and what its numbers of whole sets come from, as they lie on disk."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from counterbench.errors import RecordError
from counterbench.metrics.base import Cell, Column
from counterbench.records import totals
from counterbench.records.record import SAMPLES, Number, Record
from counterbench.storage.tensors import read_tensors

SETS = "sets.safetensors"
"""File of an evaluation: features and other values behind numbers of whole sets."""


@dataclass(frozen=True)
class Scores:
    """What a row of a table scored.

    Args:
        columns: values per sample.
        sets: "metric/state" -> what numbers of whole sets come from; empty where it was not kept.
    """

    columns: list[Column]
    sets: Mapping[str, Tensor] = field(default_factory=dict)


def of_record(path: Path, record: Record) -> Scores:
    """Scores of a record's model, from the files beside it.

    Args:
        path: the record's file.
        record: the record.

    Raises:
        RecordError: if the scores per sample are missing or damaged.
    """
    columns = columns_of(path, record, {number.metric for number in record.numbers})
    return Scores(columns, read_sets(path.parent))


def columns_of(
    path: Path, record: Record, metrics: Collection[str], *, cell_of: Callable[[Number], Cell] | None = None
) -> list[Column]:
    """Values per sample behind the numbers of some metrics.

    Args:
        path: the record's file.
        record: the record.
        metrics: names.
        cell_of: what a number is about; None for what the record says of it.

    Raises:
        RecordError: if they are missing or damaged.
    """
    numbers = [number for number in record.numbers if number.metric in metrics]
    scores = totals.scores_of(totals.beside(path, SAMPLES), metrics) if numbers else {}
    columns = []
    for number in numbers:
        if number.key not in scores:
            raise RecordError(f"The scores beside {path} lack {number.metric} {number.quantity}; restore {SAMPLES}.")
        rows, score, relative_to = map(torch.from_numpy, scores[number.key])
        cell = (cell_of or declared_cell)(number)
        columns.append(Column(number.metric, cell, rows, score, reference=relative_to, no_rank=number.no_rank))
    return columns


def declared_cell(number: Number) -> Cell:
    """What a number is about, as far as its record says it."""
    return Cell(**{name: getattr(number, name) for name in Cell.__dataclass_fields__ if name in Number.model_fields})


def read_sets(folder: Path) -> dict[str, Tensor]:
    """What numbers of whole sets come from, as it lies in a folder; nothing where it does not, or is damaged."""
    stored = read_tensors(folder / SETS)
    return {} if stored is None else stored[0]
