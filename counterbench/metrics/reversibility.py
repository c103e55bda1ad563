"""Reversibility: an intervention that is taken back must leave nothing behind."""

from __future__ import annotations

from dataclasses import replace

from counterbench.metrics.answers import Counterfactual
from counterbench.metrics.base import Cell, DistanceMetric, distance_cell
from counterbench.plugins.registry import metrics


@metrics.register()
class Reversibility(DistanceMetric):
    """E d(x, f(f(x, do), undo)) (Monteiro et al., ICLR 2023, axiom of reversibility).

    Args:
        setting: what is asked.
        distances: d: `l1`, or feature spaces such as `lpips`.
    """

    title = "Reversibility"
    asks = frozenset({"single", "return"})
    formula = r"$\mathbb{E}_x\, d\big(x, f_{k=x_k}(f_{k=v}(x))\big)$"
    definition = (
        "Mean distance between an image and what do(k = v) followed by do(k = the factual value) makes of it; the second "
        "intervention is made on the model's own answer, image and attributes."
    )
    blind_to = (
        "Whether the first intervention did anything: returning the input is perfect. It catches what composition cannot: "
        "information that is lost on the way to another value."
    )
    source = "Monteiro et al., ICLR 2023."

    def make_cells(self) -> list[Cell]:
        return [
            replace(distance_cell(name, variable), of_identity=0.0)
            for name in self.available(self.distances)
            for variable in self.setting.undo
        ]

    def questions_behind(self, cell: Cell) -> list[str]:
        return [*super().questions_behind(cell), f"return/{cell.intervened}"]

    def update(self, answers: Counterfactual) -> None:
        if answers.kind != "return":
            return
        for cell in self.cells:
            if cell.intervened == answers.intervened[0]:
                self.add(cell, answers.index, answers.view.distance(cell.space, answers.batch.view))
