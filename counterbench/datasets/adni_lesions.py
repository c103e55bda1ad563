"""Brains whose lesion is a variable: whether there is one, on which side, in which region, how large, and the truth of all of that."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, TypedDict

import numpy as np
import torch
from torch import Tensor

from counterbench.datasets.adni import Template
from counterbench.datasets.dataset import Dataset
from counterbench.datasets.roles import WORDS
from counterbench.datasets.source import Draws, Source
from counterbench.plugins.registry import datasets
from counterbench.processes import template
from counterbench.processes.canvas import boxes_of

_SEED = 20261129


class _Seen(TypedDict):
    traits: Tensor
    shot: Tensor
    lesion: Tensor
    place: template.LesionPlace


def lesion_of(age: Tensor, luck: Tensor) -> Tensor:
    """The mechanism of the lesion: 1 where somebody's own number, uniform on [0, 1], is below sigmoid(0.4 + 0.08 (age - 74)).

    Args:
        age: (N,), years.
        luck: (N,), in [0, 1].

    Returns:
        (N,), 0 or 1.
    """
    return (luck < torch.sigmoid(0.4 + 0.08 * (age.double() - 74))).long()


def size_of(age: Tensor, noise: Tensor) -> Tensor:
    """The mechanism of its radius: 5 + 7 sigmoid(0.05 (age - 74) + noise), in mm."""
    return 5 + 7 * torch.sigmoid(0.05 * (age.double() - 74) + noise.double())


class LesionedTemplate(Template):
    """Real anatomy with lesions that run through all ten slices."""

    rendering = "template-lesions-1"

    def draw(self, split: str) -> Draws:
        drawn = super().draw(split)
        rng = np.random.default_rng([_SEED, *self.entropy(split)])
        subjects, subject = drawn.group.unique(return_inverse=True)
        count = len(subjects)
        luck, noise = (
            torch.from_numpy(numbers)[subject] for numbers in (rng.random(count), rng.standard_normal(count))
        )
        age = drawn.attributes["age"]
        attributes = {
            **drawn.attributes,
            "lesion": lesion_of(age, luck),
            "side": torch.from_numpy(rng.integers(0, len(template.SIDES), count))[subject],
            "region": torch.from_numpy(rng.integers(0, len(template.REGIONS), count))[subject],
            "size": size_of(age, noise).float(),
        }
        hidden = {name: value for name, value in drawn.hidden.items() if name != "lesion"}
        hidden[WORDS] = torch.from_numpy(rng.random((len(subject), 16)))
        return Draws(attributes, drawn.group, {**drawn.noise, "lesion": luck, "size": noise}, hidden)

    def true_attributes(self, split: str, rows: Tensor, interventions: Mapping[str, Tensor]) -> dict[str, Tensor]:
        held = super().true_attributes(split, rows, interventions)
        if "age" in interventions:
            noise = self.draws(split).take(rows).noise
            if "lesion" not in interventions:
                held["lesion"] = lesion_of(held["age"], noise["lesion"])
            if "size" not in interventions:
                held["size"] = size_of(held["age"], noise["size"]).float()
        return held

    def render(self, split: str, rows: Tensor, attributes: Mapping[str, Tensor]) -> Tensor:
        hidden = self.draws(split).take(rows).hidden
        return template.render(attributes, scanner=hidden["scanner"], spatial=self.spatial, **_seen(hidden, attributes))

    def mask(self, draws: Draws, attributes: Mapping[str, Tensor]) -> Tensor:
        return template.parts(attributes, spatial=self.spatial, halves=True, **_seen(draws.hidden, attributes))

    def role(self, name: str, split: str, rows: Tensor) -> Tensor | list[str]:
        if name == "label":
            return self.draws(split).attributes["lesion"][rows]
        return super().role(name, split, rows)

    def boxes(self, draws: Draws) -> Tensor:
        return boxes_of(self.mask(draws, draws.attributes) == template.PARTS_OF_HALVES.index("lesion"))


def _seen(hidden: Mapping[str, Tensor], attributes: Mapping[str, Tensor]) -> _Seen:
    """What the shapes of a head follow from, beside volumes and slice."""
    traits = hidden["traits"]
    share = traits[:, template.TRAITS.index("lesion_site")].double()
    points = torch.empty(len(traits), 2)
    for side, side_name in enumerate(template.SIDES):
        for region, region_name in enumerate(template.REGIONS):
            there = (attributes["side"] == side) & (attributes["region"] == region)
            places = template.columns()[side_name, region_name]
            points[there] = places[(share[there] * len(places)).long().clamp(max=len(places) - 1)]
    place = template.LesionPlace(points, attributes["size"])
    return {"traits": traits, "shot": hidden["shot"], "lesion": attributes["lesion"], "place": place}


@datasets.register()
class ADNILesions(Dataset):
    """Reader of the card `adni-lesions`; see there."""

    sources: ClassVar[Mapping[str, type[Source]]] = {"template": LesionedTemplate}
