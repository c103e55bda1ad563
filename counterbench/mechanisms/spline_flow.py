"""Normalising flow for one continuous variable: monotone in its noise, so abduction is exact."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import pyro
import torch
from pyro import distributions as dist
from pyro.distributions.conditional import ConditionalTransformModule
from pyro.distributions.transforms import AffineTransform, ConditionalSpline, Spline
from torch import Tensor, nn
from torch.distributions import Transform, constraints
from torch.distributions.transforms import ReshapeTransform, TanhTransform

from counterbench.causal.chance import Generator, normal
from counterbench.causal.variables import Continuous, Variable
from counterbench.mechanisms.base import Mechanism, Noise, Parents
from counterbench.networks.dense import dense
from counterbench.plugins.registry import mechanisms

_IDENTITY = (0.0, 0.0, 0.5413, 0.0)
"""Unnormalised widths, heights, derivatives and lambdas of the spline u -> u: softplus(0.5413) = 1."""


def _spline_parameters(spline: Spline) -> tuple[nn.Parameter, ...]:
    return (
        spline.unnormalized_widths,
        spline.unnormalized_heights,
        spline.unnormalized_derivatives,
        spline.unnormalized_lambdas,
    )


class ConditionalAffine(ConditionalTransformModule):  # type: ignore[misc]  # pyro declares no types
    """y = shift(c) + exp(log_scale(c)) u, with shift and log-scale from a small network of the context c.

    Examples:
        >>> transform = ConditionalAffine(context_size=2, hidden=(8,)).condition(torch.zeros(3, 2))
        >>> tuple(transform(torch.zeros(3, 1)).shape)
        (3, 1)
    """

    domain = constraints.real_vector
    codomain = constraints.real_vector
    bijective = True

    def __init__(self, context_size: int, hidden: Sequence[int]):
        super().__init__()
        self.network = dense(context_size, hidden, [1, 1])

    def condition(self, context: Tensor) -> Transform:
        shift, log_scale = self.network(context)
        transform: Transform = AffineTransform(shift, log_scale.exp(), event_dim=1)
        return transform


class Affine(nn.Module):
    """y = shift + exp(log_scale) u: the conditional one without a context.

    Examples:
        >>> Affine().transform()(torch.tensor([[2.0]])).tolist()
        [[2.0]]
    """

    def __init__(self) -> None:
        super().__init__()
        self.shift = nn.Parameter(torch.zeros(1))
        self.log_scale = nn.Parameter(torch.zeros(1))

    def transform(self) -> Transform:
        transform: Transform = AffineTransform(self.shift, self.log_scale.exp(), event_dim=1)
        return transform


@mechanisms.register()
class SplineFlow(Mechanism):
    """A conditional flow u -> x with standard normal noise (Deep SCM, Pawlowski et al. 2020, section 3).

    Rational splines (Dolatabadi et al. 2020; Durkan et al. 2019) shape the noise, an affine map whose coefficients depend on
    the parents places it, and where `bounded` a tanh keeps the value inside the variable's range.

    Args:
        bins: pieces of the spline; 0 leaves it out.
        spline_context: let the spline's shape depend on the parents as well (ignored without parents).
        hidden: widths of the networks that read the parents; none for linear maps.
        bounded: whether the range of the variable is a hard limit.

    Examples:
        >>> flow = SplineFlow(Continuous("intensity", 0, 255), [Continuous("thickness", 1, 6)])
        >>> value, parents = torch.tensor([[0.5]]), {"thickness": torch.tensor([[-0.2]])}
        >>> bool(torch.allclose(flow.generate(flow.abduct(value, parents), parents), value, atol=1e-5))
        True
    """

    kinds = ("continuous",)
    invertible = True
    stochastic_abduction = False

    def __init__(
        self,
        variable: Variable,
        parents: Sequence[Variable],
        *,
        bins: int = 8,
        spline_context: bool = True,
        hidden: Sequence[int] = (32, 32),
        bounded: bool = False,
    ):
        super().__init__(variable, parents)
        assert isinstance(variable, Continuous)
        self.quantity, self.bounded = variable, bounded
        size = self.context_size
        self.spline: nn.Module | None = None
        if bins and size and spline_context:
            shapes = [bins, bins, bins - 1, bins]
            network = dense(size, hidden, shapes)
            self.spline = ConditionalSpline(network, input_dim=1, count_bins=bins, bound=4.0, order="linear")
            with torch.no_grad():
                network.layers[-1].weight.mul_(0.1)
                network.layers[-1].bias.copy_(
                    torch.cat([torch.full((n,), v) for n, v in zip(shapes, _IDENTITY, strict=True)])
                )
        elif bins:
            self.spline = Spline(1, count_bins=bins, bound=4.0, order="linear")
            with torch.no_grad():
                for parameter, start in zip(_spline_parameters(self.spline), _IDENTITY, strict=True):
                    parameter.fill_(start)
        self.affine: ConditionalAffine | Affine = ConditionalAffine(size, hidden) if size else Affine()

    def _transforms(self, context: Tensor) -> list[Transform]:
        """Noise -> value, first to last, under this context."""
        chain: list[Transform] = []
        if isinstance(self.spline, ConditionalSpline):
            chain.append(self.spline.condition(context))
        elif self.spline is not None:
            chain.append(cast(Transform, self.spline))
        affine = self.affine
        chain.append(affine.transform() if isinstance(affine, Affine) else affine.condition(context))
        if self.bounded:
            chain.append(TanhTransform())
        return chain

    def _distribution(self, context: Tensor) -> Any:
        base = dist.Normal(context.new_zeros(len(context), 1), context.new_ones(len(context), 1)).to_event(1)
        return dist.TransformedDistribution(base, self._transforms(context))

    def _inside(self, value: Tensor) -> Tensor:
        """Values at or beyond a hard limit have no finite noise: take the nearest representable one inside."""
        edge = 1 - 4 * torch.finfo(value.dtype).eps
        return value.clamp(-edge, edge) if self.bounded else value

    def abduct(self, value: Tensor, parents: Parents, generator: Generator = None) -> Noise:
        noise = self._inside(value)
        for transform in reversed(self._transforms(self.context(parents, value))):
            noise = transform.inv(noise)
        return {"u": noise}

    def generate(self, noise: Noise, parents: Parents, reached: frozenset[str] = frozenset()) -> Tensor:
        value = noise["u"]
        for transform in self._transforms(self.context(parents, value)):
            value = transform(value)
        return value

    def sample_noise(self, count: int, generator: Generator = None) -> Noise:
        return {"u": normal((count, 1), generator, self.reference)}

    def loss(self, value: Tensor, parents: Parents, generator: Generator = None) -> Tensor:
        log_density: Tensor = -self._distribution(self.context(parents, value)).log_prob(self._inside(value))
        return log_density

    def prepare(self, value: Tensor, parents: Parents) -> None:
        """Start from the data's own mean and spread, so that the spline sees values within its bounds."""
        with torch.no_grad():
            raw = torch.atanh(self._inside(value)) if self.bounded else value
            shift, log_scale = raw.mean(), raw.std().clamp(min=1e-3).log()
            if isinstance(self.affine, Affine):
                self.affine.shift.fill_(shift)
                self.affine.log_scale.fill_(log_scale)
            else:
                last = self.affine.network.layers[-1]
                last.weight.mul_(0.1)
                last.bias.copy_(torch.stack([shift, log_scale]))

    def pyro_sample(self, name: str, parents: Parents, count: int) -> Tensor:
        encoded = self._distribution(self.context(parents, self.reference.new_empty(count, 0)))
        half = (self.quantity.high - self.quantity.low) / 2
        natural = [
            ReshapeTransform(torch.Size([1]), torch.Size([])),
            torch.distributions.AffineTransform(self.quantity.low + half, half),
        ]
        value: Tensor = pyro.sample(name, dist.TransformedDistribution(encoded, natural))
        return value
