"""Points on ellipses: numbers instead of images, with a known process behind them."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from counterbench.causal.variables import Vector
from counterbench.datasets.dataset import Dataset
from counterbench.datasets.source import Draws, RenderedSource, Source
from counterbench.plugins.registry import datasets

SIZES = {"train": 20_000, "validation": 2_000, "judge": 2_000, "test": 5_000}
_SEED = 20230703

WEIGHTS = (1.44254843, 1.61323358, 1.64985274)
BIASES = (0.59701923, -0.18070237, 0.2656131)
"""Of angle, elongation and size, by the confounder: those that the published generator draws with its seed, 0."""


def outcomes(z: Tensor, t: Tensor, elongation: Tensor, size: Tensor) -> dict[str, Tensor]:
    """The point at angle `t`: x = r b (2 + cos t), y = b (2 + sin t), with r = 1 + exp(w z + v) elongation and
    b = exp(w z + v) + size (Nasr-Esfahany et al., ICML 2023, section 5.1, and their generator).

    Args:
        z, t: (N,), the confounder and the angle in radians.
        elongation, size: (N,), exogenous numbers, exponential and uniform.

    Returns:
        x and y, (N,) each, float64.
    """
    stretch = 1 + (WEIGHTS[1] * z + BIASES[1]).exp() * elongation
    scale = (WEIGHTS[2] * z + BIASES[2]).exp() + size
    return {"y": scale * (2 + t.sin()), "x": stretch * scale * (2 + t.cos())}


def angle(z: Tensor, turn: Tensor) -> Tensor:
    """The mechanism of the angle: (w z + v + turn) modulo a whole turn, in radians."""
    return (WEIGHTS[0] * z + BIASES[0] + turn) % (2 * math.pi)


class Formula(RenderedSource):
    """The published generator; everything follows from the confounder, the angle and the noise."""

    redraws = "points that are in no public split"

    def draw(self, split: str) -> Draws:
        generator = torch.Generator().manual_seed(self._seed(split))
        drawn = torch.rand(4, SIZES[split], generator=generator, dtype=torch.float64)
        noise = {
            "z": drawn[0] - 0.5,
            "turn": torch.special.ndtri(drawn[1].clamp(min=1e-12)),
            "elongation": -torch.log1p(-drawn[2]),
            "size": drawn[3],
        }
        return Draws(self._values(noise, {}), self.numbered(split, torch.arange(SIZES[split])), noise)

    def _seed(self, split: str) -> int:
        number, *exam = self.entropy(split)
        return int(np.random.SeedSequence([_SEED, number, *exam]).generate_state(1)[0]) if exam else _SEED + number

    def knows_truth(self, intervened: Collection[str]) -> bool:
        return set(intervened) <= {"z", "t"}

    def true_attributes(self, split: str, rows: Tensor, interventions: Mapping[str, Tensor]) -> dict[str, Tensor]:
        if not self.knows_truth(interventions):
            return dict(interventions)
        values = self._values(self.draws(split).take(rows).noise, interventions)
        return {name: value.to(torch.float32) for name, value in values.items()} | dict(interventions)

    def _values(self, noise: Mapping[str, Tensor], interventions: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Of the card's variables; the coordinates are one vector where the card says so."""
        z = interventions["z"].double() if "z" in interventions else noise["z"]
        t = interventions["t"].double() if "t" in interventions else angle(z, noise["turn"])
        found = outcomes(z, t, noise["elongation"], noise["size"])
        point = self.variables.get("point")
        if isinstance(point, Vector):
            found = {"point": torch.stack([found[part.name] for part in point.components], 1)}
        return {"z": z, "t": t, **found}


@datasets.register()
class Ellipse(Dataset):
    """Reader of the cards `ellipse` and `ellipse-point`; see there."""

    sources: ClassVar[Mapping[str, type[Source]]] = {"formula": Formula}
