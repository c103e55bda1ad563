"""How a field is inverted: error against network evaluations, of every solver, with and without what makes its round trip exact.

python docs/inversion.py  # writes docs/inversion.json and docs/images/inversion.png; a minute

The models are the shipped ones; nothing is trained. Truth is known: percentage error of the coordinates under do(t) on `ellipse`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from matplotlib.colors import TABLEAU_COLORS
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator, ScalarFormatter

from counterbench import datasets, models
from counterbench.mechanisms.generative_ode import GenerativeODE
from counterbench.networks.solvers import SOLVERS, make_solver
from counterbench.storage.files import write_text

HOME = Path(__file__).parent
STEPS = (1, 2, 3, 5, 10, 25)
POINTS = 2000
OUTCOMES = ("y", "x")
EXPLICIT = ("euler", "midpoint", "heun")


def measured() -> list[dict[str, Any]]:
    """One row per solver, exactness and number of steps."""
    dataset = datasets.load("ellipse", "formula")
    test, rows = dataset.split("test"), torch.arange(POINTS)
    factual = test.take(rows)
    angles = test.values["t"][
        torch.randperm(len(test.values["t"]), generator=torch.Generator().manual_seed(0))[:POINTS]
    ]
    truth = dataset.truth("test", rows, {"t": angles})
    scm: Any = models.load("flow-matching", dataset).model
    fields = [part for part in scm.mechanisms.values() if isinstance(part, GenerativeODE)]
    found = []
    for name in SOLVERS:
        for exact in (True, False) if name in EXPLICIT else (True,):
            for steps in STEPS:
                for field in fields:
                    field.solver = make_solver(name, steps, exact=exact)
                with torch.no_grad():
                    answer, null = scm.counterfactual(factual, {"t": angles}), scm.counterfactual(factual, {})
                back, forth = fields[0].solver.evaluations
                found.append(
                    {
                        "solver": name,
                        "exact": exact,
                        "steps": steps,
                        "evaluations": [back, forth],
                        "error": percentage(answer, truth),
                        "round_trip": percentage(null, factual),
                    }
                )
    return found


def percentage(answer: Any, truth: Any) -> float:
    """Mean absolute percentage error of the coordinates."""
    parts = [((answer[name] - truth[name]).abs() / truth[name].abs()).mean() for name in OUTCOMES]
    return round(100 * float(torch.stack(parts).mean()), 3)


def draw(rows: list[dict[str, Any]]) -> None:
    """Error against evaluations of an answer, a line per solver."""
    figure = Figure(figsize=(6.2, 3.6))
    axis = figure.subplots()
    for colour, name in zip(TABLEAU_COLORS, SOLVERS, strict=False):
        for exact in (True, False):
            line = [row for row in rows if row["solver"] == name and row["exact"] == exact]
            if line:
                label = f"{name}, exact" if exact else name
                style = "-" if exact else ":"
                evaluations = [row["evaluations"][1] for row in line]
                errors = [row["error"] for row in line]
                axis.plot(evaluations, errors, style, color=colour, marker="o", markersize=3, label=label)
    axis.set_xscale("log")
    axis.set_yscale("log")
    for scale in (axis.xaxis, axis.yaxis):
        scale.set_major_locator(FixedLocator((1, 2, 5, 10, 20, 50)))
        scale.set_major_formatter(ScalarFormatter())
        scale.set_minor_locator(NullLocator())
    axis.set_xlabel("network evaluations of one answer, after abduction")
    axis.set_ylabel("percentage error of do(t)")
    axis.grid(color="#eee", which="major")
    axis.spines[["top", "right"]].set_visible(False)
    axis.legend(fontsize=7, frameon=False)
    figure.tight_layout()
    figure.savefig(HOME / "images" / "inversion.png", dpi=110)


def main() -> None:
    """Measure and draw."""
    rows = measured()
    write_text(HOME / "inversion.json", json.dumps(rows, indent=1) + "\n")
    draw(rows)


if __name__ == "__main__":
    main()
