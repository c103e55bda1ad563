"""Abduction: is the inferred noise what the model says noise is?"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import StratifiedKFold
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.preprocessing import StandardScaler
from torch import Tensor

from counterbench.causal.variables import Continuous, Variable
from counterbench.metrics.answers import Answers
from counterbench.metrics.base import SHARE, Cell, Column, Metric, Setting, error_cell, joined
from counterbench.metrics.truth import rounded
from counterbench.plugins.registry import metrics

WIDTH = 32
"""Wider noise is projected to this many random orthonormal directions: standard normal noise stays standard normal."""
_FOLDS = 3
_NETWORK = {
    "hidden_layer_sizes": (64,),
    "alpha": 1e-2,
    "max_iter": 60,
    "learning_rate_init": 3e-3,
    "random_state": 0,
}


def two_sample_test(abducted: np.ndarray, prior: np.ndarray) -> np.ndarray:
    """Classifier two-sample test (Lopez-Paz & Oquab, ICLR 2017).

    Args:
        abducted: (N, D).
        prior: (N, D).

    Returns:
        (N,): for unit i, the share of (abducted_i, prior_i) that a network which has seen neither tells apart rightly. The
        mean is its accuracy: 0.5 if the laws are the same, 1 if every sample gives itself away.

    Examples:
        >>> draws = np.random.default_rng(0).standard_normal((120, 1))
        >>> float(two_sample_test(draws + 20, draws).mean())
        1.0
    """
    count = len(abducted)
    points = StandardScaler().fit_transform(np.concatenate([abducted, prior]))
    right = np.zeros(2 * count)
    for train, test in _folds(np.arange(count), count):
        seen, asked = np.concatenate([train, train + count]), np.concatenate([test, test + count])
        with _fixed_effort():
            network = MLPClassifier(**_NETWORK).fit(points[seen], seen >= count)
        right[asked] = network.predict(points[asked]) == (asked >= count)
    halves: np.ndarray = (right[:count] + right[count:]) / 2
    return halves


def readable(noise: np.ndarray, parent: np.ndarray, variable: Variable) -> tuple[np.ndarray, np.ndarray]:
    """How well a parent can be read off the noise by a network that has not seen the sample.

    Args:
        noise: (N, D).
        parent: (N,), natural values.
        variable: the parent.

    Returns:
        (error, error without the noise), each (N,): squared error against the mean, or wrong classes against the commonest.
        1 - the ratio of their sums is 0 if the noise says nothing and 1 if it says everything.

    Examples:
        >>> noise = np.random.default_rng(0).standard_normal((120, 1))
        >>> from counterbench.causal.variables import Binary
        >>> error, blind = readable(noise, parent=(noise[:, 0] > 0).astype(int), variable=Binary("smile"))
        >>> bool(1 - error.sum() / blind.sum() > 0.8)
        True
    """
    points = StandardScaler().fit_transform(noise)
    error, blind = np.zeros(len(noise)), np.zeros(len(noise))
    continuous = isinstance(variable, Continuous)
    labels = np.zeros(len(parent)) if continuous else parent
    for train, test in _folds(labels, len(noise)):
        if continuous:
            centre, spread = parent[train].mean(), max(parent[train].std(), 1e-12)
            scaled, held = (parent - centre) / spread, train[::4]
            fitted = np.setdiff1d(train, held)
            with _fixed_effort():
                network = MLPRegressor(**_NETWORK).fit(points[fitted], scaled[fitted])
            share = _shrinkage(network.predict(points[held]), scaled[held])
            error[test] = (share * network.predict(points[test]) * spread + centre - parent[test]) ** 2
            blind[test] = (centre - parent[test]) ** 2
        else:
            seen, counts = np.unique(parent[train], return_counts=True)
            with _fixed_effort():
                network = MLPClassifier(**_NETWORK).fit(points[train], parent[train])
            error[test] = network.predict(points[test]) != parent[test]
            blind[test] = seen[counts.argmax()] != parent[test]
    return error, blind


def _shrinkage(predicted: np.ndarray, wanted: np.ndarray) -> float:
    """How much of a prediction is to be believed, 0 to 1, by samples that the network has not seen: without this, a network
    that has found nothing but chance would be worse than none."""
    return float(np.clip((predicted * wanted).sum() / max((predicted**2).sum(), 1e-12), 0, 1))


@contextmanager
def _fixed_effort() -> Iterator[None]:
    """Every network gets the same number of steps; that it might still improve is not news."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        yield


def _folds(labels: np.ndarray, count: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Train and test positions; classes in equal shares where there are enough of each."""
    _, sizes = np.unique(labels, return_counts=True)
    stratify = labels if sizes.min() >= _FOLDS and len(sizes) < count else np.zeros(count)
    yield from StratifiedKFold(_FOLDS, shuffle=True, random_state=0).split(np.zeros(count), stratify)


def _key(noise: str) -> str:
    """A noise's name as a name of a state."""
    return noise.replace(".", "__")


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
        >>> graph, width = CausalGraph({"width": []}), Continuous("width", 0, 8, "px")
        >>> setting = Setting(graph, {"width": width}, "", ("width",), (), cycles=1, with_truth=(), noise={"width.u": 1})
        >>> [(cell.quantity, cell.measured) for cell in Abduction(setting).cells]
        [('prior_test', 'width.u'), ('round_trip_error', 'width')]
    """

    title = "Abduction"
    needs_image = False
    needs_noise = True
    asks = frozenset({"null"})
    formula = r"accuracy of a classifier on $u \sim q(u \mid x)$ against $u \sim p(u)$; $1 - \text{error of } pa \text{ from } u \,/\, \text{error without } u$"
    definition = (
        "prior_test: accuracy of a classifier that tells abducted noise from prior noise (0.5: it cannot); leak: how much of a "
        "parent can be read off the noise, 1 - error / error without it (0: nothing); round_trip: error of an attribute after "
        "one null intervention. Noise of more than 32 numbers is seen along 32 random directions; at most 1,000 images."
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
            cells.append(
                Cell("prior_test", "accuracy", "half", measured=name, role="diagnosis", statistic="set", bounds=SHARE)
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
        if answers.kind != "null" or answers.cycles != 1 or not self.cells:
            return
        rows = self.setting.rows
        few = answers.index < self.samples if rows is None else torch.isin(answers.index, rows[: self.samples])
        noise = answers.batch.noise if few.any() else None
        if noise is None:
            return
        self.row.append(answers.index[few])
        for name in self.setting.noise:
            getattr(self, f"abducted_{_key(name)}").append(narrowed(noise.abducted[name][few]))
            getattr(self, f"prior_{_key(name)}").append(narrowed(noise.prior[name][few]))
        for name in self.attributes:
            getattr(self, f"factual_{name}").append(answers.factual[name][few])
            getattr(self, f"null_{name}").append(answers.values[name][few])

    def compute(self) -> list[Column]:
        rows = joined(self.row)
        if len(rows) < 2 * _FOLDS:
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
                value = two_sample_test(
                    state(f"abducted_{_key(cell.measured)}").numpy(), state(f"prior_{_key(cell.measured)}").numpy()
                )
                columns.append(Column(self.name, cell, rows[order], torch.from_numpy(value)))
            elif cell.quantity == "leak":
                (parent,) = cell.intervened_names
                noise, values = (
                    state(f"abducted_{_key(cell.measured)}").numpy(),
                    state(f"factual_{parent}").numpy(),
                )
                error, blind = (
                    torch.from_numpy(part) for part in readable(noise, values, self.setting.variables[parent])
                )
                columns.append(Column(self.name, cell, rows[order], error, blind))
            else:
                before, after = state(f"factual_{cell.measured}"), state(f"null_{cell.measured}")
                continuous = cell.quantity == "round_trip_error"
                error = (after.double() - before.double()).abs()
                score = rounded(error, before) if continuous else (after == before).double()
                columns.append(Column(self.name, cell, rows[order], score))
        return columns
