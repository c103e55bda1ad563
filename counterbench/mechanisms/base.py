"""The base class of mechanisms: a mechanism makes one variable from its parents and its exogenous noise."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from counterbench.causal.chance import Generator
from counterbench.causal.variables import Variable
from counterbench.errors import ConfigError

Noise = dict[str, Tensor]
"""Exogenous noise: named tensors, each (N, ...)."""
Parents = Mapping[str, Tensor]
"""Encoded values of the parents, each (N, size)."""


class Mechanism(nn.Module, ABC):
    """x := f(parents, noise), and its inversion.

    All values are encoded (see :mod:`counterbench.causal.variables`), batched along the first axis, and keep device and dtype.
    A subclass registers with `@registry.mechanisms.register()`; its keyword arguments are the options of a recipe.

    Args:
        variable: the variable that this mechanism makes.
        parents: its direct causes, in the order of the graph.

    Examples:
        >>> from counterbench.causal.variables import Continuous
        >>> from counterbench.mechanisms.spline_flow import SplineFlow
        >>> flow = SplineFlow(Continuous("intensity", 0, 255), [Continuous("thickness", 1, 6)])
        >>> (flow.variable.name, flow.context_size, flow.invertible, flow.stochastic_abduction)
        ('intensity', 1, True, False)
    """

    kinds: ClassVar[tuple[str, ...]]
    """The kinds of variable that this family can model."""
    invertible: bool
    """Whether generate(abduct(x)) gives back x up to rounding."""
    has_likelihood: ClassVar[bool] = True
    """Whether :meth:`loss` is a negative log-likelihood, or an upper bound of it."""
    pretrained: ClassVar[bool] = False
    """Whether it comes with its weights, so that nothing is to be trained."""
    stochastic_abduction: bool
    """Whether abduction draws from a posterior, and so needs a generator."""

    def __init__(self, variable: Variable, parents: Sequence[Variable]):
        super().__init__()
        if variable.kind not in self.kinds:
            raise ConfigError(
                f"The mechanism {type(self).__module__.rpartition('.')[2]!r} cannot model {variable.name!r}, "
                f"which is {variable.kind}; it models: {', '.join(self.kinds)}."
            )
        self.variable, self.parents = variable, tuple(parents)

    @property
    def context_size(self) -> int:
        """How many numbers encode all parents together."""
        return sum(parent.size for parent in self.parents)

    def context(self, parents: Parents, like: Tensor) -> Tensor:
        """The parents side by side, (N, context_size), in the order of the graph, with dtype and device of `like`."""
        columns = [parents[parent.name].flatten(1).to(dtype=like.dtype, device=like.device) for parent in self.parents]
        return torch.cat(columns, dim=1) if columns else like.new_empty(len(like), 0)

    @abstractmethod
    def abduct(self, value: Tensor, parents: Parents, generator: Generator = None) -> Noise:
        """Infer the exogenous noise behind an observed value: Pearl's first step."""

    @abstractmethod
    def generate(self, noise: Noise, parents: Parents, reached: frozenset[str] = frozenset()) -> Tensor:
        """The value that this noise gives under these parents: Pearl's third step.

        Args:
            noise: from :meth:`abduct` or :meth:`sample_noise`.
            parents: encoded values, possibly counterfactual ones.
            reached: names of the variables that an intervention holds, and of all their descendants, for mechanisms that steer by it.
        """

    @abstractmethod
    def sample_noise(self, count: int, generator: Generator = None) -> Noise:
        """Draw `count` noises from the prior."""

    @abstractmethod
    def loss(self, value: Tensor, parents: Parents, generator: Generator = None) -> Tensor:
        """What training minimises, per sample, (N,): the negative log-likelihood in nats, or an upper bound of it."""

    def prepare(self, value: Tensor, parents: Parents) -> None:
        """Look at the training data once before training, e.g. to store or scale it. Default: nothing."""

    def pyro_sample(self, name: str, parents: Parents, count: int) -> Tensor:
        """Declare this mechanism's sites in a Pyro program and return the *natural* value, (count, ...).

        The site that carries the value is called `name`.

        Raises:
            NotImplementedError: for families without a density or sampler that Pyro could use.
        """
        raise NotImplementedError(f"{type(self).__name__} has no Pyro program.")

    @property
    def reference(self) -> Tensor:
        """A tensor with this mechanism's device and dtype."""
        return reference_of(self)

    def extra_repr(self) -> str:
        causes = ", ".join(parent.name for parent in self.parents)
        return f"{causes} -> {self.variable.name}" if causes else self.variable.name


def reference_of(module: nn.Module) -> Tensor:
    """A floating-point tensor with a module's device and dtype.

    Examples:
        >>> reference_of(nn.Linear(2, 1).double()).dtype
        torch.float64
    """
    tensors = (tensor for tensor in (*module.parameters(), *module.buffers()) if tensor.is_floating_point())
    return next(tensors, torch.empty(0))
