"""Composition: a null intervention must change nothing, however often it is repeated."""

from __future__ import annotations

from torch import Tensor

from counterbench.counterfactual import Counterfactual
from counterbench.metrics.base import Cell, SampleMetric
from counterbench.registry import metrics


def l1(first: Tensor, second: Tensor) -> Tensor:
    """Mean absolute difference per image.

    Args:
        first, second: (N, C, H, W), grey levels 0-255. Unsigned bytes are widened first: their differences wrap around.

    Returns:
        (N,), float64, in grey levels.
    """
    return (first.double() - second.double()).abs().flatten(1).mean(1)


@metrics.register()
class Composition(SampleMetric):
    """E d(x, f_null^m(x)), image and attributes fed back each time (Monteiro et al., ICLR 2023; Melistas et al., 2024)."""

    title = "Composition"
    asks = frozenset({"null"})
    definition = (
        "Mean absolute difference between an image and its m-fold null counterfactual, attributes fed back as well."
    )
    blind_to = "Whether the model changes anything when asked to: returning the input is perfect. Read it beside effectiveness."

    def make_cells(self) -> list[Cell]:
        return [Cell("l1", "grey levels", "lower", cycles=cycle) for cycle in range(1, self.setting.cycles + 1)]

    def update(self, answers: Counterfactual) -> None:
        if answers.intervened:
            return
        distance = l1(answers.values[answers.image], answers.factual[answers.image])
        self.add(self.cells[answers.cycles - 1], answers.factual.index, distance)
