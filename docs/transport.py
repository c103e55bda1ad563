"""What pairing noise and data by optimal transport does: error of do(t) on `ellipse-point` against network evaluations, over training seeds.

python docs/transport.py FOLDER  # trains into FOLDER (or takes what is there), writes docs/transport.json; half an hour on one core
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from statistics import median
from typing import Any

from counterbench import datasets, evaluation, models
from counterbench.mechanisms.generative_ode import GenerativeODE
from counterbench.networks.solvers import make_solver
from counterbench.storage.files import write_text
from counterbench.training import recipes
from counterbench.training.hardware import Hardware

RESULT = Path(__file__).with_name("transport.json")
RECIPES = {"flow-matching": "independent", "flow-matching-transport": "inside near parents"}
"""Recipe -> how noise and data are paired."""
SEEDS = (0, 1, 2)
STEPS = (1, 5, 25)
"""Of the midpoint rule: two evaluations each."""


def measured(folder: Path) -> list[dict[str, Any]]:
    """One row per pairing and number of evaluations, with a number per seed."""
    dataset = datasets.load("ellipse-point")
    exam = evaluation.prepare(dataset, "mechanisms", metrics=["percentage_error"], device="cpu")
    rows = []
    for recipe, pairing in RECIPES.items():
        contestants = [models.load(str(trained(folder, recipe, seed)), dataset) for seed in SEEDS]
        for steps in STEPS:
            errors = []
            for contestant in contestants:
                point: Any = contestant.model.mechanisms["point"]  # type: ignore[attr-defined]
                assert isinstance(point, GenerativeODE)
                point.solver = make_solver("midpoint", steps)
                record = evaluation.evaluate(contestant, exam).record
                errors += [round(n.value, 3) for n in record.numbers if n.intervened == "t" and not n.measured]
            rows.append({"pairing": pairing, "evaluations": 2 * steps, "errors": errors, "median": median(errors)})
            print(rows[-1], file=sys.stderr)
    return rows


def trained(folder: Path, recipe: str, seed: int) -> Path:
    """The folder of a training, which is made if it is not there."""
    output = folder / f"{recipe}-{seed}"
    if not (output / "manifest.json").exists():
        known = models.find_recipe(recipe, datasets.card("ellipse-point"))[0]
        recipes.train(
            known, datasets.load("ellipse-point"), output=output, hardware=Hardware("cpu"), seed=seed, resume=True
        )
    return output


def main() -> None:
    """Train where needed, measure, store."""
    if len(sys.argv) != 2:
        raise SystemExit("Give a folder for the trained models: python docs/transport.py FOLDER")
    write_text(RESULT, json.dumps(measured(Path(sys.argv[1])), indent=1) + "\n")


if __name__ == "__main__":
    main()
