"""Unconditional variational autoencoder: no parents, no causes, only images."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from counterbench.networks.convolutional import Decoder, Encoder
from counterbench.networks.likelihood import DiscretisedGaussian, discretised_gaussian_log_prob
from counterbench.networks.normal import normal_divergence


class Recogniser(nn.Module):
    """Image -> mean and log standard deviation of a normal posterior (Kingma & Welling 2014).

    Args:
        shape: (C, H, W) of the images, or (C, D, H, W) of volumes.
        latent: length of the latent vector.
        channels: one number per stage; every stage halves the image.
        hidden: width of the dense layers.
    """

    def __init__(
        self, shape: Sequence[int], latent: int = 16, *, channels: Sequence[int] = (16, 32, 64), hidden: int = 128
    ):
        super().__init__()
        self.encoder = Encoder(shape, 0, channels, hidden)
        self.posterior = nn.Linear(hidden, 2 * latent)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """(N, C, *sides) on the scale [-1, 1] -> two (N, latent)."""
        mean, log_scale = self.posterior(self.encoder(images, images.new_empty(len(images), 0))).chunk(2, dim=1)
        return mean, log_scale


class Autoencoder(nn.Module):
    """The recogniser with the decoder that it is trained with.

    Args:
        shape, latent, channels, hidden: see :class:`Recogniser`; the decoder mirrors it.
    """

    def __init__(
        self, shape: Sequence[int], latent: int = 16, *, channels: Sequence[int] = (16, 32, 64), hidden: int = 128
    ):
        super().__init__()
        self.latent = latent
        self.recogniser = Recogniser(shape, latent, channels=channels, hidden=hidden)
        mirrored = list(reversed(channels))
        self.decoder = Decoder(shape, latent, mirrored, hidden)
        self.likelihood = DiscretisedGaussian(mirrored[-1], shape[0], min_log_scale=-3.5, dimensions=len(shape) - 1)

    def loss(self, images: Tensor, noise: Tensor) -> Tensor:
        """Negative evidence lower bound, (N,), in nats per image.

        Args:
            images: (N, C, *sides), on the scale [-1, 1].
            noise: (N, latent), standard normal.
        """
        mean, log_scale = self.recogniser(images)
        latent = mean + log_scale.exp() * noise
        features = self.decoder(latent, latent.new_empty(len(latent), 0))
        pixels = discretised_gaussian_log_prob(images, *self.likelihood(features))
        return normal_divergence(mean, log_scale) - pixels.flatten(1).sum(1)


def standard_normal(count: int, latent: int, generator: torch.Generator) -> Tensor:
    """(count, latent) draws on the generator's device."""
    return torch.randn(count, latent, generator=generator, device=generator.device)
