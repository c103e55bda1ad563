"""Gumbel-max mechanism for one of several classes."""

from __future__ import annotations

from collections.abc import Sequence

import pyro
import torch
from pyro import distributions as dist
from torch import Tensor, nn

from counterbench.causal.chance import Generator, gumbel
from counterbench.causal.variables import Categorical, Variable
from counterbench.mechanisms.base import Mechanism, Noise, Parents
from counterbench.networks.dense import dense
from counterbench.plugins.registry import mechanisms


def truncated_gumbels(logits: Tensor, observed: Tensor, generator: Generator = None) -> Tensor:
    """Gumbel noise g from its exact posterior given argmax(logits + g) = observed.

    Top-down construction (Maddison et al., *A\\* sampling*, 2014; Oberst & Sontag, ICML 2019): the maximum of the shifted
    Gumbels is Gumbel(logsumexp(logits)), independent of which class attains it; the others are Gumbels truncated at it.

    Args:
        logits: (N, K), normalised or not.
        observed: (N,), class indices.
        generator: chance.

    Returns:
        (N, K), noise for which the observed class is always the strict maximum of logits + noise.

    Examples:
        >>> logits, observed = torch.zeros(4, 3), torch.tensor([0, 1, 2, 0])
        >>> (logits + truncated_gumbels(logits, observed)).argmax(1).tolist()
        [0, 1, 2, 0]
    """
    device = logits.device
    # In double precision, on the CPU: these are few numbers, and some devices have no doubles.
    exact, observed = logits.detach().to("cpu", torch.float64), observed.cpu()
    draws = gumbel(tuple(logits.shape), generator, exact)
    top = exact.logsumexp(1, keepdim=True) + draws.gather(1, observed[:, None])
    others = -torch.logaddexp(-(draws + exact), -top)
    shifted = others.scatter(1, observed[:, None], top)
    # A draw can round up to the maximum itself; the observed class must stay strictly above, in the final precision too.
    noise = (shifted - exact).to(logits.dtype)
    logits = logits.detach().cpu()
    reached = logits + noise
    best = reached.gather(1, observed[:, None])
    tied = (reached >= best) & ~torch.zeros_like(reached, dtype=torch.bool).scatter(1, observed[:, None], True)
    margin = 8 * torch.finfo(logits.dtype).eps * (1 + best.abs() + logits.abs())
    return torch.where(tied, best - logits - margin, noise).to(device)


@mechanisms.register()
class CategoricalMechanism(Mechanism):
    """x = argmax_k (logit_k(parents) + g_k), g_k ~ Gumbel(0, 1).

    Args:
        hidden: widths of the network that reads the parents, none for a linear map; without parents the logits are free parameters.

    Examples:
        >>> mechanism = CategoricalMechanism(Categorical("hair", ("bald", "short", "long")), [])
        >>> hair = mechanism.variable.encode(torch.tensor([2, 0]))
        >>> mechanism.generate(mechanism.abduct(hair, {}), {}).argmax(1).tolist()
        [2, 0]
    """

    kinds = ("categorical", "ordinal")
    invertible = True
    stochastic_abduction = True

    def __init__(self, variable: Variable, parents: Sequence[Variable], *, hidden: Sequence[int] = (32, 32)):
        super().__init__(variable, parents)
        assert isinstance(variable, Categorical)
        self.classes = variable
        size = self.context_size
        if size:
            self.network: nn.Module | None = dense(size, hidden, [variable.cardinality])
        else:
            self.network = None
            self.free_logits = nn.Parameter(torch.zeros(variable.cardinality))

    def logits(self, parents: Parents, like: Tensor) -> Tensor:
        """(N, K), normalised."""
        if self.network is None:
            return self.free_logits.log_softmax(0).expand(len(like), -1)
        log_probabilities: Tensor = self.network(self.context(parents, like)).log_softmax(1)
        return log_probabilities

    def abduct(self, value: Tensor, parents: Parents, generator: Generator = None) -> Noise:
        observed = self.classes.decode(value)
        return {"gumbel": truncated_gumbels(self.logits(parents, value), observed, generator)}

    def generate(self, noise: Noise, parents: Parents, reached: frozenset[str] = frozenset()) -> Tensor:
        classes = (self.logits(parents, noise["gumbel"]) + noise["gumbel"]).argmax(1)
        return self.classes.encode(classes, noise["gumbel"].dtype)

    def sample_noise(self, count: int, generator: Generator = None) -> Noise:
        return {"gumbel": gumbel((count, self.classes.cardinality), generator, self.reference)}

    def loss(self, value: Tensor, parents: Parents, generator: Generator = None) -> Tensor:
        return nn.functional.cross_entropy(self.logits(parents, value), self.classes.decode(value), reduction="none")

    def pyro_sample(self, name: str, parents: Parents, count: int) -> Tensor:
        logits = self.logits(parents, self.reference.new_empty(count, 0))
        label: Tensor = pyro.sample(name, dist.Categorical(logits=logits))
        return label
