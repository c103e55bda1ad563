"""Generation: do new individuals show the attributes that they were drawn for, do they look real, and are they copies?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from counterbench.audits.copies import memorisation_penalised, minimum_cosine_distance, nearest
from counterbench.metrics.answers import Answers
from counterbench.metrics.base import NOT_NEGATIVE, SHARE, Cell, Column, SampleMetric, Setting, error_cell, joined
from counterbench.metrics.effectiveness import error_per_sample
from counterbench.metrics.statistics.distributions import frechet
from counterbench.plugins.registry import metrics

SPACE = "judge"
_FEWEST = 6
"""Samples below which sets are not compared."""


@metrics.register()
class Generation(SampleMetric):
    """New individuals, one with the attributes of every sample asked about: effectiveness, Frechet distance, copies (Dutt et al. 2024).

    Args:
        setting: what is asked.
        seen: rows of the training split that the model was trained on, as in :class:`counterbench.metrics.memorisation.Memorisation`.
        spaces: feature spaces of the Frechet and cosine distances.

    Examples:
        >>> from counterbench.causal.graph import CausalGraph
        >>> graph = CausalGraph({"width": [], "image": ["width"]})
        >>> setting = Setting(graph, {}, "image", ("width",), (), cycles=0, with_truth=(), spaces={})
        >>> [cell.quantity for cell in Generation(setting).cells]  # neither judges nor training images
        []
    """

    title = "Generation"
    asks = frozenset({"sample"})
    seen_option = "seen"
    formula = (
        r"$\mathbb{E}\, \ell\big(\mathrm{judge}_j(x), t_j\big)$; $F = \|m - m_r\|^2 + \mathrm{tr}(C + C_r - 2 (C C_r)^{1/2})$; "
        r"$P\big(\min_t d(x, t) \le q_{.01}\big)$; $F / \min(1, \mathrm{AMD} / \mathrm{AMD}_{\text{held out}})$"
    )
    definition = (
        "A new individual is drawn with the attributes of every sample, and its image alone is judged: by judges against these attributes; by the squared "
        "Frechet distance to held-out real images, one with the same attributes each; by copies, the share that is as near to a training image as the "
        "nearest 1 % of held-out real images (largest root mean square over a 4 x 4 grid of tiles); by the mean least cosine distance to a training image (AMD); and "
        "by MiFID, the Frechet distance divided by AMD / AMD of held-out images where that is below 1."
    )
    blind_to = (
        "Whether the model can answer what would have been: that is what counterfactuals are for. Copies are looked for under the attributes of test samples; "
        "what a model gives away under those of its training samples is `extraction`. Identity draws the test images themselves and resample training images: "
        "what held-out data and a perfect memory score."
    )
    source = "Bai et al., 2021 (AMD, MiFID); Dutt et al., 2024; matched held-out images, and the AMD relative to theirs, are ours."
    judges_real = False
    states: ClassVar[tuple[str, ...]] = (*SampleMetric.states, "set_row")  # type: ignore[assignment]

    set_row: list[Tensor]

    def __init__(self, setting: Setting, *, seen: Mapping[str, Any] | None = None, spaces: Sequence[str] = (SPACE,)):
        self.seen, self.spaces = seen, tuple(spaces)
        usable = [name for name in self.spaces if name in setting.spaces and setting.spaces[name].vectors]
        self.states = (*type(self).states, *(f"{part}_{space}" for space in usable for part in ("drawn", "real")))  # type: ignore[misc]
        super().__init__(setting)

    def row_state(self, state: str) -> str:
        return "row" if state in SampleMetric.states else "set_row"

    def make_cells(self) -> list[Cell]:
        cells = [self._judged(name) for name in self.setting.judged]
        if self.setting.references is None:
            return cells
        usable = [name for name in self.available(self.spaces) if self.setting.spaces[name].vectors]
        for space in usable:
            cells.append(_set_cell("frechet_distance", space))
        cells.append(Cell("copied", "", "lower", bounds=SHARE, worst=1.0, label="copies of training images"))
        for space in usable:
            cells.append(
                Cell("cosine_distance", "", "higher", space=space, role="detail", bounds=(0.0, 2.0), worst=0.0)
            )
            cells.append(_set_cell("mifid", space))
        return cells

    def _judged(self, name: str) -> Cell:
        return error_cell(self.setting.variables[name], "", "absolute_error", "accuracy")

    def judges_of(self, cell: Cell) -> tuple[str, ...]:
        return (cell.measured,) if cell.measured else ()

    def update(self, answers: Answers) -> None:
        if answers.kind != "sample" or not self.cells:
            return
        view, held_out = answers.view, answers.batch.held_out
        for name in self.setting.judged:
            cell, variable = self._judged(name), self.setting.variables[name]
            error = error_per_sample(variable, view.measured[name].value, answers.targets[name])
            self.add(cell, answers.index, error if cell.direction == "lower" else 1 - error)
        if self.setting.references is None:
            return
        trained_on = self.setting.references.trained_on(self.seen)
        for cell in self.cells:
            if cell.quantity == "copied":
                distance, _ = nearest(view.images, trained_on.images)
                self.add(cell, answers.index, (distance <= trained_on.threshold).double())
            elif cell.quantity == "cosine_distance":
                known = trained_on.features(self.setting.spaces[cell.space])
                self.add(cell, answers.index, minimum_cosine_distance(view.features(cell.space), known))
        if held_out is None:
            return
        self.set_row.append(answers.index)
        for state in self.states:
            part, _, space = state.partition("_")
            if part in ("drawn", "real"):
                getattr(self, state).append((view if part == "drawn" else held_out).features(space))

    def compute(self) -> list[Column]:
        columns = {column.cell: column for column in super().compute()}
        rows = joined(self.set_row) if self.set_row else torch.empty(0, dtype=torch.long)
        order = rows.argsort(stable=True)
        for cell in self.cells:
            if cell.quantity != "frechet_distance" or len(rows) < _FEWEST:
                continue
            drawn, real = (joined(getattr(self, f"{part}_{cell.space}"))[order] for part in ("drawn", "real"))
            distance = frechet(drawn, real)
            if distance.isfinite().all():
                columns[cell] = Column(self.name, cell, rows[order], distance)
                columns |= self._penalised(cell, columns)
        return [columns[cell] for cell in self.cells if cell in columns]

    def _penalised(self, cell: Cell, columns: dict[Cell, Column]) -> dict[Cell, Column]:
        """MiFID from the Frechet distance and the AMD in the same space."""
        assert self.setting.references is not None
        distance = next(c for at, c in columns.items() if at.quantity == "cosine_distance" and at.space == cell.space)
        trained_on = self.setting.references.trained_on(self.seen)
        least = trained_on.held_out_distance(self.setting.spaces[cell.space])
        frechet_column, at = columns[cell], _set_cell("mifid", cell.space)
        penalty = memorisation_penalised(1.0, distance.point(), held_out=least)
        return {at: Column(self.name, at, frechet_column.index, frechet_column.value * penalty)}


def _set_cell(quantity: str, space: str) -> Cell:
    role = "headline" if quantity == "frechet_distance" else "detail"
    return Cell(quantity, "", "lower", space=space, role=role, statistic="pseudo", bounds=NOT_NEGATIVE)  # type: ignore[arg-type]
