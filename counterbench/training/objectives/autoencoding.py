"""Training the autoencoder of a mechanism: the first stage of latent diffusion, the only one of a VQ-VAE."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from counterbench.catalog.recipes import Fit
from counterbench.mechanisms.capabilities import Autoencodes
from counterbench.models.scm import StructuralCausalModel
from counterbench.plugins.registry import objectives
from counterbench.training.objectives.base import Circumstances, MechanismObjective, Moment, Player, keep_open


@objectives.register()
class Autoencoding(MechanismObjective[Autoencodes]):
    """The mechanism's error of reconstruction and what its latents cost: a divergence, or the distance from their codes.

    Rombach et al., CVPR 2022 (first stage, without its perceptual and adversarial parts); van den Oord et al., NeurIPS 2017. Whatever else
    the mechanism has is left alone.
    """

    needs = Autoencodes

    def __init__(self, scm: StructuralCausalModel, name: str, fit: Fit):
        super().__init__(scm, name, fit)

    def players(self) -> Sequence[Player]:
        return [Player("train", list(self.capable.autoencoder_parameters()), self.losses)]

    def prepare(self, circumstances: Circumstances) -> None:
        keep_open(self.mechanism, self.capable.autoencoder_parameters())

    def losses(self, batch: dict[str, Tensor], moment: Moment) -> Tensor:
        value, parents = self.encoded(batch)
        return self.capable.autoencoding_loss(value, parents, moment.generator)
