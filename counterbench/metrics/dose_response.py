"""Dose-response: how effect and error grow with the size of an intervention, where training has the like of it and where not."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from counterbench.causal.variables import Continuous
from counterbench.metrics.answers import Answers
from counterbench.metrics.base import NOT_NEGATIVE, Cell, SampleMetric, Setting
from counterbench.metrics.statistics.dose_bins import BINS, SIDES, quantity_of
from counterbench.metrics.statistics.doses import ENOUGH, WITHIN, Support, size_edges
from counterbench.metrics.truth import tea
from counterbench.plugins.registry import metrics

_WORST = 255.0


@metrics.register()
class DoseResponse(SampleMetric):
    """Effect and effect error of interventions on continuous variables, by their size, in and out of the training split's support.

    Examples:
        >>> from counterbench.causal.graph import CausalGraph
        >>> from counterbench.metrics.base import Setting
        >>> graph = CausalGraph({"width": [], "image": ["width"]})
        >>> metric = DoseResponse(Setting(graph, {}, "image", (), (), cycles=1, with_truth=()))
        >>> metric.skipped["dose_response"]
        'no continuous variable has true counterfactuals here'
    """

    title = "Dose-response"
    asks = frozenset({"single"})
    formula = (
        r"$\sum_{i \in b} \langle z_i, w_i\rangle / \sum_{i \in b} \|z_i\|^2$ and "
        r"$\sum_{i \in b} |\langle z_i, w_i\rangle - \|z_i\|^2| / \sum_{i \in b} \|z_i\|^2$, $b$ a bin of $|v_i - k_i| / \sigma_k$"
    )
    definition = (
        f"Effect and effect error (see Truth) of interventions do(k = v) on a continuous variable k, in {BINS} bins of the size |v - k| in "
        "standard deviations of the training split, whose edges are quantiles of |v - k| over all pairs of training values from different "
        "tenths of their range (equally wide, as plans draw v), so that the bins are about equally full and the same for every plan. Bins are divided by support: the value set is in "
        f"support where at least {ENOUGH} training samples have k within {WITHIN:g} standard deviations of it and all parents of k in the "
        "same group as the sample (same class, or same tenth of the training values by their count). `size` is the mean size in a bin, "
        "for curves."
    )
    blind_to = (
        "Where the training split has the like of an answer is counted for k and its parents alone: what follows from k may be unheard of "
        "in support, and the image may be common out of it. A bin that holds few samples has a wide interval, or none."
    )
    source = "This project; effect and effect error as in Truth."

    def __init__(self, setting: Setting):
        self.edges: dict[str, Tensor] = {}
        self.support: dict[str, Support] = {}
        super().__init__(setting)

    def make_cells(self) -> list[Cell]:
        references = self.setting.references
        names = [name for name in self.setting.with_truth if isinstance(self.setting.variables.get(name), Continuous)]
        if not names or references is None:
            self.skipped[self.name] = (
                "no continuous variable has true counterfactuals here" if not names else "there is no training split"
            )
            return []
        for name in names:
            variable = self.setting.variables[name]
            assert isinstance(variable, Continuous)
            self.edges[name] = size_edges(variable, references.training(name), BINS)
            self.support[name] = Support(references, name, self.setting.graph.parents(name))
        return [
            cell
            for name in names
            for side in SIDES
            for number in range(BINS)
            for cell in self._cells(name, side, number)
        ]

    def _cells(self, name: str, side: str, number: int) -> tuple[Cell, Cell, Cell]:
        """Effect, effect error and size in a bin."""
        return (
            _cell("effect", "one", name, side, number, of_identity=0.0, of_truth=1.0),
            _cell("effect_error", "lower", name, side, number, of_identity=1.0, of_truth=0.0),
            _cell("size", "zero", name, side, number),
        )

    def update(self, answers: Answers) -> None:
        name = answers.question.variable
        if answers.kind != "single" or answers.truth is None or name not in self.edges:
            return
        image, variable = self.setting.image, self.setting.variables[name]
        values = answers.wanted[name].cpu()
        sizes = variable.distance(values, answers.factual[name].cpu())
        numbers = torch.searchsorted(self.edges[name], sizes, right=True)
        supported = self.support[name](
            values, {parent: answers.factual[parent] for parent in self.setting.graph.parents(name)}
        )
        along, length, _ = tea(answers.factual[image], answers.truth[image], answers.values[image])
        spread = self.setting.spread[name] or 1.0
        for side in SIDES:
            for number in range(BINS):
                rows = (numbers == number) & (supported == (side == "in"))
                if not rows.any():
                    continue
                effect, error, size = self._cells(name, side, number)
                index, z, zw = answers.index[rows.to(answers.index.device)], length.cpu()[rows], along.cpu()[rows]
                self.add(effect, index, zw, relative_to=z)
                self.add(error, index, (zw - z).abs(), relative_to=z)
                self.add(size, index, sizes[rows] / spread)


def _cell(
    what: str,
    direction: Literal["one", "lower", "zero"],
    name: str,
    side: str,
    number: int,
    *,
    of_identity: float | None = None,
    of_truth: float | None = None,
) -> Cell:
    told = what == "size"
    return Cell(
        quantity_of(what, side, number),
        "standard deviations" if told else "",
        direction,
        name,
        role="detail",
        bounds=(None, None) if what == "effect" else NOT_NEGATIVE,
        of_identity=of_identity,
        of_truth=of_truth,
        worst=None if told else _WORST,
        given=told,
        label=f"{what.replace('_', ' ')}, size {number + 1} of {BINS}, {side} {'of ' if side == 'out' else ''}support",
    )
