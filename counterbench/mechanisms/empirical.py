"""Mechanism for a variable without causes: it draws from the stored training values."""

from __future__ import annotations

from collections.abc import Sequence

import pyro
import torch
from pyro import distributions as dist
from torch import Tensor

from counterbench.causal.chance import Generator, uniform
from counterbench.causal.variables import Variable
from counterbench.errors import ConfigError, ModelError
from counterbench.mechanisms.base import Mechanism, Noise, Parents
from counterbench.plugins.registry import mechanisms


@mechanisms.register()
class Empirical(Mechanism):
    """A variable without causes, drawn with replacement from the training values: its noise is the value itself.

    Args:
        capacity: how many training values are kept (the first ones, which are in random order).

    Examples:
        >>> from counterbench.causal.variables import Continuous
        >>> mechanism = Empirical(Continuous("age", 55, 90, "years"), [])
        >>> mechanism.prepare(torch.tensor([[0.25]]), {})
        >>> mechanism.sample_noise(2)["value"].tolist()
        [[0.25], [0.25]]
    """

    kinds = ("continuous", "binary", "categorical", "ordinal")
    invertible = True
    stochastic_abduction = False

    def __init__(self, variable: Variable, parents: Sequence[Variable], *, capacity: int = 4096):
        super().__init__(variable, parents)
        if parents:
            names = ", ".join(parent.name for parent in parents)
            raise ConfigError(
                f"The mechanism 'empirical' is for variables without causes, but {variable.name!r} has: {names}."
            )
        self.values: Tensor
        self.register_buffer("values", torch.zeros(capacity, variable.size))
        self.filled: Tensor
        self.register_buffer("filled", torch.zeros((), dtype=torch.long))

    def prepare(self, value: Tensor, parents: Parents) -> None:
        kept = min(len(value), len(self.values))
        self.values[:kept] = value[:kept].to(self.values)
        self.filled.fill_(kept)

    def _stored(self) -> Tensor:
        if int(self.filled) == 0:
            raise ModelError(
                f"{self.variable.name}: this empirical mechanism has seen no data yet; train the model first."
            )
        return self.values[: int(self.filled)]

    def abduct(self, value: Tensor, parents: Parents, generator: Generator = None) -> Noise:
        return {"value": value}

    def generate(self, noise: Noise, parents: Parents, reached: frozenset[str] = frozenset()) -> Tensor:
        return noise["value"]

    def sample_noise(self, count: int, generator: Generator = None) -> Noise:
        stored = self._stored()
        rows = (uniform((count,), generator) * len(stored)).long().to(stored.device)
        return {"value": stored[rows]}

    def loss(self, value: Tensor, parents: Parents, generator: Generator = None) -> Tensor:
        return value.new_zeros(len(value))

    def pyro_sample(self, name: str, parents: Parents, count: int) -> Tensor:
        natural = self.variable.decode(self._stored())
        if natural.is_floating_point():
            value: Tensor = pyro.sample(
                name, dist.Empirical(natural.expand(count, -1), natural.new_zeros(count, len(natural)))
            )
            return value
        frequency = natural.bincount().to(self.values.dtype)
        label: Tensor = pyro.sample(name, dist.Categorical(frequency.expand(count, -1)))
        return label
