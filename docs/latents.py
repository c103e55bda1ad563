"""What an order prior does to the latents of a VAE, without labels and without parents.

python docs/latents.py FOLDER [SEED ...]  # trains there; adds to docs/latents.json
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from wrong_graphs import in_words

from counterbench import datasets, models
from counterbench.catalog.recipes import Recipe
from counterbench.mechanisms.latent_anm import LatentANM
from counterbench.metrics.statistics.latents import (
    linear_errors,
    matched_correlation,
    order_divergence,
    rank_dependence,
)
from counterbench.models.scm import StructuralCausalModel
from counterbench.storage.files import write_text
from counterbench.training.hardware import Hardware
from counterbench.training.recipes import train

RESULT = Path(__file__).with_suffix(".json")
DATASET = "morphomnist"
WEIGHTS = (0.0, 10.0)
"""Of the order term."""
LIMIT, EPOCHS, JUDGED = 10_000, 12, 1000
COLUMNS = {
    "leaf share": "leaf_share",
    "MCC": "mcc",
    "R^2 of thickness": "r2_thickness",
    "R^2 of intensity": "r2_intensity",
    "order divergence": "order_divergence",
    "dependence": "dependence",
}


def recipe(weight: float) -> Recipe:
    """The recipe `latent-anm`, its image mechanism told nothing but the image."""
    content = models.find_recipe("latent-anm", datasets.card(DATASET))[0].content()
    image = content["mechanisms"]["image"]
    image["options"] = {**image["options"], "conditional": False}
    image["stages"][0]["options"] = {"weight": weight}
    for name, entry in content["mechanisms"].items():
        if name != "image":
            entry["fit"] = {**(entry["fit"] or {}), "epochs": 1}
    return Recipe.model_validate({**content, "name": f"latent-anm-{weight:g}"})


def measured(folder: Path) -> dict[str, float]:
    """Of the posterior's draws for test images, and of the trained prior."""
    dataset = datasets.load(DATASET)
    scm = models.load(str(folder), dataset).model
    assert isinstance(scm, StructuralCausalModel)
    mechanism = scm.mechanisms["image"]
    assert isinstance(mechanism, LatentANM)
    factual = dataset.split("test").take(torch.randperm(2000, generator=torch.Generator().manual_seed(0))[:JUDGED])
    with torch.no_grad():
        encoded = dataset.variables["image"].encode(factual["image"])
        latents = mechanism.abduct(encoded, {}, torch.Generator().manual_seed(0))["latent"]
        leaf = mechanism.prior.leaf_share(latents)
    attributes = {name: factual[name].double() for name in ("thickness", "intensity")}
    found = {"leaf_share": leaf, "order_divergence": order_divergence(latents)}
    found["mcc"] = float(matched_correlation(latents, torch.stack(list(attributes.values()), 1)).mean())
    found["dependence"] = float(rank_dependence(latents).mean())
    for name, value in attributes.items():
        error, blind = linear_errors(latents, value)
        found[f"r2_{name}"] = float(1 - error.sum() / blind.sum())
    return {name: round(value, 4) for name, value in found.items()}


def shown() -> dict[str, Any]:
    """What the page shows: medians over seeds, and their range."""
    stored: Mapping[str, Mapping[str, Mapping[str, float]]] = json.loads(RESULT.read_text("utf-8"))
    rows = [
        {"weight": weight, "cells": [in_words([one[key] for one in seeds.values()]) for key in COLUMNS.values()]}
        for weight, seeds in stored.items()
    ]
    return {"columns": list(COLUMNS), "rows": rows}


def main(folder: Path, seeds: Sequence[int]) -> None:
    """Train and measure; what is known stays."""
    dataset = datasets.load(DATASET)
    for seed in seeds:
        for weight in WEIGHTS:
            output = folder / f"{weight:g}-{seed}"
            train(
                recipe(weight),
                dataset,
                output=output,
                hardware=Hardware("cpu"),
                seed=seed,
                epochs=EPOCHS,
                limit=LIMIT,
                resume=True,
            )
            known = json.loads(RESULT.read_text("utf-8")) if RESULT.exists() else {}
            known.setdefault(f"{weight:g}", {})[str(seed)] = measured(output)
            write_text(RESULT, json.dumps(known, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), [int(word) for word in sys.argv[2:]] or [0, 1, 2])
