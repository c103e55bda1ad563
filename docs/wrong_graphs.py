"""What a wrong graph of the attributes costs: the same mechanisms trained under several graphs, asked the same questions.

python docs/wrong_graphs.py SWEEP  # the folder of a finished sweep with the key `graphs`; writes docs/wrong_graphs.json
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
GRAPHS = {
    "card": "card: thickness -> intensity",
    "empty": "empty",
    "reversed": "reversed: intensity -> thickness",
    "full": "full",
}
NUMBERS = {
    "row skill": None,
    "do(thickness): thickness as asked": ("effectiveness", "skill", "thickness", "thickness"),
    "do(thickness): intensity follows": ("effectiveness", "skill", "thickness", "intensity"),
    "do(thickness): truth skill": ("truth", "truth_skill", "thickness", ""),
    "do(intensity): intensity as asked": ("effectiveness", "skill", "intensity", "intensity"),
    "do(intensity): truth skill": ("truth", "truth_skill", "intensity", ""),
}
"""Column -> (metric, quantity, what is set, what is measured)."""


def graph_of(record: Record) -> str:
    """The name of the graph that a model was trained with."""
    return str((record.inputs.recipe or {}).get("name", "")).partition("-graph-")[2] or "card"


def collected(folder: Path) -> dict[str, Any]:
    """Graph -> column -> values of all seeds."""
    found: dict[str, Any] = {}
    for path in sorted(folder.glob("records/*/*/*/*/record.json")):
        record = read_record(path)
        if record.is_baseline:
            continue
        columns = found.setdefault(graph_of(record), {name: [] for name in NUMBERS})
        for name, wanted in NUMBERS.items():
            columns[name].append(round(_value(record, wanted), 4))
    return found


def _value(record: Record, wanted: tuple[str, str, str, str] | None) -> float:
    if wanted is None:
        assert record.row_skill is not None
        return record.row_skill.value
    (value,) = [
        one.value for one in record.numbers if (one.metric, one.quantity, one.intervened, one.measured) == wanted
    ]
    return value


def shown() -> dict[str, Any]:
    """What the page shows: medians over seeds, and their range."""
    stored: Mapping[str, Mapping[str, list[float]]] = json.loads(RESULT.read_text("utf-8"))
    rows = [
        {"graph": words, "cells": [in_words(stored[graph][name]) for name in NUMBERS]}
        for graph, words in GRAPHS.items()
        if graph in stored
    ]
    return {"columns": list(NUMBERS), "rows": rows}


def in_words(values: Sequence[float]) -> str:
    """Their median and range."""
    return f"{median(values):.2f} ({min(values):.2f} to {max(values):.2f})"


if __name__ == "__main__":
    write_text(RESULT, json.dumps(collected(Path(sys.argv[1])), indent=1, sort_keys=True) + "\n")
