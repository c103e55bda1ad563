"""The interventional law: do all answers together look like the world under the intervention, whoever each of them shows?"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from counterbench.causal.variables import Continuous, Variable, Vector
from counterbench.errors import ConfigError
from counterbench.metrics.answers import Answers
from counterbench.metrics.base import NOT_NEGATIVE, Cell, Column, Metric, Setting, joined
from counterbench.metrics.statistics.laws import across, energy_apart, frechet_between
from counterbench.plugins.registry import metrics

_ATTRIBUTES = "attributes"


def encoded(variable: Variable, values: Tensor, spread: float) -> Tensor:
    """Natural values as vectors in which laws are compared, (N, D), float64.

    A quantity is in standard deviations, a periodic one a point on a circle of radius 1, a class one-hot; the numbers of a vector are
    scaled by their ranges, then by their common standard deviation.

    Args:
        variable: decides the kind.
        values: (N, ...), natural values.
        spread: standard deviation of the training split; 0 for a constant.

    Examples:
        >>> encoded(Continuous("width", 0, 8, "px"), torch.tensor([3.0]), 1.5).tolist()
        [[2.0]]
    """
    if isinstance(variable, Vector):
        return variable.encode(values, torch.float64) / (spread or 1.0)
    if not isinstance(variable, Continuous):
        classes = getattr(variable, "cardinality", 2)
        return torch.nn.functional.one_hot(values.long().clamp(0, classes - 1), classes).double()
    if variable.periodic:
        turn = (values.double() - variable.low) * 2 * math.pi / (variable.high - variable.low)
        return torch.stack([turn.cos(), turn.sin()], 1)
    return values.double()[:, None] / (spread or 1.0)


@metrics.register()
class Rung2(Metric):
    """Law of attributes and images under an intervention against the true law, apart from the individual.

    Args:
        setting: what is asked.
        spaces: feature spaces in which images are compared.

    Examples:
        >>> from counterbench.causal.graph import CausalGraph
        >>> graph = CausalGraph({"width": [], "image": ["width"]})
        >>> names = {"width": Continuous("width", 0, 8)}
        >>> setting = Setting(graph, names, "", ("width",), (), cycles=1, with_truth=("width",))
        >>> [cell.quantity for cell in Rung2(setting).cells]
        ['energy_distance']
    """

    title = "Interventional law"
    also = ("interventional law",)
    asks = frozenset({"single"})
    needs_image = False
    formula = (
        r"$\tfrac12 \sum_{h} D\big(\{x^*_i\}_{i \in h}, \{x_{\text{true},j}\}_{j \notin h}\big)$, $h$ one half of the individuals or the other; "
        r"$D = 2\,\mathbb{E}|a - a'_\text{true}| - \mathbb{E}|a - a'| - \mathbb{E}|a_\text{true} - a'_\text{true}|$ of attributes, squared Frechet distance of $(v, \text{image})$"
    )
    definition = (
        "The second rung of the ladder: the law of attributes and images under do(k = v), v as in the plan, against the true law. Energy "
        "distance of all attributes together (quantities in standard deviations of the training split, periodic ones on a circle of radius 1, classes "
        "one-hot; over pairs of different units, unbiased, so that it may be a little below 0), and squared Frechet distance of images in "
        "a named feature space, each together with the value set (scaled to vary as much as all features of true images), so that images must "
        "be right at each value. Individuals are divided into random halves, and answers about one half are held against true counterfactuals of the "
        "other, both ways: who copies the truth of each individual is no nearer than a fresh sample of the true law."
    )
    blind_to = (
        "Whether an answer belongs to its individual: real images of others with the right attributes are as good as the truth. The "
        "Frechet distance of two finite samples is above 0 even if their laws are the same: the row `truth` shows how far, and only equal "
        "N can be compared. Interventions whose true counterfactuals nobody knows have no row here."
    )
    source = "Pearl, Causality, 2009; Szekely and Rizzo, Journal of Statistical Planning and Inference, 2013; Heusel et al., NeurIPS 2017."

    number: list[Tensor]
    row: list[Tensor]
    unit: list[Tensor]

    def __init__(self, setting: Setting, *, spaces: Sequence[str] = ("judge", "posterior")):
        self.spaces = tuple(spaces)
        if len(set(self.spaces)) < len(self.spaces):
            raise ConfigError(f"rung2: spaces names {', '.join(self.spaces)[:80]}; name each feature space once.")
        self.usable = tuple(
            name for name in self.spaces if setting.image and name in setting.spaces and setting.spaces[name].vectors
        )
        kept = (f"{part}_{what}" for what in (_ATTRIBUTES, *self.usable) for part in ("answered", "true"))
        self.states = ("number", "row", "unit", *kept)  # type: ignore[misc]
        super().__init__(setting)

    def make_cells(self) -> list[Cell]:
        if self.setting.image:
            self.available(self.spaces)
            for name in self.spaces:
                if name in self.setting.spaces and name not in self.usable:
                    self.skipped[f"{self.name} ({name})"] = "this space knows distances only, no vectors"
        unknown = [name for name in self.setting.intervenable if name not in self.setting.with_truth]
        for name in unknown:
            self.skipped[f"{self.name} of do({name})"] = (
                "the true counterfactuals, whose law it would be, are not known"
            )
        cells = []
        for name in self.setting.with_truth:
            cells.append(
                Cell(
                    "energy_distance",
                    "",
                    "lower",
                    name,
                    statistic="pseudo",
                    given=bool(self.setting.image),
                    label="energy distance of attributes",
                )
            )
            cells += [
                Cell("frechet_distance", "", "lower", name, space=space, statistic="pseudo", bounds=NOT_NEGATIVE)
                for space in self.usable
            ]
        return cells

    def update(self, answers: Answers) -> None:
        name = answers.question.variable
        if answers.kind != "single" or answers.truth is None or name not in self.setting.with_truth:
            return
        self.number.append(torch.full((len(answers.index),), self.setting.with_truth.index(name)))
        self.row.append(answers.index.cpu())
        group = answers.batch.view.group
        self.unit.append((answers.index if group is None else group).cpu())
        for part, values in (("answered", answers.values), ("true", answers.truth)):
            getattr(self, f"{part}_{_ATTRIBUTES}").append(self._attributes(values))
        for space in self.usable:
            for part, view in (("answered", answers.view), ("true", answers.true_view)):
                getattr(self, f"{part}_{space}").append(view.features(space).detach().cpu())

    def _attributes(self, values: Mapping[str, Tensor]) -> Tensor:
        """All attributes of some samples as one vector each."""
        parts = [
            encoded(variable, values[name].detach().cpu(), self.setting.spread.get(name, 1.0))
            for name, variable in self.setting.variables.items()
            if name != self.setting.image
        ]
        return torch.cat(parts, 1)

    def compute(self) -> list[Column]:
        numbers, rows = joined(self.number), joined(self.row)
        order = rows.argsort(stable=True)
        columns = []
        for cell in self.cells:
            at = order[numbers[order] == self.setting.with_truth.index(cell.intervened_names[0])]
            if len(at):
                values = self._values(cell, at)
                if values.isfinite().all():
                    columns.append(Column(self.name, cell, rows[at], values))
        return columns

    def _values(self, cell: Cell, rows: Tensor) -> Tensor:
        unit = joined(self.unit)[rows]
        attributes, true_attributes = self._stored(_ATTRIBUTES, rows)
        if not cell.space:
            return across(attributes, true_attributes, unit, energy_apart)
        answered, true = (features.double() for features in self._stored(cell.space, rows))
        held = true_attributes[:, self._place(cell.intervened_names[0])]
        # At each value its own law of images: the value stands beside the image, and varies as much.
        held = held * (true.var(0).sum() / held.var(0).sum().clamp(min=1e-12)).sqrt()
        return across(torch.cat([answered, held], 1), torch.cat([true, held], 1), unit, frechet_between)

    def _stored(self, what: str, rows: Tensor) -> tuple[Tensor, Tensor]:
        """(vectors of answers, of the truth), (N, D) each."""
        answered, true = (joined(getattr(self, f"{part}_{what}"))[rows] for part in ("answered", "true"))
        return answered, true

    def _place(self, name: str) -> slice:
        """Where the numbers of an attribute stand among those of all."""
        start = 0
        for other, variable in self.setting.variables.items():
            if other != self.setting.image:
                single = torch.zeros(1, variable.size) if isinstance(variable, Vector) else torch.zeros(1)
                width = encoded(variable, single, 1.0).shape[1]
                if other == name:
                    return slice(start, start + width)
                start += width
        raise KeyError(name)
