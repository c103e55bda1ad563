"""A dataset with a known process behind it."""

from functools import cache
from pathlib import Path

import torch

from counterbench.datasets.dataset import Dataset, Split
from counterbench.judges.base import Judge
from counterbench.plugins import registry

SIDE = 32
SIZES = {"train": 2000, "validation": 300, "judge": 300, "test": 300}


def brightness_of(radius, noise):
    """The mechanism of brightness: smaller discs are brighter."""
    return 220 - 12 * radius.double() + 15 * noise.double()


def render(radius, brightness, centre, grain):
    """(N,), (N,), (N, 2), (N, SIDE, SIDE) -> (N, 1, SIDE, SIDE), uint8: antialiased discs on a grainy ground."""
    axis = torch.arange(SIDE, dtype=torch.float64) - (SIDE - 1) / 2
    away = (
        (axis[None, :, None] - centre[:, 0, None, None]) ** 2 + (axis[None, None, :] - centre[:, 1, None, None]) ** 2
    ).sqrt()
    inside = (radius.double()[:, None, None] - away + 0.5).clamp(0, 1)
    picture = 20 + 4 * grain + inside * (brightness.double()[:, None, None] - 20)
    return picture.round().clamp(0, 255).to(torch.uint8)[:, None]


@registry.datasets.register("discs")
class Discs(Dataset):
    """Discs whose brightness follows from their radius; where they lie and their grain is exogenous.

    A start that works: replace it with your process, or with a reader of files (for a folder of pictures and a CSV the reader
    `table` needs no Python at all).
    """

    plugin_card = Path(__file__).with_name("discs.yaml")

    @cache  # noqa: B019 - a dataset lives as long as the process
    def _noise(self, name):
        self._require_split(name)
        chance = torch.Generator().manual_seed(self.splits.index(name))
        count = SIZES[name]
        return {
            "radius": 4 + 6 * torch.rand(count, generator=chance),
            "brightness": torch.randn(count, generator=chance).clamp(-3, 3),
            "centre": 4 * torch.rand(count, 2, generator=chance, dtype=torch.float64) - 2,
            "grain": torch.randn(count, SIDE, SIDE, generator=chance, dtype=torch.float64),
        }

    def _attributes(self, noise, held):
        radius = held.get("radius", noise["radius"])
        brightness = held.get("brightness", brightness_of(radius, noise["brightness"]).float())
        return {"radius": radius, "brightness": brightness}

    @cache  # noqa: B019
    def split(self, name):
        noise = self._noise(name)
        known = self._attributes(noise, {})
        image = render(known["radius"], known["brightness"], noise["centre"], noise["grain"])
        # Nobody is drawn twice here; give samples of the same individual the same number.
        group = torch.arange(SIZES[name]) + 10_000 * self.splits.index(name)
        return Split(name, {**known, "image": image}, group)

    def knows_truth(self, intervened):
        return True

    def true_attributes(self, split, index, interventions):
        noise = {name: value[index] for name, value in self._noise(split).items()}
        return self._attributes(noise, dict(interventions))

    def _true_image(self, split, index, attributes):
        noise = self._noise(split)
        return render(
            attributes["radius"], attributes["brightness"], noise["centre"][index], noise["grain"][index]
        ).float()


@registry.judges.register("discs-judge")
class DiscsJudge(Judge):
    """Measures a disc's radius by its area and its brightness in its middle."""

    kinds = ("continuous",)

    @property
    def fingerprint(self):
        return "area and middle of the disc, version 1"

    def _measure(self, seen):
        image = seen[:, 0]
        middle = image.flatten(1).topk(20, dim=1).values.mean(1)
        if self.variable.name == "brightness":
            return middle
        covered = ((image - 20) / (middle - 20).clamp(min=1)[:, None, None]).clamp(0, 1)
        return ((covered * (covered > 0.2)).flatten(1).sum(1) / torch.pi).sqrt()
