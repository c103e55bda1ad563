"""MorphoMNIST: handwriting with a thickness that causes an intensity, and the true counterfactuals of both."""

from __future__ import annotations

import hashlib
from abc import abstractmethod
from collections.abc import Collection, Mapping
from functools import cached_property
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from counterbench.catalog.cards import Card
from counterbench.datasets.cache import remembered
from counterbench.datasets.dataset import Dataset
from counterbench.datasets.files import glyphs
from counterbench.datasets.source import Draws, RenderedSource, Source
from counterbench.errors import DataError
from counterbench.plugins.registry import datasets
from counterbench.processes.strokes import render, upsample
from counterbench.storage.tensors import sha256_of_tensors

RENDERING = 1
"""Number of the rendering; a change of any pixel it makes must raise it."""

_SEED = 20240310
_BASES = {"test": 250, "validation": 250, "judge": 450}  # of the 1,797 digits; the others are for training
_DRAWS = {"train": 32, "validation": 8, "judge": 24, "test": 8}
_POSE_SPREAD = (0.10, 0.10, 0.05, 0.7, 0.7)  # standard deviations: rad, tangent, log size, px, px


def intensity_of(thickness: Tensor, noise: Tensor) -> Tensor:
    """The mechanism of intensity: 64 + 191 sigmoid(2 (thickness - 2.5) + noise / 2), in grey levels."""
    return 64 + 191 * torch.sigmoid(2 * (thickness.double() - 2.5) + 0.5 * noise.double())


def noise_of_intensity(thickness: Tensor, intensity: Tensor) -> Tensor:
    """The exogenous noise behind a factual intensity: the exact inverse of :func:`intensity_of`."""
    return (torch.logit((intensity.double() - 64) / 191) - 2 * (thickness.double() - 2.5)) / 0.5


def _draw_attributes(rng: np.random.Generator, count: int) -> tuple[Tensor, Tensor]:
    thickness = torch.from_numpy(0.5 + rng.gamma(10.0, 1 / 5.0, count)).float()
    noise = torch.from_numpy(rng.standard_normal(count))
    return thickness, intensity_of(thickness, noise).float()


class _Handwriting(RenderedSource):
    """Digits that are made thicker or thinner, and brighter or darker."""

    block = 256

    def __init__(self, card: Card, name: str, data_dir: Path | None):
        super().__init__(card, name, data_dir)
        self._measured: dict[str, Tensor] = {}

    @abstractmethod
    def writing(self, split: str) -> glyphs.Glyphs:
        """The handwriting behind a split."""

    @abstractmethod
    def outline(self, split: str, rows: Tensor) -> Tensor:
        """What is made thicker or thinner, as :func:`counterbench.processes.strokes.render` takes it."""

    def key(self, split: str) -> str:
        """What the pixels follow from: the rendering, the draws, and the handwriting."""
        draws = self.draws(split)
        inputs = {**draws.attributes, "base": draws.group, **draws.hidden, "glyphs": self.writing(split).images}
        digest = hashlib.sha256(f"{RENDERING} {sha256_of_tensors(inputs)}".encode()).hexdigest()
        return f"{self.card.name}-{self.name}-{digest[:16]}"

    def knows_truth(self, intervened: Collection[str]) -> bool:
        return "digit" not in intervened  # nobody knows how this writer would have written another digit

    def true_attributes(self, split: str, rows: Tensor, interventions: Mapping[str, Tensor]) -> dict[str, Tensor]:
        factual = self.draws(split).take(rows).attributes
        held = {**factual, **interventions}
        if "thickness" in interventions and "intensity" not in interventions:
            noise = noise_of_intensity(factual["thickness"], factual["intensity"])
            held["intensity"] = intensity_of(held["thickness"], noise).float()
        return held

    def render(self, split: str, rows: Tensor, attributes: Mapping[str, Tensor]) -> Tensor:
        """(N, 1, 32, 32), uint8."""
        measured = remembered(self._measured, split, lambda: _unmeasured(len(self.draws(split))))
        of_rows = measured[rows]  # filled in where it is NaN
        images = render(self.outline(split, rows), attributes["thickness"], attributes["intensity"], drawn=of_rows)
        measured[rows] = of_rows
        return functional.pad(images, (2, 2, 2, 2))[:, None]


def _unmeasured(count: int) -> Tensor:
    """Thickness of the base glyphs of a split, NaN until it is measured; the same for every intervention."""
    with torch.inference_mode(False):  # it outlives the evaluation that asks for it first, and is written to later
        return torch.full((count,), torch.nan, dtype=torch.float64)


class OpticalDigits(_Handwriting):
    """The optical digits of scikit-learn, traced once and turned, slanted, scaled and shifted a little.

    There are no others to draw, so those of an unseen test split are the public ones, bent smoothly, each in a way of its own.
    """

    redraws = "the public test drawings, each smoothly deformed, with a new pose, thickness and intensity"

    def __init__(self, card: Card, name: str, data_dir: Path | None):
        super().__init__(card, name, data_dir)
        self._strokes: dict[str, dict[int, Tensor]] = {}

    @cached_property
    def _optical(self) -> glyphs.Glyphs:
        return glyphs.optical_digits()

    def writing(self, split: str) -> glyphs.Glyphs:
        return self._optical

    def outline(self, split: str, rows: Tensor) -> Tensor:
        draws = self.draws(split).take(rows)
        traced = remembered(self._strokes, split, dict)
        bases = draws.hidden["base"].tolist()
        if missing := sorted(set(bases) - traced.keys()):  # few images need few tracings
            traced.update(zip(missing, self._trace(split, torch.tensor(missing)), strict=True))
        drawn = torch.stack([traced[base] for base in bases]).double() / 255
        return glyphs.posed(drawn, draws.hidden["pose"])

    def _trace(self, split: str, bases: Tensor) -> Tensor:
        """Traced strokes of base digits of a split, uint8."""
        strokes = glyphs.trace(self._optical.images[bases])
        hidden = self.draws(split).hidden
        if "bend" in hidden:
            first = (hidden["base"] == bases[:, None]).long().argmax(1)  # all drawings of a base are bent alike
            strokes = glyphs.bent(strokes, hidden["bend"][first])
        return (strokes * 255).round().to(torch.uint8)

    def draw(self, split: str) -> Draws:
        total = len(self._optical.labels)
        order = np.random.default_rng(_SEED).permutation(total)
        reserved = np.split(order, np.cumsum(list(_BASES.values())))
        bases = dict(zip([*_BASES, "train"], reserved, strict=True))[split]
        rng = np.random.default_rng([_SEED, *self.entropy(split)])
        base = torch.from_numpy(rng.permutation(np.repeat(bases, _DRAWS[split])))
        thickness, intensity = _draw_attributes(rng, len(base))
        pose = torch.from_numpy(rng.standard_normal((len(base), 5)) * _POSE_SPREAD)
        attributes = {"thickness": thickness, "intensity": intensity, "digit": self._optical.labels[base]}
        hidden = {"pose": pose, "base": base}
        if len(self.entropy(split)) > 1:
            bends = torch.from_numpy(
                rng.standard_normal((total, *glyphs.BEND))
            )  # of a test base, whatever else is a base
            hidden["bend"] = bends[base]
        return Draws(attributes, self.numbered(split, base), hidden=hidden)


class MNIST(_Handwriting):
    """MNIST as published, with the published attributes where their files lie in the data folder."""

    def __init__(self, card: Card, name: str, data_dir: Path | None):
        super().__init__(card, name, data_dir)
        self._published: dict[bool, glyphs.Glyphs] = {}

    def _mnist(self, train: bool) -> glyphs.Glyphs:
        return remembered(self._published, train, lambda: glyphs.mnist(self.data_dir, train))

    def writing(self, split: str) -> glyphs.Glyphs:
        return self._mnist(split != "test")

    def outline(self, split: str, rows: Tensor) -> Tensor:
        return upsample(self.writing(split).images[self.draws(split).group[rows]].double() / 255)

    @property
    def notes(self) -> list[str]:
        """Where handwriting and attributes are not the published ones."""
        published = glyphs.published_attributes(self.data_dir, train=False) is not None
        drawn = "drawn from the published process; no csv files in the data folder"
        notes = [f"attributes: {'published (csv files)' if published else drawn}"]
        others = [
            files
            for files, train in (("train", True), ("t10k", False))
            if not glyphs.is_published(self._mnist(train), train)
        ]
        if others:
            notes.append(
                f"handwriting: not MNIST as published (other images or labels in the files {' and '.join(others)})"
            )
        return notes

    def draw(self, split: str) -> Draws:
        train = split != "test"
        labels = self._mnist(train).labels
        count = len(labels)
        drawn = _draw_attributes(np.random.default_rng([_SEED, 10 + train]), count)
        published = glyphs.published_attributes(self.data_dir, train)
        thickness, intensity = published or drawn
        if len(thickness) != count:
            raise DataError(
                f"The published attributes are {len(thickness)} rows for {count} images; they must belong together."
            )
        judge, validation = count // 6, count // 30  # 10,000 and 2,000 of 60,000
        edges = {"train": (0, count - judge - validation), "validation": (count - judge - validation, count - judge)}
        rows = torch.arange(*{**edges, "judge": (count - judge, count), "test": (0, count)}[split])
        attributes = {"thickness": thickness[rows], "intensity": intensity[rows], "digit": labels[rows]}
        return Draws(attributes, rows, hidden={"pose": torch.zeros(len(rows), 5, dtype=torch.float64)})


@datasets.register()
class MorphoMNIST(Dataset):
    """Reader and renderer of the card `morphomnist`; see there."""

    sources: ClassVar[Mapping[str, type[Source]]] = {"digits": OpticalDigits, "mnist": MNIST}
