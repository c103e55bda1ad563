"""Estimated skill: what can be said of the distance to the truth where nobody knows the truth."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from counterbench.metrics.answers import Answers, l1
from counterbench.metrics.base import GREY, Cell, Column, SampleMetric, Setting, width
from counterbench.metrics.effectiveness import robust_errors
from counterbench.metrics.recognition import RECOGNISER, is_recognised
from counterbench.plugins.registry import metrics


@metrics.register()
class EstimatedSkill(SampleMetric):
    """Loss of going there and back, and what judges say of answers that are recognised, as one estimate of the truth skill.

    Args:
        setting: what is asked.
        recogniser: a space trained to tell individuals apart.

    Examples:
        >>> from counterbench.causal import graph
        >>> setting = Setting(
        ...     graph.CausalGraph({"width": [], "image": ["width"]}), {}, image="image", intervenable=("width",), judged=("width",),
        ...     cycles=1, with_truth=(),
        ... )
        >>> EstimatedSkill(setting).skipped
        {'estimate do(width)': 'the card pins no typical change; `counterbench typical-change` writes it'}
    """

    title = "Estimated skill"
    needs_judges = True
    asks = frozenset({"null", "single", "return"})
    null_cycles = 1
    formula = (
        r"$1 - E / D$ with $E = C + D\,(1 - R)$; $C = \max\big(\mathbb{E} d(x, f_\varnothing(x)),\ \mathbb{E} d(x, f_{k = x_k}(x^*))\big)$; "
        r"$R = 1 - \sum e / \sum e_\text{identity}$, where an answer that is not recognised counts $\max(e, e_\text{identity})$"
    )
    definition = (
        "An estimate of truth skill without the truth. C: how much of the image is lost by answering nothing, or by going there and back, "
        "whichever is more. R, the recognised skill: the judges' error of what is set (the larger one with or without a small "
        "perturbation, as in effectiveness) against that of doing nothing, where an answer that is not recognised as its own individual "
        "counts at least as much as doing nothing; of variables that the image does not show, the mean over the descendants that judges "
        "measure. D: the size of the change that pinned models make, a constant of the card. 0 is doing nothing."
    )
    blind_to = (
        "Change where nothing should change, as long as the judges and the recogniser look through it. docs/estimate.md shows how well its order "
        "follows that of the truth on rendered data, where both stand in every record."
    )
    source = (
        "This project; the loss of going there and back is the axiom of reversibility (Monteiro et al., ICLR 2023)."
    )

    def __init__(self, setting: Setting, recogniser: str = RECOGNISER):
        self.recogniser = recogniser
        super().__init__(setting)

    def make_cells(self) -> list[Cell]:
        cells = []
        for intervened in self.setting.intervenable:
            why = self._hindered(intervened)
            if why:
                self.skipped[f"estimate do({intervened})"] = why
                continue
            cells += [_estimate(intervened), _recognised(intervened), _loss(intervened, 0), _loss(intervened, 1)]
            cells += [self._error(intervened, measured) for measured in self._shown(intervened)]
        return cells

    def _hindered(self, intervened: str) -> str:
        """Why nothing can be estimated of an intervention; empty if it can."""
        setting = self.setting
        if intervened in setting.changes_individual:
            return "it changes who it is"
        if not self._shown(intervened):
            return "no judge measures what it changes"
        if not setting.typical_change.get(intervened, 0) > 0:
            return "the card pins no typical change; `counterbench typical-change` writes it"
        if self.recogniser not in setting.spaces:
            return setting.missing.get(self.recogniser, "the recogniser was not loaded")
        return ""

    def _shown(self, intervened: str) -> tuple[str, ...]:
        """What judges look at: the variable that is set or, where the image does not show it, its descendants."""
        if intervened in self.setting.judged:
            return (intervened,)
        descendants = self.setting.graph.descendants(intervened)
        return tuple(name for name in self.setting.judged if name in descendants)

    def _error(self, intervened: str, measured: str) -> Cell:
        return Cell(
            "recognised_error",
            "of doing nothing",
            "lower",
            intervened,
            measured,
            role="detail",
            worst=width(self.setting.variables[measured]),
        )

    def judges_of(self, cell: Cell) -> tuple[str, ...]:
        (intervened,) = cell.intervened_names
        return () if cell.quantity == "loss" else self._shown(intervened)

    def questions_behind(self, cell: Cell) -> list[str]:
        (intervened,) = cell.intervened_names
        return [*super().questions_behind(cell), "null/1", f"return/{intervened}"]

    def update(self, answers: Answers) -> None:
        if answers.kind == "single":
            self._take_single(answers)
        elif answers.kind == "return" and (cell := _loss(answers.intervened[0], 1)) in self.cells:
            self.add(cell, answers.index, l1(answers.view.images, answers.batch.view.images))

    def _take_single(self, answers: Answers) -> None:
        (intervened,) = answers.intervened
        if _estimate(intervened) not in self.cells or answers.own is not None:
            return
        null = answers.batch.null
        if null is not None:
            self.add(_loss(intervened, 0), answers.index, l1(null.images, answers.batch.view.images))
        known = is_recognised(self.setting, answers, self.recogniser)
        for measured in self._shown(intervened):
            variable = self.setting.variables[measured]
            error, nothing = robust_errors(answers, variable)
            counted = torch.where(known, error, torch.maximum(error, nothing))
            self.add(self._error(intervened, measured), answers.index, counted, relative_to=nothing)

    def compute(self) -> list[Column]:
        columns = {column.cell: column for column in super().compute()}
        for cell in [cell for cell in self.cells if cell.quantity == "estimated_skill"]:
            columns |= self._combined(cell.intervened_names[0], columns)
        return [columns[cell] for cell in self.cells if cell in columns]

    def _combined(self, intervened: str, columns: dict[Cell, Column]) -> dict[Cell, Column]:
        """The estimate and the recognised skill, as numbers per sample whose mean they are."""
        losses = [columns[cell] for cell in (_loss(intervened, back) for back in (0, 1)) if cell in columns]
        errors = [
            columns[cell] for name in self._shown(intervened) if (cell := self._error(intervened, name)) in columns
        ]
        if not losses or not errors or any(not float(error.reference.sum()) > 0 for error in errors):
            return {}
        missed = torch.stack([_pseudo(error) for error in errors]).mean(0)
        loss = max(losses, key=Column.point)
        change = self.setting.typical_change[intervened]
        index = errors[0].index
        rows = torch.searchsorted(loss.index, index).clamp(max=len(loss.index) - 1)
        if not torch.equal(loss.index[rows], index):
            return {}
        return {
            _estimate(intervened): Column(self.name, _estimate(intervened), index, missed + loss.value[rows] / change),
            _recognised(intervened): Column(self.name, _recognised(intervened), index, missed),
        }


def _pseudo(errors: Column) -> Tensor:
    """(N,): numbers whose mean is the ratio of the sums, and whose spread is that of its linear approximation."""
    ratio, mean = errors.value.sum() / errors.reference.sum(), errors.reference.mean()
    return ratio + (errors.value - ratio * errors.reference) / mean


def _estimate(intervened: str) -> Cell:
    return Cell(
        "estimated_skill",
        "",
        "higher",
        intervened,
        kind="skill",
        bounds=(None, 1.0),
        of_identity=0.0,
        intervenes=True,
    )


def _recognised(intervened: str) -> Cell:
    return replace(_estimate(intervened), quantity="recognised_skill", role="detail", intervenes=False)


def _loss(intervened: str, back: int) -> Cell:
    """Distance from the observed image after the null question, or after going there and back."""
    quantity = "loss_there_and_back" if back else "loss_of_null"
    return Cell(quantity, "grey levels", "lower", intervened, role="detail", bounds=GREY, worst=255.0)
