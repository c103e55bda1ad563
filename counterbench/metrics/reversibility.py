"""Reversibility: an intervention that is taken back must leave nothing behind."""

from __future__ import annotations

from collections.abc import Sequence

from counterbench.counterfactual import L1, Counterfactual
from counterbench.metrics.base import Cell, SampleMetric, Setting
from counterbench.metrics.composition import distance_unit
from counterbench.registry import metrics


@metrics.register()
class Reversibility(SampleMetric):
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

    def __init__(self, setting: Setting, distances: Sequence[str] = (L1,)):
        self.distances = tuple(distances)
        super().__init__(setting)

    def make_cells(self) -> list[Cell]:
        return [
            Cell("l1" if name == L1 else "distance", distance_unit(name), "lower", variable, space=name)
            for name in self.available(self.distances)
            for variable in self.setting.undo
        ]

    def update(self, answers: Counterfactual) -> None:
        if answers.kind != "return":
            return
        for cell in self.cells:
            if cell.intervened == answers.intervened[0]:
                self.add(cell, answers.index, answers.view.distance(cell.space, answers.batch.view))
