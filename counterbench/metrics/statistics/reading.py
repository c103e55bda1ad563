"""What can be read off noise by somebody who has not seen the sample: networks, and ridge regression on every number of it."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol

import numpy as np
from scipy.linalg import cho_factor, cho_solve
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import StratifiedKFold
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.preprocessing import StandardScaler

from counterbench.causal.variables import Continuous, Variable, Vector

FOLDS = 3
_HELD = 4  # one sample of so many is set aside, to see how far a reader is to be believed
_PENALTIES = 10.0 ** np.arange(-3, 3)
_COLUMNS = 2048
"""Numbers of the noise whose inner products are taken together."""
_NETWORK = {
    "hidden_layer_sizes": (64,),
    "alpha": 1e-2,
    "max_iter": 60,
    "learning_rate_init": 3e-3,
    "random_state": 0,
}


def two_sample_test(
    abducted: np.ndarray, prior: np.ndarray, *, every: tuple[np.ndarray, np.ndarray] | None = None
) -> np.ndarray:
    """Classifier two-sample test (Lopez-Paz & Oquab, ICLR 2017).

    Args:
        abducted: (N, D).
        prior: (N, D).
        every: both with all their numbers, (N, E) each, where `abducted` and `prior` are only some directions of them.

    Returns:
        (N,): for unit i, the share of (abducted_i, prior_i) that a reader which has seen neither tells apart rightly. The
        mean is its accuracy: 0.5 if the laws are the same, 1 if every sample gives itself away.

    Examples:
        >>> draws = np.random.default_rng(0).standard_normal((120, 1))
        >>> float(two_sample_test(draws + 20, draws).mean())
        1.0
    """
    count = len(abducted)
    readers: list[_Reader] = [_Network(np.concatenate([abducted, prior]))]
    if every is not None:
        readers.append(_Ridge(np.concatenate(every), squares=True))
    is_prior = np.arange(2 * count) >= count
    right = np.zeros(2 * count)
    for train, test in _folds(np.arange(count), count):
        fitted, held = _set_aside(train)
        whole = [np.concatenate([rows, rows + count]) for rows in (train, test, fitted, held)]
        reader = _best_classifier(readers, is_prior, whole[2], whole[3])
        right[whole[1]] = reader.classify(is_prior, whole[0], whole[1]) == is_prior[whole[1]]
    halves: np.ndarray = (right[:count] + right[count:]) / 2
    return halves


def readable(
    noise: np.ndarray, parent: np.ndarray, variable: Variable, *, every: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """How well a parent can be read off the noise by a reader that has not seen the sample.

    Args:
        noise: (N, D).
        parent: (N,), natural values; of a vector (N, D).
        variable: the parent.
        every: (N, E), all numbers of the noise, where `noise` is only some directions of them.

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
    if isinstance(variable, Vector):
        return _of_a_vector(noise, parent, variable, every)
    readers: list[_Reader] = [_Network(noise), *([] if every is None else [_Ridge(every)])]
    error, blind = np.zeros(len(noise)), np.zeros(len(noise))
    continuous = isinstance(variable, Continuous)
    for train, test in _folds(np.zeros(len(parent)) if continuous else parent, len(noise)):
        if continuous:
            error[test], blind[test] = _errors(readers, parent, train, test)
        else:
            seen, counts = np.unique(parent[train], return_counts=True)
            reader = _best_classifier(readers, parent, *_set_aside(train))
            error[test] = reader.classify(parent, train, test) != parent[test]
            blind[test] = seen[counts.argmax()] != parent[test]
    return error, blind


def _of_a_vector(
    noise: np.ndarray, parent: np.ndarray, variable: Vector, every: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray]:
    """The errors of all its numbers, each in units of its variance."""
    parts = [readable(noise, parent[:, at], part, every=every) for at, part in enumerate(variable.components)]
    sizes = [max(float(parent[:, at].var()), 1e-12) for at in range(variable.size)]
    error, blind = (sum(part[side] / size for part, size in zip(parts, sizes, strict=True)) for side in (0, 1))
    return np.asarray(error), np.asarray(blind)


class _Reader(Protocol):
    def regress(self, wanted: np.ndarray, fitted: np.ndarray, asked: np.ndarray) -> np.ndarray:
        """What the samples `asked` have, (M,), learnt from those that are `fitted`; wanted: (N,), of all."""
        ...

    def classify(self, labels: np.ndarray, fitted: np.ndarray, asked: np.ndarray) -> np.ndarray:
        """The same of classes."""
        ...


class _Network:
    """A small network on some numbers of the noise, (N, D)."""

    def __init__(self, points: np.ndarray):
        self.points = StandardScaler().fit_transform(points)

    def regress(self, wanted: np.ndarray, fitted: np.ndarray, asked: np.ndarray) -> np.ndarray:
        with _fixed_effort():
            network = MLPRegressor(**_NETWORK).fit(self.points[fitted], wanted[fitted])
        predicted: np.ndarray = network.predict(self.points[asked])
        return predicted

    def classify(self, labels: np.ndarray, fitted: np.ndarray, asked: np.ndarray) -> np.ndarray:
        with _fixed_effort():
            network = MLPClassifier(**_NETWORK).fit(self.points[fitted], labels[fitted])
        predicted: np.ndarray = network.predict(self.points[asked])
        return predicted


class _Ridge:
    """Ridge regression on all numbers of the noise, (N, E), by their inner products: E may be far above N.

    Args:
        numbers: (N, E).
        squares: use the squares of all numbers too.
    """

    def __init__(self, numbers: np.ndarray, *, squares: bool = False):
        self.kernel, width = np.zeros((len(numbers), len(numbers))), 0
        for start in range(0, numbers.shape[1], _COLUMNS):  # some at a time: pixel noise is many numbers
            some = numbers[:, start : start + _COLUMNS].astype(np.float32)
            for part in (some, np.square(some)) if squares else (some,):
                points = StandardScaler().fit_transform(part)
                self.kernel += points @ points.T
                width += points.shape[1]
        self.kernel /= width

    def regress(self, wanted: np.ndarray, fitted: np.ndarray, asked: np.ndarray) -> np.ndarray:
        return self._predicted(wanted[:, None].astype(np.float64), fitted, asked)[:, 0]

    def classify(self, labels: np.ndarray, fitted: np.ndarray, asked: np.ndarray) -> np.ndarray:
        classes = np.unique(labels[fitted])
        chosen: np.ndarray = classes[self._predicted((labels[:, None] == classes) * 1.0, fitted, asked).argmax(1)]
        return chosen

    def _predicted(self, wanted: np.ndarray, fitted: np.ndarray, asked: np.ndarray) -> np.ndarray:
        """(M, C), with the penalty that is best on samples set aside."""
        some, held = _set_aside(fitted)
        losses = [np.square(self._solved(wanted, some, held, one) - wanted[held]).sum() for one in _PENALTIES]
        return self._solved(wanted, fitted, asked, float(_PENALTIES[int(np.argmin(losses))]))

    def _solved(self, wanted: np.ndarray, fitted: np.ndarray, asked: np.ndarray, penalty: float) -> np.ndarray:
        centre = wanted[fitted].mean(0)
        known = self.kernel[np.ix_(fitted, fitted)] + penalty * np.eye(len(fitted))
        weights = cho_solve(cho_factor(known), wanted[fitted] - centre)
        predicted: np.ndarray = centre + self.kernel[np.ix_(asked, fitted)] @ weights
        return predicted


def _errors(
    readers: Sequence[_Reader], parent: np.ndarray, train: np.ndarray, test: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Squared errors on `test` of whichever reader is best on samples set aside, and without the noise."""
    centre, spread = parent[train].mean(), max(parent[train].std(), 1e-12)
    scaled, (fitted, held) = (parent - centre) / spread, _set_aside(train)
    least, errors = np.inf, np.zeros(len(test))
    for reader in readers:
        told, guessed = np.split(reader.regress(scaled, fitted, np.concatenate([held, test])), [len(held)])
        share = _shrinkage(told, scaled[held])
        loss = float(np.square(share * told - scaled[held]).sum())
        if loss < least:
            least, errors = loss, (share * guessed * spread + centre - parent[test]) ** 2
    return errors, (centre - parent[test]) ** 2


def _best_classifier(readers: Sequence[_Reader], labels: np.ndarray, fitted: np.ndarray, held: np.ndarray) -> _Reader:
    """Whoever names most of the samples that were set aside rightly."""
    if len(readers) == 1:
        return readers[0]
    return max(readers, key=lambda reader: float(np.mean(reader.classify(labels, fitted, held) == labels[held])))


def _set_aside(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(rows to learn from, rows set aside)."""
    held = rows[::_HELD]
    return np.setdiff1d(rows, held), held


def _shrinkage(predicted: np.ndarray, wanted: np.ndarray) -> float:
    """How much of a prediction is to be believed, 0 to 1, by samples that the reader has not seen: without this, one
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
    stratify = labels if sizes.min() >= FOLDS and len(sizes) < count else np.zeros(count)
    yield from StratifiedKFold(FOLDS, shuffle=True, random_state=0).split(np.zeros(count), stratify)
