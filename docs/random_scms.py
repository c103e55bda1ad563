"""Mechanisms on random causal models, with and without a hidden cause.

python docs/random_scms.py SWEEP  # the folder of the finished sweep `random-scms`; writes docs/random_scms.json
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from wrong_graphs import in_words

from counterbench import datasets
from counterbench.records.record import read_record
from counterbench.storage.files import write_text

RESULT = Path(__file__).with_suffix(".json")


def collected(folder: Path) -> dict[str, Any]:
    """dataset/source -> model -> row skill, and skill of each intervention, of all training seeds."""
    found: dict[str, Any] = {}
    for path in sorted(folder.glob("records/*/*/*/*/record.json")):
        record = read_record(path)
        if record.is_baseline or record.row_skill is None:
            continue
        what = f"{record.inputs.dataset}/{record.inputs.source}"
        model = found.setdefault(what, {}).setdefault(record.inputs.model.partition("-seed")[0], {"row skill": []})
        model["row skill"].append(round(record.row_skill.value, 4))
        for number in record.numbers:
            if (number.metric, number.quantity) == ("truth", "truth_skill"):
                model.setdefault(number.intervened, []).append(round(number.value, 4))
    return found


def confounded() -> dict[str, list[str]]:
    """dataset/source -> the two variables that its hidden cause acts on."""
    stored = json.loads(RESULT.read_text("utf-8"))
    found = {}
    for what in stored:
        name, _, source = what.partition("/")
        hidden = datasets.card(name).sources[source].hidden
        found[what] = [end for ends in hidden.values() for end in ends]
    return found


def shown() -> dict[str, Any]:
    """What the page shows: medians over training seeds, and their range."""
    stored = json.loads(RESULT.read_text("utf-8"))
    models = sorted({model for entry in stored.values() for model in entry})
    rows = [
        {"dataset": what, "cells": [in_words(entry[model]["row skill"]) for model in models]}
        for what, entry in sorted(stored.items(), key=lambda item: item[0].replace("formula", "a"))
    ]
    gaps = []
    for what, ends in confounded().items():
        if ends:
            plain, cause = stored[what.replace("/confounded", "/formula")], ends[0]
            for model in models:
                gaps.append(
                    {
                        "dataset": what.partition("/")[0],
                        "model": model,
                        "arrow": " -> ".join(ends),
                        "without": in_words(plain[model][cause]),
                        "with": in_words(stored[what][model][cause]),
                    }
                )
    return {"models": models, "rows": rows, "gaps": gaps}


if __name__ == "__main__":
    write_text(RESULT, json.dumps(collected(Path(sys.argv[1])), indent=1, sort_keys=True) + "\n")
