"""What a wrong graph of the attributes costs: the same mechanisms trained under several graphs, asked the same questions.

python docs/wrong_graphs.py SWEEP [SWEEP ...]  # folders of finished sweeps with the key `graphs`; writes docs/wrong_graphs.json
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from counterbench.records.record import Record, read_record
from counterbench.storage.files import write_text

RESULT = Path(__file__).with_suffix(".json")
GRAPHS = ("card", "empty", "reversed", "full")
Wanted = tuple[str, str, str, str]
"""Metric, quantity, what is set, what is measured."""


def truth(cause: str) -> Wanted:
    """How near the answers to setting this variable come to the truth."""
    return "truth", "truth_skill", cause, ""


def judged(cause: str, measured: str) -> Wanted:
    """What judges read in the image once the first variable is set."""
    return "effectiveness", "skill", cause, measured


COLUMNS: Mapping[str, Mapping[str, Wanted]] = {
    "morphomnist": {
        "do(thickness): thickness as asked": judged("thickness", "thickness"),
        "do(thickness): intensity follows": judged("thickness", "intensity"),
        "do(thickness): truth skill": truth("thickness"),
        "do(intensity): intensity as asked": judged("intensity", "intensity"),
        "do(intensity): truth skill": truth("intensity"),
    },
    "celeba-complex": {
        "do(male): male as asked": judged("male", "male"),
        "do(male): no_beard follows": judged("male", "no_beard"),
        "do(male): truth skill": truth("male"),
        "do(no_beard): no_beard as asked": judged("no_beard", "no_beard"),
        "do(no_beard): truth skill": truth("no_beard"),
    },
    "adni": {
        "do(age): ventricles follow": judged("age", "ventricular_volume"),
        "do(age): truth skill": truth("age"),
        "do(brain_volume): as asked": judged("brain_volume", "brain_volume"),
        "do(brain_volume): truth skill": truth("brain_volume"),
        "do(ventricular_volume): as asked": judged("ventricular_volume", "ventricular_volume"),
        "do(ventricular_volume): truth skill": truth("ventricular_volume"),
    },
}
"""Dataset -> column -> number, besides the row skill."""


def graph_of(record: Record) -> str:
    """The name of the graph that a model was trained with."""
    return str((record.inputs.recipe or {}).get("name", "")).partition("-graph-")[2] or "card"


def collected(folders: Sequence[Path]) -> dict[str, Any]:
    """Dataset -> graph -> column -> values of all seeds."""
    found: dict[str, Any] = {}
    for path in sorted(path for folder in folders for path in folder.glob("records/*/*/*/*/record.json")):
        record = read_record(path)
        if record.is_baseline:
            continue
        columns = found.setdefault(record.inputs.dataset, {}).setdefault(graph_of(record), {})
        for name, value in _values(record).items():
            columns.setdefault(name, []).append(round(value, 4))
    return found


def _values(record: Record) -> dict[str, float]:
    assert record.row_skill is not None
    known = {(one.metric, one.quantity, one.intervened, one.measured): one.value for one in record.numbers}
    wanted = COLUMNS[record.inputs.dataset]
    return {"row skill": record.row_skill.value, **{name: known[number] for name, number in wanted.items()}}


def shown() -> list[dict[str, Any]]:
    """What the page shows of every dataset: medians over seeds, and their range."""
    stored: Mapping[str, Mapping[str, Mapping[str, list[float]]]] = json.loads(RESULT.read_text("utf-8"))
    return [_table(dataset, stored[dataset]) for dataset in COLUMNS if dataset in stored]


def _table(dataset: str, stored: Mapping[str, Mapping[str, list[float]]]) -> dict[str, Any]:
    columns = ["row skill", *COLUMNS[dataset]]
    rows = [
        {"graph": graph, "cells": [in_words(stored[graph][name]) for name in columns]}
        for graph in GRAPHS
        if graph in stored
    ]
    return {"dataset": dataset, "columns": columns, "rows": rows}


def in_words(values: Sequence[float]) -> str:
    """Their median and range."""
    return f"{median(values):.2f} ({min(values):.2f} to {max(values):.2f})"


if __name__ == "__main__":
    stored = json.loads(RESULT.read_text("utf-8")) if RESULT.exists() else {}
    write_text(
        RESULT,
        json.dumps({**stored, **collected([Path(name) for name in sys.argv[1:]])}, indent=1, sort_keys=True) + "\n",
    )
