"""Regression of a field on the paths between noise and data: flow matching and diffusion."""

from __future__ import annotations

import torch
from torch import Tensor

from counterbench.catalog.recipes import Fit
from counterbench.causal.chance import normal, uniform
from counterbench.causal.variables import Continuous, Vector
from counterbench.errors import ConfigError
from counterbench.mechanisms.capabilities import Autoencodes, Matches, MeasuresLatents, PredictsNoise
from counterbench.models.scm import StructuralCausalModel
from counterbench.plugins.registry import objectives
from counterbench.training.coupling import coupled
from counterbench.training.objectives.base import Circumstances, MechanismObjective, Moment

TIMES = ("uniform", "logit-normal")
COUPLINGS = ("independent", "transport")
_MEASURED = 512
"""Training samples whose latents are measured."""


@objectives.register()
class Matching(MechanismObjective[Matches]):
    """Mean squared error of the field at random times on paths between noise and data (Lipman et al., ICLR 2023; Ho et al., NeurIPS 2020).

    Args:
        times: how times are drawn: `uniform`, or `logit-normal`, which favours the middle (Esser et al., ICML 2024).
        coupling: of noise and data in a batch: `independent`, or `transport`, which pairs them so that paths are short, inside equal parents
            (Tong et al., TMLR 2024; Cheng & Schwing 2025). Pairing over a whole batch whatever the parents would make noise depend on them:
            counterfactuals are then wrong while composition looks better, so it does not exist here.
        parent_weight: of the squared distance between continuous parents (standardised) in the cost of transport.
        random_parents: share of the parents' values that are replaced by those of another sample of the batch, so that no image is learned by
            heart under its own (random tokens of Somepalli et al., NeurIPS 2023). Validation keeps its own.
        drop_loudest: share of each batch that is left out of the loss, those whose noise norm is largest: their parents say most of the
            image (Wen et al., ICLR 2024).
    """

    needs = Matches

    def __init__(
        self,
        scm: StructuralCausalModel,
        name: str,
        fit: Fit,
        *,
        times: str = "uniform",
        coupling: str = "independent",
        parent_weight: float = 100.0,
        random_parents: float = 0.0,
        drop_loudest: float = 0.0,
    ):
        super().__init__(scm, name, fit)
        if times not in TIMES:
            raise ConfigError(f"matching: times is {times!r}; give one of {', '.join(TIMES)}.")
        if coupling not in COUPLINGS:
            raise ConfigError(
                f"matching: coupling is {coupling!r}; give one of {', '.join(COUPLINGS)}. Noise is never paired with data across parents."
            )
        for option, share in {"random_parents": random_parents, "drop_loudest": drop_loudest}.items():
            if not 0 <= share < 1:
                raise ConfigError(f"matching: {option} is {share}; it must lie in [0, 1).")
        if drop_loudest and not isinstance(self.mechanism, PredictsNoise):
            raise ConfigError(
                f"matching: {self.mechanism.variable.name} predicts no noise whose norm could be taken; leave out drop_loudest."
            )
        self.times, self.coupling, self.parent_weight = times, coupling, parent_weight
        self.random_parents, self.drop_loudest = random_parents, drop_loudest

    def prepare(self, circumstances: Circumstances) -> None:
        """An autoencoder that the states come from has been trained before: it is held, and its latents are measured."""
        if isinstance(self.mechanism, Autoencodes):
            for weight in self.mechanism.autoencoder_parameters():
                weight.requires_grad_(False)
        if isinstance(self.mechanism, MeasuresLatents):
            values = circumstances.train[self.name]
            rows = torch.linspace(0, len(values) - 1, min(len(values), _MEASURED)).long()
            self.mechanism.measure_latents(self.mechanism.variable.encode(values[rows]))

    def losses(self, batch: dict[str, Tensor], moment: Moment) -> Tensor:
        value, parents = self.encoded(batch)
        if moment.training and self.random_parents:
            parents = self._mixed(parents, moment)
        noise = normal((len(value), *self.capable.state_shape()), moment.generator, value)
        if self.coupling == "transport":
            measured = {p.name: isinstance(p, (Continuous, Vector)) for p in self.mechanism.parents}
            exact = [parents[name] for name in measured if not measured[name]]
            near = [parents[name] for name in measured if measured[name]]
            noise = noise[coupled(self.capable.standardised(value), noise, exact, near, weight=self.parent_weight)]
        time = self._drawn(value, moment)
        loss = self.capable.matching_loss(value, parents, moment.generator, noise=noise, time=time)
        return loss * self._quiet(value, parents, moment) if moment.training and self.drop_loudest else loss

    def _mixed(self, parents: dict[str, Tensor], moment: Moment) -> dict[str, Tensor]:
        """Parents of which some are another sample's, each by itself."""
        mixed = {}
        for name, value in parents.items():
            drawn = uniform((len(value), 2), moment.generator).to(value.device)
            swapped = (drawn[:, 0] < self.random_parents).view(-1, *[1] * (value.ndim - 1))
            mixed[name] = torch.where(swapped, value[drawn[:, 1].argsort()], value)
        return mixed

    @torch.no_grad()
    def _quiet(self, value: Tensor, parents: dict[str, Tensor], moment: Moment) -> Tensor:
        """Weights of the samples, (N,), with mean 1: 0 for those whose parents move the predicted noise most."""
        assert isinstance(self.mechanism, PredictsNoise)
        norm = self.mechanism.noise_norm(value, parents, moment.generator, times=1)
        dropped = int(self.drop_loudest * len(norm))
        weights = torch.ones_like(norm)
        weights[norm.argsort(descending=True)[:dropped]] = 0
        return weights * len(norm) / (len(norm) - dropped)

    def _drawn(self, value: Tensor, moment: Moment) -> Tensor:
        """Times, (N,)."""
        if self.times == "logit-normal":
            return torch.sigmoid(normal((len(value),), moment.generator, value))
        return uniform((len(value),), moment.generator).to(dtype=value.dtype, device=value.device)
