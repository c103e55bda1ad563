"""Gumbel-max mechanism for a binary variable."""

from __future__ import annotations

from collections.abc import Sequence

import pyro
import torch
from pyro import distributions as dist
from torch import Tensor, nn

from counterbench.causal.chance import Generator, uniform
from counterbench.causal.variables import Variable
from counterbench.mechanisms.base import Mechanism, Noise, Parents
from counterbench.networks.dense import dense
from counterbench.plugins.registry import mechanisms


@mechanisms.register()
class Bernoulli(Mechanism):
    """x = 1[logit(parents) + e > 0], e ~ Logistic(0, 1): the two-class Gumbel-max trick, as a difference of Gumbels.

    Abduction draws e from the logistic truncated to the half-line that the observation selects, by its inverse CDF.

    Args:
        hidden: widths of the network that reads the parents, none for a linear map; without parents the logit is a free parameter.

    Examples:
        >>> from counterbench.causal.variables import Binary
        >>> mechanism = Bernoulli(Binary("smile"), [])
        >>> smiles = torch.tensor([[0.0], [1.0]])
        >>> mechanism.generate(mechanism.abduct(smiles, {}), {}).tolist()
        [[0.0], [1.0]]
    """

    kinds = ("binary",)
    invertible = True
    stochastic_abduction = True

    def __init__(self, variable: Variable, parents: Sequence[Variable], *, hidden: Sequence[int] = (32, 32)):
        super().__init__(variable, parents)
        size = self.context_size
        self.network = dense(size, hidden, [1]) if size else None
        if self.network is None:
            self.free_logit = nn.Parameter(torch.zeros(1))

    def logit(self, parents: Parents, like: Tensor) -> Tensor:
        """(N, 1), log-odds of 1."""
        if self.network is None:
            return self.free_logit.expand(len(like), 1)
        logit: Tensor = self.network(self.context(parents, like))
        return logit

    def abduct(self, value: Tensor, parents: Parents, generator: Generator = None) -> Noise:
        # In double precision, on the CPU: these are few numbers, and some devices have no doubles.
        device, value = value.device, value.cpu()
        logit = self.logit(parents, value.to(device)).detach().to("cpu", torch.float64)
        draw = uniform((len(value), 1), generator)
        # x = 1 means e > -logit, i.e. -e < logit: sample the tail through log-probabilities, which never underflow.
        sign = torch.where(value > 0.5, 1.0, -1.0).to(torch.float64)
        log_cdf = nn.functional.logsigmoid(sign * logit) + draw.log()  # log P(-sign e <= -sign e_drawn)
        mirrored = log_cdf - torch.log(-torch.expm1(log_cdf))
        noise = (-sign * mirrored).to(value.dtype)
        # Rounding to single precision must not carry a draw across the threshold.
        margin = 8 * torch.finfo(value.dtype).eps * (1 + logit.abs())
        limit = -logit + sign * margin
        noise = torch.where(sign > 0, torch.maximum(noise, limit), torch.minimum(noise, limit))
        return {"logistic": noise.to(value.dtype).to(device)}

    def generate(self, noise: Noise, parents: Parents, reached: frozenset[str] = frozenset()) -> Tensor:
        return (self.logit(parents, noise["logistic"]) + noise["logistic"] > 0).to(noise["logistic"].dtype)

    def sample_noise(self, count: int, generator: Generator = None) -> Noise:
        drawn = torch.logit(uniform((count, 1), generator))
        return {"logistic": drawn.to(self.reference.dtype).to(self.reference.device)}

    def loss(self, value: Tensor, parents: Parents, generator: Generator = None) -> Tensor:
        logit = self.logit(parents, value)
        return nn.functional.binary_cross_entropy_with_logits(logit, value, reduction="none")[:, 0]

    def pyro_sample(self, name: str, parents: Parents, count: int) -> Tensor:
        logit = self.logit(parents, self.reference.new_empty(count, 0))
        label: Tensor = pyro.sample(name, dist.Bernoulli(logits=logit[:, 0])).long()
        return label
