"""MorphoMNIST with swellings and fractures: where they are, what they change, and the truth without them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from counterbench.catalog.cards import Card
from counterbench.datasets.cache import remembered
from counterbench.datasets.dataset import Dataset
from counterbench.datasets.morphomnist import OpticalDigits
from counterbench.datasets.roles import WORDS, phrases_of
from counterbench.datasets.source import Draws, Source
from counterbench.plugins.registry import datasets
from counterbench.processes import lesions
from counterbench.processes.canvas import boxes_of

FREQUENCY = 0.6
"""Share of the digits with a lesion."""
PARTS = ("background", "stroke", "lesion")
VISIBLE = 2
"""Grey levels by which a pixel must differ from the digit without lesion to count as changed by it."""
_SEED = 20261128
_PAD = 2


def lesion_of(thickness: Tensor, luck: Tensor) -> Tensor:
    """The mechanism of the lesion: thin strokes break, thick ones swell.

    Somebody's own number, uniform on [0, 1], decides: a fracture below .6 sigmoid(2.5 - thickness), a swelling above
    1 - .6 sigmoid(thickness - 2.5), nothing between.

    Args:
        thickness: (N,), px.
        luck: (N,), in [0, 1].

    Returns:
        (N,), number in :data:`counterbench.processes.lesions.KINDS`.
    """
    thick = torch.sigmoid(thickness.double() - 2.5)
    none = torch.full(luck.shape, lesions.KINDS.index("none"))
    broken = torch.where(luck < FREQUENCY * (1 - thick), lesions.KINDS.index("fracture"), none)
    return torch.where(luck > 1 - FREQUENCY * thick, lesions.KINDS.index("swelling"), broken)


def size_of(thickness: Tensor, noise: Tensor) -> Tensor:
    """The mechanism of its size: 1 + 3 sigmoid(thickness - 2.5 + noise), in px."""
    return 1 + 3 * torch.sigmoid(thickness.double() - 2.5 + noise.double())


class BrokenDigits(OpticalDigits):
    """Optical digits, some of them swollen or broken at one place."""

    def __init__(self, card: Card, name: str, data_dir: Path | None):
        super().__init__(card, name, data_dir)
        self._places: dict[str, tuple[Tensor, Tensor]] = {}

    def draw(self, split: str) -> Draws:
        digits = super().draw(split)
        rng = np.random.default_rng([_SEED, *self.entropy(split)])
        count = len(digits)
        luck, size = torch.from_numpy(rng.random(count)), torch.from_numpy(rng.standard_normal(count))
        thickness = digits.attributes["thickness"]
        attributes = {
            **digits.attributes,
            "lesion": lesion_of(thickness, luck),
            "height": torch.from_numpy(rng.random(count)).float(),
            "side": torch.from_numpy(rng.integers(0, 2, count)),
            "size": size_of(thickness, size).float(),
        }
        hidden = {**digits.hidden, WORDS: torch.from_numpy(rng.random((count, 16)))}
        return Draws(attributes, digits.group, {"lesion": luck, "size": size}, hidden)

    def true_attributes(self, split: str, rows: Tensor, interventions: Mapping[str, Tensor]) -> dict[str, Tensor]:
        held = super().true_attributes(split, rows, interventions)
        if "thickness" in interventions:
            noise = self.draws(split).take(rows).noise
            if "lesion" not in interventions:
                held["lesion"] = lesion_of(held["thickness"], noise["lesion"])
            if "size" not in interventions:
                held["size"] = size_of(held["thickness"], noise["size"]).float()
        return held

    def render(self, split: str, rows: Tensor, attributes: Mapping[str, Tensor]) -> Tensor:
        """(N, 1, 32, 32), uint8."""
        whole = super().render(split, rows, attributes)[:, 0, _PAD:-_PAD, _PAD:-_PAD]
        drawn = self.draws(split).attributes
        centre, direction = self._factual_places(split)
        centre, direction = centre[rows], direction[rows]
        moved = (attributes["height"] != drawn["height"][rows]) | (attributes["side"] != drawn["side"][rows])
        at = moved.nonzero()[:, 0]
        if len(at):
            centre, direction = centre.clone(), direction.clone()
            outline = self.outline(split, rows[at])
            centre[at], direction[at] = lesions.sites(outline, attributes["height"][at], attributes["side"][at])
        changed = lesions.apply(
            whole,
            centre,
            direction,
            kind=attributes["lesion"],
            size=attributes["size"],
            thickness=attributes["thickness"],
        )
        return functional.pad(changed, (_PAD,) * 4)[:, None]

    def _factual_places(self, split: str) -> tuple[Tensor, Tensor]:
        """Where the lesion of everybody of a split lies, or would lie: the same for every thickness."""

        def found() -> tuple[Tensor, Tensor]:
            attributes = self.draws(split).attributes
            parts = [
                lesions.sites(self.outline(split, rows), attributes["height"][rows], attributes["side"][rows])
                for rows in torch.arange(len(self.draws(split))).split(512)
            ]
            centres, directions = (torch.cat(part) for part in zip(*parts, strict=True))
            return centres, directions

        with torch.inference_mode(False):
            return remembered(self._places, split, found)

    def masks(self, split: str, rows: Tensor, attributes: Mapping[str, Tensor]) -> Tensor:
        """(N, 32, 32), uint8, numbers of :data:`PARTS`: the stroke as it would be without lesion, and what the lesion changes."""
        without = {**attributes, "lesion": torch.zeros_like(attributes["lesion"])}
        whole, seen = (self.render(split, rows, values)[:, 0].short() for values in (without, attributes))
        bright = whole >= whole.flatten(1).amax(1)[:, None, None] / 2
        parts = bright.to(torch.uint8) * PARTS.index("stroke")
        parts[(seen - whole).abs() >= VISIBLE] = PARTS.index("lesion")
        return parts

    def role(self, name: str, split: str, rows: Tensor) -> Tensor | list[str]:
        draws = self.draws(split).take(rows)
        if name == "identity":
            return draws.group
        if name == "label":
            return (draws.attributes["lesion"] != 0).long()
        if name == "mask":
            return self.masks(split, rows, draws.attributes)
        if name == "boxes":
            return boxes_of(self.masks(split, rows, draws.attributes) == PARTS.index("lesion"))
        if name == "caption":
            return phrases_of(self.card, draws)
        return super().role(name, split, rows)


@datasets.register()
class MorphoMNISTLesions(Dataset):
    """Reader and renderer of the card `morphomnist-lesions`; see there."""

    sources: ClassVar[Mapping[str, type[Source]]] = {"digits": BrokenDigits}
