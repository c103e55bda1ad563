"""Cost: what an answer takes."""

from __future__ import annotations

import torch

from counterbench.metrics.answers import Counterfactual
from counterbench.metrics.base import NOT_NEGATIVE, Cell, SampleMetric
from counterbench.plugins.registry import metrics

_UNITS = {"seconds": "s", "evaluations": "passes", "parameters": "weights", "peak_memory": "MB", "training_time": "s"}
_CELLS = tuple(
    Cell(
        quantity,
        unit,
        "lower",
        kind="peak" if quantity == "peak_memory" else "timing",
        role="resource",
        bounds=NOT_NEGATIVE,
    )
    for quantity, unit in _UNITS.items()
)


@metrics.register()
class Cost(SampleMetric):
    """Seconds and network evaluations per counterfactual, peak memory, weights, training time."""

    title = "Cost"
    needs_image = False
    needs_model = True
    asks = frozenset({"single"})
    formula = (
        r"$\sum_\text{layers} \text{passes} \times \text{weights} \,/\, \text{weights}$; seconds divided by samples"
    )
    definition = (
        "Mean over all single questions of the seconds that the model took per sample; how often an average weight is used "
        "for one counterfactual (forward passes of each layer, weighted by its number of weights; a pass of half the batch counts half); largest memory in use (of "
        "the process, or of the accelerator); number of weights; seconds of training as the model's manifest says."
    )
    blind_to = (
        "Other machines: seconds and memory hold for the device in the record, and for whatever else ran on it. They are the "
        "only numbers here that change from run to run, and they have no interval."
    )
    source = "Common practice; evaluations after the function evaluations of the diffusion literature."

    def make_cells(self) -> list[Cell]:
        return list(_CELLS) if self.setting.intervenable else []

    def update(self, answers: Counterfactual) -> None:
        if answers.kind != "single":
            return
        for cell in self.cells:
            if cell.quantity in answers.cost:
                value = float(answers.cost[cell.quantity])
                self.add(cell, answers.index, torch.full((len(answers.index),), value, dtype=torch.float64))
