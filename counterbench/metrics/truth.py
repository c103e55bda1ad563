"""Truth: where the data-generating process is known, the true counterfactual is the answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor

from counterbench.metrics.answers import Answers, l1
from counterbench.metrics.base import NOT_NEGATIVE, Cell, DistanceMetric, distance_cell, error_cell, width
from counterbench.plans.question import ALONE, Cause, names_of
from counterbench.plugins.registry import metrics

_GREY = 255.0
"""The most that two pixels differ by: in whole grey levels, |<z, d>| <= 255 |z|^2 for a difference d between two images."""


def tea(factual: Tensor, truth: Tensor, answer: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Split the change that a model makes into the part along the true change and the rest.

    With z = truth - factual and w = answer - factual, sums over samples give effect = sum <z, w> / sum |z|^2,
    effect error = sum |<z, w> - |z|^2| / sum |z|^2 and amplification = sqrt(sum |w - e z|^2 / sum |z|^2), e = <z, w> / |z|^2.
    Doing nothing has effect 0, error 1 and amplification 0; the truth has 1, 0, 0. A mean of single ratios would be ruled by the
    samples that hardly change, and a mean of signed effects forgets errors that cancel.

    Args:
        factual: (N, ...), grey levels.
        truth: the same shape.
        answer: the same shape.

    Returns:
        (<z, w>, |z|^2, |w - e z|^2), each (N,), float64, means over the numbers of an image in squared grey levels. Where the truth is
        the factual image, the first two are 0 and all of the change is beside the true one.

    Examples:
        >>> factual, truth = torch.zeros(1, 2), torch.tensor([[10.0, 0.0]])
        >>> along, length, beside = tea(factual, truth, answer=torch.tensor([[5.0, 3.0]]))
        >>> (along / length).tolist(), (beside / length).sqrt().tolist()
        ([0.5], [0.3])
    """
    origin = factual.double().flatten(1)
    z, w = truth.double().flatten(1) - origin, answer.double().flatten(1) - origin
    length, along = (z * z).mean(1), (z * w).mean(1)
    share = torch.where(length > 0, along / length.clamp(min=1e-300), 0.0)
    # The norm of the residual w - e z: the same number as |w|^2 - <z, w>^2 / |z|^2, without its cancellation.
    return along, length, (w - share[:, None] * z).square().mean(1)


@metrics.register()
class Truth(DistanceMetric):
    """Distance to the true counterfactual, skills relative to doing nothing, share of the true effect, change beside it, error of
    the attributes.

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
        {'truth_skill': 0.75, 'l1': 1.0, 'effect': 0.75, 'effect_error': 0.25, 'amplification': 0.0}
    """

    title = "Truth"
    asks = frozenset({"null", *ALONE})
    null_cycles = 1
    needs_image = False
    formula = (
        r"$1 - \sum d(x^*, x_\text{true}) / \sum d(x, x_\text{true})$; change skill "
        r"$1 - \sum d(x^* - f_\varnothing(x), x_\text{true} - x) / \sum d(x, x_\text{true})$; with "
        r"$z = x_\text{true} - x,\ w = x^* - x$: effect $\sum \langle z, w\rangle / \sum \|z\|^2$, effect error "
        r"$\sum |\langle z, w\rangle - \|z\|^2| / \sum \|z\|^2$, amplification "
        r"$\big(\sum \|w - (\langle z, w\rangle / \|z\|^2) z\|^2 / \sum \|z\|^2\big)^{1/2}$"
    )
    definition = (
        "Distance of the answer from the true counterfactual image and attributes. Truth skill: 1 minus that distance relative to the "
        "distance of doing nothing (0 doing nothing, 1 the truth, below 0 farther than doing nothing); change skill: the same of the "
        "model's change, from its own answer to the null intervention. Without images, distances are those of the descendants of what "
        "is set, in robust standard deviations. Effect: share of the true change that is made, and effect error, where too little here "
        "does not make up for too much there; amplification: size of the change beside it. Differences of periodic attributes are the "
        "shorter way round; errors of an attribute below single precision (a millionth of the value) count as none."
    )
    blind_to = "Interventions whose true counterfactual nobody knows: they have no row here."
    source = "Effect and amplification: this project; a decomposition of the change along and across the true one."

    def make_cells(self) -> list[Cell]:
        cells = []
        there = self.available(self.distances) if self.setting.image else ()
        for intervened in self._known():
            if self._measured(intervened):
                far = self._farthest(intervened)
                # A model's change is off by at most the ranges of its own two answers together.
                cells += [_skill("truth_skill", intervened, far), _skill("change_skill", intervened, 2 * far)]
            if self.setting.image:
                cells += [
                    *(replace(distance_cell(name, intervened), of_truth=0.0) for name in there),
                    Cell("effect", "", "one", intervened, of_identity=0.0, of_truth=1.0, worst=_GREY, role="detail"),
                    Cell(
                        "effect_error",
                        "",
                        "lower",
                        intervened,
                        bounds=NOT_NEGATIVE,
                        of_identity=1.0,
                        of_truth=0.0,
                        worst=_GREY,
                    ),
                    Cell(
                        "amplification",
                        "",
                        "lower",
                        intervened,
                        kind="root",
                        bounds=NOT_NEGATIVE,
                        of_identity=0.0,
                        of_truth=0.0,
                        preserves=True,
                        worst=_GREY**2,
                    ),
                ]
            others = [
                name for name in self.setting.variables if name not in (*names_of(intervened), self.setting.image)
            ]
            cells += [self._attribute(intervened, name) for name in others]
        return cells

    def _known(self) -> tuple[Cause, ...]:
        """What is set in the questions whose true answer is known, one variable or two at once."""
        return (*self.setting.with_truth, *self.setting.joint_with_truth)

    def _measured(self, intervened: Cause) -> tuple[str, ...]:
        """What the distance to the truth is taken of: the image, or, without images, the descendants that vary at all."""
        if self.setting.image:
            return (self.setting.image,)
        following = self.setting.following(intervened)
        return tuple(
            name for name in self.setting.variables if name in following and self.setting.scale.get(name, 0) > 0
        )

    def _farthest(self, intervened: Cause) -> float:
        """The largest distance to the truth that an answer can have."""
        if self.setting.image:
            return _GREY
        apart = [width(self.setting.variables[name]) / self.setting.scale[name] for name in self._measured(intervened)]
        return sum(apart) / len(apart)

    def _attribute(self, intervened: Cause, name: str) -> Cell:
        cell = error_cell(self.setting.variables[name], intervened, "attribute_error", "attribute_accuracy")
        return replace(cell, of_truth=0.0 if cell.direction == "lower" else 1.0, given=True)

    def questions_behind(self, cell: Cell) -> list[str]:
        return [*super().questions_behind(cell), *(["null/1"] if cell.quantity == "change_skill" else [])]

    def update(self, answers: Answers) -> None:
        intervened = answers.cause
        if answers.truth is None or answers.kind not in ALONE or intervened not in self._known():
            return
        scores = self._scores(answers, intervened)
        for cell in (cell for cell in self.cells if cell.intervened == intervened):
            if cell.space:
                self.add(cell, answers.index, answers.view.distance(cell.space, answers.true_view))
            elif cell.measured:
                self.add(cell, answers.index, self._attribute_score(answers, cell))
            elif cell.quantity in scores:
                score, relative_to = scores[cell.quantity]
                self.add(cell, answers.index, score, relative_to=relative_to)

    def _attribute_score(self, answers: Answers, cell: Cell) -> Tensor:
        assert answers.truth is not None
        answer, truth = answers.values[cell.measured], answers.truth[cell.measured]
        variable = self.setting.variables[cell.measured]
        error = variable.distance(answer, truth)
        return rounded(error, variable.magnitude(truth)) if cell.quantity == "attribute_error" else 1 - error

    def _scores(self, answers: Answers, intervened: Cause) -> dict[str, tuple[Tensor, Tensor]]:
        """Quantity -> (scores, what they are relative to)."""
        assert answers.truth is not None
        image = answers.batch.image
        nothing = self._distance(answers.factual, answers.truth, intervened)
        scores = {"truth_skill": (self._distance(answers.values, answers.truth, intervened), nothing)}
        null = answers.batch.null_values
        if null is not None:
            scores["change_skill"] = (self._change_error(answers, null, intervened), nothing)
        if image:
            factual, truth, answer = (values[image] for values in (answers.factual, answers.truth, answers.values))
            along, length, beside = tea(factual, truth, answer)
            scores |= {
                "effect": (along, length),
                "effect_error": ((along - length).abs(), length),
                "amplification": (beside, length),
            }
        return scores

    def _distance(self, values: Mapping[str, Tensor], truth: Mapping[str, Tensor], intervened: Cause) -> Tensor:
        """(N,): mean absolute difference in grey levels, or without images in robust standard deviations."""
        image = self.setting.image
        if image:
            return l1(values[image], truth[image])
        apart = [
            rounded(variable.distance(values[name], truth[name]), variable.magnitude(truth[name]))
            / self.setting.scale[name]
            for name, variable in ((name, self.setting.variables[name]) for name in self._measured(intervened))
        ]
        return (
            torch.stack(apart).mean(0) if apart else torch.zeros(len(next(iter(truth.values()))), dtype=torch.float64)
        )

    def _change_error(self, answers: Answers, null: Mapping[str, Tensor], intervened: Cause) -> Tensor:
        """(N,): distance of the model's change, from its null answer, to the true change."""
        assert answers.truth is not None
        # x + (x* - f_null(x)): the model's change on what was observed, so that both distances are of the same kind.
        changed = {
            name: answers.factual[name].double() + answers.values[name].double() - null[name].double()
            for name in self._measured(intervened)
        }
        return self._distance(changed, answers.truth, intervened)


def _skill(quantity: str, intervened: Cause, farthest: float) -> Cell:
    return Cell(
        quantity,
        "",
        "higher",
        intervened,
        kind="skill",
        bounds=(None, 1.0),
        of_identity=0.0,
        of_truth=1.0,
        intervenes=True,
        worst=farthest,
    )


def rounded(error: Tensor, scale: Tensor) -> Tensor:
    """Errors with what single precision loses (a millionth of the value) counted as none.

    Examples:
        >>> rounded(torch.tensor([1e-9, 0.5]), torch.tensor([3.0, 3.0])).tolist()
        [0.0, 0.5]
    """
    return torch.where(error <= 1e-6 * (1 + scale.double().abs()), 0.0, error)
