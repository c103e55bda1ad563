"""Regression of a field on the paths between noise and data: flow matching and diffusion."""

from __future__ import annotations

import torch
from torch import Tensor

from counterbench.catalog.recipes import Fit
from counterbench.causal.chance import normal, uniform
from counterbench.causal.variables import Continuous, Vector
from counterbench.errors import ConfigError
from counterbench.mechanisms.capabilities import Autoencodes, Matches, MeasuresLatents
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
    ):
        super().__init__(scm, name, fit)
        if times not in TIMES:
            raise ConfigError(f"matching: times is {times!r}; give one of {', '.join(TIMES)}.")
        if coupling not in COUPLINGS:
            raise ConfigError(
                f"matching: coupling is {coupling!r}; give one of {', '.join(COUPLINGS)}. Noise is never paired with data across parents."
            )
        self.times, self.coupling, self.parent_weight = times, coupling, parent_weight

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
        noise = normal((len(value), *self.capable.state_shape()), moment.generator, value)
        if self.coupling == "transport":
            measured = {p.name: isinstance(p, (Continuous, Vector)) for p in self.mechanism.parents}
            exact = [parents[name] for name in measured if not measured[name]]
            near = [parents[name] for name in measured if measured[name]]
            noise = noise[coupled(self.capable.standardised(value), noise, exact, near, weight=self.parent_weight)]
        time = self._drawn(value, moment)
        return self.capable.matching_loss(value, parents, moment.generator, noise=noise, time=time)

    def _drawn(self, value: Tensor, moment: Moment) -> Tensor:
        """Times, (N,)."""
        if self.times == "logit-normal":
            return torch.sigmoid(normal((len(value),), moment.generator, value))
        return uniform((len(value),), moment.generator).to(dtype=value.dtype, device=value.device)
