"""Abduction: is the inferred noise what the model says noise is?"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from counterbench.metrics.answers import Answers
from counterbench.metrics.base import (
    NOT_NEGATIVE,
    SHARE,
    Cell,
    Column,
    Metric,
    Setting,
    error_cell,
    first_samples,
    joined,
)
from counterbench.metrics.statistics.reading import FOLDS, readable, two_sample_test
from counterbench.metrics.truth import rounded
from counterbench.plugins.registry import metrics

_MOST = 1 << 16
WIDTH = 32
"""Wider noise is projected to this many random orthonormal directions: standard normal noise stays standard normal."""


def _key(noise: str) -> str:
    """A noise's name as a name of a state."""
    return noise.replace(".", "__")


def enough(noise: Tensor) -> Tensor:
    """(N, ...) -> (N, at most 65,536), float32: all numbers, or of a larger noise, such as that of a volume, a fixed random choice.

    Examples:
        >>> tuple(enough(torch.zeros(2, 1, 8, 8)).shape), tuple(enough(torch.zeros(2, 1, 64, 64, 64)).shape)
        ((2, 64), (2, 65536))
    """
    flat = noise.flatten(1)
    if flat.shape[1] > _MOST:
        drawn = np.random.default_rng(flat.shape[1]).choice(flat.shape[1], _MOST, replace=False)
        flat = flat[:, torch.from_numpy(np.sort(drawn)).to(flat.device)]
    return flat.float()


def narrowed(noise: Tensor, width: int = WIDTH) -> Tensor:
    """(N, ...) -> (N, at most `width`), by fixed random orthonormal directions.

    Examples:
        >>> tuple(narrowed(torch.zeros(5, 1, 8, 8)).shape), tuple(narrowed(torch.zeros(5, 3)).shape)
        ((5, 32), (5, 3))
    """
    flat = noise.flatten(1).double()
    if flat.shape[1] <= width:
        return flat
    drawn = np.random.default_rng(flat.shape[1]).standard_normal((flat.shape[1], width))
    return flat @ torch.from_numpy(np.linalg.qr(drawn)[0])


@metrics.register()
class Abduction(Metric):
    """Diagnostics of a model with exogenous noise: noise against its prior, noise against parents, round trip.

    Args:
        setting: what is asked.
        samples: how many test images at most (the first ones).

    Examples:
        >>> from counterbench.causal.graph import CausalGraph
        >>> from counterbench.causal.variables import Continuous
        >>> graph, width = CausalGraph({"width": []}), Continuous("width", 0, 8, "px")
        >>> setting = Setting(graph, {"width": width}, "", ("width",), (), cycles=1, with_truth=(), noise={"width.u": 1})
        >>> [(cell.quantity, cell.measured) for cell in Abduction(setting).cells]
        [('prior_test', 'width.u'), ('round_trip_error', 'width')]
    """

    title = "Abduction"
    needs_image = False
    needs_noise = True
    asks = frozenset({"null"})
    null_cycles = 1
    formula = r"accuracy of a classifier on $u \sim q(u \mid x)$ against $u \sim p(u)$; $1 - \text{error of } pa \text{ from } u \,/\, \text{error without } u$"
    definition = (
        "prior_test: accuracy of a classifier that tells abducted noise from prior noise (0.5: it cannot); correction: of a part of the noise "
        "that has no law, because every draw has the same value (what a solver misses on its way back and forth), the mean absolute difference "
        "from that value; leak: how much of a "
        "parent can be read off the noise, 1 - error / error without it (0: nothing); round_trip: error of an attribute after "
        "one null intervention, as truth counts errors of attributes. At most 1,000 images. A network sees noise of more than 32 numbers along 32 random directions; beside it, a "
        "linear reader sees all numbers (for the prior test, their squares too), and whichever is better on images set aside is asked."
    )
    blind_to = (
        "Whether the answers are right: a model may have perfect noise and wrong mechanisms. A classifier that finds no "
        "difference has not proved that there is none."
    )
    source = (
        "Lopez-Paz & Oquab, ICLR 2017 (classifier two-sample test); Nasr-Esfahany et al., ICML 2023 (identifiability)."
    )

    row: list[Tensor]

    def __init__(self, setting: Setting, samples: int = 1000):
        self.samples = samples
        self.attributes = tuple(name for name in setting.variables if name != setting.image)
        noises = (f"{part}_{_key(name)}" for name in setting.noise for part in ("abducted", "prior"))
        kept = (f"{part}_{name}" for name in self.attributes for part in ("factual", "null"))
        self.states = ("row", *noises, *kept)  # type: ignore[misc]
        super().__init__(setting)
        if not setting.noise:
            self.skipped[self.name] = "the model gives no access to exogenous noise (abduct and sample_noise)"

    def make_cells(self) -> list[Cell]:
        if not self.setting.noise or not self.setting.cycles:
            return []
        cells = []
        for name in self.setting.noise:
            if name in self.setting.held:
                cells.append(Cell("correction", "", "zero", measured=name, role="diagnosis", bounds=NOT_NEGATIVE))
            else:
                cells.append(
                    Cell(
                        "prior_test", "accuracy", "half", measured=name, role="diagnosis", statistic="set", bounds=SHARE
                    )
                )
            cells += [self._leak(parent, name) for parent in self.setting.graph.parents(name.partition(".")[0])]
        return cells + [self._round_trip(name) for name in self.attributes]

    def _leak(self, parent: str, noise: str) -> Cell:
        return Cell(
            "leak",
            "",
            "zero",
            parent,
            noise,
            kind="skill",
            role="diagnosis",
            statistic="set",
            bounds=(None, 1.0),
            intervenes=False,
            label=f"leak of {parent}",
        )

    def _round_trip(self, name: str) -> Cell:
        cell = error_cell(self.setting.variables[name], "", "round_trip_error", "round_trip_accuracy")
        return replace(cell, role="diagnosis")

    def questions_behind(self, cell: Cell) -> list[str]:
        return ["null/1"]

    def update(self, answers: Answers) -> None:
        few = first_samples(answers, self.setting, self.samples)
        noise = answers.batch.noise if self.cells and few.any() else None
        if noise is None:
            return
        self.row.append(answers.index[few])
        for name in self.setting.noise:
            getattr(self, f"abducted_{_key(name)}").append(enough(noise.abducted[name][few]))
            getattr(self, f"prior_{_key(name)}").append(enough(noise.prior[name][few]))
        for name in self.attributes:
            getattr(self, f"factual_{name}").append(answers.factual[name][few])
            getattr(self, f"null_{name}").append(answers.values[name][few])

    def compute(self) -> list[Column]:
        rows = joined(self.row)
        if len(rows) < 2 * FOLDS:
            return []
        order = rows.argsort(stable=True)

        def state(name: str) -> Tensor:
            return joined(getattr(self, name))[order]

        columns = []
        for cell in self.cells:
            noise_of = f"abducted_{_key(cell.measured)}"
            if noise_of in self.states and not (
                state(noise_of).isfinite().all() and state(f"prior_{_key(cell.measured)}").isfinite().all()
            ):
                self.skipped[f"abduction of {cell.measured}"] = "the model's noise holds NaN or infinite values"
            elif cell.quantity == "prior_test":
                abducted, prior = state(noise_of), state(f"prior_{_key(cell.measured)}")
                every = None if abducted.shape[1] <= WIDTH else (abducted.numpy(), prior.numpy())
                value = two_sample_test(narrowed(abducted).numpy(), narrowed(prior).numpy(), every=every)
                columns.append(Column(self.name, cell, rows[order], torch.from_numpy(value)))
            elif cell.quantity == "correction":
                apart = (state(noise_of) - state(f"prior_{_key(cell.measured)}")).abs().double().mean(1)
                columns.append(Column(self.name, cell, rows[order], apart))
            elif cell.quantity == "leak":
                (name,) = cell.intervened_names
                parent, noise = self.setting.variables[name], state(noise_of)
                every_number = None if noise.shape[1] <= WIDTH else noise.numpy()
                parts = readable(narrowed(noise).numpy(), state(f"factual_{name}").numpy(), parent, every=every_number)
                error, blind = (torch.from_numpy(part) for part in parts)
                columns.append(Column(self.name, cell, rows[order], error, reference=blind))
            else:
                before, after = state(f"factual_{cell.measured}"), state(f"null_{cell.measured}")
                variable = self.setting.variables[cell.measured]
                error = variable.distance(after, before)
                score = rounded(error, variable.magnitude(before)) if cell.quantity == "round_trip_error" else 1 - error
                columns.append(Column(self.name, cell, rows[order], score))
        return columns
