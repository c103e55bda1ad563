"""Variational autoencoder whose latents follow an order, a causal model of their own (experimental)."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

from pyro import distributions as dist
from torch import Tensor

from counterbench.causal.chance import Generator, normal, uniform
from counterbench.causal.variables import Variable
from counterbench.mechanisms.base import Noise, Parents
from counterbench.mechanisms.vae import VAE
from counterbench.networks.mixture import OrderedMixture
from counterbench.plugins.registry import mechanisms


@mechanisms.register()
class LatentANM(VAE):
    """image = mean(z, parents) + temperature * scale(z, parents) * e, with z from a Gaussian mixture whose numbers follow an order.

    Kori et al. 2023 (arXiv 2307.05704), after their description. The prior is trained along; the objective `order` adds the term that makes
    every latent a leaf of those up to it. Then z_1, z_2, ... are an additive-noise model: :meth:`intervene` sets one, moves those after it and
    draws the image again. Nothing makes the latents those of the world: no claim of identifiability is made.

    Args:
        variable: see the base class.
        parents: see the base class.
        latent: length of z.
        components: how many normal distributions the prior mixes.
        conditional: whether encoder and decoder are told the parents; False for a representation of the image alone, which answers no
            question about parents.
        encoder_channels, decoder_channels, hidden, patch, beta, pixel_temperature, latent_temperature, min_log_scale, max_log_scale: as of `vae`.

    Examples:
        >>> from counterbench.causal.variables import Image
        >>> small = LatentANM(Image("image", 1, 8, 8), [], latent=3, encoder_channels=[4], decoder_channels=[4], hidden=8)
        >>> noise = small.sample_noise(2)
        >>> tuple(small.intervene(noise, {0: noise["latent"][:, 0] + 1}, {}).shape)
        (2, 1, 8, 8)
    """

    def __init__(
        self,
        variable: Variable,
        parents: Sequence[Variable],
        *,
        latent: int = 8,
        components: int = 10,
        conditional: bool = True,
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
        self._told = conditional  # read by the base class already
        super().__init__(
            variable,
            parents,
            latent=latent,
            encoder_channels=encoder_channels,
            decoder_channels=decoder_channels,
            hidden=hidden,
            patch=patch,
            beta=beta,
            pixel_temperature=pixel_temperature,
            latent_temperature=latent_temperature,
            min_log_scale=min_log_scale,
            max_log_scale=max_log_scale,
        )
        self.prior = OrderedMixture(latent, components=components)

    @property
    def context_size(self) -> int:
        return super().context_size if self._told else 0

    def context(self, parents: Parents, like: Tensor) -> Tensor:
        return super().context(parents, like) if self._told else like.new_empty(len(like), 0)

    def infer_noise(
        self, value: Tensor, parents: Parents, generator: Generator, temperature: float
    ) -> tuple[Noise, tuple[Tensor, Tensor], Callable[[], Tensor]]:
        mean, log_scale = self.infer(value, parents)
        standard = normal(tuple(mean.shape), generator, mean)
        latent = mean + temperature * log_scale.exp() * standard
        noise = {"latent": latent}

        def divergence() -> Tensor:
            # One draw of log q(z | image) - log p(z): there is no closed form against a mixture.
            own = (-0.5 * standard**2 - log_scale - 0.5 * math.log(2 * math.pi)).sum(1)
            return (own - self.prior.log_prob(latent))[:, None]

        return noise, self.pixels(noise, parents), divergence

    def ordered_loss(self, value: Tensor, parents: Parents, generator: Generator = None) -> tuple[Tensor, Tensor]:
        """(loss per sample (N,), order term of the latents of these samples together ()), from one draw of the posterior."""
        noise, negative, divergences = self.explain(value, parents, generator)
        return negative + self.beta * divergences.sum(1), self.prior.order_loss(noise["latent"])

    def intervene(self, noise: Noise, held: Mapping[int, Tensor], parents: Parents) -> Tensor:
        """The image had some latents been set: those after them follow, those before stay.

        Args:
            noise: abducted, or drawn.
            held: number of a latent, from 0 -> its value, (N,).
            parents: encoded values.

        Returns:
            (N, C, *sides), encoded.

        Raises:
            ValueError: for a latent that there is not.
        """
        return self.generate({**noise, "latent": self.prior.intervened(noise["latent"], dict(held))}, parents)

    def sample_noise(self, count: int, generator: Generator = None) -> Noise:
        chance = uniform((count, 1), generator)[:, 0]
        latent = self.prior.drawn(chance, normal((count, self.latent), generator, self.reference))
        return {"latent": latent, "pixel": normal((count, *self.image.shape), generator, self.reference)}

    def latent_distribution(self, count: int) -> dist.Distribution:
        component = dist.Normal(self.prior.means, self.prior.log_scales.exp()).to_event(1)
        return dist.MixtureSameFamily(dist.Categorical(logits=self.prior.logits), component).expand([count])
