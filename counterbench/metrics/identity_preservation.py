"""Identity preservation: is it still the same individual?"""

from __future__ import annotations

from collections.abc import Sequence

from counterbench.metrics.answers import Answers
from counterbench.metrics.base import NOT_NEGATIVE, Cell, SampleMetric, Setting
from counterbench.plugins.registry import metrics


@metrics.register()
class IdentityPreservation(SampleMetric):
    """E d(f_null(x), x*) / E d(x, x'), with x' another individual.

    Args:
        setting: what is asked.
        spaces: d: cosine distance in these feature spaces; `lpips` for the learned distance, `l1` for pixels.

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
        >>> stranger = answers.View(factual["image"] + 8, answers.Instruments())
        >>> metric = IdentityPreservation(setting, spaces=["l1"])
        >>> batch = answers.Batch(factual, "image", null=lambda: factual, partner=lambda: stranger)
        >>> metric.update(answers.Answers(batch, Question("single", batch.index, "width"), {**factual, "image": factual["image"] + 2}))
        >>> {column.cell.quantity: round(column.point(), 3) for column in metric.compute()}
        {'distance_ratio': 0.25}
    """

    title = "Identity preservation"
    asks = frozenset({"null", "single"})
    null_cycles = 1
    formula = (
        r"$\mathbb{E}_x\, d\big(f_\varnothing(x), x^*\big) \,/\, \mathbb{E}_x\, d(x, x')$ with $x'$ another individual"
    )
    definition = (
        "Mean distance between the counterfactual and the model's own null answer, relative to the mean distance between "
        "random pairs of test images: 0 is the same image, 1 a stranger."
    )
    blind_to = (
        "How much of the change was asked for: returning the input is perfect, and the truth itself scores above 0. Read it "
        "beside the truth's row."
    )
    source = "After Vlontzos et al. (2023) and Monteiro et al. (2023); the null answer instead of x keeps reconstruction out of it."

    def __init__(self, setting: Setting, spaces: Sequence[str] = ("judge",)):
        self.spaces = tuple(spaces)
        super().__init__(setting)

    def make_cells(self) -> list[Cell]:
        there = self.available(self.spaces)
        return [
            Cell(
                "distance_ratio",
                "of strangers",
                "lower",
                variable,
                space=space,
                bounds=NOT_NEGATIVE,
                of_identity=0.0,
                preserves=True,
                worst=1.0,
                label=f"{space} distance ratio",
            )
            for variable in self.setting.intervenable
            for space in there
        ]

    def questions_behind(self, cell: Cell) -> list[str]:
        return [*super().questions_behind(cell), "null/1"]

    def update(self, answers: Answers) -> None:
        null, partner = answers.batch.null, answers.batch.partner
        if answers.kind != "single" or null is None or partner is None:
            return
        for cell in self.cells:
            if cell.intervened == answers.intervened[0]:
                apart = answers.view.distance(cell.space, null)
                self.add(cell, answers.index, apart, relative_to=answers.batch.view.distance(cell.space, partner))
