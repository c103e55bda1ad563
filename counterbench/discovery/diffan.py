"""Leaves by the variance of the Hessian's diagonal, with the score of a diffusion model (DiffAN)."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import jacrev, jvp, vmap

from counterbench.discovery.base import Ordering, standardised
from counterbench.plugins.registry import discoverers

_LEVELS = 100
"""Levels of noise."""
_READ = (10, 20, 30, 40, 50)
"""Levels at which leaves are looked for; most votes win."""
_LOOKED_AT = 512
"""Samples over which the variance is taken."""


class NoisePredictor(nn.Module):
    """Noisy samples and the level of noise -> the noise, by a perceptron.

    Args:
        width: number of variables.
        hidden: of each layer.
    """

    def __init__(self, width: int, hidden: int):
        super().__init__()
        self.network = nn.Sequential(
            nn.Linear(width + 1, hidden), nn.SiLU(), nn.Linear(hidden, hidden), nn.SiLU(), nn.Linear(hidden, width)
        )

    def forward(self, values: Tensor, level: Tensor) -> Tensor:
        """(N, d) and (N, 1), from 0 to 1 -> (N, d)."""
        noise: Tensor = self.network(torch.cat([values, level], -1))
        return noise


@discoverers.register()
class DiffAN(Ordering):
    """SCORE's criterion, with the score of a small diffusion model in place of a kernel's (Sanchez et al., ICLR 2023).

    The network is trained once, on all variables; leaves that were found are left out of the search. With `residue` the score of the others is
    corrected too, by d_j log p of the rest = s_j - (H_jl / H_ll) s_l, which in an additive-noise model is what training again without the
    leaf would give. Here that makes orders worse: the correction divides by an estimated second derivative.

    Args:
        alpha: significance level of the pruning; 1 keeps every arrow along the order.
        steps: of the optimiser.
        hidden: width of the network.
        residue: whether the score is corrected; twice the work with every leaf.
    """

    def __init__(self, *, alpha: float = 0.001, steps: int = 3000, hidden: int = 128, residue: bool = False):
        super().__init__(alpha=alpha)
        if steps < 1 or hidden < 1:
            raise ValueError("steps and hidden are 1 at least")
        self.steps, self.hidden, self.residue = steps, hidden, residue

    def order(self, values: np.ndarray, generator: np.random.Generator) -> list[int]:
        scaled = torch.from_numpy(standardised(values)).float()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(int(generator.integers(2**31)))
            network = _fit(scaled, steps=self.steps, hidden=self.hidden)
            some = scaled[torch.randperm(len(scaled))[:_LOOKED_AT]]
        left = list(range(values.shape[1]))
        leaves: list[int] = []
        while len(left) > 1:
            votes = torch.zeros(values.shape[1])
            for number in _READ:
                score = _rest_of(_score_at(network, number), leaves if self.residue else [])
                spread = vmap(jacrev(score))(some).diagonal(dim1=1, dim2=2).var(0)
                votes[left[int(spread[left].argmin())]] += 1
            leaves.append(left.pop(left.index(int(votes.argmax()))))
        return [*left, *reversed(leaves)]


def _kept(number: int) -> float:
    """The share of the signal's standard deviation at a level of noise, along a cosine."""
    return math.cos(0.5 * math.pi * number / _LEVELS)


def _fit(values: Tensor, *, steps: int, hidden: int, batch: int = 512) -> NoisePredictor:
    network = NoisePredictor(values.shape[1], hidden)
    optimiser = torch.optim.AdamW(network.parameters(), 2e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 2e-3, total_steps=steps)
    kept = torch.tensor([_kept(number) for number in range(1, _LEVELS)])
    with torch.enable_grad():
        for _ in range(steps):
            clean = values[torch.randint(len(values), (batch,))]
            number = torch.randint(_LEVELS - 1, (batch, 1))
            noise, share = torch.randn_like(clean), kept[number]
            noisy = share * clean + (1 - share**2).sqrt() * noise
            loss = (network(noisy, (number + 1) / _LEVELS) - noise).square().mean()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
    return network.requires_grad_(False).eval()


def _score_at(network: NoisePredictor, number: int) -> Callable[[Tensor], Tensor]:
    """One sample, (d,) -> the score of the noised density there, (d,)."""
    level = torch.tensor([number / _LEVELS])
    spread = math.sqrt(1 - _kept(number) ** 2)

    def score(values: Tensor) -> Tensor:
        slope: Tensor = -network(values, level) / spread
        return slope

    return score


def _rest_of(score: Callable[[Tensor], Tensor], leaves: list[int]) -> Callable[[Tensor], Tensor]:
    """The score of what is left after some leaves have left, in their order."""
    for leaf in leaves:
        score = _without(score, leaf)
    return score


def _without(score: Callable[[Tensor], Tensor], leaf: int) -> Callable[[Tensor], Tensor]:
    def corrected(values: Tensor) -> Tensor:
        along = torch.zeros_like(values)
        along[leaf] = 1.0
        here, column = jvp(score, (values,), (along,))[:2]
        own = column[leaf]
        # The Hessian of a leaf is -1 / its noise's variance; near 0 it says nothing.
        own = torch.where(own.abs() < 1e-3, -1e-3, own)
        # Slopes of the leaf's mechanism, held fixed: their own derivatives would be third ones of the network.
        rest: Tensor = here - (column / own).detach() * here[leaf]
        return rest

    return corrected
