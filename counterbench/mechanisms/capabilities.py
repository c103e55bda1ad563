"""What a mechanism may offer beyond the contract, as protocols: an objective says which one it needs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Protocol, runtime_checkable

from torch import Tensor, nn

from counterbench.causal.chance import Generator
from counterbench.causal.phrases import Grammar
from counterbench.mechanisms.base import Noise, Parents
from counterbench.plugins import registry


@runtime_checkable
class Reconstructs(Protocol):
    """Maps a value to a latent and back, given the parents side by side.

    The context is :meth:`counterbench.mechanisms.base.Mechanism.context`, (N, context_size).
    """

    def context(self, parents: Parents, like: Tensor) -> Tensor:
        """The parents side by side, (N, context_size); every mechanism has it."""
        ...

    def encode(self, value: Tensor, context: Tensor) -> Tensor:
        """Encoded value (N, ...), context (N, context_size) -> latent (N, latent)."""
        ...

    def decode(self, latent: Tensor, context: Tensor) -> Tensor:
        """Latent (N, latent), context (N, context_size) -> encoded value (N, ...)."""
        ...


@runtime_checkable
class Adversarial(Reconstructs, Protocol):
    """Can play against a discriminator of pairs (value, latent)."""

    def make_discriminator(self, width: float = 1.0) -> nn.Module:
        """The opponent: (value (N, ...), latent (N, latent), context (N, context_size)) -> logits (N,).

        Args:
            width: of its layers, in units of the default.
        """
        ...


@runtime_checkable
class Cycles(Protocol):
    """Knows by how much its encoder and its generator miss being each other's inverse, and can train the encoder alone."""

    def cycles(self, value: Tensor, parents: Parents, generator: Generator = None) -> tuple[Tensor, Tensor]:
        """(error of reconstructed values, error of re-encoded latents drawn from the prior), (N,) each."""
        ...

    def encoder_parameters(self) -> Iterator[nn.Parameter]:
        """The weights by which it abducts."""
        ...


@runtime_checkable
class PredictsNoise(Protocol):
    """Takes noise to be in a value, and more or less of it with what it is told of the parents."""

    def noise_norm(self, value: Tensor, parents: Parents, generator: Generator = None, *, times: int = 8) -> Tensor:
        """How much the parents move the predicted noise, (N,); see :meth:`counterbench.mechanisms.generative_ode.GenerativeODE.noise_norm`."""
        ...


@runtime_checkable
class Explains(Protocol):
    """Gives the noise behind a value together with its free energy."""

    def explain(self, value: Tensor, parents: Parents, generator: Generator = None) -> tuple[Noise, Tensor, Tensor]:
        """(noise, negative log-likelihood (N,), divergence of every part of the latent (N, parts)), in nats per sample."""
        ...


@runtime_checkable
class OrdersLatents(Protocol):
    """Has latents that can be pressed to follow an order."""

    def ordered_loss(self, value: Tensor, parents: Parents, generator: Generator = None) -> tuple[Tensor, Tensor]:
        """(loss per sample (N,), how far the latents of these samples are from following their order ())."""
        ...


@runtime_checkable
class HasLevels(Protocol):
    """A hierarchy whose latents can be trained from the coarsest level on."""

    @property
    def level_count(self) -> int:
        """How many levels there are."""
        ...

    def loss(
        self, value: Tensor, parents: Parents, generator: Generator = None, *, active: int | None = None
    ) -> Tensor:
        """Loss per sample, (N,), in nats, with latents at the `active` coarsest levels alone; None for all."""
        ...


@runtime_checkable
class HasPixelTemperature(Protocol):
    """Puts back a share of the abducted pixel noise."""

    pixel_temperature: float
    """The share, 0 to 1."""


@runtime_checkable
class Matches(Protocol):
    """A field that is regressed on paths between noise and data."""

    def standardised(self, value: Tensor) -> Tensor:
        """Encoded values (N, ...) as states of the field, (N, *state_shape()), on the scale of the noise."""
        ...

    def state_shape(self) -> tuple[int, ...]:
        """The shape of one state, and so of its noise."""
        ...

    def matching_loss(
        self, value: Tensor, parents: Parents, generator: Generator = None, *, noise: Tensor, time: Tensor
    ) -> Tensor:
        """Error of the field at times (N,) on the paths between encoded values (N, ...) and noises (N, *state_shape()); (N,)."""
        ...


@runtime_checkable
class Autoencodes(Protocol):
    """Has an autoencoder of values that can be trained alone."""

    def autoencoding_loss(self, value: Tensor, parents: Parents, generator: Generator = None) -> Tensor:
        """What the autoencoder loses of encoded values (N, ...), and what its latents cost; (N,)."""
        ...

    def autoencoder_parameters(self) -> Iterator[nn.Parameter]:
        """The weights of the autoencoder."""
        ...


@runtime_checkable
class MeasuresLatents(Protocol):
    """A field between latents, which are brought to the scale of the noise."""

    def measure_latents(self, value: Tensor) -> None:
        """Take the scale from encoded values of the training data, (N, ...), when the autoencoder is trained."""
        ...


@runtime_checkable
class HasVelocity(Protocol):
    """A generative ODE whose field can be asked at any state and time."""

    @property
    def token_names(self) -> list[str]:
        """What its conditions are, in their order."""
        ...

    def velocity(self, value: Tensor, time: Tensor, parents: Parents, *, told: Tensor | None = None) -> Tensor:
        """The field at states (N, ...) and times (N,), where it is told only the conditions of `told`, (N, conditions); None for all."""
        ...

    def predicted_noise(self, value: Tensor, time: Tensor, parents: Parents, *, told: Tensor | None = None) -> Tensor:
        """The noise that it takes to be in states (N, ...) at times (N,), (N, ...)."""
        ...


@runtime_checkable
class HasNoiseDensity(Protocol):
    """Knows the density of its noise under the prior."""

    def noise_log_prob(self, noise: Noise) -> Tensor:
        """log p(noise), (N,), in nats."""
        ...


@runtime_checkable
class Attends(Protocol):
    """Looks at its conditions by attention."""

    @property
    def token_names(self) -> list[str]:
        """What the tokens stand for, in their order."""
        ...

    def attention(self, value: Tensor, time: Tensor, parents: Parents) -> dict[str, Tensor]:
        """Where it looks for each token, at states (N, ...) and times (N,): layer -> (N, heads, tokens, *sides)."""
        ...


@runtime_checkable
class ReadsPhrases(Protocol):
    """A mechanism whose network attends to the words of a phrase."""

    grammar: Grammar | None
    """Of the phrases; None where it is told numbers alone."""

    @property
    def token_names(self) -> list[str]:
        """What the tokens stand for, in their order; those of words come last."""
        ...

    def standardised(self, value: Tensor) -> Tensor:
        """Encoded values as states of the field."""
        ...

    def velocity(
        self, value: Tensor, time: Tensor, parents: Parents, *, told: Tensor | None = None, phrase: Tensor | None = None
    ) -> Tensor:
        """The field at states (N, ...) and times (N,)."""
        ...

    def attention(
        self,
        value: Tensor,
        time: Tensor,
        parents: Parents,
        *,
        told: Tensor | None = None,
        phrase: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """Where it looks for each token: layer -> (N, heads, tokens, *sides)."""
        ...

    def heard(
        self, value: Tensor, time: Tensor, parents: Parents, *, phrase: Tensor | None = None
    ) -> dict[str, Tensor]:
        """How much it hears at every position: layer -> (N, *sides)."""
        ...


@runtime_checkable
class HasBlocks(Protocol):
    """Made of named parts that can be opened or frozen one by one."""

    def blocks(self) -> Mapping[str, nn.Module]:
        """Name -> module; together they hold every parameter exactly once."""
        ...


@runtime_checkable
class HasHead(Protocol):
    """Knows where its last layer is, which need not be the last that it holds."""

    def head(self) -> nn.Module:
        """The part that holds the last layer."""
        ...


def methods_of(capability: type) -> list[str]:
    """The names of the methods that a capability consists of, sorted.

    Examples:
        >>> methods_of(Reconstructs)
        ['context', 'decode', 'encode']
    """
    return sorted({name for part in capability.__mro__ for name in vars(part) if not name.startswith("_")})


def families_with(capability: type) -> list[str]:
    """The built-in mechanism families that have a capability which consists of methods, sorted.

    Examples:
        >>> "vae" in families_with(Explains)
        True
    """
    names = registry.mechanisms.builtins()
    return [name for name in names if issubclass(registry.mechanisms.get(name), capability)]
