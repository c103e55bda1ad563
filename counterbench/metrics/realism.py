"""Realism: do the answers look like real images with those attributes?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from counterbench.errors import ConfigError
from counterbench.features.base import FeatureSpace
from counterbench.metrics.answers import Answers
from counterbench.metrics.base import NOT_NEGATIVE, SHARE, Bounds, Cell, Column, Metric, Setting, joined
from counterbench.metrics.statistics.distributions import (
    frechet,
    frechet_against,
    kid,
    moments,
    squared_mmd,
)
from counterbench.metrics.statistics.neighbours import prdc
from counterbench.plugins.registry import metrics

__all__ = ["Realism", "frechet", "kid", "prdc"]

_DIRECTION: dict[str, Literal["lower", "higher"]] = {
    "frechet_distance": "lower",
    "kid": "lower",
    "precision": "higher",
    "recall": "higher",
    "density": "higher",
    "coverage": "higher",
}
_MMD = {"kid": "cubic", "mmd_linear": "linear", "mmd_gaussian": "gaussian"}
"""Quantities that are squared maximum mean discrepancies -> their kernels."""
_ON_REQUEST = ("mmd_linear", "mmd_gaussian")

_BOUNDS: dict[str, Bounds] = {
    "frechet_distance": NOT_NEGATIVE,
    "kid": (None, None),
    "precision": SHARE,
    "recall": SHARE,
    "density": NOT_NEGATIVE,
    "coverage": SHARE,
}
_K = 5
ALL = "all"
"""What a pooled number is about: every intervention."""


@metrics.register()
class Realism(Metric):
    """Frechet distance, KID, precision, recall, density and coverage between answers and real images, in a feature space.

    Args:
        setting: what is asked.
        spaces: feature spaces.
        reference: `matched` compares with real training images that have the attributes of the plan's questions, one each;
            `train` with the whole training split, as published.
        pooled: one number over all interventions, as published, instead of one per intervened variable.
        quantities: which numbers: the six of the default, and `mmd_linear` and `mmd_gaussian`, the squared MMD with other kernels than
            that of KID; see :func:`counterbench.metrics.statistics.distributions.squared_mmd`.

    Examples:
        >>> from counterbench.causal.graph import CausalGraph
        >>> from counterbench.features.pixel import Pixel
        >>> graph = CausalGraph({"width": [], "image": ["width"]})
        >>> setting = Setting(graph, {}, "image", ("width",), (), cycles=1, with_truth=(), spaces={"pixel": Pixel()})
        >>> [cell.quantity for cell in Realism(setting, spaces=["pixel"], quantities=["kid", "coverage"]).cells]
        ['kid', 'coverage']
    """

    title = "Realism"
    also = ("FID", "KID", "MMD", "Frechet distance", "precision", "recall")
    asks = frozenset({"single"})
    formula = r"$\|m - m_r\|^2 + \mathrm{tr}\big(C + C_r - 2 (C C_r)^{1/2}\big)$; $\mathrm{MMD}^2$ with kernel $(x \cdot y / D + 1)^3$; shares of $k$-nearest-neighbour balls"
    definition = (
        "Squared Frechet distance, unbiased kernel distance (KID; pairs of questions about one unit, or matched with one, are left out), precision, recall, density and coverage (k = 5; who lies within a millionth of a ball's rim is inside) between the "
        "answers and real training images that were matched with the plan's counterfactual attributes, one for each question (one of "
        "the 16 with the same classes and the nearest quantities), "
        "in a named feature space."
    )
    blind_to = (
        "Whether the answer belongs to the question's individual: a random real image with the right attributes is perfect, and "
        "since it comes from the training split, as the references do, it is nearer to them than any answer about a test image. "
        "The Frechet distance of two finite samples is above 0 even if their laws are the same; compare equal N only. Where no "
        "real image has the attributes (an unheard-of combination), the nearest stand in, and the truth itself scores badly."
    )
    source = "Heusel et al., NeurIPS 2017; Binkowski et al., ICLR 2018; Kynkaanniemi et al., NeurIPS 2019; Naeem et al., ICML 2020."

    number: list[Tensor]
    row: list[Tensor]
    unit: list[Tensor]
    real_unit: list[Tensor]

    def __init__(
        self,
        setting: Setting,
        *,
        spaces: Sequence[str] = ("judge",),
        reference: str = "matched",
        pooled: bool = False,
        quantities: Sequence[str] = tuple(_DIRECTION),
    ):
        if reference not in ("matched", "train"):
            raise ConfigError(f"realism: reference is {reference!r}; give matched or train.")
        known = (*_DIRECTION, *_ON_REQUEST)
        if unknown := [name for name in quantities if name not in known]:
            raise ConfigError(f"realism: unknown quantity {unknown[0]!r}. Known: {', '.join(known)}.")
        if reference == "train":
            quantities = ("frechet_distance",)
        self.spaces, self.reference, self.pooled = tuple(spaces), reference, pooled
        self.quantities = tuple(quantities)
        usable = [name for name in self.spaces if name in setting.spaces and setting.spaces[name].vectors]
        kept = ("answered", "matched") if reference == "matched" else ("answered",)
        units = ("unit", "real_unit") if reference == "matched" else ("unit",)
        self.states = ("number", "row", *units, *(f"{part}_{space}" for space in usable for part in kept))  # type: ignore[misc]
        super().__init__(setting)

    def make_cells(self) -> list[Cell]:
        usable = [name for name in self.available(self.spaces) if self.setting.spaces[name].vectors]
        for name in self.spaces:
            if name in self.setting.spaces and name not in usable:
                self.skipped[f"{self.name} ({name})"] = "this space knows distances only, no vectors"
        asked = (ALL,) if self.pooled else self.setting.intervenable
        return [
            self._cell(quantity, ALL if self.pooled else variable, space)
            for variable in asked
            for space in usable
            for quantity in self.quantities
        ]

    def _cell(self, quantity: str, intervened: str, space: str) -> Cell:
        return Cell(
            quantity if self.reference == "matched" else f"{quantity}_to_train",
            "",
            _DIRECTION.get(quantity, "lower"),
            intervened,
            space=space,
            role="detail" if quantity in ("precision", "recall") else "headline",
            statistic="pseudo",
            bounds=_BOUNDS.get(quantity, (None, None)),
        )

    def questions_behind(self, cell: Cell) -> list[str]:
        asked = self.setting.intervenable if cell.intervened == ALL else (cell.intervened,)
        return [f"single/{name}" for name in asked]

    def update(self, answers: Answers) -> None:
        if answers.kind != "single" or not self.cells:
            return
        matched = answers.batch.matched(answers.intervened[0]) if self.reference == "matched" else None
        if self.reference == "matched" and matched is None:
            return
        at = self.setting.intervenable.index(answers.intervened[0])
        self.number.append(torch.full((len(answers.index),), at))
        self.row.append(answers.index)
        asked = answers.batch.view.group
        self.unit.append(answers.index if asked is None else asked)
        views = {"answered": answers.view}
        if matched is not None:
            views["matched"] = matched
            # A real image that nobody groups is a unit of its own; a number below 0 is no unit of the test split.
            self.real_unit.append(-1 - answers.index if matched.group is None else matched.group)
        for state in self.states:
            part, _, space = state.partition("_")
            if part in views:
                getattr(self, state).append(views[part].features(space))

    def compute(self) -> list[Column]:
        numbers, rows = joined(self.number), joined(self.row)
        order = rows.argsort(stable=True)
        order = order[numbers[order].argsort(stable=True)]
        columns = []
        for cell in self.cells:
            positions = order
            if not self.pooled:
                positions = order[numbers[order] == self.setting.intervenable.index(cell.intervened)]
            values = self._values(cell, positions) if len(positions) > _K else torch.full((1,), torch.nan)
            if values.isfinite().all():
                columns.append(Column(self.name, cell, rows[positions], values))
        self._shared.clear()
        return columns

    def _values(self, cell: Cell, rows: Tensor) -> Tensor:
        answered = joined(getattr(self, f"answered_{cell.space}"))[rows]
        if self.reference == "train":
            return frechet_against(answered, *self._train_moments(self.setting.spaces[cell.space]))
        matched = joined(getattr(self, f"matched_{cell.space}"))[rows]
        if cell.quantity == "frechet_distance":
            return frechet(answered, matched)
        if cell.quantity in _MMD:
            units = {"unit": joined(self.unit)[rows], "real_unit": joined(self.real_unit)[rows]}
            return squared_mmd(answered, matched, _MMD[cell.quantity], **units)
        key = (cell.intervened_names, cell.space)
        if key not in self._shared:
            self._shared[key] = prdc(answered, matched, k=_K, unit=joined(self.unit)[rows])
        return self._shared[key][cell.quantity]

    @property
    def _shared(self) -> dict[tuple[tuple[str, ...], str], dict[str, Tensor]]:
        """Precision, recall, density and coverage come from the same distances."""
        values: dict[tuple[tuple[str, ...], str], dict[str, Tensor]] = self.__dict__.setdefault("_shared_values", {})
        return values

    def _train_moments(self, space: FeatureSpace) -> tuple[Tensor, Tensor]:
        assert self.setting.references is not None
        return moments(self.setting.references.features(space, whole=True))
