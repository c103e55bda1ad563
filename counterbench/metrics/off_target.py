"""Off-target change: what an intervention must leave alone."""

from __future__ import annotations

import torch
from torch import Tensor

from counterbench.causal.variables import Variable
from counterbench.judges import Reading
from counterbench.metrics.answers import Answers
from counterbench.metrics.base import NOT_NEGATIVE, Cell, SampleMetric, width
from counterbench.plugins.registry import metrics


def change(variable: Variable, before: Reading, after: Reading, spread: float) -> Tensor:
    """How much a measurement moved, (N,), in standard deviations of the attribute; a class moves by 0 or 1 / spread.

    Args:
        variable: that is measured.
        before: what the judges read in the factual images.
        after: what they read in the answers.
        spread: standard deviation in the training split; of a class, sqrt((1 - sum p^2) / 2).

    Examples:
        >>> from counterbench.causal.variables import Continuous
        >>> before, after = Reading(torch.tensor([[2.0, 3.0]])), Reading(torch.tensor([[2.5, 3.0]]))
        >>> change(Continuous("width", 0, 8, "px"), before, after, spread=0.5).tolist()
        [1.0, 0.0]
    """
    first, second = (seen.value.argmax(1) if seen.discrete else seen.value for seen in (before, after))
    return variable.distance(first, second) / spread


@metrics.register()
class OffTarget(SampleMetric):
    """Mean of |judge_j(x*) - judge_j(x)| / std_j over variables j that are neither intervened nor descendants.

    Examples:
        >>> from counterbench.plans.question import Question
        >>> import torch
        >>> from counterbench.causal import graph, samples, variables
        >>> from counterbench.metrics import answers, base
        >>> from counterbench.judges import Reading
        >>> setting = base.Setting(
        ...     graph.CausalGraph({"width": [], "tilt": [], "image": ["width", "tilt"]}),
        ...     {"width": variables.Continuous("width", 0, 8, "px"), "image": variables.Image("image", 1, 2, 2)},
        ...     image="image", intervenable=("tilt",), judged=("width",), cycles=1, with_truth=(), spread={"width": 1.5},
        ... )
        >>> factual = samples.Samples({"width": torch.tensor([2.0]), "image": torch.zeros(1, 1, 2, 2)}, torch.tensor([0]))
        >>> see = answers.Instruments(lambda images: {"width": Reading(images.amax((1, 2, 3))[None])})  # the brightest pixel
        >>> metric = OffTarget(setting)
        >>> batch = answers.Batch(factual, "image", instruments=see)
        >>> metric.update(answers.Answers(batch, Question("single", batch.index, "tilt"), {**factual, "image": factual["image"] + 3}))
        >>> {column.cell.quantity: round(column.point(), 3) for column in metric.compute()}
        {'mean_change': 2.0, 'change': 2.0}
    """

    title = "Off-target change"
    needs_judges = True
    asks = frozenset({"single"})
    formula = r"$\mathbb{E}_x\, |\mathrm{judge}_j(x^*) - \mathrm{judge}_j(x)| / \mathrm{std}_j$ for $j \notin \{k\} \cup \mathrm{de}(k)$"
    definition = (
        "How far the judges' measurements of attributes move that the intervention must leave alone, in standard deviations of "
        "the training split; per pair of variables, and the mean over them. A class moves by 0 or 1, whatever the judges' probabilities, "
        "and its standard deviation is sqrt((1 - sum p^2) / 2), p the shares of its classes; a periodic quantity moves the shorter way "
        "round. A variable that is constant in the training split is left out."
    )
    blind_to = (
        "Whether the intended change was made: returning the input is perfect. It trusts the judges: what no judge measures "
        "can change unseen."
    )
    source = "Attribute amplification: Xia et al., 2024 (Mitigating attribute amplification in counterfactual image generation)."

    def make_cells(self) -> list[Cell]:
        cells = []
        for name in (name for name in self.setting.judged if not self.setting.spread[name]):
            self.skipped[f"off target ({name})"] = f"{name} is constant in the training split: a change has no scale"
        for intervened in self.setting.intervenable:
            others = self._others(intervened)
            if others:
                cells.append(self._mean(intervened))
            cells += [self._cell(intervened, name, detail=len(others) == 1) for name in others]
        return cells

    def _farthest(self, name: str) -> float:
        """The largest change of an attribute, in standard deviations; in its unit where it has none."""
        return width(self.setting.variables.get(name)) / (self.setting.spread.get(name) or 1.0)

    def _mean(self, intervened: str) -> Cell:
        worst = max(self._farthest(name) for name in self.setting.unaffected(intervened))
        return Cell(
            "mean_change", "std", "lower", intervened, bounds=NOT_NEGATIVE, of_identity=0.0, preserves=True, worst=worst
        )

    def _others(self, intervened: str) -> tuple[str, ...]:
        """Variables that must stay and whose change has a scale."""
        return tuple(name for name in self.setting.unaffected(intervened) if self.setting.spread[name])

    def _cell(self, intervened: str, measured: str, detail: bool) -> Cell:
        return Cell(
            "change",
            "std",
            "lower",
            intervened,
            measured,
            role="detail" if detail else "headline",
            bounds=NOT_NEGATIVE,
            of_identity=0.0,
            preserves=True,
            worst=self._farthest(measured),
        )

    def judges_of(self, cell: Cell) -> tuple[str, ...]:
        (intervened,) = cell.intervened_names
        return (cell.measured,) if cell.measured else self._others(intervened)

    def update(self, answers: Answers) -> None:
        if answers.kind != "single":
            return
        (intervened,) = answers.intervened
        others = self._others(intervened)
        moved = []
        for name in others:
            before, after = answers.batch.view.measured[name], answers.view.measured[name]
            moved.append(change(self.setting.variables[name], before, after, self.setting.spread[name]))
            self.add(self._cell(intervened, name, len(others) == 1), answers.index, moved[-1])
        if moved:
            self.add(self._mean(intervened), answers.index, torch.stack(moved).mean(0))
