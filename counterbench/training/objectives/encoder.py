"""Refining the encoder of a bidirectional generator."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from counterbench.catalog.recipes import Fit
from counterbench.mechanisms.capabilities import Cycles
from counterbench.models.scm import StructuralCausalModel
from counterbench.plugins.registry import objectives
from counterbench.training.objectives.base import Circumstances, MechanismObjective, Moment, Player, keep_open


@objectives.register()
class EncoderRefinement(MechanismObjective[Cycles]):
    """Cyclic cost, with the generator held: latent_weight * mean (z - E(G(z, pa), pa))^2 + mean |x - G(E(x, pa), pa)|.

    Second stage of the GAN of the 2024 benchmark (after Dash et al., WACV 2022): adversarial training alone leaves an encoder
    whose reconstructions are of the right kind, but not the same image.

    Args:
        latent_weight: of the error of the latent.
    """

    needs = Cycles

    def __init__(self, scm: StructuralCausalModel, name: str, fit: Fit, *, latent_weight: float = 1.0):
        super().__init__(scm, name, fit)
        self.latent_weight = latent_weight

    def players(self) -> Sequence[Player]:
        return [Player("train", list(self.capable.encoder_parameters()), self.losses)]

    def prepare(self, circumstances: Circumstances) -> None:
        keep_open(self.mechanism, self.capable.encoder_parameters())

    def losses(self, batch: dict[str, Tensor], moment: Moment) -> Tensor:
        images, latents = self.capable.cycles(*self.encoded(batch), moment.generator)
        return images + self.latent_weight * latents
