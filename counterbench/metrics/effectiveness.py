"""Effectiveness: the image must show the attributes that the model says it has."""

from __future__ import annotations

from torch import Tensor

from counterbench.counterfactual import Counterfactual
from counterbench.metrics.base import Cell, SampleMetric, error_cell
from counterbench.registry import metrics
from counterbench.variables import Continuous, Variable


def error_per_sample(variable: Variable, measured: Tensor, target: Tensor) -> Tensor:
    """How far a judge's measurement is from the target.

    Args:
        variable: decides the kind of error.
        measured: (N,) in the variable's unit, or (N, K) class probabilities.
        target: (N,), natural values.

    Returns:
        (N,), float64: absolute error in the variable's unit, or 0 / 1 for a right / wrong class.
    """
    if isinstance(variable, Continuous):
        return (measured.double() - target.double()).abs()
    return (measured.argmax(1) != target).double()


@metrics.register()
class Effectiveness(SampleMetric):
    """Every cell (intervened k, measured j): judge_j(x*) against pa*_j (Monteiro et al., ICLR 2023)."""

    title = "Effectiveness"
    asks = frozenset({"single"})
    definition = (
        "Judge's measurement of the counterfactual image against the model's own counterfactual attribute, for every intervened "
        "and every measured variable; skill = 1 - error / error of the baseline `identity`, where the attribute should change. Discrete variables: accuracy."
    )
    blind_to = (
        "Whether it is still the same individual: another image with the right attributes is perfect. And it trusts the model's "
        "own attributes: a wrong effect of one attribute on another shows under truth, not here."
    )

    def make_cells(self) -> list[Cell]:
        cells = []
        for intervened in self.setting.intervenable:
            changed = {intervened, *self.setting.graph.descendants(intervened)}
            for measured in self.setting.judged:
                cells.append(self._cell(intervened, measured))
                if measured in changed:
                    cells.append(self._skill(intervened, measured))
        return cells

    def _cell(self, intervened: str, measured: str) -> Cell:
        return error_cell(self.setting.variables[measured], intervened, "absolute_error", "accuracy")

    def _skill(self, intervened: str, measured: str) -> Cell:
        return Cell("skill", "", "higher", intervened, measured, kind="skill")

    def update(self, answers: Counterfactual) -> None:
        if len(answers.intervened) != 1:
            return
        (intervened,) = answers.intervened
        index = answers.factual.index
        for measured in self.setting.judged:
            variable, target = self.setting.variables[measured], answers.values[measured]
            error = error_per_sample(variable, answers.measured[measured], target)
            cell, skill = self._cell(intervened, measured), self._skill(intervened, measured)
            self.add(cell, index, error if cell.direction == "lower" else 1 - error)
            if skill in self.cells:
                unchanged = error_per_sample(variable, answers.measure_factual()[measured], answers.floor[measured])
                self.add(skill, index, error, relative_to=unchanged)
