"""Counterfactual fine-tuning: answers must show what was asked for, without forgetting the data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn import functional

from counterbench.catalog.recipes import Fit
from counterbench.causal.variables import Image
from counterbench.errors import ConfigError
from counterbench.mechanisms.base import Noise
from counterbench.mechanisms.capabilities import Explains
from counterbench.models.scm import StructuralCausalModel
from counterbench.plugins.registry import objectives
from counterbench.storage.weights import load_weights, save_weights
from counterbench.training.batches import batch_of
from counterbench.training.critic import Critic, CriticObjective
from counterbench.training.loop import run
from counterbench.training.objectives.base import Circumstances, MechanismObjective, Moment, Player, frozen

_CRITIC = "critic.safetensors"


class _Constraint(nn.Module):
    """The multiplier, and the bounds of the mean free energy of training and of held-out images, in nats per image.

    Args:
        bound: of both; None, NaN in the buffers, until they are measured.
    """

    def __init__(self, bound: float | None):
        super().__init__()
        self.multiplier = nn.Parameter(torch.zeros(()))
        self.bound: Tensor
        self.held_out_bound: Tensor
        for name in ("bound", "held_out_bound"):
            self.register_buffer(name, torch.tensor(float("nan") if bound is None else bound))


@objectives.register()
class CounterfactualFineTuning(MechanismObjective[Explains]):
    """min E[-log p(pa* | x*)] subject to the free energy staying below a bound, by a damped Lagrangian.

    Constrained counterfactual training of De Sousa Ribeiro et al. (ICML 2023, section 3.3; Platt & Barr 1987 for the damping,
    which acts here only where the bound is broken: it is an inequality).
    For every sample one variable is set to the value of another sample; the intervention is propagated through the graph by
    the model's own (frozen) mechanisms; the image follows by abduction and generation; a critic says how far its attributes
    are from what they should be. The critic is trained here, on the model's own training split, for this purpose only: it
    never scores anybody.

    Args:
        intervened: variables to set; default: every parent of the image.
        targets: for attributes that the intervention leaves alone: `hard`, their factual values, or `soft`, what the critic
            sees in the factual image.
        bound: of the free energy, in nats per pixel; default: what it is at the beginning, and `slack` more.
        slack: how much the free energy may rise above that of the beginning, as a share of it.
        damping: strength of the quadratic part of the constraint.
        multiplier_rate: learning rate of the multiplier, in units of the fit's.
        critic_width: of the critic's convolutions.
        critic_epochs: how long it is trained.
    """

    needs = Explains

    def __init__(
        self,
        scm: StructuralCausalModel,
        name: str,
        fit: Fit,
        *,
        intervened: Sequence[str] | None = None,
        targets: str = "hard",
        bound: float | None = None,
        slack: float = 0.02,
        damping: float = 100.0,
        multiplier_rate: float = 10.0,
        critic_width: int = 12,
        critic_epochs: int = 8,
    ):
        super().__init__(scm, name, fit)
        self.scm, self.targets, self.slack, self.damping = scm, targets, slack, damping
        self.multiplier_rate = multiplier_rate
        image = self._image()
        self.variables = {name: image, **{v.name: v for v in scm.variables.values() if v.name != name}}
        self.intervened = tuple(intervened or (parent.name for parent in self.mechanism.parents))
        self._require_possible()
        self.critic_fit = Fit(
            epochs=critic_epochs,
            batch_size=batch_of(image.size, 128),
            learning_rate=3e-3,
            cosine=True,
            ema_decay=0.99,
            patience=1000,
        )
        self.critic_sha256 = ""
        self.critic = Critic(image, self.mechanism.parents, critic_width)
        self.constraint = _Constraint(None if bound is None else bound * image.size)
        self._validated: list[tuple[float, float, int]] = []

    def _image(self) -> Image:
        """The variable, which must be an image that causes nothing."""
        image = self.mechanism.variable
        if not isinstance(image, Image) or self.scm.graph.descendants(self.name):
            raise ConfigError(
                f"The objective 'counterfactual' trains the mechanism of an image without descendants, not {self.name!r}."
            )
        return image

    def _require_possible(self) -> None:
        """Refuse options that make no sense."""
        if self.targets not in ("hard", "soft"):
            raise ConfigError(f"counterfactual: targets is {self.targets!r}; give hard or soft.")
        attributes = [name for name in self.variables if name != self.name]
        for name in self.intervened:
            if name not in attributes:
                raise ConfigError(
                    f"counterfactual: cannot intervene on {name!r}; the attributes are: {', '.join(attributes)}."
                )
        if self.damping < 0 or self.multiplier_rate <= 0 or self.slack < 0:
            raise ConfigError(
                "counterfactual: damping and slack must not be negative, multiplier_rate must be above 0."
            )

    def parts(self) -> dict[str, nn.Module]:
        return {"scm": self.scm, "critic": self.critic, "constraint": self.constraint}

    def prepare(self, circumstances: Circumstances) -> None:
        self._prepare_critic(circumstances)
        for mechanism in self.scm.mechanisms.values():
            if mechanism is not self.mechanism:
                frozen(mechanism)
        frozen(self.critic)
        if self.constraint.bound.isnan():
            share, seed = 1 + self.slack, circumstances.seed
            self.constraint.bound.fill_(self._energy_now(circumstances.train, seed) * share)
            self.constraint.held_out_bound.fill_(self._energy_now(circumstances.validation, seed) * share)

    def _prepare_critic(self, circumstances: Circumstances) -> None:
        """Train the critic, or take the one that an interrupted run has left."""
        path = circumstances.folder / _CRITIC
        if circumstances.resume and path.is_file():
            self.critic_sha256 = load_weights(self.critic, path)
            return
        own = replace(circumstances, folder=circumstances.folder / "critic", seed=circumstances.seed + 1)
        run(CriticObjective(self.critic, self.critic_fit), own)
        self.critic.cpu().calibrate(circumstances.validation)
        self.critic_sha256 = save_weights(self.critic, path)

    def _energy_now(self, values: Mapping[str, Tensor], seed: int, count: int = 2000) -> float:
        """Mean free energy of a random part of the samples, in nats per image."""
        generator = torch.Generator().manual_seed(seed)
        sample = torch.randperm(len(values[self.name]), generator=generator)[:count]
        total = 0.0
        with torch.no_grad():
            for rows in sample.split(batch_of(self.variables[self.name].size, 100)):
                encoded = {name: variable.encode(values[name][rows]) for name, variable in self.variables.items()}
                total += float(self._explain(encoded, generator)[1].sum())
        return total / len(sample)

    def _parents(self, values: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {parent.name: values[parent.name] for parent in self.mechanism.parents}

    def _explain(self, encoded: Mapping[str, Tensor], generator: torch.Generator) -> tuple[Noise, Tensor]:
        """(abducted noise, free energy in nats per image)."""
        noise, negative, divergences = self.capable.explain(encoded[self.name], self._parents(encoded), generator)
        return noise, negative + divergences.sum(1)

    @property
    def judges(self) -> list[str]:
        return [f"sha256={self.critic_sha256}"]

    def players(self) -> Sequence[Player]:
        return [
            Player("train", list(self.mechanism.parameters()), self.losses),
            # It climbs where the model descends.
            Player("multiplier", [self.constraint.multiplier], self._multiplier_loss, self.multiplier_rate),
        ]

    def after_step(self) -> None:
        with torch.no_grad():
            self.constraint.multiplier.clamp_(min=0)

    def _room(self, energy: Tensor, bound: Tensor) -> Tensor:
        """How far the free energy is below a bound, in nats per pixel."""
        return (bound - energy) / self.variables[self.name].size

    def _multiplier_loss(self, batch: dict[str, Tensor], moment: Moment) -> Tensor:
        return self.constraint.multiplier * self._last_room

    def losses(self, batch: dict[str, Tensor], moment: Moment) -> Tensor:
        unhappy, energy = self._answers(batch, moment.generator)
        room = self._room(energy, self.constraint.bound)
        # The constraint is on the mean; one multiplier serves all.
        self._last_room = room.detach().mean()
        multiplier = self.constraint.multiplier
        moment.notes.update({"critic": unhappy.mean(), "room": self._last_room, "lambda": multiplier})
        # Damping acts where the bound is broken alone; on both sides it would drive the free energy up to the bound.
        strength = multiplier.detach() + self.damping * functional.relu(-self._last_room)
        return unhappy - strength * room

    def validate(self, batch: dict[str, Tensor], moment: Moment) -> None:
        unhappy, energy = self._answers(batch, moment.generator)
        room = self._room(energy, self.constraint.held_out_bound)
        self._validated.append((float(unhappy.sum()), float(room.sum()), len(room)))

    def after_validation(self) -> float:
        """The epoch is best whose answers are, among those that keep the bound on the whole held-out set."""
        totals: list[float] = [sum(column) for column in zip(*self._validated, strict=True)]
        unhappy, room, count = totals
        self._validated.clear()
        broken = max(0.0, -room / count)
        return unhappy / count + self.damping * broken

    def _answers(self, batch: dict[str, Tensor], generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """(how unhappy the critic is with counterfactuals (N,), free energy of the factual images (N,))."""
        encoded = {name: variable.encode(batch[name]) for name, variable in self.variables.items()}
        counterfactual, number = self._question(encoded, generator)
        noise, energy = self._explain(encoded, generator)
        answer = self.mechanism.generate(noise, self._parents(counterfactual))
        return self.critic.disagreement(answer, self._targets(encoded, counterfactual, number)), energy

    def _question(self, encoded: Mapping[str, Tensor], generator: torch.Generator) -> tuple[dict[str, Tensor], Tensor]:
        """(counterfactual attributes, number of the variable that was set, (N,)): values of other samples, per sample."""
        count, device = len(encoded[self.name]), encoded[self.name].device
        number = torch.randint(len(self.intervened), (count,), generator=generator, device=device)
        donor = torch.randperm(count, generator=generator, device=device)
        factual = {name: value for name, value in encoded.items() if name != self.name}
        values = {name: factual[name][donor] for name in self.intervened}
        masks = {name: number == self.intervened.index(name) for name in self.intervened}
        with torch.no_grad():
            noise = self.scm.abduct_encoded(factual, generator)
            return self.scm.predict_encoded(noise, values, where=masks, factual=factual), number

    def _targets(
        self, encoded: Mapping[str, Tensor], counterfactual: Mapping[str, Tensor], number: Tensor
    ) -> dict[str, Tensor]:
        """What the critic should see in the answers, encoded; classes as probabilities."""
        targets = self._parents(counterfactual)
        if self.targets == "hard":
            return targets
        with torch.no_grad():
            predictions = self.critic.predict(encoded[self.name])
        for name in targets:
            alone = (targets[name] == encoded[name]).all(1)
            if name in self.intervened:
                alone &= number != self.intervened.index(name)
            targets[name] = torch.where(alone[:, None], predictions[name], targets[name])
        return targets
