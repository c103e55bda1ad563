"""What a metric is: a score per sample, accumulated over batches, never averaged over them."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor
from torchmetrics import Metric

from counterbench.counterfactual import Counterfactual
from counterbench.graph import CausalGraph
from counterbench.variables import Continuous, Variable

Direction = Literal["lower", "higher", "one"]
"""What is better: a lower score, a higher one, or one close to 1."""


@dataclass(frozen=True)
class Setting:
    """What a metric may know: the variables and their graph, the length of the cycle, which interventions have a truth."""

    graph: CausalGraph
    variables: Mapping[str, Variable]
    image: str
    intervenable: tuple[str, ...]
    judged: tuple[str, ...]
    cycles: int
    with_truth: tuple[str, ...]


@dataclass(frozen=True)
class Cell:
    """One number of a table.

    Args:
        quantity: what is averaged, e.g. absolute_error.
        unit: of the number.
        direction: what is better.
        intervened: the variable that was set, "" for none.
        measured: the variable that was measured, "" for the image itself.
        cycles: how many null interventions were composed, 0 where it does not apply.
        kind: "mean" of the samples, or "skill": 1 - mean / mean of a reference.
    """

    quantity: str
    unit: str
    direction: Direction
    intervened: str = ""
    measured: str = ""
    cycles: int = 0
    kind: Literal["mean", "skill"] = "mean"


def error_cell(variable: Variable, intervened: str, error: str, accuracy: str) -> Cell:
    """The cell of an attribute: its `error` in the variable's unit if it is continuous, else its `accuracy`."""
    if isinstance(variable, Continuous):
        return Cell(error, variable.unit, "lower", intervened, variable.name)
    return Cell(accuracy, "", "higher", intervened, variable.name)


class Column:
    """Scores of all samples in one cell. (No dataclass: torchmetrics takes those in `compute` apart.)

    Args:
        metric: name of the metric.
        cell: which number.
        index: (N,), rows of the test split, each once.
        value: (N,), score per sample, float64.
        reference: (N,), what a skill is relative to; ones for a mean.
    """

    def __init__(self, metric: str, cell: Cell, index: Tensor, value: Tensor, reference: Tensor):
        self.metric, self.cell = metric, cell
        self.index, self.value, self.reference = index, value, reference

    def point(self) -> float:
        """The number itself: a mean, or a skill."""
        ratio = float(self.value.sum() / self.reference.sum())
        return 1 - ratio if self.cell.kind == "skill" else ratio

    def __repr__(self) -> str:
        return f"Column({self.metric}, {self.cell}, n={len(self.index)})"


class SampleMetric(Metric):
    """Base of all metrics whose numbers are means, or ratios of means, over samples.

    A torchmetrics metric: `update` with one batch of answers, `compute` all columns, `reset`; its states are concatenated
    across processes. Subclasses register with `@registry.metrics.register()`.

    Args:
        setting: what is asked.
    """

    title: ClassVar[str]
    asks: ClassVar[frozenset[str]]
    """The kinds of question it judges: null, single."""
    definition: ClassVar[str]
    """One sentence: what is computed."""
    blind_to: ClassVar[str]
    """One sentence: what it cannot tell."""
    is_differentiable = False
    higher_is_better = None
    full_state_update = False

    cell_number: list[Tensor]
    row: list[Tensor]
    score: list[Tensor]
    relative_to: list[Tensor]

    def __init__(self, setting: Setting, **options: Any):
        super().__init__(**options)
        self.setting = setting
        self.name = type(self).__module__.rpartition(".")[2]
        self.cells = self.make_cells()
        for state in ("cell_number", "row", "score", "relative_to"):
            self.add_state(state, default=[], dist_reduce_fx="cat")

    @abstractmethod
    def make_cells(self) -> list[Cell]:
        """Every number that this metric gives in this setting, in the order of the table."""

    @abstractmethod
    def update(self, answers: Counterfactual) -> None:
        """Score one batch of answers; answers to questions that the metric does not ask are passed over."""

    def add(self, cell: Cell, index: Tensor, score: Tensor, relative_to: Tensor | None = None) -> None:
        """Keep the scores of some samples; samples whose score is NaN are left out (say so in `definition`)."""
        score = score.detach().cpu().double()
        reference = torch.ones_like(score) if relative_to is None else relative_to.detach().cpu().double()
        kept = ~score.isnan()
        number = torch.full((int(kept.sum()),), self.cells.index(cell), dtype=torch.long)
        for state, values in (
            ("cell_number", number),
            ("row", index.cpu()[kept]),
            ("score", score[kept]),
            ("relative_to", reference[kept]),
        ):
            getattr(self, state).append(values)

    def compute(self) -> list[Column]:
        """One column per cell that has samples, rows in ascending order whatever the batches were."""
        numbers, rows = _joined(self.cell_number), _joined(self.row)
        scores, references = _joined(self.score), _joined(self.relative_to)
        columns = []
        for number, cell in enumerate(self.cells):
            chosen = (numbers == number).nonzero()[:, 0]
            chosen = chosen[rows[chosen].argsort(stable=True)]
            if len(chosen):
                columns.append(Column(self.name, cell, rows[chosen], scores[chosen], references[chosen]))
        return columns


def _joined(state: list[Tensor] | Tensor) -> Tensor:
    """A list state as one tensor (after a reduction across processes it is one already)."""
    if isinstance(state, Tensor):
        return state
    return torch.cat(state) if state else torch.empty(0)
