"""Counterfactual fine-tuning: answers must show what was asked for, without forgetting the data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from counterbench.catalog.recipes import Fit
from counterbench.causal.variables import Categorical, Continuous, Image, Ordinal, Variable
from counterbench.errors import ConfigError
from counterbench.mechanisms.base import Noise
from counterbench.mechanisms.capabilities import Explains
from counterbench.models.scm import StructuralCausalModel
from counterbench.networks.classifiers import Pooled
from counterbench.plugins.registry import objectives
from counterbench.storage.weights import load_weights, save_weights
from counterbench.training.loop import Fitting, Player, run
from counterbench.training.objectives.base import Circumstances, Objective, frozen

_CRITIC = "critic.safetensors"


@objectives.register()
class Counterfactual(Objective[Explains]):
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
        seed: int,
        intervened: Sequence[str] | None = None,
        targets: str = "hard",
        bound: float | None = None,
        slack: float = 0.02,
        damping: float = 100.0,
        multiplier_rate: float = 10.0,
        critic_width: int = 12,
        critic_epochs: int = 8,
    ):
        super().__init__(scm, name, fit, seed)
        image = self.mechanism.variable
        attributes = [variable for variable in scm.variables.values() if variable.name != name]
        if not isinstance(image, Image) or scm.graph.descendants(name):
            raise ConfigError(
                f"The objective 'counterfactual' trains the mechanism of an image without descendants, not {name!r}."
            )
        if targets not in ("hard", "soft"):
            raise ConfigError(f"counterfactual: targets is {targets!r}; give hard or soft.")
        self.scm, self.targets, self.slack, self.damping = scm, targets, slack, damping
        self.multiplier_rate = multiplier_rate
        self.variables = {name: image, **{variable.name: variable for variable in attributes}}
        self.intervened = tuple(intervened or (parent.name for parent in self.mechanism.parents))
        for chosen in self.intervened:
            if chosen not in scm.variables or chosen == name:
                known = ", ".join(variable.name for variable in attributes)
                raise ConfigError(f"counterfactual: cannot intervene on {chosen!r}; the attributes are: {known}.")
        if damping < 0 or multiplier_rate <= 0 or slack < 0:
            raise ConfigError(
                "counterfactual: damping and slack must not be negative, multiplier_rate must be above 0."
            )
        self.critic_fit = Fit(
            epochs=critic_epochs, batch_size=128, learning_rate=3e-3, cosine=True, ema_decay=0.99, patience=1000
        )
        self.critic_sha256 = ""
        self.critic = Critic(image, self.mechanism.parents, critic_width)
        self.multiplier = nn.Parameter(torch.zeros(()))
        self.bound: Tensor
        self.held_bound: Tensor
        given = torch.tensor(float("nan") if bound is None else bound * image.size)
        self.register_buffer("bound", given)
        self.register_buffer("held_bound", given.clone())
        self._held: list[tuple[float, float, int]] = []

    def prepare(self, circumstances: Circumstances) -> None:
        train, validation = circumstances.train, circumstances.validation
        done = circumstances.folder / _CRITIC
        if circumstances.resume and done.is_file():
            self.critic_sha256 = load_weights(self.critic, done)
        else:
            job = _CriticFitting(self.critic, self.critic_fit, self.seed + 1)
            run(job, train, validation, circumstances.folder / "critic", circumstances.hardware, circumstances.resume)
            self.critic.cpu().calibrate(validation)
            self.critic_sha256 = save_weights(self.critic, done)
        for mechanism in self.scm.mechanisms.values():
            if mechanism is not self.mechanism:
                frozen(mechanism)
        frozen(self.critic)
        if self.bound.isnan():
            self.bound.fill_(self._energy_now(train) * (1 + self.slack))
            self.held_bound.fill_(self._energy_now(validation) * (1 + self.slack))

    def _energy_now(self, values: Mapping[str, Tensor], count: int = 2000) -> float:
        """Mean free energy of a random part of the samples, in nats per image."""
        generator = torch.Generator().manual_seed(self.seed)
        chosen = torch.randperm(len(values[self.name]), generator=generator)[:count]
        total, seen = 0.0, len(chosen)
        with torch.no_grad():
            for rows in chosen.split(100):
                encoded = {name: variable.encode(values[name][rows]) for name, variable in self.variables.items()}
                total += float(self._explain(encoded, generator)[1].sum())
        return total / seen

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
            Player("train", list(self.mechanism.parameters()), lambda b, g: self.losses(b, g, training=True)),
            # It climbs where the model descends.
            Player("multiplier", [self.multiplier], self._multiplier_loss, self.multiplier_rate),
        ]

    def after_step(self) -> None:
        with torch.no_grad():
            self.multiplier.clamp_(min=0)

    def _room(self, energy: Tensor, bound: Tensor) -> Tensor:
        """How far the free energy is below a bound, in nats per pixel."""
        return (bound - energy) / self.variables[self.name].size

    def _multiplier_loss(self, batch: dict[str, Tensor], generator: torch.Generator) -> Tensor:
        return self.multiplier * self._last_room

    def losses(self, batch: dict[str, Tensor], generator: torch.Generator, training: bool) -> Tensor:
        unhappy, energy = self._answers(batch, generator)
        room = self._room(energy, self.bound)
        # The constraint is on the mean; one multiplier serves all.
        self._last_room = room.detach().mean()
        self.note("critic", unhappy.mean(), len(unhappy))
        self.note("room", self._last_room, len(room))
        self.note("lambda", self.multiplier, len(room))
        # Damping acts where the bound is broken alone; on both sides it would drive the free energy up to the bound.
        strength = self.multiplier.detach() + self.damping * functional.relu(-self._last_room)
        return unhappy - strength * room

    def validation_step(self, batch: dict[str, Tensor], batch_index: int) -> None:
        unhappy, energy = self._answers(batch, self.validation_generator(batch_index))
        room = self._room(energy, self.held_bound)
        self._held.append((float(unhappy.sum()), float(room.sum()), len(room)))

    def on_validation_epoch_end(self) -> None:
        """The epoch is best whose answers are, among those that keep the bound on the whole held-out set."""
        unhappy, room, count = (sum(column) for column in zip(*self._held, strict=True))
        self._held.clear()
        broken = max(0.0, -room / count)
        self.log("val_loss", unhappy / count + self.damping * broken, prog_bar=True, sync_dist=True)

    def _answers(self, batch: dict[str, Tensor], generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """(how unhappy the critic is with counterfactuals (N,), free energy of the factual images (N,))."""
        encoded = {name: variable.encode(batch[name]) for name, variable in self.variables.items()}
        asked, chosen = self._question(encoded, generator)
        noise, energy = self._explain(encoded, generator)
        answer = self.mechanism.generate(noise, self._parents(asked))
        return self.critic.disagreement(answer, self._targets(encoded, asked, chosen)), energy

    def _question(self, encoded: Mapping[str, Tensor], generator: torch.Generator) -> tuple[dict[str, Tensor], Tensor]:
        """(counterfactual attributes, number of the variable that was set, (N,)): values of other samples, per sample."""
        count, device = len(encoded[self.name]), encoded[self.name].device
        chosen = torch.randint(len(self.intervened), (count,), generator=generator, device=device)
        donor = torch.randperm(count, generator=generator, device=device)
        attributes = {name: value for name, value in encoded.items() if name != self.name}
        held = {name: attributes[name][donor] for name in self.intervened}
        where = {name: chosen == self.intervened.index(name) for name in self.intervened}
        with torch.no_grad():
            noise = self.scm.abduct_encoded(attributes, generator)
            return self.scm.predict_encoded(noise, held, where=where, factual=attributes), chosen

    def _targets(self, encoded: Mapping[str, Tensor], asked: Mapping[str, Tensor], chosen: Tensor) -> dict[str, Tensor]:
        """What the critic should see in the answers, encoded; classes as probabilities."""
        wanted = self._parents(asked)
        if self.targets == "hard":
            return wanted
        with torch.no_grad():
            seen = self.critic.predict(encoded[self.name])
        for name in wanted:
            alone = (wanted[name] == encoded[name]).all(1)
            if name in self.intervened:
                alone &= chosen != self.intervened.index(name)
            wanted[name] = torch.where(alone[:, None], seen[name], wanted[name])
        return wanted


class Critic(nn.Module):
    """One small network that reads the image's parents off an image, all encoded.

    Args:
        image: whose encoded values it sees.
        attributes: what it predicts.
        width: of its convolutions.
    """

    def __init__(self, image: Image, attributes: Sequence[Variable], width: int):
        super().__init__()
        self.image, self.attributes = image, tuple(attributes)
        self.sizes = [variable.size for variable in attributes]
        self.network = Pooled(image.channels, sum(self.sizes), stride=min(4, max(1, image.height // 32)), width=width)
        self.scale: Tensor
        self.register_buffer("scale", torch.ones(len(self.sizes)))

    def _parts(self, images: Tensor) -> list[tuple[Variable, Tensor]]:
        return list(zip(self.attributes, self.network(images).split(self.sizes, dim=1), strict=True))

    def predict(self, images: Tensor) -> dict[str, Tensor]:
        """Encoded values, (N, size) each; of a class, its probabilities."""
        found = {}
        for variable, part in self._parts(images):
            if not isinstance(variable, Continuous):
                part = part.softmax(1) if _is_one_hot(variable) else part.sigmoid()
            found[variable.name] = part
        return found

    def disagreement(self, images: Tensor, targets: Mapping[str, Tensor]) -> Tensor:
        """Negative log-likelihood of the targets, summed over attributes, (N,), in nats up to a constant.

        Errors of a quantity count in units of the critic's own error on held-out images, and linearly where they are large
        (Huber 1964), so that one attribute does not drown the others.
        """
        total = images.new_zeros(len(images))
        for (variable, part), scale in zip(self._parts(images), self.scale, strict=True):
            target = targets[variable.name].to(part.dtype)
            if isinstance(variable, Continuous):
                error = (part - target) / scale
                total = total + functional.huber_loss(error, torch.zeros_like(error), reduction="none")[:, 0]
            elif _is_one_hot(variable):
                total = total + functional.cross_entropy(part, target, reduction="none")
            else:
                total = total + functional.binary_cross_entropy_with_logits(part, target, reduction="none").sum(1)
        return total

    def calibrate(self, values: Mapping[str, Tensor]) -> None:
        """Learn the size of its own errors from held-out images, given in natural values."""
        self.eval()
        errors = []
        with torch.no_grad():
            for rows in torch.arange(len(values[self.image.name])).split(500):
                seen = self.predict(self.image.encode(values[self.image.name][rows]))
                errors.append(
                    torch.stack(
                        [
                            (seen[variable.name] - variable.encode(values[variable.name][rows])).square().mean(1)
                            for variable in self.attributes
                        ],
                        1,
                    )
                )
        self.scale.copy_(torch.cat(errors).mean(0).sqrt().clamp(min=1e-6))


def _is_one_hot(variable: Variable) -> bool:
    """Whether exactly one of the encoded numbers is 1; else they are bits of their own (binary, ordinal)."""
    return isinstance(variable, Categorical) and not isinstance(variable, Ordinal)


class _CriticFitting(Fitting):
    """The critic on real images."""

    def __init__(self, critic: Critic, fit: Fit, seed: int):
        super().__init__(critic, fit, seed)
        self.critic = critic

    def losses(self, batch: dict[str, Tensor], generator: torch.Generator, training: bool) -> Tensor:
        targets = {variable.name: variable.encode(batch[variable.name]) for variable in self.critic.attributes}
        return self.critic.disagreement(self.critic.image.encode(batch[self.critic.image.name]), targets)
