"""Cost: what an answer takes."""

from __future__ import annotations

import torch

from counterbench.metrics.answers import Answers
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
    """Seconds and network evaluations per counterfactual, peak memory, weights, training time.

    Examples:
        >>> from counterbench.plans.question import Question
        >>> import torch
        >>> from counterbench.causal import graph, samples, variables
        >>> from counterbench.metrics import answers, base
        >>> setting = base.Setting(
        ...     graph.CausalGraph({"width": [], "image": ["width"]}),
        ...     {"width": variables.Continuous("width", 0, 8, "px"), "image": variables.Image("image", 1, 2, 2)},
        ...     image="image", intervenable=("width",), judged=(), cycles=1, with_truth=(),
        ... )
        >>> factual = samples.Samples({"width": torch.tensor([2.0]), "image": torch.zeros(1, 1, 2, 2)}, torch.tensor([0]))
        >>> metric = Cost(setting)
        >>> batch = answers.Batch(factual, "image")
        >>> metric.update(answers.Answers(batch, Question("single", batch.index, "width"), factual, cost={"seconds": 0.25}))
        >>> {column.cell.quantity: round(column.point(), 3) for column in metric.compute()}
        {'seconds': 0.25}
    """

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

    def update(self, answers: Answers) -> None:
        if answers.kind != "single":
            return
        for cell in self.cells:
            if cell.quantity in answers.cost:
                value = float(answers.cost[cell.quantity])
                self.add(cell, answers.index, torch.full((len(answers.index),), value, dtype=torch.float64))
