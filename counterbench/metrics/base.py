"""Base classes of metrics. A metric keeps one value per sample; means are taken once over all samples, never over batches."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor

from counterbench.causal.graph import CausalGraph
from counterbench.causal.variables import Variable
from counterbench.features.base import FeatureSpace
from counterbench.metrics.answers import L1, Answers
from counterbench.metrics.cells import GREY, NOT_NEGATIVE, SHARE, Bounds, Cell, distance_cell, error_cell, width
from counterbench.metrics.references import References
from counterbench.plans.question import Cause, names_of

if TYPE_CHECKING:
    from counterbench.metrics.on_tensors import OnTensors

__all__ = [
    "GREY",
    "NOT_NEGATIVE",
    "SHARE",
    "Bounds",
    "Cell",
    "Column",
    "DistanceMetric",
    "Metric",
    "SampleMetric",
    "Setting",
    "distance_cell",
    "error_cell",
    "joined",
    "width",
]


@dataclass(frozen=True)
class Setting:
    """What a metric may know before the first answer.

    Args:
        graph: of the dataset.
        variables: of the dataset, by name.
        image: name of the dataset's image; empty where it has none.
        intervenable: variables that single questions set.
        judged: variables that judges measure.
        cycles: how often the null intervention is composed.
        with_truth: interventions whose true counterfactual image is known.
        undo: interventions that are taken back.
        pairs: interventions that are made in both orders.
        joint: interventions on two variables at once.
        joint_with_truth: those of them whose true counterfactual image is known.
        ensembles: variables with several judges.
        spread: standard deviation of each attribute in the training split; of a class, sqrt((1 - sum p^2) / 2), which is that of
            a binary one.
        spaces: feature spaces that are there.
        missing: feature space -> why it is not there.
        references: real training images, for metrics that compare with them.
        noise: "variable.part" -> how many numbers; empty for a model without exogenous noise.
        held: parts of the noise that have no law: every draw from the prior has the same value.
        rows: of the test split, that are asked about; None if that is not known.
        assumed: what is set -> descendants whose targets are those of the reference SCM.

    Examples:
        >>> graph = CausalGraph({"thickness": [], "intensity": ["thickness"], "digit": []})
        >>> names = tuple(graph)
        >>> Setting(graph, {}, "", names, names, cycles=1, with_truth=()).unaffected("intensity")
        ('thickness', 'digit')
    """

    graph: CausalGraph
    variables: Mapping[str, Variable]
    image: str
    intervenable: tuple[str, ...]
    judged: tuple[str, ...]
    cycles: int
    with_truth: tuple[str, ...]
    undo: tuple[str, ...] = ()
    pairs: tuple[tuple[str, str], ...] = ()
    ensembles: tuple[str, ...] = ()
    spread: Mapping[str, float] = field(default_factory=dict)
    scale: Mapping[str, float] = field(default_factory=dict)
    """Of each attribute in the training split, robustly: interquartile range / 1.349 (1 for classes), for distances between answers without images."""
    spaces: Mapping[str, FeatureSpace] = field(default_factory=dict)
    missing: Mapping[str, str] = field(default_factory=dict)
    references: References | None = None
    noise: Mapping[str, int] = field(default_factory=dict)
    held: frozenset[str] = frozenset()
    rows: Tensor | None = None
    changes_individual: tuple[str, ...] = ()
    """Interventions that make somebody else of who was observed."""
    typical_change: Mapping[str, float] = field(default_factory=dict)
    """Intervened variable -> size of the change that pinned models make, in grey levels: the scale of the estimated skill."""
    assumed: Mapping[Cause, tuple[str, ...]] = field(default_factory=dict)
    joint: tuple[tuple[str, str], ...] = ()
    joint_with_truth: tuple[tuple[str, str], ...] = ()
    parts: tuple[str, ...] = ()
    """Names of the parts of an image, the first one that of the background; none where the dataset has no masks and no segmenter."""
    owned: Mapping[Cause, tuple[str, ...]] = field(default_factory=dict)
    """What is set -> the parts that it may change."""
    segmented: bool = False
    """Whether a segmenter finds the parts of answers."""
    boxed: tuple[str, ...] = ()
    """Variables that act inside of the boxes of the dataset."""
    captioned: bool = False
    """Whether the images have captions."""

    @property
    def causes(self) -> tuple[Cause, ...]:
        """What is set in questions about the observed samples: one variable, then two at once."""
        return (*self.intervenable, *self.joint)

    def unaffected(self, intervened: str) -> tuple[str, ...]:
        """Measured variables that an intervention must leave alone: neither set nor descendants."""
        changed = {intervened, *self.graph.descendants(intervened)}
        return tuple(name for name in self.judged if name not in changed)

    def following(self, cause: Cause) -> set[str]:
        """What follows from what is set: descendants of any of it, but for what is set itself."""
        names = names_of(cause)
        return set(self.graph.descendants(names)) - set(names)


class Column:
    """Values of all samples in one cell. (No dataclass: torchmetrics takes those in `compute` apart.)

    A statistic of the whole set (a Frechet distance, an area under a curve) is stored as its pseudo-values: numbers per
    sample whose mean (relative to the reference) is the statistic and whose spread is that of its linear approximation (the infinitesimal jackknife;
    Efron 1982), so that one bootstrap serves all.

    Args:
        metric: name of the metric.
        cell: which number.
        index: (N,), rows of the test split.
        value: (N,), value per sample, float64.
        reference: (N,), what a ratio or skill is relative to; ones for a mean.
        no_rank: why the number cannot be ranked; empty if it can.

    Examples:
        >>> cell = Cell("skill", "", "higher", kind="skill")
        >>> Column("effectiveness", cell, torch.arange(2), torch.tensor([1.0, 3.0]), reference=torch.tensor([8.0, 8.0])).point()
        0.75
    """

    def __init__(
        self,
        metric: str,
        cell: Cell,
        index: Tensor,
        value: Tensor,
        *,
        reference: Tensor | None = None,
        no_rank: str = "",
    ):
        self.metric, self.cell, self.no_rank = metric, cell, no_rank
        self.index, self.value = index, value
        self.reference = torch.ones_like(value) if reference is None else reference

    def point(self) -> float:
        """The number itself."""
        if self.cell.kind == "peak":
            return float(self.value.max())
        ratio = float(self.value.sum() / self.reference.sum())
        if self.cell.kind == "root":
            return math.sqrt(ratio)
        return 1 - ratio if self.cell.kind == "skill" else ratio

    def __repr__(self) -> str:
        return f"Column({self.metric}, {self.cell}, n={len(self.index)})"


def first_samples(answers: Answers, setting: Setting, count: int) -> Tensor:
    """Which samples of a batch are among the first ones that are asked about, (N,), bool; none of other answers than those to one null
    intervention.

    Args:
        answers: of a batch.
        setting: what is asked.
        count: how many samples are looked at.

    Examples:
        >>> from counterbench.causal.samples import Samples
        >>> from counterbench.metrics.answers import Batch
        >>> from counterbench.plans.question import Question
        >>> given = Samples({"width": torch.zeros(3)}, torch.tensor([0, 1, 2]))
        >>> setting = Setting(CausalGraph({"width": []}), {}, "", (), (), cycles=1, with_truth=())
        >>> null = Answers(Batch(given, ""), Question("null", given.index, cycle=1), given)
        >>> first_samples(null, setting, 2).tolist()
        [True, True, False]
    """
    if answers.kind != "null" or answers.cycles != 1:
        return torch.zeros_like(answers.index, dtype=torch.bool)
    rows = setting.rows
    return answers.index < count if rows is None else torch.isin(answers.index, rows[:count])


class Metric(ABC):
    """Base of all metrics: `update` takes one batch of answers, `compute` gives all columns, `reset` forgets, as metrics of torchmetrics do.

    Every state is a list of tensors, which :meth:`dump` and :meth:`restore` carry from one process to another. Subclasses register with
    `@registry.metrics.register()`; their keyword arguments after `setting` are the options of a suite.

    Args:
        setting: what is asked.

    Examples:
        >>> from counterbench.plugins import registry
        >>> composition = registry.metrics.get("composition")
        >>> composition.title, sorted(composition.asks), composition.needs_image
        ('Composition', ['null'], True)
    """

    title: ClassVar[str]
    also: ClassVar[tuple[str, ...]] = ()
    """Words of the field that lead to it."""
    of_privacy: ClassVar[bool] = False
    """Whether it says what a model gives away of whom it was trained on."""
    asks: ClassVar[frozenset[str]]
    """The kinds of question it judges: null, single, return, pair, joint, sample."""
    null_cycles: ClassVar[int | None] = None
    """How many compositions of the null intervention it judges; None for as many as there are."""
    definition: ClassVar[str]
    """One sentence: what is computed."""
    formula: ClassVar[str] = ""
    """The same as mathematics, in TeX."""
    blind_to: ClassVar[str]
    """What it cannot tell, and how it can be fooled."""
    source: ClassVar[str] = ""
    """Where it comes from."""
    needs_image: ClassVar[bool] = True
    """Whether it has nothing to say of a dataset without images."""
    needs_judges: ClassVar[bool] = False
    """Whether it has nothing to say of a source for which the card pins no judge."""
    judges_real: ClassVar[bool] = False
    """Whether real images with the counterfactual attributes have a row in it."""
    needs_noise: ClassVar[bool] = False
    """Whether its numbers are those of a model's own exogenous noise, which nobody can list without the model."""
    needs_model: ClassVar[bool] = False
    """Whether it watches a model at work, so that it has nothing to say of answers from files."""
    needs_parts: ClassVar[bool] = False
    """Whether a segmenter, where there is one, decides its numbers."""
    draws_option: ClassVar[str] = ""
    """Of a metric that judges several draws of an answer: its option that says how many."""
    seen_option: ClassVar[str] = ""
    """Of a metric that compares answers with what a model was trained on: its option that says which rows those are."""
    of_trainings: ClassVar[bool] = False
    """Whether it compares several trainings, so that it has nothing to say of one; see `counterbench group`."""
    states: ClassVar[tuple[str, ...]] = ()
    """Names of the states, for storing what was computed."""

    def __init__(self, setting: Setting):
        self.setting = setting
        self.name = type(self).__module__.rpartition(".")[2]
        self.skipped: dict[str, str] = {}
        """What cannot be computed here -> why."""
        self.cells: list[Cell] = []
        if self.needs_image and not setting.image:
            self.skipped[self.name] = "the dataset has no images"
        elif self.needs_judges and not setting.judged:
            self.skipped[self.name] = "the card pins no judge for this source; `counterbench train-judges` makes some"
        else:
            self.cells = self.make_cells()
        self.reset()

    @classmethod
    def on(cls, variables: Sequence[Variable], graph: Mapping[str, Sequence[str]], **given: Any) -> OnTensors:
        """This metric on tensors, without dataset, plan or card.

        Args:
            variables: attributes and image.
            graph: variable -> its causes.
            given: judges, spaces, real, cycles, truth, seed, and the options of the metric; see
                :class:`counterbench.metrics.on_tensors.OnTensors`.
        """
        from counterbench.metrics.on_tensors import OnTensors

        return OnTensors(cls, variables, graph, **given)

    def reset(self) -> None:
        """Forget every answer."""
        for state in self.states:
            setattr(self, state, [])

    @property
    def empty(self) -> bool:
        """Whether it has taken nothing yet."""
        return all(len(getattr(self, state)) == 0 for state in self.states)

    @abstractmethod
    def make_cells(self) -> list[Cell]:
        """Every number that this metric gives in this setting, in the order of the table."""

    @abstractmethod
    def update(self, answers: Answers) -> None:
        """Take one batch of answers; answers to questions that the metric does not ask are passed over."""

    @abstractmethod
    def compute(self) -> list[Column]:
        """One column per cell that has samples, rows in ascending order whatever the batches were."""

    def available(self, spaces: tuple[str, ...], what: str = "") -> tuple[str, ...]:
        """Those of the named distances and feature spaces that are there; the others are skipped aloud."""
        usable = []
        for name in spaces:
            if name == L1 or name in self.setting.spaces:
                usable.append(name)
            else:
                self.skipped[f"{what or self.name} ({name})"] = self.setting.missing.get(name, "it was not loaded")
        return tuple(usable)

    def judges_of(self, cell: Cell) -> tuple[str, ...]:
        """Variables whose judges decide this number; a model that was trained against one of them is marked there."""
        return ()

    def questions_behind(self, cell: Cell) -> list[str]:
        """The questions whose answers decide a number, e.g. `null/1`, `single/age`, `return/age`, `pair/age/sex`,
        `joint/age/sex`."""
        if self.asks == {"sample"}:
            return ["sample"]
        if cell.cycles:
            return [f"null/{cycle}" for cycle in range(1, cell.cycles + 1)]
        if cell.intervened in self.setting.joint:
            return ["/".join(("joint", *cell.intervened_names))]
        return [f"single/{name}" for name in cell.intervened_names if name in self.setting.intervenable]

    def dump(self) -> dict[str, Tensor]:
        """Everything it has taken, to be stored."""
        return {state: joined(getattr(self, state)) for state in self.states if len(getattr(self, state))}

    def row_state(self, state: str) -> str:
        """The state that says of which row of the test split each entry of a state is."""
        return "row"

    def of_rows(self, stored: Mapping[str, Tensor], rows: Tensor) -> dict[str, Tensor]:
        """What another copy of this metric has dumped, of some rows of the test split alone.

        Args:
            stored: state -> its entries.
            rows: (K,), rows of the test split.
        """
        return {state: values[torch.isin(stored[self.row_state(state)], rows)] for state, values in stored.items()}

    def columns_of(self, stored: Mapping[str, Tensor], rows: Tensor) -> list[Column]:
        """The columns of some rows of the test split alone, from what another copy of this metric has dumped; it is empty before and afterwards.

        Args:
            stored: state -> its entries.
            rows: (K,), rows of the test split.
        """
        self.restore({state: values for state, values in self.of_rows(stored, rows).items() if len(values)})
        columns = [] if self.empty else self.compute()
        self.reset()
        return columns

    def restore(self, stored: Mapping[str, Tensor]) -> None:
        """Take what another copy of this metric has dumped, in addition to what is here."""
        for state, value in stored.items():
            getattr(self, state).append(value)


class SampleMetric(Metric):
    """Base of all metrics whose numbers are means, or ratios of means, over samples.

    Examples:
        >>> from counterbench.plans.question import Question
        >>> class Brightness(SampleMetric):
        ...     def make_cells(self):
        ...         return [Cell("brightness", "grey levels", "zero")]
        ...     def update(self, answers):
        ...         self.add(self.cells[0], answers.index, answers.view.images.mean((1, 2, 3)))
        >>> from counterbench.causal.samples import Samples
        >>> from counterbench.metrics.answers import Batch
        >>> metric = Brightness(Setting(CausalGraph({"image": []}), {}, "image", (), (), cycles=1, with_truth=()))
        >>> batch = Batch(Samples({"image": torch.zeros(2, 1, 4, 4)}, torch.arange(2)), "image")
        >>> metric.update(Answers(batch, Question("null", batch.index, cycle=1), {"image": torch.ones(2, 1, 4, 4)}))
        >>> metric.compute()[0].point()
        1.0
    """

    states = ("cell_number", "row", "score", "relative_to")

    cell_number: list[Tensor]
    row: list[Tensor]
    score: list[Tensor]
    relative_to: list[Tensor]

    def add(self, cell: Cell, index: Tensor, score: Tensor, *, relative_to: Tensor | None = None) -> None:
        """Keep the scores of some samples; samples whose score is NaN are left out (say so in `definition`)."""
        score = score.detach().cpu().double()
        reference = torch.ones_like(score) if relative_to is None else relative_to.detach().cpu().double()
        kept = ~(score.isnan() | reference.isnan())
        number = torch.full((int(kept.sum()),), self.cells.index(cell), dtype=torch.long)
        for state, values in (
            ("cell_number", number),
            ("row", index.cpu()[kept]),
            ("score", score[kept]),
            ("relative_to", reference[kept]),
        ):
            getattr(self, state).append(values)

    def compute(self) -> list[Column]:
        numbers, rows = joined(self.cell_number), joined(self.row)
        scores, references = joined(self.score), joined(self.relative_to)
        columns = []
        for number, cell in enumerate(self.cells):
            positions = (numbers == number).nonzero()[:, 0]
            positions = positions[rows[positions].argsort(stable=True)]
            if len(positions):
                columns.append(
                    Column(self.name, cell, rows[positions], scores[positions], reference=references[positions])
                )
        return columns


class DistanceMetric(SampleMetric):
    """Base of the metrics that are mean distances between images.

    Args:
        setting: what is asked.
        distances: d: `l1`, or feature spaces such as `lpips`.

    Examples:
        >>> from counterbench.metrics.composition import Composition
        >>> setting = Setting(CausalGraph({"image": []}), {}, "image", (), (), cycles=1, with_truth=())
        >>> [cell.space for cell in Composition(setting, distances=["l1"]).cells]
        ['l1']
    """

    def __init__(self, setting: Setting, distances: Sequence[str] = (L1,)):
        self.distances = tuple(distances)
        super().__init__(setting)


def joined(state: list[Tensor]) -> Tensor:
    """A list state as one tensor.

    Examples:
        >>> joined([torch.zeros(2), torch.ones(1)]).tolist()
        [0.0, 0.0, 1.0]
    """
    return torch.cat(state) if state else torch.empty(0)
