"""Conditional variational autoencoder for images and volumes, of any size and channels."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import Tensor, nn

from counterbench.causal.chance import Generator, normal
from counterbench.causal.variables import Image, Variable
from counterbench.mechanisms.base import Noise, Parents
from counterbench.mechanisms.image_likelihood import LikelihoodImage
from counterbench.networks.convolutional import Decoder, Encoder
from counterbench.networks.likelihood import DiscretisedGaussian
from counterbench.networks.normal import normal_divergence
from counterbench.plugins.registry import mechanisms


@mechanisms.register()
class VAE(LikelihoodImage):
    """image = mean(z, parents) + temperature * scale(z, parents) * e, with z and e standard normal.

    Deep SCM (Pawlowski et al., NeurIPS 2020): abduction infers the latent z by amortised inference and then solves for the
    pixel noise e. The prior of z is N(0, I); the loss is the negative evidence lower bound (Kingma & Welling 2014).

    Args:
        latent: length of z.
        encoder_channels: channels per encoder stage, each halving the image.
        decoder_channels: channels per decoder stage, coarse to fine, each doubling it.
        hidden: width of the dense layers.
        patch: side of the squares (cubes) of pixels that one position of the decoder's last stage makes; 2 is twice as fast as 1, which
            needs one stage more.
        beta: weight of the divergence from the prior (1 gives the evidence lower bound).
        pixel_temperature: how much of the abducted pixel noise is put back, 0 (none) to 1 (a null intervention returns its
            input). It must be the same for all models that are compared by composition.
        latent_temperature: scale of the posterior's standard deviation in abduction; 1 samples the posterior, 0 takes its mean.
        min_log_scale: lower limit of the pixels' log standard deviation, on the scale [-1, 1]. The default is finer than a
            grey level; a higher one (-3.5: 4 grey levels) keeps a model of few images from being sure of what it cannot know.
        max_log_scale: upper limit of the same; a lower one (-2: 17 grey levels) keeps it from explaining an effect of the
            parents away as noise.

    Examples:
        >>> vae = VAE(Image("image", 1, 8, 8), [], latent=3, encoder_channels=[4], decoder_channels=[4], hidden=8)
        >>> noise = vae.sample_noise(2)
        >>> tuple(noise["latent"].shape), tuple(vae.generate(noise, {}).shape)
        ((2, 3), (2, 1, 8, 8))
    """

    decodes_alike = True

    def __init__(
        self,
        variable: Variable,
        parents: Sequence[Variable],
        *,
        latent: int = 16,
        encoder_channels: Sequence[int] = (16, 32, 64),
        decoder_channels: Sequence[int] = (64, 32, 16),
        hidden: int = 128,
        patch: int = 1,
        beta: float = 1.0,
        pixel_temperature: float = 0.1,
        latent_temperature: float = 1.0,
        min_log_scale: float = -6.0,
        max_log_scale: float = 2.0,
    ):
        super().__init__(variable, parents, pixel_temperature=pixel_temperature, latent_temperature=latent_temperature)
        assert isinstance(variable, Image)
        self.latent, self.beta = latent, beta
        self.encoder = Encoder(variable.shape, self.context_size, encoder_channels, hidden)
        self.posterior = nn.Linear(hidden, 2 * latent)
        self.decoder = Decoder(variable.shape, latent + self.context_size, decoder_channels, hidden, patch=patch)
        self.likelihood = DiscretisedGaussian(
            self.decoder.maps,
            variable.channels,
            min_log_scale=min_log_scale,
            max_log_scale=max_log_scale,
            dimensions=len(variable.spatial),
        )

    @property
    def latent_size(self) -> int:
        """How many numbers the latent of one image is."""
        return self.latent

    def infer(self, value: Tensor, parents: Parents) -> tuple[Tensor, Tensor]:
        """Mean and log standard deviation of the posterior q(z | image, parents), each (N, latent)."""
        mean, log_scale = self.posterior(self.encoder(value, self.context(parents, value))).chunk(2, dim=1)
        return mean, log_scale

    def pixels(self, noise: Noise, parents: Parents) -> tuple[Tensor, Tensor]:
        latent = noise["latent"]
        image: tuple[Tensor, Tensor] = self.likelihood(self.decoder(latent, self.context(parents, latent)))
        return image

    def infer_noise(
        self, value: Tensor, parents: Parents, generator: Generator, temperature: float
    ) -> tuple[Noise, tuple[Tensor, Tensor], Callable[[], Tensor]]:
        mean, log_scale = self.infer(value, parents)
        noise = {"latent": mean + temperature * log_scale.exp() * normal(tuple(mean.shape), generator, mean)}

        return noise, self.pixels(noise, parents), lambda: normal_divergence(mean, log_scale)[:, None]

    def loss(self, value: Tensor, parents: Parents, generator: Generator = None) -> Tensor:
        negative, divergences = self.free_energy(value, parents, generator)
        return negative + self.beta * divergences.sum(1)
