"""What guidance does: effectiveness, recognition and truth against its weight, of what an intervention reaches alone and of everything.

python docs/guidance.py  # writes docs/guidance.json and docs/images/guidance.png; ten minutes

The model is the shipped one; nothing is trained. The first test images of `morphomnist`.
"""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from counterbench import datasets, evaluation, models
from counterbench.mechanisms.generative_ode import GenerativeODE
from counterbench.models.model import Contestant
from counterbench.storage.files import write_text

HOME = Path(__file__).parent
RESULT = HOME / "guidance.json"
IMAGES = 100
WEIGHTS = (1.0, 1.5, 2.0, 3.0)
GROUPS = {"what is reached": False, "everything": True}
"""Who gets the weight: what is set and its descendants alone, the others 1; or every parent."""
METRICS = ("effectiveness", "recognition", "truth", "off_target")
SHOWN = {
    "effectiveness of do(digit)": ("effectiveness", "skill", "digit", "digit"),
    "effectiveness of do(thickness)": ("effectiveness", "skill", "thickness", "thickness"),
    "effectiveness of do(intensity)": ("effectiveness", "skill", "intensity", "intensity"),
    "recognised after do(thickness)": ("recognition", "rate", "thickness", ""),
    "recognised after do(intensity)": ("recognition", "rate", "intensity", ""),
    "truth skill of do(thickness)": ("truth", "truth_skill", "thickness", ""),
    "truth skill of do(intensity)": ("truth", "truth_skill", "intensity", ""),
}
"""What is shown -> metric, quantity, what is set, what is measured."""


def measured() -> list[dict[str, Any]]:
    """One row per group and weight."""
    loaded = datasets.load("morphomnist", "digits")
    exam = evaluation.prepare(loaded, "standard", limit=IMAGES, metrics=METRICS)
    contestant = models.load("flow-matching", loaded)
    rows: list[dict[str, Any]] = []
    for group, everything in GROUPS.items():
        for weight in WEIGHTS:
            if everything and weight == 1:
                continue  # the same as in the other group
            record = evaluation.evaluate(guided(contestant, weight, weight if everything else 1.0), exam).record
            found = {(n.metric, n.quantity, n.intervened, n.measured): (n.value, n.low, n.high) for n in record.numbers}
            numbers = {
                name: [None if end is None else round(float(end), 3) for end in found[key]]
                for name, key in SHOWN.items()
            }
            rows.append({"group": group, "weight": weight, **numbers})
            print(group, weight, file=sys.stderr)
    return rows


def guided(contestant: Contestant, weight: float, rest: float) -> Contestant:
    """The same model with other weights of guidance."""
    model: Any = contestant.model
    image = model.mechanisms["image"]
    assert isinstance(image, GenerativeODE)
    image.guidance, image.guidance_rest = weight, rest
    return replace(contestant, weights_sha256=None)


def draw(rows: list[dict[str, Any]]) -> None:
    """A panel per intervention: numbers against the weight."""
    figure = Figure(figsize=(7.4, 2.9))
    panels = figure.subplots(1, 3, sharey=True)
    for panel, name in zip(panels, ("digit", "thickness", "intensity"), strict=True):
        for colour, (word, key) in enumerate(
            (
                ("effectiveness", "effectiveness of do({})"),
                ("recognised", "recognised after do({})"),
                ("truth skill", "truth skill of do({})"),
            )
        ):
            number = key.format(name)
            if number not in SHOWN:
                continue
            for group, style in zip(GROUPS, ("-", ":"), strict=True):
                line = [row for row in rows if row["group"] == group or row["weight"] == 1]
                label = f"{word}, {group}"
                panel.plot(
                    [row["weight"] for row in line],
                    [row[number][0] for row in line],
                    style,
                    color=f"C{colour}",
                    marker="o",
                    markersize=3,
                    label=label,
                )
        panel.set_title(f"do({name})", fontsize=9)
        panel.set_xlabel("weight of guidance")
        panel.grid(color="#eee")
        panel.spines[["top", "right"]].set_visible(False)
    panels[1].legend(fontsize=6.5, frameon=False)
    figure.tight_layout()
    figure.savefig(HOME / "images" / "guidance.png", dpi=110)


def main() -> None:
    """Measure and draw."""
    rows = measured()
    write_text(RESULT, json.dumps(rows, indent=1) + "\n")
    draw(rows)


if __name__ == "__main__":
    main()
