"""Hierarchical conditional variational autoencoder for images and volumes, of any size and channels."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from counterbench.causal.chance import Generator, normal
from counterbench.causal.variables import Image, Variable
from counterbench.errors import ConfigError
from counterbench.mechanisms.base import Noise, Parents
from counterbench.mechanisms.image_likelihood import (
    LikelihoodImage,
    negative_log_likelihood,
    require_shares,
)
from counterbench.networks.hierarchical import HierarchicalDecoder, HierarchicalEncoder, Layer, check_levels
from counterbench.networks.likelihood import DiscretisedGaussian
from counterbench.networks.spatial import channels_last, with_channels_last
from counterbench.plugins.registry import mechanisms

EFFECTS = ("total", "direct", "indirect")


@mechanisms.register()
class HVAE(LikelihoodImage):
    """image = mean(z, parents) + temperature * scale(z, parents) * e, with latents z at every resolution.

    Hierarchical VAE for counterfactuals (De Sousa Ribeiro et al., ICML 2023). Every latent is its prior's mean plus its
    prior's scale times standard normal noise; abduction infers that noise for all latents, coarse to fine, and then the pixel
    noise e. With an exogenous prior (the default) the latents do not depend on the parents: they are carried over unchanged. With
    a conditional prior they are mediators between parents and image, and the effect can be chosen.

    Args:
        levels: [resolution, blocks, width] per level, coarse to fine; the last resolution is the image's side, or a divisor of
            it, which then works on patches of pixels and is much faster. Images are square, volumes cubes.
        encoder_blocks: blocks per level of the encoder; default: as many as the decoder has.
        bottleneck: how many times narrower than their level the blocks are inside.
        latent: channels of every latent.
        conditional_prior: whether the priors see the parents, so that latents are mediators.
        effect: of an intervention, with a conditional prior: `total` lets latents and image follow, `direct` holds the latents,
            `indirect` lets only the latents follow.
        kept: share of the factual latents that a total effect keeps, 0 (none) to 1 (a direct effect): the mean of the mixture
            of posterior and counterfactual prior in the same paper.
        beta: weight of the divergence from the prior (1 gives the evidence lower bound); one number, or one per level. A larger
            one for fine levels makes coarse latents and parents explain what they can, so that less is copied pixel by pixel.
        free_bits: divergence in nats per block that costs nothing.
        pixel_temperature: how much of the abducted pixel noise is put back, 0 (none) to 1 (a null intervention returns its
            input). It must be the same for all models that are compared by composition.
        latent_temperature: scale of the posterior's standard deviation in abduction; 1 samples the posterior, 0 takes its mean.
        min_log_scale: lower limit of the pixels' log standard deviation, on the scale [-1, 1].
        max_log_scale: upper limit of the same.

    Examples:
        >>> from counterbench.causal.variables import Binary
        >>> hvae = HVAE(Image("image", 1, 8, 8), [Binary("smile")], levels=[[1, 1, 8], [8, 1, 4]], latent=2)
        >>> hvae.level_count, hvae.latent_size  # 2 channels at 1 x 1 and at 8 x 8
        (2, 130)
    """

    def __init__(
        self,
        variable: Variable,
        parents: Sequence[Variable],
        *,
        levels: Sequence[Sequence[int]] = ((1, 2, 64), (4, 2, 64), (8, 2, 48), (16, 2, 32), (32, 2, 16)),
        encoder_blocks: Sequence[int] | None = None,
        bottleneck: int = 4,
        latent: int = 8,
        conditional_prior: bool = False,
        effect: str = "total",
        kept: float = 0.0,
        beta: float | Sequence[float] = 1.0,
        free_bits: float = 0.0,
        pixel_temperature: float = 0.1,
        latent_temperature: float = 1.0,
        min_log_scale: float = -6.0,
        max_log_scale: float = 2.0,
    ):
        super().__init__(variable, parents, pixel_temperature=pixel_temperature, latent_temperature=latent_temperature)
        assert isinstance(variable, Image)
        require_shares(variable, kept=kept)
        if effect not in EFFECTS:
            raise ConfigError(f"{variable.name}: effect is {effect!r}; give one of {', '.join(EFFECTS)}.")
        if not conditional_prior and (effect != "total" or kept):
            raise ConfigError(
                f"{variable.name}: effect and kept need conditional_prior: true; else no latent is a mediator."
            )
        checked = check_levels(levels, variable.shape)
        blocks = [level[1] for level in checked] if encoder_blocks is None else list(encoder_blocks)
        if len(blocks) != len(checked):
            raise ConfigError(f"{variable.name}: encoder_blocks has {len(blocks)} numbers for {len(checked)} levels.")
        self.effect, self.kept, self.conditional_prior, self.free_bits = effect, kept, conditional_prior, free_bits
        inner = [(side, count, width) for (side, _, width), count in zip(checked, blocks, strict=True)]
        betas = [float(beta)] * len(checked) if isinstance(beta, (int, float)) else list(beta)
        if len(betas) != len(checked) or min(betas) <= 0:
            raise ConfigError(
                f"{variable.name}: beta is {beta}; give one positive number, or one for each of the {len(checked)} levels."
            )
        self.betas = [weight for weight, (_, count, _) in zip(betas, checked, strict=True) for _ in range(count)]
        patch = variable.shape[-1] // checked[-1][0]
        dimensions = len(variable.spatial)
        self.encoder = HierarchicalEncoder(
            variable.channels, inner, patch=patch, bottleneck=bottleneck, dimensions=dimensions
        )
        self.decoder = HierarchicalDecoder(
            checked,
            latent,
            context=self.context_size,
            conditional=conditional_prior,
            patch=patch,
            bottleneck=bottleneck,
            dimensions=dimensions,
        )
        self.likelihood = DiscretisedGaussian(
            self.decoder.features,
            variable.channels,
            min_log_scale=min_log_scale,
            max_log_scale=max_log_scale,
            dimensions=dimensions,
        )
        with_channels_last(self, dimensions)

    @property
    def level_count(self) -> int:
        """How many levels the hierarchy has."""
        return len(self.decoder.levels)

    @property
    def latent_size(self) -> int:
        """How many numbers all latents are."""
        return self.decoder.size

    def _parts(self, flat: Tensor) -> list[Tensor]:
        """(N, latent_size) -> one tensor per latent."""
        sizes = [math.prod(shape) for shape in self.decoder.shapes]
        return [
            part.view(len(flat), *shape)
            for part, shape in zip(flat.split(sizes, dim=1), self.decoder.shapes, strict=True)
        ]

    @staticmethod
    def _flat(parts: Sequence[Tensor]) -> Tensor:
        return torch.cat([part.flatten(1) for part in parts], 1)

    def infer(
        self,
        value: Tensor,
        context: Tensor,
        generator: Generator,
        *,
        temperature: float = 1.0,
        active: int | None = None,
    ) -> tuple[Tensor, list[Layer]]:
        """Draw every latent from its posterior; (features of the image, latents with prior and posterior).

        Args:
            value: (N, C, *sides).
            context: (N, context_size).
            generator: chance.
            temperature: of the posteriors' standard deviations.
            active: how many levels, from the coarsest, have latents; None for all.
        """
        drawn = temperature * normal((len(value), self.latent_size), generator, value)
        activations = self.encoder(channels_last(value))
        return self.decoder.infer(activations, context, self._parts(drawn), active=active)

    def infer_noise(
        self,
        value: Tensor,
        parents: Parents,
        generator: Generator,
        temperature: float,
        *,
        active: int | None = None,
    ) -> tuple[Noise, tuple[Tensor, Tensor], Callable[[], Tensor]]:
        """As in the base class, with latents at the `active` coarsest levels alone; None for all."""
        context = self.context(parents, value)
        features, layers = self.infer(value, context, generator, temperature=temperature, active=active)
        noise = {"latent": self._flat([layer.noise for layer in layers])}
        if self.conditional_prior and (self.effect == "direct" or self.kept):
            noise["mediator"] = self._flat([layer.latent for layer in layers])
        if self.conditional_prior and self.effect == "indirect":
            noise["factual"] = context
        return noise, self.likelihood(features), lambda: torch.stack([layer.divergence() for layer in layers], 1)

    def pixels(self, noise: Noise, parents: Parents) -> tuple[Tensor, Tensor]:
        context = self.context(parents, noise["latent"])
        held = self._parts(noise["mediator"]) if "mediator" in noise else None
        share = 1.0 if self.effect == "direct" else self.kept
        features, _ = self.decoder.generate(
            self._parts(noise["latent"]), noise.get("factual", context), prior_context=context, held=held, share=share
        )
        image: tuple[Tensor, Tensor] = self.likelihood(features)
        return image

    def loss(
        self, value: Tensor, parents: Parents, generator: Generator = None, *, active: int | None = None
    ) -> Tensor:
        _, pixels, divergences = self.infer_noise(value, parents, generator, 1.0, active=active)
        terms = divergences()
        weighted = terms.clamp(min=self.free_bits) * terms.new_tensor(self.betas)
        return negative_log_likelihood(value, pixels) + weighted.sum(1)
