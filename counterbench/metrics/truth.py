"""Truth: where the data-generating process is known, the true counterfactual is the answer."""

from __future__ import annotations

import torch
from torch import Tensor

from counterbench.counterfactual import Counterfactual
from counterbench.metrics.base import Cell, SampleMetric, error_cell
from counterbench.metrics.composition import l1
from counterbench.registry import metrics


def tea(factual: Tensor, truth: Tensor, answer: Tensor) -> tuple[Tensor, Tensor]:
    """Split the change that a model makes into the part along the true change and the rest.

    With z = truth - factual and w = answer - factual: effect = <z, w> / |z|^2 and
    amplification = sqrt(|w|^2 - (<z, w> / |z|)^2). Doing nothing gives (0, 0), the truth gives (1, 0).

    Args:
        factual, truth, answer: (N, ...), grey levels.

    Returns:
        (effect, amplification), each (N,), float64; the second in grey levels (Euclidean norm over the image). Both are NaN
        where truth and factual are the same image, for there is no direction to compare with.
    """
    origin = factual.double().flatten(1)
    z, w = truth.double().flatten(1) - origin, answer.double().flatten(1) - origin
    length = (z * z).sum(1)
    known = length > 0
    effect = torch.where(known, (z * w).sum(1) / length.clamp(min=1e-300), torch.nan)
    # The norm of the residual w - effect z: the same number as the formula, without its cancellation.
    rest = (w - effect[:, None].nan_to_num() * z).square().sum(1).sqrt()
    return effect, torch.where(known, rest, torch.nan)


@metrics.register()
class Truth(SampleMetric):
    """Distance to the true counterfactual, share of the true effect, change beside it, error of the attributes."""

    title = "Truth"
    asks = frozenset({"single"})
    definition = (
        "Distance of the answer from the true counterfactual image and attributes; effect: share of the true change that is made; "
        "amplification: size of the change beside it (samples whose true change is nil are left out of these two)."
    )
    blind_to = "Interventions whose true counterfactual nobody knows: they have no row here."

    def make_cells(self) -> list[Cell]:
        cells = []
        for intervened in self.setting.with_truth:
            cells += [
                Cell("l1", "grey levels", "lower", intervened),
                Cell("effect", "", "one", intervened),
                Cell("amplification", "grey levels (L2)", "lower", intervened),
            ]
            others = [name for name in self.setting.variables if name not in (intervened, self.setting.image)]
            cells += [self._attribute(intervened, name) for name in others]
        return cells

    def _attribute(self, intervened: str, name: str) -> Cell:
        return error_cell(self.setting.variables[name], intervened, "attribute_error", "attribute_accuracy")

    def update(self, answers: Counterfactual) -> None:
        if answers.truth is None or len(answers.intervened) != 1:
            return
        (intervened,) = answers.intervened
        if intervened not in self.setting.with_truth:
            return
        index, image = answers.factual.index, answers.image
        factual, truth, answer = answers.factual[image], answers.truth[image], answers.values[image]
        effect, amplification = tea(factual, truth, answer)
        for cell in (cell for cell in self.cells if cell.intervened == intervened):
            if cell.quantity == "l1":
                score = l1(answer, truth)
            elif cell.quantity == "effect":
                score = effect
            elif cell.quantity == "amplification":
                score = amplification
            elif cell.quantity == "attribute_error":
                score = (answers.values[cell.measured].double() - answers.truth[cell.measured].double()).abs()
            else:
                score = (answers.values[cell.measured] == answers.truth[cell.measured]).double()
            self.add(cell, index, score)
