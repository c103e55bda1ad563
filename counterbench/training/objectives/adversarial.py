"""Training a bidirectional generator against a discriminator (adversarially learned inference)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from counterbench.catalog.recipes import Fit
from counterbench.causal.chance import normal
from counterbench.errors import ConfigError
from counterbench.mechanisms.capabilities import Adversarial
from counterbench.models.scm import StructuralCausalModel
from counterbench.plugins.registry import objectives
from counterbench.training.objectives.base import MechanismObjective, Moment, Player


@objectives.register()
class AdversarialGame(MechanismObjective[Adversarial]):
    """A discriminator tells (image, encoded latent) from (generated image, latent), both with their parents; encoder and
    generator make it fail.

    ALI / BiGAN (Dumoulin et al., ICLR 2017; Donahue et al., ICLR 2017), conditional as in Dash et al. (WACV 2022), with the
    non-saturating loss: D minimises softplus(-D(x, E(x))) + softplus(D(G(z), z)), E and G the same with signs turned. D is kept
    from running away by the zero-centred gradient penalty on real pairs, with which the game provably converges near its
    solution (R1 of Mescheder et al., ICML 2018), taken every few steps (Karras et al., CVPR 2020). The discriminator is left
    behind when the stage ends. There is no loss by which one epoch is better than another, so the
    (averaged) weights of the last one are kept; the validation curve is the mean absolute error of reconstructions, in grey
    levels.

    Args:
        width: of the discriminator, in units of its default.
        discriminator_rate: its learning rate, in units of the fit's.
        penalty: weight of the gradient penalty (half the squared norm, by image and latent).
        penalty_every: steps between two penalties; each counts for all of them.
        reconstruction: weight of mean |x - G(E(x, pa), pa)| in the loss of encoder and generator. The game alone matches
            distributions: an encoder may name another image of the same kind (ALICE, Li et al., NeurIPS 2017).
    """

    needs = Adversarial
    selects = False

    def __init__(
        self,
        scm: StructuralCausalModel,
        name: str,
        fit: Fit,
        *,
        width: float = 1.0,
        discriminator_rate: float = 1.0,
        penalty: float = 1.0,
        penalty_every: int = 4,
        reconstruction: float = 0.0,
    ):
        super().__init__(scm, name, fit)
        self.discriminator = self.capable.make_discriminator(width)
        self.discriminator_rate, self.penalty, self.penalty_every = discriminator_rate, penalty, penalty_every
        self.reconstruction = reconstruction
        if penalty_every < 1:
            raise ConfigError(f"adversarial: penalty_every is {penalty_every}; give at least 1.")
        if min(width, discriminator_rate) <= 0:
            raise ConfigError("adversarial: width and discriminator_rate must be above 0.")

    def parts(self) -> dict[str, nn.Module]:
        return {**super().parts(), "discriminator": self.discriminator}

    def players(self) -> Sequence[Player]:
        return [
            Player("generator", list(self.mechanism.parameters()), self._generator_loss),
            Player(
                "discriminator",
                list(self.discriminator.parameters()),
                self._discriminator_loss,
                self.discriminator_rate,
            ),
        ]

    def _verdicts(
        self, batch: dict[str, Tensor], generator: torch.Generator
    ) -> tuple[Tensor, Tensor, tuple[Tensor, Tensor, Tensor]]:
        """Logits of (real image, encoded latent) and of (generated image, drawn latent), (N,) each; the first pair and its
        context."""
        value, parents = self.encoded(batch)
        context = self.capable.context(parents, value)
        latent = self.capable.encode(value, context)
        drawn = normal(tuple(latent.shape), generator, latent)
        images, latents = torch.cat([value, self.capable.decode(drawn, context)]), torch.cat([latent, drawn])
        # Real and generated go through together: half the calls, and statistics of a batch could not tell them apart.
        both = self.discriminator(images, latents, context.repeat(2, 1))
        real, generated = both.chunk(2)
        return real, generated, (value, latent, context)

    def _generator_loss(self, batch: dict[str, Tensor], moment: Moment) -> Tensor:
        real, generated, pair = self._verdicts(batch, moment.generator)
        loss = softplus(real) + softplus(-generated)
        return loss + self.reconstruction * self._misses(*pair) if self.reconstruction else loss

    def _discriminator_loss(self, batch: dict[str, Tensor], moment: Moment) -> Tensor:
        real, generated, pair = self._verdicts(batch, moment.generator)
        loss = softplus(-real) + softplus(generated)
        if self.penalty and moment.step % self.penalty_every == 0:
            loss = loss + 0.5 * self.penalty * self.penalty_every * self._steepness(*pair)
        return loss

    def _steepness(self, value: Tensor, latent: Tensor, context: Tensor) -> Tensor:
        """Squared norm of the discriminator's gradient at real pairs, (N,)."""
        pair = [value.detach().requires_grad_(True), latent.detach().requires_grad_(True)]
        slopes = torch.autograd.grad(self.discriminator(*pair, context).sum(), pair, create_graph=True)
        return torch.stack([slope.square().flatten(1).sum(1) for slope in slopes]).sum(0)

    def validate(self, batch: dict[str, Tensor], moment: Moment) -> Tensor:
        value, parents = self.encoded(batch)
        context = self.capable.context(parents, value)
        return 127.5 * self._misses(value, self.capable.encode(value, context), context)

    def _misses(self, value: Tensor, latent: Tensor, context: Tensor) -> Tensor:
        """Mean absolute error of reconstructions, (N,), on the scale [-1, 1]."""
        return (self.capable.decode(latent, context) - value).abs().flatten(1).mean(1)
