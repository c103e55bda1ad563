"""How an ODE is integrated from noise (time 0) to data (time 1) and back, in a fixed number of steps.

A solver has two directions: `back` goes from a value to its noise, `forth` from noise to a value, along two fields that may differ. For the
exact ones forth(back(x)) is x up to rounding along equal fields, however few the steps.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import ClassVar

from torch import Tensor

from counterbench.errors import ConfigError, suggestion

Field = Callable[[Tensor, float], Tensor]
"""(state (N, ...), time) -> velocity (N, ...)."""

PRIMARY, CORRECTION = "u", "correction"


class Solver(ABC):
    """Integrates dx/dt = field(x, t) over equal steps.

    Args:
        steps: how many.
        start: time at which the noise lies; 0 but for fields that are singular there.
        exact: whether what the way there and back misses is kept as a part of the noise.

    Raises:
        ConfigError: for less than one step.

    Examples:
        >>> import torch
        >>> value, field = torch.tensor([[0.3]]), lambda x, t: -2 * x
        >>> for exact in (True, False):
        ...     solver = Midpoint(2, exact=exact)
        ...     noise = solver.back(value, field)
        ...     print(sorted(noise), bool(torch.allclose(solver.forth(noise, field), value, atol=1e-6)))
        ['correction', 'u'] True
        ['u'] False
    """

    per_step: ClassVar[int]
    """Evaluations of the field in one step, each way."""

    def __init__(self, steps: int, *, start: float = 0.0, exact: bool = True):
        if steps < 1:
            raise ConfigError(f"steps is {steps}; a solver needs at least 1.")
        self.steps, self.exact = steps, exact
        self.times = [start + (1 - start) * step / steps for step in range(steps + 1)]

    @property
    def parts(self) -> tuple[str, ...]:
        """The tensors of a noise: `u`, the state at the start, and of exact solvers `correction`, which is zero for noise that was drawn."""
        return (PRIMARY, CORRECTION) if self.exact else (PRIMARY,)

    @property
    @abstractmethod
    def evaluations(self) -> tuple[int, int]:
        """Of the field: on the way back, and forth."""

    @abstractmethod
    def back(self, value: Tensor, field: Field) -> dict[str, Tensor]:
        """From a value (N, ...) at time 1 to the parts of its noise, (N, ...) each."""

    @abstractmethod
    def forth(self, noise: Mapping[str, Tensor], field: Field) -> Tensor:
        """From the parts of a noise to the value at time 1, (N, ...)."""


class _Explicit(Solver):
    """Explicit steps, the same back and forth. One way does not quite undo the other; the exact ones keep what is missing in the end, as the
    pixel noise of a model with an additive likelihood is kept: correction = x - forth(back(x))."""

    @property
    def evaluations(self) -> tuple[int, int]:
        once = self.steps * self.per_step
        return (2 * once if self.exact else once), once

    @abstractmethod
    def step(self, state: Tensor, time: float, until: float, field: Field) -> Tensor:
        """One step; `until` may lie before `time`."""

    def back(self, value: Tensor, field: Field) -> dict[str, Tensor]:
        state = value
        for time, until in pairwise(reversed(self.times)):
            state = self.step(state, time, until, field)
        return {PRIMARY: state, CORRECTION: value - self._along(state, field)} if self.exact else {PRIMARY: state}

    def forth(self, noise: Mapping[str, Tensor], field: Field) -> Tensor:
        state = self._along(noise[PRIMARY], field)
        return state + noise[CORRECTION] if self.exact else state

    def _along(self, state: Tensor, field: Field) -> Tensor:
        for time, until in pairwise(self.times):
            state = self.step(state, time, until, field)
        return state


class Euler(_Explicit):
    """Order 1, one evaluation a step."""

    per_step = 1

    def step(self, state: Tensor, time: float, until: float, field: Field) -> Tensor:
        return state + (until - time) * field(state, time)


class Midpoint(_Explicit):
    """Order 2, two evaluations a step."""

    per_step = 2

    def step(self, state: Tensor, time: float, until: float, field: Field) -> Tensor:
        half = (until - time) / 2
        return state + 2 * half * field(state + half * field(state, time), time + half)


class Heun(_Explicit):
    """Order 2, two evaluations a step: the mean of the velocities at both ends."""

    per_step = 2

    def step(self, state: Tensor, time: float, until: float, field: Field) -> Tensor:
        first = field(state, time)
        second = field(state + (until - time) * first, until)
        return state + (until - time) / 2 * (first + second)


class _Reversible(Solver):
    """Steps of a pair of states, which the same arithmetic in the other order undoes: exact whatever is asked, in one evaluation a step."""

    per_step = 1

    def __init__(self, steps: int, *, start: float = 0.0, exact: bool = True):
        super().__init__(steps, start=start)
        if not exact:
            raise ConfigError(
                f"The solver {type(self).__name__} is exact in any case; leave exact out, or give another solver."
            )

    @property
    def evaluations(self) -> tuple[int, int]:
        return self.steps + 2, self.steps + 1


class Leapfrog(_Reversible):
    """Asynchronous leapfrog (Zhuang et al., ICLR 2021), order 2.

    The states are a position x and a velocity v. A step moves x by half a step along v, turns v about the field there
    (v <- 2 f(x) - v), and moves x by the other half. The second state of a noise is kept as its difference from the field at the first one, so
    that along another field it starts near *that* one.
    """

    def back(self, value: Tensor, field: Field) -> dict[str, Tensor]:
        state, velocity = self._along(value, field(value, self.times[-1]), list(reversed(self.times)), field)
        return {PRIMARY: state, CORRECTION: velocity - field(state, self.times[0])}

    def forth(self, noise: Mapping[str, Tensor], field: Field) -> Tensor:
        state = noise[PRIMARY]
        velocity = field(state, self.times[0]) + noise[CORRECTION]
        return self._along(state, velocity, self.times, field)[0]

    @staticmethod
    def _along(state: Tensor, velocity: Tensor, times: list[float], field: Field) -> tuple[Tensor, Tensor]:
        for time, until in pairwise(times):
            half = (until - time) / 2
            middle = state + half * velocity
            velocity = 2 * field(middle, time + half) - velocity
            state = middle + half * velocity
        return state, velocity


class ReversibleHeun(_Reversible):
    """Reversible Heun (Kidger et al., NeurIPS 2021), order 2.

    Beside the state x it carries a second one, y, at which alone the field is evaluated: y <- 2 x - y + h f(y), and x moves by the mean of the
    fields at both y. The second state of a noise is kept as its difference from the first.
    """

    @property
    def evaluations(self) -> tuple[int, int]:
        return self.steps + 1, self.steps + 1

    def back(self, value: Tensor, field: Field) -> dict[str, Tensor]:
        state, second = self._along(value, value, list(reversed(self.times)), field)
        return {PRIMARY: state, CORRECTION: second - state}

    def forth(self, noise: Mapping[str, Tensor], field: Field) -> Tensor:
        state = noise[PRIMARY]
        return self._along(state, state + noise[CORRECTION], self.times, field)[0]

    @staticmethod
    def _along(state: Tensor, second: Tensor, times: list[float], field: Field) -> tuple[Tensor, Tensor]:
        before = field(second, times[0])
        for time, until in pairwise(times):
            step = until - time
            second = 2 * state - second + step * before
            after = field(second, until)
            state = state + step / 2 * (before + after)
            before = after
        return state, second


SOLVERS: dict[str, type[Solver]] = {
    "leapfrog": Leapfrog,
    "reversible-heun": ReversibleHeun,
    "euler": Euler,
    "midpoint": Midpoint,
    "heun": Heun,
}


def make_solver(name: str, steps: int, *, start: float = 0.0, exact: bool = True) -> Solver:
    """The solver of this name.

    Raises:
        ConfigError: if there is none.

    Examples:
        >>> make_solver("midpoint", 5).evaluations, make_solver("leapfrog", 5).evaluations
        ((20, 10), (7, 6))
    """
    if name not in SOLVERS:
        raise ConfigError(f"There is no solver {name!r}; give one of {', '.join(SOLVERS)}.{suggestion(name, SOLVERS)}")
    return SOLVERS[name](steps, start=start, exact=exact)
