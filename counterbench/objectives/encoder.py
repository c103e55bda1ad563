"""Refining the encoder of a bidirectional generator."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from counterbench.catalog.recipes import Fit
from counterbench.fitting import Player
from counterbench.objectives.base import Objective
from counterbench.randomness import normal
from counterbench.registry import objectives
from counterbench.scm import StructuralCausalModel


@objectives.register()
class Encoder(Objective):
    """Cyclic cost, with the generator held: latent_weight * mean (z - E(G(z, pa), pa))^2 + mean |x - G(E(x, pa), pa)|.

    Second stage of the GAN of the 2024 benchmark (after Dash et al., WACV 2022): adversarial training alone leaves an encoder
    whose reconstructions are of the right kind, but not the same image.

    Args:
        latent_weight: of the error of the latent.
    """

    needs = ("encode", "decode")

    def __init__(self, scm: StructuralCausalModel, name: str, fit: Fit, seed: int, latent_weight: float = 1.0):
        super().__init__(scm, name, fit, seed)
        self.latent_weight = latent_weight

    def players(self) -> Sequence[Player]:
        encoder: torch.nn.Module = self.mechanism.encoder  # type: ignore[assignment]
        return [Player("train", list(encoder.parameters()), lambda b, g: self.losses(b, g, training=True))]

    def losses(self, batch: dict[str, Tensor], generator: torch.Generator, training: bool) -> Tensor:
        value, parents = self.encoded(batch)
        context = self.mechanism.context(parents, value)
        latent = self.mechanism.encode(value, context)  # type: ignore[operator]
        images = (self.mechanism.decode(latent, context) - value).abs().flatten(1).mean(1)  # type: ignore[operator]
        drawn = normal(tuple(latent.shape), generator, latent)
        with torch.no_grad():
            made = self.mechanism.decode(drawn, context)  # type: ignore[operator]
        latents = (self.mechanism.encode(made, context) - drawn).square().flatten(1).mean(1)  # type: ignore[operator]
        return images + self.latent_weight * latents
