"""Conditional bidirectional generative adversarial network for images and volumes, of any size and channels."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pyro
import torch
from pyro import distributions as dist
from torch import Tensor, nn

from counterbench.causal.chance import Generator, normal
from counterbench.causal.variables import Image, Variable
from counterbench.errors import ConfigError
from counterbench.mechanisms.base import Mechanism, Noise, Parents
from counterbench.networks.adversarial import Discriminator
from counterbench.networks.convolutional import Decoder, Encoder
from counterbench.networks.spatial import convolution
from counterbench.plugins.registry import mechanisms


@mechanisms.register()
class GAN(Mechanism):
    """image = G(z, parents) with z standard normal; abduction is a learned encoder, z = E(image, parents).

    ALI / BiGAN (Dumoulin et al., ICLR 2017; Donahue et al., ICLR 2017) as a mechanism of a structural causal model (Dash et
    al., WACV 2022). Train it with the objective `adversarial`, then `encoder`. There is no pixel noise: what the encoder
    misses is lost. There is no likelihood either; the loss is the cyclic cost that `encoder` minimises.

    Args:
        latent: length of z.
        encoder_channels: channels per encoder stage, each halving the image.
        decoder_channels: channels per generator stage, coarse to fine, each doubling it.
        discriminator_channels: channels per stage of the discriminator; default: those of the encoder.
        hidden: width of the dense layers.
        patch: side of the squares (cubes) of pixels that one position of the generator's last stage makes.

    Examples:
        >>> gan = GAN(Image("image", 1, 8, 8), [], latent=3, encoder_channels=[4], decoder_channels=[4], hidden=8)
        >>> tuple(gan.generate(gan.sample_noise(2), {}).shape)
        (2, 1, 8, 8)
    """

    kinds = ("image",)
    invertible = False
    stochastic_abduction = False
    has_likelihood = False

    def __init__(
        self,
        variable: Variable,
        parents: Sequence[Variable],
        *,
        latent: int = 64,
        encoder_channels: Sequence[int] = (32, 64, 128),
        decoder_channels: Sequence[int] = (128, 64, 32),
        discriminator_channels: Sequence[int] | None = None,
        hidden: int = 256,
        patch: int = 1,
    ):
        super().__init__(variable, parents)
        assert isinstance(variable, Image)
        if latent < 1:
            raise ConfigError(
                f"{variable.name}: latent is {latent}; a generator needs at least one number to start from."
            )
        self.image, self.latent, self.hidden = variable, latent, hidden
        self.discriminator_channels = list(discriminator_channels or encoder_channels)
        self.encoder = nn.ModuleDict(
            {
                "features": Encoder(variable.shape, self.context_size, encoder_channels, hidden),
                "latent": nn.Linear(hidden, latent),
            }
        )
        self.generator = Decoder(variable.shape, latent + self.context_size, decoder_channels, hidden, patch=patch)
        self.paint = convolution(len(variable.spatial), self.generator.maps, variable.channels, 3)

    def encode(self, value: Tensor, context: Tensor) -> Tensor:
        """(N, C, *sides), (N, context) -> z, (N, latent)."""
        latent: Tensor = self.encoder["latent"](self.encoder["features"](value, context))
        return latent

    def decode(self, latent: Tensor, context: Tensor) -> Tensor:
        """(N, latent), (N, context) -> image, (N, C, *sides), on the scale [-1, 1]."""
        return torch.tanh(self.paint(self.generator(latent, context)))

    def make_discriminator(self, width: float = 1.0) -> nn.Module:
        """The opponent in training; it is no part of the model."""
        channels = [max(1, round(width * number)) for number in self.discriminator_channels]
        hidden = max(1, round(width * self.hidden))
        return Discriminator(self.image.shape, self.latent, context=self.context_size, channels=channels, hidden=hidden)

    def encoder_parameters(self) -> Iterator[nn.Parameter]:
        """The weights by which it abducts."""
        return self.encoder.parameters()

    def abduct(self, value: Tensor, parents: Parents, generator: Generator = None) -> Noise:
        return {"latent": self.encode(value, self.context(parents, value))}

    def generate(self, noise: Noise, parents: Parents, reached: frozenset[str] = frozenset()) -> Tensor:
        return self.decode(noise["latent"], self.context(parents, noise["latent"]))

    def sample_noise(self, count: int, generator: Generator = None) -> Noise:
        return {"latent": normal((count, self.latent), generator, self.reference)}

    def cycles(self, value: Tensor, parents: Parents, generator: Generator = None) -> tuple[Tensor, Tensor]:
        """(mean |x - G(E(x))|, mean (z - E(G(z)))^2 for z drawn from the prior), (N,) each."""
        context = self.context(parents, value)
        latent = self.encode(value, context)
        images = (self.decode(latent, context) - value).abs().flatten(1).mean(1)
        drawn = normal(tuple(latent.shape), generator, latent)
        return images, (self.encode(self.decode(drawn, context), context) - drawn).square().mean(1)

    def loss(self, value: Tensor, parents: Parents, generator: Generator = None) -> Tensor:
        images, latents = self.cycles(value, parents, generator)
        return images + latents

    def pyro_sample(self, name: str, parents: Parents, count: int) -> Tensor:
        zeros = self.reference.new_zeros(count, self.latent)
        latent = pyro.sample(f"{name}_latent", dist.Normal(zeros, torch.ones_like(zeros)).to_event(1))
        image: Tensor = pyro.deterministic(
            name, self.image.decode(self.generate({"latent": latent}, parents)), event_dim=len(self.image.shape)
        )
        return image
