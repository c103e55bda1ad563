"""Composition: a null intervention must change nothing, however often it is repeated."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from counterbench.metrics.answers import L1, Answers, l1
from counterbench.metrics.base import Cell, DistanceMetric, Setting, distance_cell
from counterbench.plugins.registry import metrics

__all__ = ["Composition", "l1"]


@metrics.register()
class Composition(DistanceMetric):
    """E d(x, f_null^m(x)), image and attributes fed back each time (Monteiro et al., ICLR 2023; Melistas et al., 2024).

    Args:
        setting: what is asked.
        distances: d: `l1`, or feature spaces such as `lpips`.
        curve: whether learned distances are taken after every cycle, and not only after the first, the tenth and the last.

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
        >>> metric = Composition(setting)
        >>> batch = answers.Batch(factual, "image")
        >>> metric.update(answers.Answers(batch, Question("null", batch.index, cycle=1), {**factual, "image": factual["image"] + 3}))
        >>> {column.cell.quantity: round(column.point(), 3) for column in metric.compute()}
        {'l1': 3.0}
    """

    title = "Composition"
    also = ("LPIPS", "L1")
    asks = frozenset({"null"})
    formula = r"$\text{composition}_m = \mathbb{E}_x\, d\big(x, f_\varnothing^m(x)\big)$"
    definition = "Mean distance between an image and its m-fold null counterfactual, attributes fed back as well, for m = 1, 2, ..."
    blind_to = (
        "Whether the model changes anything when asked to: returning the input is perfect, and so is copying the residual of "
        "a blurred reconstruction (compare only models with the same pixel-noise temperature). Read it beside effectiveness. A memory and a code "
        "in low bits would be perfect too; a record in which they are found has no rank here."
    )
    source = "Monteiro et al., ICLR 2023, axiom of composition; Melistas et al., NeurIPS 2024."

    def __init__(self, setting: Setting, *, distances: Sequence[str] = (L1,), curve: bool = False):
        self.curve = curve
        super().__init__(setting, distances)

    def make_cells(self) -> list[Cell]:
        last = self.setting.cycles
        if not last:
            return []
        return [
            replace(
                distance_cell(name, cycles=cycle),
                role="headline" if cycle in (1, 10, last) else "detail",
                of_identity=0.0,
                preserves=True,
                depends_on_temperature=True,
            )
            for name in self.available(self.distances)
            for cycle in range(1, last + 1)
            if name == L1 or self.curve or cycle in (1, 10, last)
        ]

    def update(self, answers: Answers) -> None:
        if answers.kind != "null":
            return
        for cell in self.cells:
            if cell.cycles == answers.cycles:
                self.add(cell, answers.index, answers.view.distance(cell.space, answers.batch.view))
