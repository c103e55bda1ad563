"""Effectiveness: the image must show what the intervention makes of the attributes, whatever the model claims."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import torch
from torch import Tensor

from counterbench.causal.variables import Binary, Continuous, Variable
from counterbench.metrics.answers import Answers
from counterbench.metrics.base import NOT_NEGATIVE, SHARE, Cell, Column, SampleMetric, error_cell, width
from counterbench.metrics.statistics.classification import auroc, balanced_accuracy, f1_parts
from counterbench.plans.question import ALONE, Cause, names_of
from counterbench.plugins.registry import metrics

__all__ = ["Effectiveness", "auroc", "balanced_accuracy", "error_per_sample", "f1_parts"]


def error_per_sample(variable: Variable, measured: Tensor, target: Tensor) -> Tensor:
    """How far a judge's measurement is from the target.

    Args:
        variable: decides the kind of error.
        measured: (N,) in the variable's unit, or (N, K) class probabilities.
        target: (N,), natural values.

    Returns:
        (N,), float64: absolute error in the variable's unit, of a periodic one the shorter way round, or 0 / 1 for a right / wrong class.

    Examples:
        >>> width = Continuous("width", 0, 8, "px")
        >>> error_per_sample(width, torch.tensor([2.0, 3.5]), torch.tensor([2.5, 3.5])).tolist()
        [0.5, 0.0]
    """
    return variable.distance(measured if isinstance(variable, Continuous) else measured.argmax(1), target)


def robust_errors(answers: Answers, variable: Variable) -> tuple[Tensor, Tensor]:
    """How far the judges' reading is from what it should be, in the answer or after a small perturbation of it, whichever is farther.

    What an image shows survives a little noise and a shift by part of a pixel; what only a network sees in it does not.

    Returns:
        ((N,) of the answers, (N,) of doing nothing: of the factual images, against the targets of the answers).

    Examples:
        >>> import torch
        >>> from counterbench.causal.samples import Samples
        >>> from counterbench.judges import Reading
        >>> from counterbench.metrics.answers import Batch, Instruments
        >>> from counterbench.plans.question import Question
        >>> see = Instruments(lambda images: {"width": Reading(images.amax((1, 2, 3))[None])})  # the brightest pixel
        >>> factual = Samples({"width": torch.zeros(1), "image": torch.zeros(1, 1, 2, 2)}, torch.tensor([0]))
        >>> batch = Batch(factual, "image", instruments=see, shake=lambda images: images + 2)
        >>> question, brighter = Question("single", batch.index, "width"), {"image": factual["image"] + 4}
        >>> answers = Answers(batch, question, brighter, targets={"width": torch.tensor([5.0])})
        >>> error, nothing = robust_errors(answers, Continuous("width", 0, 8))
        >>> error.tolist(), nothing.tolist()  # 4 is read, then 6; without an answer 0, then 2
        ([1.0], [5.0])
    """
    unchanged = replace(answers, values=answers.factual)
    return (
        _worst_errors(answers, variable, answers.expected[variable.name]),
        _worst_errors(unchanged, variable, answers.targets[variable.name]),
    )


def _worst_errors(answers: Answers, variable: Variable, target: Tensor) -> Tensor:
    error = error_per_sample(variable, answers.view.measured[variable.name].value, target)
    if answers.shaken is None:
        return error
    return torch.maximum(error, error_per_sample(variable, answers.shaken.measured[variable.name].value, target))


@metrics.register()
class Effectiveness(SampleMetric):
    """Every cell (intervened k, measured j): judge_j(x*) against the target of j (Monteiro et al., ICLR 2023).

    Examples:
        >>> from counterbench.plans.question import Question
        >>> import torch
        >>> from counterbench.causal import graph, samples, variables
        >>> from counterbench.metrics import answers, base
        >>> from counterbench.judges import Reading
        >>> setting = base.Setting(
        ...     graph.CausalGraph({"width": [], "image": ["width"]}),
        ...     {"width": variables.Continuous("width", 0, 8, "px"), "image": variables.Image("image", 1, 2, 2)},
        ...     image="image", intervenable=("width",), judged=("width",), cycles=1, with_truth=(),
        ... )
        >>> factual = samples.Samples({"width": torch.tensor([2.0]), "image": torch.zeros(1, 1, 2, 2)}, torch.tensor([0]))
        >>> see = answers.Instruments(lambda images: {"width": Reading(images.amax((1, 2, 3))[None])})  # the brightest pixel
        >>> metric = Effectiveness(setting)
        >>> batch = answers.Batch(factual, "image", instruments=see)
        >>> wanted = {"width": torch.tensor([5.0])}
        >>> answer = {**wanted, "image": factual["image"] + 4}
        >>> metric.update(answers.Answers(batch, Question("single", batch.index, "width"), answer, targets=wanted))
        >>> {column.cell.quantity: round(column.point(), 3) for column in metric.compute()}
        {'absolute_error': 1.0, 'skill': 0.8}
    """

    title = "Effectiveness"
    also = ("accuracy", "AUROC", "F1", "MAE")
    needs_judges = True
    asks = frozenset(ALONE)
    formula = r"$\mathbb{E}_x\, \ell\big(\mathrm{judge}_j(x^*), t_j\big)$; skill $= 1 - \text{error} / \text{error of identity}$"
    definition = (
        "Judge's measurement of the counterfactual image against the target t, for every intervened and every measured variable: mean "
        "absolute error (of a periodic quantity, the shorter way round), accuracy, and for binary variables balanced accuracy, area under the ROC curve and F1, each over the whole "
        "set. The target of what is set is the value set; of its descendants, the true value where it is known, else that of the "
        "dataset's reference SCM, else the factual value; of everything else, the factual value. What the model itself claims does "
        "not count; where a reference SCM is the target, attribute error says how far the claim is from it. skill = 1 - error / error of "
        "the baseline `identity`, for what is set and its descendants; there an answer counts with the larger of two errors, of the answer "
        "itself and of the answer after a small perturbation (noise of 3 grey levels, a shift of up to half a pixel, the same for "
        "everybody), and perturbation drop says how much that adds. Where several judges measure, their median counts; spread "
        "(standard deviation; of classes, total variation from their mean) and agreement (how often all name the same class) say how far they "
        "are apart."
    )
    blind_to = (
        "Whether it is still the same individual: another image with the right attributes is perfect. Where there is neither truth nor "
        "a reference SCM, descendants are held against their factual values: who lets nothing follow is right; the record says so."
    )
    source = "Monteiro et al., ICLR 2023; Melistas et al., NeurIPS 2024 (there averaged over batches, and against the model's own attributes)."
    judges_real = True

    def make_cells(self) -> list[Cell]:
        cells = []
        for intervened in self.setting.causes:
            changed = {*names_of(intervened), *self.setting.following(intervened)}
            for measured in self.setting.judged:
                cells.append(self._cell(intervened, measured))
                if isinstance(self.setting.variables[measured], Binary):
                    cells += [self._of_set(name, intervened, measured) for name in ("balanced_accuracy", "auroc", "f1")]
                if measured in changed:
                    cells += [self._skill(intervened, measured), self._drop(intervened, measured)]
                if measured in self.setting.ensembles:
                    cells += self._ensemble(intervened, measured)
            cells += [self._claim(intervened, name) for name in self.setting.assumed.get(intervened, ())]
        return cells

    def _claim(self, intervened: Cause, name: str) -> Cell:
        cell = error_cell(self.setting.variables[name], intervened, "attribute_error", "attribute_accuracy")
        return replace(cell, role="detail", given=True)

    def _cell(self, intervened: Cause, measured: str) -> Cell:
        return error_cell(self.setting.variables[measured], intervened, "absolute_error", "accuracy")

    def _skill(self, intervened: Cause, measured: str) -> Cell:
        return Cell(
            "skill",
            "",
            "higher",
            intervened,
            measured,
            kind="skill",
            bounds=(None, 1.0),
            of_identity=0.0,
            worst=width(self.setting.variables[measured]),
        )

    def _drop(self, intervened: Cause, measured: str) -> Cell:
        """How much worse the reading gets when the answer is perturbed a little."""
        cell = self._cell(intervened, measured)
        unit, most = cell.unit, width(self.setting.variables[measured])
        return Cell(
            "perturbation_drop", unit, "lower", intervened, measured, role="detail", bounds=NOT_NEGATIVE, worst=most
        )

    def _of_set(self, quantity: str, intervened: Cause, measured: str) -> Cell:
        statistic: Literal["set", "pseudo"] = "set" if quantity == "f1" else "pseudo"
        return Cell(quantity, "", "higher", intervened, measured, statistic=statistic, bounds=SHARE)

    def _ensemble(self, intervened: Cause, measured: str) -> list[Cell]:
        variable = self.setting.variables[measured]
        continuous = isinstance(variable, Continuous)
        spread = Cell(
            "judges_spread",
            variable.unit if isinstance(variable, Continuous) else "",
            "lower",
            intervened,
            measured,
            role="detail",
            bounds=NOT_NEGATIVE,
            worst=width(variable),
        )
        agreement = Cell("judges_agreement", "", "higher", intervened, measured, role="detail", bounds=SHARE)
        return [spread] if continuous else [agreement, spread]

    def judges_of(self, cell: Cell) -> tuple[str, ...]:
        return () if cell.quantity.startswith("attribute") else (cell.measured,)

    def update(self, answers: Answers) -> None:
        intervened = answers.cause
        if answers.kind not in ALONE or intervened not in self.setting.causes:
            return
        for name in self.setting.assumed.get(intervened, ()) if answers.own is None else ():
            cell, claim, target = self._claim(intervened, name), answers.values[name], answers.targets[name]
            difference = self.setting.variables[name].distance(claim, target)
            self.add(cell, answers.index, difference if cell.direction == "lower" else 1 - difference)
        for measured in self.setting.judged:
            variable, target = self.setting.variables[measured], answers.expected[measured]
            reading = answers.view.measured[measured]
            error = error_per_sample(variable, reading.value, target)
            cell, skill = self._cell(intervened, measured), self._skill(intervened, measured)
            self.add(cell, answers.index, error if cell.direction == "lower" else 1 - error)
            if skill in self.cells:
                worst, unchanged = robust_errors(answers, variable)
                self.add(skill, answers.index, worst, relative_to=unchanged)
                if answers.shaken is not None:
                    self.add(self._drop(intervened, measured), answers.index, worst - error)
            if measured in self.setting.ensembles:
                for extra in self._ensemble(intervened, measured):
                    score = reading.agreement() if extra.quantity == "judges_agreement" else reading.spread()
                    self.add(extra, answers.index, score)
            if isinstance(variable, Binary):
                # The label in the sign, the probability in the size: everything that curves need, in one number.
                probability = reading.value[:, 1].double().clamp(1e-12)
                signed = torch.where(target == 1, probability, -probability)
                self.add(self._of_set("auroc", intervened, measured), answers.index, signed)

    def compute(self) -> list[Column]:
        columns = {column.cell: column for column in super().compute()}
        for cell, column in list(columns.items()):
            if cell.quantity == "auroc":
                columns |= self._curves(cell, column)
        return [columns[cell] for cell in self.cells if cell in columns]

    def _curves(self, cell: Cell, raw: Column) -> dict[Cell, Column]:
        signed = raw.value.numpy()
        target, score = (signed > 0).astype(int), abs(signed)
        named = (score > 0.5).astype(int)
        parts = {
            "auroc": auroc(target, score),
            "balanced_accuracy": balanced_accuracy(target, named),
            "f1": f1_parts(target, named),
        }
        columns = {}
        intervened = cell.intervened
        for quantity, (numerator, denominator) in parts.items():
            at = self._of_set(quantity, intervened, cell.measured)
            value, reference = torch.from_numpy(numerator), torch.from_numpy(denominator)
            columns[at] = Column(self.name, at, raw.index, value, reference=reference)
        return columns
