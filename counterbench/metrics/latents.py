"""Latents of an image: what of the attributes they hold, whether they hang on each other, whether their order holds."""

from __future__ import annotations

import torch
from torch import Tensor

from counterbench.causal.variables import Binary, Continuous, Ordinal
from counterbench.metrics.answers import Answers
from counterbench.metrics.base import SHARE, Cell, Column, Metric, Setting, first_samples, joined
from counterbench.metrics.statistics.latents import (
    linear_errors,
    matched_correlation,
    order_divergence,
    rank_dependence,
)
from counterbench.plugins.registry import metrics

LATENT = "latent"
"""The part of an image's noise that this is about."""
_WIDEST, _FEWEST, _PER_LATENT = 64, 10, 8


@metrics.register()
class Latents(Metric):
    """A representation held against the attributes, against itself, and against its own order.

    Args:
        setting: what is asked.
        samples: how many test images at most (the first ones).

    Examples:
        >>> from counterbench.causal.graph import CausalGraph
        >>> from counterbench.causal.variables import Image
        >>> graph = CausalGraph({"width": [], "image": ["width"]})
        >>> shown = {"width": Continuous("width", 0, 8, "px"), "image": Image("image", 1, 8, 8)}
        >>> setting = Setting(graph, shown, "image", ("width",), (), cycles=1, with_truth=(), noise={"image.latent": 4})
        >>> [cell.quantity for cell in Latents(setting).cells]
        ['mcc', 'linear_r2', 'dependence', 'order_divergence']
    """

    title = "Latents"
    also = ("MCC",)
    needs_noise = True
    asks = frozenset({"null"})
    null_cycles = 1
    formula = (
        r"$\mathrm{MCC} = \frac{1}{m} \max_\pi \sum_i |\rho(z_{\pi(i)}, a_i)|$; $R^2 = 1 - E(a - \hat a(z))^2 / E(a - \bar a)^2$; "
        r"$E_{i<j} |\rho_s(z_i, z_j)|$; share of arrows $z_j \to z_i$ with $j > i$"
    )
    definition = (
        "The part of the image's noise called latent, inferred from at most 1,000 test images. mcc: each quantity of the dataset is matched to one latent so that "
        "the absolute correlations are largest together; their mean. linear_r2: of a linear reader of all latents, on images that it was not fitted to. dependence: mean absolute rank correlation "
        "of two latents. order_divergence: of the arrows that the method `score` finds among the latents, the share that points from a later latent to an earlier one; 0 where it finds none, "
        "so read it beside the dependence: latents that do not hang on each other have no order to violate."
    )
    blind_to = (
        "Whether any answer is right. A mechanism that is told the attributes need not keep them in its latents, and had better not: read the leak of `abduction` there. The arrows are an "
        "estimate that trusts additive noise, and of models whose latents follow no order the divergence says nothing."
    )
    source = "Hyvarinen & Morioka, NeurIPS 2016 (MCC); Kori et al. 2023 (order divergence of latents); Rolland et al., ICML 2022 (score)."

    row: list[Tensor]
    latent: list[Tensor]

    def __init__(self, setting: Setting, samples: int = 1000):
        self.samples = samples
        ordered = (Continuous, Ordinal, Binary)
        self.attributes = tuple(name for name, variable in setting.variables.items() if isinstance(variable, ordered))
        self.states = ("row", "latent", *(f"factual_{name}" for name in self.attributes))  # type: ignore[misc]
        self.part = f"{setting.image}.{LATENT}"
        super().__init__(setting)

    def make_cells(self) -> list[Cell]:
        width = self.setting.noise.get(self.part, 0)
        if not 2 <= width <= _WIDEST:
            self.skipped[self.name] = (
                f"the model has no noise called {self.part!r} of 2 to {_WIDEST} numbers"
                if width == 0
                else f"{width} latents; this looks at 2 to {_WIDEST}"
            )
            return []
        cells = (
            [Cell("mcc", "", "higher", role="diagnosis", statistic="pseudo", bounds=SHARE)] if self.attributes else []
        )
        cells += [self._readable(name) for name in self.attributes]
        cells.append(Cell("dependence", "", "zero", role="diagnosis", statistic="pseudo", bounds=SHARE))
        return [*cells, Cell("order_divergence", "", "zero", role="diagnosis", kind="timing", bounds=SHARE)]

    def _readable(self, name: str) -> Cell:
        return Cell(
            "linear_r2",
            "",
            "higher",
            measured=name,
            kind="skill",
            role="diagnosis",
            statistic="set",
            bounds=(None, 1.0),
        )

    def questions_behind(self, cell: Cell) -> list[str]:
        return ["null/1"]

    def update(self, answers: Answers) -> None:
        few = first_samples(answers, self.setting, self.samples)
        noise = answers.batch.noise if self.cells and few.any() else None
        if noise is None:
            return
        self.row.append(answers.index[few])
        self.latent.append(noise.abducted[self.part][few].flatten(1).double())
        for name in self.attributes:
            getattr(self, f"factual_{name}").append(answers.factual[name][few].double())

    def compute(self) -> list[Column]:
        rows = joined(self.row)
        if len(rows) < _FEWEST:
            return []
        order = rows.argsort(stable=True)
        rows, latents = rows[order], joined(self.latent)[order]
        if not latents.isfinite().all():
            self.skipped[self.name] = "the model's latents hold NaN or infinite values"
            return []
        attributes = {name: joined(getattr(self, f"factual_{name}"))[order] for name in self.attributes}
        columns: list[Column] = []
        for cell in self.cells:
            blind = None
            if cell.quantity == "order_divergence" and len(rows) <= _PER_LATENT * latents.shape[1]:
                continue
            if cell.quantity == "mcc":
                value = matched_correlation(latents, torch.stack(list(attributes.values()), 1))
            elif cell.quantity == "linear_r2":
                value, blind = linear_errors(latents, attributes[cell.measured])
            elif cell.quantity == "dependence":
                value = rank_dependence(latents)
            else:
                value = torch.full((len(rows),), order_divergence(latents), dtype=torch.float64)
            columns.append(Column(self.name, cell, rows, value, reference=blind))
        return columns
