"""Commutativity: the order of unrelated interventions must not matter."""

from __future__ import annotations

from dataclasses import replace

from counterbench.metrics.answers import Answers
from counterbench.metrics.base import Cell, DistanceMetric, distance_cell
from counterbench.plugins.registry import metrics


@metrics.register()
class Commutativity(DistanceMetric):
    """E d(f_b(f_a(x)), f_a(f_b(x))) for variables neither of which is an ancestor of the other.

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
        ...     image="image", intervenable=("width",), judged=(), cycles=1, with_truth=(), pairs=(("width", "tilt"),),
        ... )
        >>> factual = samples.Samples({"width": torch.tensor([2.0]), "image": torch.zeros(1, 1, 2, 2)}, torch.tensor([0]))
        >>> metric = Commutativity(setting)
        >>> batch = answers.Batch(factual, "image")
        >>> other = {**factual, "image": factual["image"] + 5}
        >>> first = Question("single", batch.index, "width")
        >>> metric.update(answers.Answers(batch, Question("pair", batch.index, "tilt", follows=first), factual, other=other))
        >>> {column.cell.quantity: round(column.point(), 3) for column in metric.compute()}
        {'l1': 5.0}
    """

    title = "Commutativity"
    asks = frozenset({"single", "pair"})
    formula = r"$\mathbb{E}_x\, d\big(f_b(f_a(x)), f_a(f_b(x))\big)$"
    definition = (
        "Mean distance between the images of do(a) then do(b) and of do(b) then do(a), each on the model's own answer."
    )
    blind_to = (
        "Whether the interventions do anything: a model that always gives the same answer is perfect. So is one with a memory, or a code in "
        "low bits; a record in which they are found has no rank here."
    )
    source = "Monteiro et al., ICLR 2023, identifiability tests of their code."

    def make_cells(self) -> list[Cell]:
        return [
            replace(distance_cell(name, pair), of_identity=0.0, preserves=True)
            for name in self.available(self.distances)
            for pair in self.setting.pairs
        ]

    def questions_behind(self, cell: Cell) -> list[str]:
        a, b = cell.intervened_names
        return [*super().questions_behind(cell), f"pair/{a}/{b}", f"pair/{b}/{a}"]

    def update(self, answers: Answers) -> None:
        if answers.kind != "pair":
            return
        for cell in self.cells:
            if cell.intervened == answers.intervened:
                self.add(cell, answers.index, answers.view.distance(cell.space, answers.other_view))
