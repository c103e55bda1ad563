"""Latent diffusion with MONAI's networks: the field moves the latents of an autoencoder."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from counterbench.causal.chance import Generator, normal
from counterbench.causal.variables import Image, Variable
from counterbench.errors import ConfigError
from counterbench.mechanisms.base import Noise, Parents
from counterbench.mechanisms.generative_ode import GenerativeODE
from counterbench.networks.field import FieldNetwork
from counterbench.networks.monai_networks import MonaiAutoencoder, MonaiField, latent_shape
from counterbench.networks.paths import Cosine
from counterbench.plugins.registry import mechanisms

RESIDUAL = "residual"
_AUTOENCODER: dict[str, Any] = {
    "channels": (32, 64),
    "num_res_blocks": 1,
    "attention_levels": (False, False),
    "latent_channels": 4,
    "with_encoder_nonlocal_attn": False,
    "with_decoder_nonlocal_attn": False,
}
_UNET: dict[str, Any] = {
    "channels": (64, 96),
    "num_res_blocks": 1,
    "attention_levels": (True, True),
    "num_head_channels": 32,
}
_BLOCK = 64


@mechanisms.register(extra="monai")
class MonaiLatentDiffusion(GenerativeODE):
    """image = decode(the end of a probability flow in the latent space of MONAI's AutoencoderKL) + what the autoencoder misses.

    Latent diffusion (Rombach et al., CVPR 2022; of brains: Pinaya et al., DGM4MICCAI 2022; MONAI: arXiv 2307.15208). Abduction takes the
    mean of the image's latent, integrates it back, and keeps as `residual` the difference between the image and its reconstruction, so that a
    null intervention returns its input; the parents act through the latents alone. Train it in two stages: the objective `autoencoding`
    (absolute error and divergence; no perceptual and no adversarial part), then `matching`, before which latents are scaled to unit deviation.

    Args:
        autoencoder: options of MONAI's AutoencoderKL by its names, e.g. channels, num_res_blocks, attention_levels, latent_channels,
            norm_num_groups; what is left out has small defaults.
        unet: options of MONAI's DiffusionModelUNet by its names, for the latents.
        kl_weight: of the latents' divergence from the standard normal, in nats per image, beside the mean absolute error of a pixel.
        width: of a token (MONAI's cross_attention_dim).
        dropout: share of training samples for which a condition is kept back, and of those for which all are; guidance needs it.
        smoothing: standard deviation of the noise that is added to the latents in training.
        predicts: what the network says: `velocity`, or `noise`.
        solver: midpoint, heun or euler; leapfrog or reversible-heun, whose steps can be undone.
        steps: of the solver, each way.
        exact: whether the noise keeps what the solver and the autoencoder miss; it counts as a pixel temperature of 1.
        guidance: weight of what an intervention reaches; 1 for none.
        guidance_rest: weight of the other parents.

    Raises:
        UnavailableError: without the extra `monai`. ConfigError: for options or sides that do not fit.

    Examples:
        >>> from importlib.util import find_spec
        >>> first = {"channels": [8, 8], "attention_levels": [False, False], "norm_num_groups": 4, "latent_channels": 2}
        >>> second = {"channels": [8], "attention_levels": [True], "norm_num_groups": 4, "num_head_channels": 4}
        >>> def shapes():
        ...     model = MonaiLatentDiffusion(Image("image", 1, 8, 8), [], autoencoder=first, unet=second, width=8)
        ...     return {name: tuple(part.shape[1:]) for name, part in sorted(model.sample_noise(2).items())}
        >>> shapes() if find_spec("monai") else {"correction": (2, 4, 4), "residual": (1, 8, 8), "u": (2, 4, 4)}
        {'correction': (2, 4, 4), 'residual': (1, 8, 8), 'u': (2, 4, 4)}
    """

    kinds = ("image",)
    path = Cosine()
    _latents: tuple[int, ...]

    def __init__(
        self,
        variable: Variable,
        parents: Sequence[Variable],
        *,
        autoencoder: dict[str, Any] | None = None,
        unet: dict[str, Any] | None = None,
        kl_weight: float = 1e-6,
        width: int = 64,
        dropout: float = 0.1,
        smoothing: float = 0.0,
        predicts: str = "velocity",
        solver: str = "midpoint",
        steps: int = 3,
        exact: bool = True,
        guidance: float = 1.0,
        guidance_rest: float = 1.0,
    ):
        what = f"The mechanism 'monai_latent_diffusion' of {variable.name!r}"
        first, second = {**_AUTOENCODER, **(autoencoder or {})}, {**_UNET, **(unet or {})}

        def network() -> FieldNetwork:
            assert isinstance(variable, Image)
            self._latents = latent_shape(what, variable.shape, first)
            return MonaiField(what, self._latents, width, second)

        super().__init__(
            variable,
            parents,
            network=network,
            width=width,
            dropout=dropout,
            smoothing=smoothing,
            predicts=predicts,
            solver=solver,
            steps=steps,
            exact=exact,
            guidance=guidance,
            guidance_rest=guidance_rest,
        )
        assert isinstance(variable, Image)
        self.autoencoder = MonaiAutoencoder(what, variable.shape, first)
        self.kl_weight, self.pixel_temperature = kl_weight, float(exact)
        self.latent_spread: Tensor
        self.register_buffer("latent_spread", torch.ones(()))

    # --- states are latents ---------------------------------------------------------------------------------------

    def state_shape(self) -> tuple[int, ...]:
        return self._latents

    def standardised(self, value: Tensor) -> Tensor:
        return self.autoencoder.posterior(value)[0] / self.latent_spread

    def _natural(self, state: Tensor) -> Tensor:
        return self.autoencoder.decode(state * self.latent_spread)

    def missed(self, value: Tensor, reached: Tensor) -> Noise:
        return {RESIDUAL: value - reached}

    def completed(self, reached: Tensor, noise: Noise) -> Tensor:
        return (reached + noise[RESIDUAL] if RESIDUAL in noise else reached).clamp(-1, 1)

    def sample_noise(self, count: int, generator: Generator = None) -> Noise:
        noise = super().sample_noise(count, generator)
        if self.solver.exact:
            noise[RESIDUAL] = self.reference.new_zeros(count, *self.variable_shape)
        return noise

    @property
    def variable_shape(self) -> tuple[int, ...]:
        """(C, *sides) of the images."""
        assert isinstance(self.variable, Image)
        return self.variable.shape

    # --- training -------------------------------------------------------------------------------------------------

    def autoencoding_loss(self, value: Tensor, parents: Parents, generator: Generator = None) -> Tensor:
        """Mean absolute error of a pixel on the scale [-1, 1], and kl_weight times the divergence of the latents in nats; (N,)."""
        mean, deviation = self.autoencoder.posterior(value)
        latents = mean + deviation * normal(tuple(mean.shape), generator, mean)
        error = (self.autoencoder.decode(latents) - value).abs().flatten(1).mean(1)
        divergence = (mean.square() + deviation.square() - 1).flatten(1).sum(1) / 2 - deviation.log().flatten(1).sum(1)
        return error + self.kl_weight * divergence

    def autoencoder_parameters(self) -> Iterator[nn.Parameter]:
        """The weights of the autoencoder."""
        return self.autoencoder.parameters()

    def measure_latents(self, value: Tensor) -> None:
        """Scale latents by one number so that their deviation over encoded values (N, C, *sides) is 1."""
        with torch.no_grad():
            latents = torch.cat([self.autoencoder.posterior(block)[0] for block in value.split(_BLOCK)])
        self.latent_spread.copy_(latents.std().clamp(min=1e-6))

    def loss(self, value: Tensor, parents: Parents, generator: Generator = None) -> Tensor:
        return super().loss(value, parents, generator) + self.autoencoding_loss(value, parents, generator)

    def log_likelihood(
        self, value: Tensor, parents: Parents, *, generator: Generator = None, probes: int = 0
    ) -> Tensor:
        raise ConfigError(f"{self.variable.name}: in a latent space the density of an image is not known.")

    def blocks(self) -> Mapping[str, nn.Module]:
        return {**super().blocks(), "autoencoder": self.autoencoder}
