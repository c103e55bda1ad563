"""Truth: where the data-generating process is known, the true counterfactual is the answer."""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import Tensor

from counterbench.causal.variables import Image
from counterbench.metrics.answers import Answers
from counterbench.metrics.base import NOT_NEGATIVE, Cell, DistanceMetric, distance_cell, error_cell
from counterbench.plugins.registry import metrics


def tea(factual: Tensor, truth: Tensor, answer: Tensor) -> tuple[Tensor, Tensor]:
    """Split the change that a model makes into the part along the true change and the rest.

    With z = truth - factual and w = answer - factual: effect = <z, w> / |z|^2 and
    amplification = sqrt(|w|^2 - (<z, w> / |z|)^2). Doing nothing gives (0, 0), the truth gives (1, 0).

    Args:
        factual: (N, ...), grey levels.
        truth: the same shape.
        answer: the same shape.

    Returns:
        (effect, amplification), each (N,), float64; the second in grey levels (Euclidean norm over the image). Both are NaN
        where truth and factual are the same image, for there is no direction to compare with.

    Examples:
        >>> factual, truth = torch.zeros(1, 2), torch.tensor([[10.0, 0.0]])
        >>> effect, amplification = tea(factual, truth, answer=torch.tensor([[5.0, 3.0]]))
        >>> effect.tolist(), amplification.tolist()
        ([0.5], [3.0])
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
class Truth(DistanceMetric):
    """Distance to the true counterfactual, share of the true effect, change beside it, error of the attributes.

    Args:
        setting: what is asked.
        distances: to the true image: `l1`, or feature spaces such as `lpips`.

    Examples:
        >>> from counterbench.plans.question import Question
        >>> import torch
        >>> from counterbench.causal import graph, samples, variables
        >>> from counterbench.metrics import answers, base
        >>> setting = base.Setting(
        ...     graph.CausalGraph({"width": [], "image": ["width"]}),
        ...     {"width": variables.Continuous("width", 0, 8, "px"), "image": variables.Image("image", 1, 2, 2)},
        ...     image="image", intervenable=("width",), judged=(), cycles=1, with_truth=("width",),
        ... )
        >>> factual = samples.Samples({"width": torch.tensor([2.0]), "image": torch.zeros(1, 1, 2, 2)}, torch.tensor([0]))
        >>> metric = Truth(setting)
        >>> batch = answers.Batch(factual, "image")
        >>> answer, truth = ({**factual, "image": factual["image"] + brighter} for brighter in (3, 4))
        >>> metric.update(answers.Answers(batch, Question("single", batch.index, "width"), answer, truth=truth))
        >>> {column.cell.quantity: round(column.point(), 3) for column in metric.compute()}
        {'l1': 1.0, 'effect': 0.75, 'amplification': 0.0}
    """

    title = "Truth"
    asks = frozenset({"single"})
    needs_image = False
    formula = r"$z = x_\text{true} - x,\ w = x^* - x$: effect $= \langle z, w\rangle / \|z\|^2$, amplification $= \sqrt{\|w\|^2 - (\langle z, w\rangle / \|z\|)^2}$"
    definition = (
        "Distance of the answer from the true counterfactual image and attributes; effect: share of the true change that is made; "
        "amplification: size of the change beside it (samples whose true change is nil are left out of these two). Errors of an "
        "attribute below single precision count as none."
    )
    blind_to = "Interventions whose true counterfactual nobody knows: they have no row here."
    source = "Effect and amplification: this project; a decomposition of the change along and across the true one."

    def make_cells(self) -> list[Cell]:
        cells = []
        there = self.available(self.distances) if self.setting.image else ()
        for intervened in self.setting.with_truth:
            if self.setting.image:
                cells += [
                    *(replace(distance_cell(name, intervened), of_truth=0.0) for name in there),
                    # At the worst -1: the opposite of what was asked.
                    Cell("effect", "", "one", intervened, of_identity=0.0, of_truth=1.0, worst=2.0),
                    self._amplification(intervened),
                ]
            others = [name for name in self.setting.variables if name not in (intervened, self.setting.image)]
            cells += [self._attribute(intervened, name) for name in others]
        return cells

    def _attribute(self, intervened: str, name: str) -> Cell:
        cell = error_cell(self.setting.variables[name], intervened, "attribute_error", "attribute_accuracy")
        return replace(cell, of_truth=0.0 if cell.direction == "lower" else 1.0, given=True)

    def _amplification(self, intervened: str) -> Cell:
        image = self.setting.variables[self.setting.image]
        assert isinstance(image, Image)
        return Cell(
            "amplification",
            "grey levels (L2)",
            "lower",
            intervened,
            bounds=NOT_NEGATIVE,
            of_identity=0.0,
            of_truth=0.0,
            worst=255.0 * math.sqrt(math.prod(image.shape)),
        )

    def update(self, answers: Answers) -> None:
        if answers.truth is None or answers.kind != "single":
            return
        (intervened,) = answers.intervened
        if intervened not in self.setting.with_truth:
            return
        image = answers.batch.image
        scores: dict[str, Tensor] = {}
        if image:
            scores["effect"], scores["amplification"] = tea(
                answers.factual[image], answers.truth[image], answers.values[image]
            )
        for cell in (cell for cell in self.cells if cell.intervened == intervened):
            if cell.space:
                score = answers.view.distance(cell.space, answers.true_view)
            elif cell.quantity in scores:
                score = scores[cell.quantity]
            else:
                score = _attribute_score(cell, answers.values[cell.measured], answers.truth[cell.measured])
            self.add(cell, answers.index, score)


def _attribute_score(cell: Cell, answer: Tensor, truth: Tensor) -> Tensor:
    if cell.quantity == "attribute_error":
        return rounded((answer.double() - truth.double()).abs(), truth)
    return (answer == truth).double()


def rounded(error: Tensor, scale: Tensor) -> Tensor:
    """Errors with what single precision loses (a millionth of the value) counted as none.

    Examples:
        >>> rounded(torch.tensor([1e-9, 0.5]), torch.tensor([3.0, 3.0])).tolist()
        [0.0, 0.5]
    """
    return torch.where(error <= 1e-6 * (1 + scale.double().abs()), 0.0, error)
