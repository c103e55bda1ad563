"""Reversibility: an intervention that is taken back must leave nothing behind."""

from __future__ import annotations

from dataclasses import replace

from counterbench.metrics.answers import Answers
from counterbench.metrics.base import Cell, DistanceMetric, distance_cell
from counterbench.plugins.registry import metrics


@metrics.register()
class Reversibility(DistanceMetric):
    """E d(x, f(f(x, do), undo)) (Monteiro et al., ICLR 2023, axiom of reversibility).

    Args:
        setting: what is asked.
        distances: d: `l1`, or feature spaces such as `lpips`.

    Examples:
        >>> from counterbench.plans.question import Question
        >>> import torch
        >>> from counterbench.causal import graph, samples, variables
        >>> from counterbench.metrics import answers, base
        >>> setting = base.Setting(
        ...     graph.CausalGraph({"width": [], "image": ["width"]}),
        ...     {"width": variables.Continuous("width", 0, 8, "px"), "image": variables.Image("image", 1, 2, 2)},
        ...     image="image", intervenable=("width",), judged=(), cycles=1, with_truth=(), undo=("width",),
        ... )
        >>> factual = samples.Samples({"width": torch.tensor([2.0]), "image": torch.zeros(1, 1, 2, 2)}, torch.tensor([0]))
        >>> metric = Reversibility(setting)
        >>> batch = answers.Batch(factual, "image")
        >>> metric.update(answers.Answers(batch, Question("return", batch.index, "width"), {**factual, "image": factual["image"] + 2}))
        >>> {column.cell.quantity: round(column.point(), 3) for column in metric.compute()}
        {'l1': 2.0}
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
        "information that is lost on the way to another value. A memory and a code in low bits would be perfect too; a record in which "
        "they are found has no rank here."
    )
    source = "Monteiro et al., ICLR 2023."

    def make_cells(self) -> list[Cell]:
        return [
            replace(distance_cell(name, variable), of_identity=0.0, preserves=True)
            for name in self.available(self.distances)
            for variable in self.setting.undo
        ]

    def questions_behind(self, cell: Cell) -> list[str]:
        return [*super().questions_behind(cell), f"return/{cell.intervened}"]

    def update(self, answers: Answers) -> None:
        if answers.kind != "return":
            return
        for cell in self.cells:
            if cell.intervened == answers.intervened[0]:
                self.add(cell, answers.index, answers.view.distance(cell.space, answers.batch.view))
