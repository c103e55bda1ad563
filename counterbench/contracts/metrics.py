"""What a metric promises; see :class:`counterbench.metrics.base.Metric`."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor

from counterbench import evaluation
from counterbench.catalog.suites import find_suite
from counterbench.causal.samples import Samples
from counterbench.contracts.base import Finding, NotAskedError, require, run, same
from counterbench.datasets.dataset import Dataset
from counterbench.errors import CounterbenchError
from counterbench.evaluation.exam import Exam
from counterbench.evaluation.session import examine
from counterbench.evaluation.taking import Taking
from counterbench.metrics.base import Cell, Column, Metric
from counterbench.models import baselines
from counterbench.models.model import Contestant
from counterbench.plugins import registry
from counterbench.runtime.progress import shown

COUNT = 24
_KINDS = {"null", "single", "return", "pair", "joint", "sample"}
_DIRECTIONS = ("lower", "higher", "one", "zero", "half")


class _Grainy:
    """The answers of `identity` with grain that depends on the sample alone: something to measure in every question."""

    needs_rows: ClassVar[bool] = True

    def __init__(self, dataset: Dataset):
        self._identity, self._image = baselines.BASELINES["identity"](dataset, references=1), dataset.card.image

    def counterfactual(
        self, factual: Samples, interventions: Mapping[str, Tensor], generator: object = None
    ) -> dict[str, Tensor]:
        answer = dict(self._identity.counterfactual(factual, interventions))
        if self._image:
            answer[self._image] = (0.9 * answer[self._image] + 12 * (1 + torch.sin(3.1 * factual[self._image]))).clamp(
                0, 255
            )
        return answer

    def draw(self, attributes: Samples, generator: object = None) -> dict[str, Tensor]:
        """Test images under the attributes that were asked for, with the same grain."""
        split = self._identity.dataset.split(self._identity.split)
        shown = split.take(attributes.index % len(split))
        return {**attributes, self._image: self.counterfactual(shown, {})[self._image]}


@dataclass(frozen=True)
class MetricCase:
    """A metric with an exam that asks for nothing else.

    Args:
        exam: the questions.
        metric: empty.
    """

    exam: Exam
    metric: Metric

    def columns(self, batch_size: int = COUNT, folder: Path | None = None) -> list[Column]:
        """What it makes of the answers of some model."""
        return self.taking(batch_size, folder).columns()

    def taking(self, batch_size: int = COUNT, folder: Path | None = None) -> Taking:
        """The exam after some model has taken it."""
        model = Contestant("grainy", _Grainy(self.exam.dataset))
        taking = Taking("grainy", model, self.exam.make_metrics(model), folder, "check")
        token = shown.set(False)
        try:
            examine(self.exam, [taking], batch_size=batch_size)
        finally:
            shown.reset(token)
        return taking


def check(name: str, dataset: Dataset) -> Iterator[Finding]:
    """Check the metric `name` with its default options, on answers to questions about a dataset."""
    yield from run(FAMILY_CHECKS, registry.metrics.get(name), "the class")
    try:
        suite = find_suite("quick").model_copy(update={"samples": True})
        exam = evaluation.prepare(dataset, suite, metrics=[name], limit=COUNT, device="cpu")
        case = MetricCase(exam, exam.make_metrics()[0])
    except CounterbenchError as wrong:
        yield Finding("can be made", dataset.card.name, "broken", str(wrong))
        return
    yield from run(CHECKS, case, dataset.card.name)


# --- of the class -----------------------------------------------------------------------------------------------------


def is_a_metric(family: type[Metric]) -> None:
    """is a subclass of Metric, and so knows its setting."""
    require(
        isinstance(family, type) and issubclass(family, Metric),
        "make it a subclass of counterbench.metrics.base.SampleMetric (or Metric)",
    )


def says_what_it_is(family: type[Metric]) -> None:
    """has a title, says what it computes, and what it cannot tell."""
    missing = [name for name in ("title", "definition", "blind_to") if not getattr(family, name, "")]
    require(not missing, f"add the class attributes {', '.join(missing)}: tables and documentation print them")
    require(
        getattr(family, "asks", None), f"say in `asks` which questions it judges, some of {', '.join(sorted(_KINDS))}"
    )
    require(set(family.asks) <= _KINDS, f"`asks` may hold {', '.join(sorted(_KINDS))}; it holds {sorted(family.asks)}")


# --- of a metric ------------------------------------------------------------------------------------------------------


def declares_its_numbers(case: MetricCase) -> None:
    """make_cells lists each number once, with its unit and what is better."""
    cells = _cells(case)
    require(
        len(set(cells)) == len(cells),
        "make_cells lists a cell twice; cells differ in quantity, intervened, measured, ...",
    )
    wrong = [cell.quantity for cell in cells if cell.direction not in _DIRECTIONS]
    require(not wrong, f"direction of {', '.join(wrong)}: give one of {', '.join(_DIRECTIONS)}")


def gives_what_it_declares(case: MetricCase) -> None:
    """its numbers are finite, one per sample, and among those that it declares."""
    _cells(case)
    columns = case.columns()
    require(
        columns,
        "it gave no number for a model that answers everything; call self.add(cell, answers.index, score) in update",
    )
    test = set(case.exam.plan.index.tolist())
    for column in columns:
        require(column.cell in case.metric.cells, f"{column.cell} is not among make_cells()")
        require(
            column.value.isfinite().all(),
            f"{column.cell.quantity} is not finite for some samples; NaN leaves a sample out",
        )
        require(set(column.index.tolist()) <= test, f"{column.cell.quantity} has rows that were not asked about")
        require((column.index.diff() > 0).all(), f"{column.cell.quantity} has a sample twice, or out of order")


def no_score_depends_on_the_batch(case: MetricCase) -> None:
    """batch size changes no score."""
    _cells(case)
    whole = _by_cell(case.columns(COUNT))
    for size in (1, 7):
        parts = _by_cell(case.columns(size))
        require(whole.keys() == parts.keys(), f"with batches of {size} it gives other numbers than with one of {COUNT}")
        for cell, column in whole.items():
            if cell.kind == "peak" or cell.kind == "timing":
                continue
            require(
                same(column.value, parts[cell].value, tolerance=1e-4) and torch.equal(column.index, parts[cell].index),
                f"{cell.quantity} changes with the batch size; score each sample by itself, and compute statistics of the set in compute()",
            )


def reset_forgets(case: MetricCase) -> None:
    """reset forgets everything."""
    _cells(case)
    metric = case.metric
    metric.reset()
    require(metric.compute() == [], "an empty metric must compute an empty list")


def survives_the_disk(case: MetricCase) -> None:
    """what it has taken can be stored and read back."""
    _cells(case)
    with tempfile.TemporaryDirectory() as folder:
        first = case.columns(folder=Path(folder))
        again = case.columns(folder=Path(folder))  # read, not asked again
        for before, after in zip(first, again, strict=True):
            require(
                same(before.value, after.value, tolerance=1e-9),
                f"{before.cell.quantity} is another after it was stored; see `states`",
            )


def can_be_divided(case: MetricCase) -> None:
    """what its numbers of whole sets come from can be taken apart by rows."""
    if not any(cell.statistic == "pseudo" for cell in _cells(case)):
        return
    taking, metric = case.taking(), case.metric
    stored = {key.partition("/")[2]: value for key, value in taking.sets().items()}
    rows = case.exam.plan.index
    for part in (rows, rows[: len(rows) // 2]):
        try:
            found = _by_cell(metric.columns_of(stored, part))
        except (KeyError, IndexError, RuntimeError) as error:
            require(False, f"{error!r}: every state needs the rows of its entries; see row_state of Metric")
        if len(part) == len(rows):
            whole = _by_cell(taking.columns())
            require(
                all(
                    same(column.value, found[cell].value, tolerance=1e-9)
                    for cell, column in whole.items()
                    if cell.statistic == "pseudo"
                ),
                "the states of all rows give other numbers than the answers; see row_state of Metric",
            )


def _cells(case: MetricCase) -> list[Cell]:
    if not case.metric.cells:
        why = "; ".join(f"{what}: {reason}" for what, reason in case.metric.skipped.items())
        raise NotAskedError(why or "it declares no number here: is there a question that it asks?")
    return case.metric.cells


def _by_cell(columns: list[Column]) -> dict[Cell, Column]:
    return {column.cell: column for column in columns}


FAMILY_CHECKS = (is_a_metric, says_what_it_is)
CHECKS = (
    declares_its_numbers,
    gives_what_it_declares,
    no_score_depends_on_the_batch,
    reset_forgets,
    survives_the_disk,
    can_be_divided,
)
