"""Percentage error: how far, in percent, outcomes are from their true counterfactual values."""

from __future__ import annotations

import torch
from torch import Tensor

from counterbench.causal.variables import Continuous, Variable, Vector
from counterbench.metrics.answers import Answers
from counterbench.metrics.base import NOT_NEGATIVE, Cell, SampleMetric, width
from counterbench.plugins.registry import metrics


@metrics.register()
class PercentageError(SampleMetric):
    """Mean absolute percentage error of the outcomes, where the true counterfactual is known.

    Examples:
        >>> from counterbench.plans.question import Question
        >>> import torch
        >>> from counterbench.causal import graph, samples, variables
        >>> from counterbench.metrics import answers, base
        >>> setting = base.Setting(
        ...     graph.CausalGraph({"width": [], "height": ["width"]}),
        ...     {"width": variables.Continuous("width", 0, 8, "px"), "height": variables.Continuous("height", 0, 8, "px")},
        ...     image="", intervenable=("width",), judged=(), cycles=1, with_truth=("width",),
        ... )
        >>> factual = samples.Samples({"width": torch.tensor([2.0]), "height": torch.tensor([2.0])}, torch.tensor([0]))
        >>> metric = PercentageError(setting)
        >>> batch = answers.Batch(factual, image="")
        >>> answer, truth = {"height": torch.tensor([3.0])}, {"height": torch.tensor([4.0])}
        >>> metric.update(answers.Answers(batch, Question("single", batch.index, "width"), answer, truth=truth))
        >>> {column.cell.quantity: round(column.point(), 3) for column in metric.compute()}
        {'percentage_error': 25.0}
    """

    title = "Percentage error"
    also = ("MAPE",)
    asks = frozenset({"single"})
    needs_image = False
    formula = r"$100\,\% \cdot |x^* - x_\text{true}| \,/\, |x_\text{true}|$, averaged over samples and outcomes"
    definition = (
        "Absolute difference between the answered and the true counterfactual value, in percent of the true one, of every "
        "outcome: a continuous variable that the intervention changes and that nobody sets (where there is none: every continuous "
        "variable that it changes); of a periodic one, the difference is the shorter way round, and of a vector the mean over its numbers counts. First the mean over all samples of each "
        "one's mean over its outcomes, which is the published figure, then each outcome. Outcomes whose true value is 0 are left out of both."
    )
    blind_to = "Small errors of small values weigh as much as large errors of large ones; it means nothing for values around 0."
    source = "Nasr-Esfahany et al., ICML 2023, table 1; De Sousa Ribeiro et al., NeurIPS 2025."

    def outcomes(self, intervened: str) -> tuple[str, ...]:
        """Continuous variables that follow from the intervened one: those that nobody sets, or all if there are none of these."""
        below = self.setting.graph.descendants(intervened)
        found = tuple(
            name
            for name, variable in self.setting.variables.items()
            if name in below and isinstance(variable, (Continuous, Vector))
        )
        return tuple(name for name in found if name not in self.setting.intervenable) or found

    def make_cells(self) -> list[Cell]:
        cells = []
        for intervened in self.setting.with_truth:
            if found := self.outcomes(intervened):
                cells += [self._cell(intervened), *(self._cell(intervened, name) for name in found)]
        return cells

    def _cell(self, intervened: str, outcome: str = "") -> Cell:
        return Cell(
            "percentage_error",
            "%",
            "lower",
            intervened,
            outcome,
            role="detail" if outcome else "headline",
            bounds=NOT_NEGATIVE,
            worst=width(self.setting.variables.get(outcome)),
        )

    def update(self, answers: Answers) -> None:
        if answers.truth is None or answers.kind != "single":
            return
        (intervened,) = answers.intervened
        errors = {}
        for name in self.outcomes(intervened):
            truth = answers.truth[name].double()
            errors[name] = _percent(self.setting.variables[name], answers.values[name], truth)
        for cell in (cell for cell in self.cells if cell.intervened == intervened):
            found = errors[cell.measured] if cell.measured else torch.stack(list(errors.values())).nanmean(0)
            self.add(cell, answers.index, found)


def _percent(variable: Variable, values: Tensor, truth: Tensor) -> Tensor:
    """Error in percent of the truth, (N,); of a vector, the mean over those of its numbers that are not truly 0."""
    if isinstance(variable, Vector):
        parts = enumerate(variable.components)
        return torch.stack([_percent(part, values[:, at], truth[:, at]) for at, part in parts], 1).nanmean(1)
    error = 100 * variable.distance(values, truth) / truth.abs()
    return torch.where(truth == 0, torch.nan, error)
