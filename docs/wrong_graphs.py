"""What a wrong graph of the attributes costs: the same mechanisms trained under several graphs, asked the same questions.

python docs/wrong_graphs.py SWEEP [SWEEP ...]  # folders of finished sweeps with the key `graphs`; writes docs/wrong_graphs.json
python docs/wrong_graphs.py --image hvae adni  # the image mechanism of a shipped model, and attributes trained under each graph

The image listens to the same variables in every graph, so a trained image mechanism goes with all of them; what differs is what the
attributes become.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path
from statistics import median
from typing import Any

from torch import Tensor

from counterbench import datasets, evaluation, models
from counterbench.catalog.recipes import MechanismEntry, Recipe
from counterbench.datasets.dataset import Dataset
from counterbench.records.record import Record, read_record
from counterbench.storage.files import write_text
from counterbench.training import recipes
from counterbench.training.graphs import with_graph

RESULT = Path(__file__).with_suffix(".json")
GRAPHS = ("card", "empty", "reversed", "full")
SEEDS, ROWS, IMAGES = (0, 1, 2), 6000, 300
"""Of the second command: of the trainings, training rows, and test images that are asked about."""
BETWEEN = ", image mechanism of "
"""In the name of such an experiment: between dataset and model."""
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


def with_image_of(name: str, dataset_name: str) -> dict[str, Any]:
    """Graph -> column -> values of all seeds, where only the attributes are trained under each graph."""
    dataset = datasets.load(dataset_name)
    recipe, _ = models.find_recipe(name, dataset.card)
    shipped = models.load(name, dataset)
    exam = evaluation.prepare(dataset, "glance", device="cpu", limit=IMAGES)
    found: dict[str, Any] = {}
    for graph, seed in product(("card", "empty", "reversed"), SEEDS):
        rewired = with_graph(recipe, graph, dataset)
        state = {**_attributes(rewired, dataset, seed), **_of(shipped.model.state_dict(), [dataset.card.image])}
        model = models.build_for(rewired, dataset)
        model.load_state_dict(state)
        asked = replace(shipped, model=model.eval().requires_grad_(False), recipe=rewired.content())
        for column, value in _values(evaluation.evaluate(asked, exam).record).items():
            found.setdefault(graph, {}).setdefault(column, []).append(round(value, 4))
        print(graph, seed, found[graph], file=sys.stderr, flush=True)
    return found


def _attributes(recipe: Recipe, dataset: Dataset, seed: int) -> dict[str, Tensor]:
    """Trained weights of the attributes' mechanisms; a small image mechanism is trained along and forgotten."""
    image = dataset.card.image
    small = {"latent": 1, "encoder_channels": [4], "decoder_channels": [4], "hidden": 4}
    entry = MechanismEntry.model_validate({"family": "vae", "options": small, "fit": {"epochs": 1}})
    cheap = recipe.model_copy(update={"mechanisms": {**recipe.mechanisms, image: entry}, "answer": None, "weights": {}})
    with tempfile.TemporaryDirectory() as folder:
        recipes.train(cheap, dataset, output=Path(folder) / "made", seed=seed, limit=ROWS)
        trained = models.load(str(Path(folder) / "made"), dataset).model
    return _of(trained.state_dict(), list(dataset.card.attributes))


def _of(state: Mapping[str, Tensor], names: Sequence[str]) -> dict[str, Tensor]:
    """The weights of some mechanisms."""
    return {key: value for key, value in state.items() if key.split(".")[1] in names}


def _values(record: Record) -> dict[str, float]:
    assert record.row_skill is not None
    known = {(one.metric, one.quantity, one.intervened, one.measured): one.value for one in record.numbers}
    wanted = COLUMNS[record.inputs.dataset]
    return {"row skill": record.row_skill.value, **{name: known[number] for name, number in wanted.items()}}


def shown() -> list[dict[str, Any]]:
    """What the page shows of every dataset: medians over seeds, and their range."""
    stored: Mapping[str, Mapping[str, Mapping[str, list[float]]]] = json.loads(RESULT.read_text("utf-8"))
    order = sorted(stored, key=lambda name: (list(COLUMNS).index(name.partition(BETWEEN)[0]), name))
    return [_table(name, stored[name]) for name in order]


def _table(dataset: str, stored: Mapping[str, Mapping[str, list[float]]]) -> dict[str, Any]:
    columns = ["row skill", *COLUMNS[dataset.partition(BETWEEN)[0]]]
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
    if sys.argv[1] == "--image":
        made = {f"{name}{BETWEEN}{sys.argv[2]}": with_image_of(sys.argv[2], name) for name in sys.argv[3:]}
    else:
        made = collected([Path(name) for name in sys.argv[1:]])
    write_text(
        RESULT,
        json.dumps({**stored, **made}, indent=1, sort_keys=True) + "\n",
    )
