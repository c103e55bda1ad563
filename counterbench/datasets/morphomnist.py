"""MorphoMNIST: handwriting with a thickness that causes an intensity, and the true counterfactuals of both."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cache, cached_property

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from counterbench.datasets.cache import cached, is_cached
from counterbench.datasets.dataset import REFERENCES, Dataset, Split
from counterbench.datasets.files import glyphs
from counterbench.errors import DataError
from counterbench.plugins.registry import datasets
from counterbench.processes.strokes import render, upsample
from counterbench.runtime.progress import bar
from counterbench.storage.tensors import sha256_of_tensors

RENDERING = 1
"""Number of the rendering; a change of any pixel it makes must raise it."""

_SEED = 20240310
_BASES = {"test": 250, "validation": 250, "judge": 450}  # of the 1,797 digits; the others are for training
_DRAWS = {"train": 32, "validation": 8, "judge": 24, "test": 8}
_POSE_SPREAD = (0.10, 0.10, 0.05, 0.7, 0.7)  # standard deviations: rad, tangent, log size, px, px
_BLOCK = 256


def intensity_of(thickness: Tensor, noise: Tensor) -> Tensor:
    """The mechanism of intensity: 64 + 191 sigmoid(2 (thickness - 2.5) + noise / 2), in grey levels."""
    return 64 + 191 * torch.sigmoid(2 * (thickness.double() - 2.5) + 0.5 * noise.double())


def noise_of_intensity(thickness: Tensor, intensity: Tensor) -> Tensor:
    """The exogenous noise behind a factual intensity: the exact inverse of :func:`intensity_of`."""
    return (torch.logit((intensity.double() - 64) / 191) - 2 * (thickness.double() - 2.5)) / 0.5


@dataclass(frozen=True)
class _Draws:
    """Everything behind the samples of a split; rendering needs nothing else."""

    base: Tensor
    digit: Tensor
    thickness: Tensor
    intensity: Tensor
    pose: Tensor


@datasets.register()
class MorphoMNIST(Dataset):
    """Reader and renderer of the card `morphomnist` (`datasets/morphomnist.yaml`), which describes variables, sources and truth."""

    def split(self, name: str) -> Split:
        self._require_split(name)
        return self._loaded(name)

    @cache  # noqa: B019 - a dataset lives as long as the process
    def _loaded(self, name: str) -> Split:
        return cached(f"{self.card.name}-{self.source}-{self._key(name)}", name, lambda: self._prepare(name))

    @cache  # noqa: B019
    def reference(self, count: int = REFERENCES) -> Split:
        home = f"{self.card.name}-{self.source}-{self._key('train')}"
        rows = self.reference_rows(count)
        if len(rows) == len(self._draws("train").base) or is_cached(home, "train"):
            return Dataset.reference(self, count)
        return cached(home, f"reference-{count}", lambda: self._prepare("train", rows))

    def _key(self, name: str) -> str:
        """What the pixels follow from: the rendering, the draws, and the handwriting."""
        draws = self._draws(name)
        inputs = sha256_of_tensors({**vars(draws), "glyphs": self._glyphs(name).images})
        return hashlib.sha256(f"{RENDERING} {inputs}".encode()).hexdigest()[:16]

    def _prepare(self, name: str, chosen: Tensor | None = None) -> Split:
        draws = self._draws(name)
        chosen = torch.arange(len(draws.base)) if chosen is None else chosen
        images = []
        with bar(len(chosen), f"Rendering {self.card.name}/{self.source} ({name})") as advance:
            for rows in chosen.split(_BLOCK):
                images.append(self._render(name, rows, draws.thickness[rows], draws.intensity[rows]))
                advance(len(rows))
        values = {
            "thickness": draws.thickness[chosen],
            "intensity": draws.intensity[chosen],
            "digit": draws.digit[chosen],
            "image": torch.cat(images),
        }
        return Split(name, values, draws.base[chosen])

    @property
    def notes(self) -> list[str]:
        """Where handwriting and attributes are not the published ones."""
        if self.source != "mnist":
            return []
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

    def attributes(self, name: str) -> dict[str, Tensor]:
        self._require_split(name)
        draws = self._draws(name)
        return {"thickness": draws.thickness, "intensity": draws.intensity, "digit": draws.digit}

    def knows_truth(self, intervened: Collection[str]) -> bool:
        return "digit" not in intervened  # nobody knows how this writer would have written another digit

    def true_attributes(self, split: str, index: Tensor, interventions: Mapping[str, Tensor]) -> dict[str, Tensor]:
        factual = {name: value[index] for name, value in self.attributes(split).items()}
        held = {**factual, **interventions}
        if "thickness" in interventions and "intensity" not in interventions:
            noise = noise_of_intensity(factual["thickness"], factual["intensity"])
            held["intensity"] = intensity_of(held["thickness"], noise).float()
        return held

    def _true_image(self, split: str, index: Tensor, attributes: Mapping[str, Tensor]) -> Tensor:
        return self._render(split, index, attributes["thickness"], attributes["intensity"]).float()

    def _render(self, split: str, rows: Tensor, thickness: Tensor, intensity: Tensor) -> Tensor:
        """(N, 1, 32, 32), uint8."""
        known = self._drawn(split)
        drawn = known[rows]
        images = render(self._outline(split, rows), thickness, intensity, drawn)
        known[rows] = drawn
        return functional.pad(images, (2, 2, 2, 2))[:, None]

    @cache  # noqa: B019
    def _drawn(self, split: str) -> Tensor:
        """Thickness of the base glyphs of a split, NaN until it is measured; the same for every intervention."""
        with torch.inference_mode(False):  # it outlives the evaluation that asks for it first, and is written to later
            return torch.full((len(self._draws(split).base),), torch.nan, dtype=torch.float64)

    def _outline(self, split: str, rows: Tensor) -> Tensor:
        draws = self._draws(split)
        if self.source == "mnist":
            return upsample(self._glyphs(split).images[draws.base[rows]].double() / 255)
        bases, strokes = self._strokes(split)
        return glyphs.posed(strokes[torch.searchsorted(bases, draws.base[rows])].double() / 255, draws.pose[rows])

    @cache  # noqa: B019
    def _strokes(self, split: str) -> tuple[Tensor, Tensor]:
        """(base digits of the split, sorted; their traced strokes as uint8): each is traced once."""
        bases = self._draws(split).base.unique()
        return bases, (glyphs.trace(self._optical.images[bases]) * 255).round().to(torch.uint8)

    # --- what the samples follow from ---------------------------------------------------------------------------------

    @cached_property
    def _optical(self) -> glyphs.Glyphs:
        return glyphs.optical_digits()

    @cache  # noqa: B019
    def _mnist(self, train: bool) -> glyphs.Glyphs:
        return glyphs.mnist(self.data_dir, train)

    def _glyphs(self, split: str) -> glyphs.Glyphs:
        return self._mnist(split != "test") if self.source == "mnist" else self._optical

    @cache  # noqa: B019
    def _draws(self, split: str) -> _Draws:
        return self._mnist_draws(split) if self.source == "mnist" else self._digits_draws(split)

    def _digits_draws(self, split: str) -> _Draws:
        total = len(self._optical.labels)
        order = np.random.default_rng(_SEED).permutation(total)
        reserved = np.split(order, np.cumsum(list(_BASES.values())))
        bases = dict(zip([*_BASES, "train"], reserved, strict=True))[split]
        rng = np.random.default_rng([_SEED, self.splits.index(split)])
        base = torch.from_numpy(rng.permutation(np.repeat(bases, _DRAWS[split])))
        thickness, intensity = _draw_attributes(rng, len(base))
        pose = torch.from_numpy(rng.standard_normal((len(base), 5)) * _POSE_SPREAD)
        return _Draws(base, self._optical.labels[base], thickness, intensity, pose)

    def _mnist_draws(self, split: str) -> _Draws:
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
        return _Draws(
            rows, labels[rows], thickness[rows], intensity[rows], torch.zeros(len(rows), 5, dtype=torch.float64)
        )


def _draw_attributes(rng: np.random.Generator, count: int) -> tuple[Tensor, Tensor]:
    thickness = torch.from_numpy(0.5 + rng.gamma(10.0, 1 / 5.0, count)).float()
    noise = torch.from_numpy(rng.standard_normal(count))
    return thickness, intensity_of(thickness, noise).float()
