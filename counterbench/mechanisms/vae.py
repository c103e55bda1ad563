"""Conditional variational autoencoder for images, of any size and channels."""

from __future__ import annotations

from collections.abc import Sequence

import pyro
import torch
from pyro import distributions as dist
from torch import Tensor, nn

from counterbench.errors import ConfigError
from counterbench.mechanisms.base import Mechanism, Noise, Parents
from counterbench.networks.convolutional import Decoder, Encoder
from counterbench.networks.likelihood import DiscretisedGaussian, discretised_gaussian_log_prob
from counterbench.randomness import Generator, normal
from counterbench.registry import mechanisms
from counterbench.variables import Image, Variable


@mechanisms.register()
class VAE(Mechanism):
    """image = mean(z, parents) + temperature * scale(z, parents) * e, with z and e standard normal.

    Deep SCM (Pawlowski et al., NeurIPS 2020): abduction infers the latent z by amortised inference and then solves for the
    pixel noise e. The prior of z is N(0, I); the loss is the negative evidence lower bound (Kingma & Welling 2014).

    Args:
        latent: length of z.
        encoder_channels: channels per encoder stage, each halving the image.
        decoder_channels: channels per decoder stage, coarse to fine, each doubling it.
        hidden: width of the dense layers.
        beta: weight of the divergence from the prior (1 gives the evidence lower bound).
        pixel_temperature: how much of the abducted pixel noise is put back, 0 (none) to 1 (a null intervention returns its
            input). It must be the same for all models that are compared by composition.
        latent_temperature: scale of the posterior's standard deviation in abduction; 1 samples the posterior, 0 takes its mean.
        min_log_scale: lower limit of the pixels' log standard deviation, on the scale [-1, 1]. The default is finer than a
            grey level; a higher one (-3.5: 4 grey levels) keeps a model of few images from being sure of what it cannot know.
        max_log_scale: upper limit of the same; a lower one (-2: 17 grey levels) keeps it from explaining an effect of the
            parents away as noise.
    """

    kinds = ("image",)
    invertible = False
    stochastic_abduction = True

    def __init__(
        self,
        variable: Variable,
        parents: Sequence[Variable],
        latent: int = 16,
        encoder_channels: Sequence[int] = (16, 32, 64),
        decoder_channels: Sequence[int] = (64, 32, 16),
        hidden: int = 128,
        beta: float = 1.0,
        pixel_temperature: float = 0.1,
        latent_temperature: float = 1.0,
        min_log_scale: float = -6.0,
        max_log_scale: float = 2.0,
    ):
        super().__init__(variable, parents)
        assert isinstance(variable, Image)
        for name, value in (("pixel_temperature", pixel_temperature), ("latent_temperature", latent_temperature)):
            if not 0 <= value <= 1:
                raise ConfigError(f"{variable.name}: {name} is {value}; it must lie between 0 and 1.")
        self.image = variable
        self.latent, self.beta = latent, beta
        self.pixel_temperature, self.latent_temperature = pixel_temperature, latent_temperature
        self.encoder = Encoder(variable.shape, self.context_size, encoder_channels, hidden)
        self.posterior = nn.Linear(hidden, 2 * latent)
        self.decoder = Decoder(variable.shape, latent + self.context_size, decoder_channels, hidden)
        self.likelihood = DiscretisedGaussian(decoder_channels[-1], variable.channels, min_log_scale, max_log_scale)

    def infer(self, value: Tensor, parents: Parents) -> tuple[Tensor, Tensor]:
        """Mean and log standard deviation of the posterior q(z | image, parents), each (N, latent)."""
        mean, log_scale = self.posterior(self.encoder(value, self.context(parents, value))).chunk(2, dim=1)
        return mean, log_scale

    def decode(self, latent: Tensor, parents: Parents) -> tuple[Tensor, Tensor]:
        """Mean and log standard deviation of the pixels, each (N, C, H, W)."""
        return self.likelihood(self.decoder(latent, self.context(parents, latent)))

    def abduct(self, value: Tensor, parents: Parents, generator: Generator = None) -> Noise:
        mean, log_scale = self.infer(value, parents)
        latent = mean + self.latent_temperature * log_scale.exp() * normal(tuple(mean.shape), generator, mean)
        pixel_mean, pixel_log_scale = self.decode(latent, parents)
        return {"latent": latent, "pixel": (value - pixel_mean) * (-pixel_log_scale).exp()}

    def generate(self, noise: Noise, parents: Parents, intervened: frozenset[str] = frozenset()) -> Tensor:
        mean, log_scale = self.decode(noise["latent"], parents)
        return (mean + self.pixel_temperature * log_scale.exp() * noise["pixel"]).clamp(-1, 1)

    def sample_noise(self, count: int, generator: Generator = None) -> Noise:
        latent = normal((count, self.latent), generator, self.reference)
        return {"latent": latent, "pixel": normal((count, *self.image.shape), generator, self.reference)}

    def free_energy(self, value: Tensor, parents: Parents, generator: Generator = None) -> tuple[Tensor, Tensor]:
        """(negative log-likelihood, KL of the posterior from N(0, I)), each (N,), in nats per image."""
        mean, log_scale = self.infer(value, parents)
        latent = mean + log_scale.exp() * normal(tuple(mean.shape), generator, mean)
        pixels = discretised_gaussian_log_prob(value, *self.decode(latent, parents))
        divergence = 0.5 * (mean.square() + (2 * log_scale).exp() - 1) - log_scale
        return -pixels.flatten(1).sum(1), divergence.sum(1)

    def loss(self, value: Tensor, parents: Parents, generator: Generator = None) -> Tensor:
        negative_log_likelihood, divergence = self.free_energy(value, parents, generator)
        return negative_log_likelihood + self.beta * divergence

    def pyro_sample(self, name: str, parents: Parents, count: int) -> Tensor:
        zeros = self.reference.new_zeros(count, self.latent)
        latent = pyro.sample(f"{name}_latent", dist.Normal(zeros, torch.ones_like(zeros)).to_event(1))
        mean, log_scale = self.decode(latent, parents)
        scale = (self.pixel_temperature * log_scale.exp()).clamp(min=1e-6)
        # In grey levels, as every site of the program is in natural units.
        return pyro.sample(name, dist.Normal(self.image.decode(mean), 127.5 * scale).to_event(3))
