"""The common base of image mechanisms that have latents and a pixel likelihood (`vae`, `hvae`)."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import ClassVar

import pyro
import torch
from pyro import distributions as dist
from torch import Tensor

from counterbench.causal.chance import Generator, normal
from counterbench.causal.variables import Image, Variable
from counterbench.errors import ConfigError
from counterbench.mechanisms.base import Mechanism, Noise, Parents
from counterbench.mechanisms.remembering import Remembering
from counterbench.networks.likelihood import DiscretisedGaussian, discretised_gaussian_log_prob
from counterbench.runtime.blocks import at_once


class LikelihoodImage(Mechanism):
    """image = mean(z, parents) + temperature * scale(z, parents) * e, with standard normal noise behind z and e.

    Args:
        variable: see the base class.
        parents: see the base class.
        pixel_temperature: how much of the abducted pixel noise is put back, 0 to 1.
        latent_temperature: scale of the posterior's standard deviation in abduction, 0 to 1.

    Examples:
        >>> from counterbench.mechanisms.vae import VAE
        >>> vae = VAE(Image("image", 1, 8, 8), [], encoder_channels=[4], decoder_channels=[4], pixel_temperature=1.0)
        >>> value = torch.rand(2, 1, 8, 8)
        >>> bool(torch.allclose(vae.generate(vae.abduct(value, {}), {}), value, atol=1e-4))
        True
    """

    kinds = ("image",)
    invertible = False
    stochastic_abduction = True
    decodes_alike: ClassVar[bool] = False
    """Whether the pixels of :meth:`infer_noise` are those of :meth:`pixels` to the last bit, so that nothing has to be decoded twice."""

    def __init__(
        self,
        variable: Variable,
        parents: Sequence[Variable],
        *,
        pixel_temperature: float,
        latent_temperature: float,
    ):
        super().__init__(variable, parents)
        assert isinstance(variable, Image)
        require_shares(variable, pixel_temperature=pixel_temperature, latent_temperature=latent_temperature)
        self.image = variable
        self.pixel_temperature, self.latent_temperature = pixel_temperature, latent_temperature

    likelihood: DiscretisedGaussian

    def prepare(self, value: Tensor, parents: Parents) -> None:
        self.likelihood.start_from(value[: at_once(self.image.size, 1000)])

    @property
    @abstractmethod
    def latent_size(self) -> int:
        """How many numbers the latent noise of one image is."""

    @abstractmethod
    def pixels(self, noise: Noise, parents: Parents) -> tuple[Tensor, Tensor]:
        """Mean and log standard deviation of the pixels, each (N, C, *sides), from the noise "latent"."""

    @abstractmethod
    def infer_noise(
        self, value: Tensor, parents: Parents, generator: Generator, temperature: float
    ) -> tuple[Noise, tuple[Tensor, Tensor], Callable[[], Tensor]]:
        """Draw the latents from their posterior, its standard deviation times `temperature`.

        Returns:
            (noise without "pixel", mean and log standard deviation of the pixels, how to get the divergence of every part of
            the latent (N, parts), in nats).
        """

    def abduct(self, value: Tensor, parents: Parents, generator: Generator = None) -> Noise:
        noise, pixels, _ = self.infer_noise(value, parents, generator, self.latent_temperature)
        noise = _with_pixels(noise, value, pixels)
        return (
            Remembering(noise, self, parents, pixels) if self.decodes_alike and not torch.is_grad_enabled() else noise
        )

    def explain(self, value: Tensor, parents: Parents, generator: Generator = None) -> tuple[Noise, Tensor, Tensor]:
        """Noise and free energy from one and the same draw of the posterior.

        Returns:
            (noise, negative log-likelihood (N,), divergence of every part of the latent (N, parts)), in nats per image.
        """
        noise, pixels, divergences = self.infer_noise(value, parents, generator, 1.0)
        return _with_pixels(noise, value, pixels), negative_log_likelihood(value, pixels), divergences()

    def free_energy(self, value: Tensor, parents: Parents, generator: Generator = None) -> tuple[Tensor, Tensor]:
        """(negative log-likelihood (N,), divergence of every part of the latent (N, parts)), in nats per image."""
        _, negative, divergences = self.explain(value, parents, generator)
        return negative, divergences

    def generate(self, noise: Noise, parents: Parents, reached: frozenset[str] = frozenset()) -> Tensor:
        known = noise.result_of(self, parents) if isinstance(noise, Remembering) else None
        mean, log_scale = self.pixels(noise, parents) if known is None else known
        return (mean + self.pixel_temperature * log_scale.exp() * noise["pixel"]).clamp(-1, 1)

    def sample_noise(self, count: int, generator: Generator = None) -> Noise:
        latent = normal((count, self.latent_size), generator, self.reference)
        return {"latent": latent, "pixel": normal((count, *self.image.shape), generator, self.reference)}

    def latent_distribution(self, count: int) -> dist.Distribution:
        """The prior of so many latents, for Pyro."""
        zeros = self.reference.new_zeros(count, self.latent_size)
        return dist.Normal(zeros, torch.ones_like(zeros)).to_event(1)

    def pyro_sample(self, name: str, parents: Parents, count: int) -> Tensor:
        latent = pyro.sample(f"{name}_latent", self.latent_distribution(count))
        mean, log_scale = self.pixels({"latent": latent}, parents)
        scale = (self.pixel_temperature * log_scale.exp()).clamp(min=1e-6)
        # In grey levels, as every site of the program is in natural units.
        image: Tensor = pyro.sample(
            name, dist.Normal(self.image.decode(mean), 127.5 * scale).to_event(len(self.image.shape))
        )
        return image


def negative_log_likelihood(value: Tensor, pixels: tuple[Tensor, Tensor]) -> Tensor:
    """Of images (N, C, *sides), given mean and log standard deviation of their pixels; (N,), in nats per image.

    Examples:
        >>> sure, unsure = torch.full((1, 1, 2, 2), -5.0), torch.zeros(1, 1, 2, 2)
        >>> image = torch.zeros(1, 1, 2, 2)
        >>> bool(negative_log_likelihood(image, (image, sure)) < negative_log_likelihood(image, (image, unsure)))
        True
    """
    return -discretised_gaussian_log_prob(value, *pixels).flatten(1).sum(1)


def _with_pixels(noise: Noise, value: Tensor, pixels: tuple[Tensor, Tensor]) -> Noise:
    mean, log_scale = pixels
    return {**noise, "pixel": (value - mean) * (-log_scale).exp()}


def require_shares(variable: Variable, **shares: float) -> None:
    """Raise ConfigError unless all of these options lie between 0 and 1.

    Examples:
        >>> require_shares(Image("image", 1, 8, 8), pixel_temperature=2)
        Traceback (most recent call last):
        counterbench.errors.ConfigError: image: pixel_temperature is 2; it must lie between 0 and 1.
    """
    for name, value in shares.items():
        if not 0 <= value <= 1:
            raise ConfigError(f"{variable.name}: {name} is {value}; it must lie between 0 and 1.")
