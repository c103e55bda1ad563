"""Brain slices: published scans (ADNI), or an analytic phantom with a known process behind it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from torch import Tensor

from counterbench.causal.variables import Continuous
from counterbench.datasets.cache import cached, is_cached
from counterbench.datasets.dataset import REFERENCES, Dataset, Split, plausible_range
from counterbench.datasets.files import adni
from counterbench.plugins.registry import datasets
from counterbench.processes.phantom import SCANNERS, SHOT, SLICES, TRAITS, lesion_boxes, parts, render
from counterbench.runtime.progress import bar
from counterbench.storage.tensors import sha256_of_tensors

RENDERING = 1
"""Number of the rendering; a change of any pixel it makes must raise it."""

SUBJECTS = {"train": 2_500, "validation": 250, "judge": 1_000, "test": 250}
VISITS, SLICES_PER_VISIT = 2, 4
_SEED = 20241003
_BLOCK = 250

APOE = (0.55, 0.35, 0.10)
"""Probability of 0, 1 and 2 copies of the e4 allele, as in a memory clinic."""


def brain_volume_of(age: Tensor, sex: Tensor, apoe: Tensor, noise: Tensor) -> Tensor:
    """The mechanism of brain volume, in millilitres: 970 + 95 male - 4 (age - 74) - 12 apoe + 65 noise."""
    return 970 + 95.0 * sex.double() - 4.0 * (age.double() - 74) - 12.0 * apoe.double() + 65 * noise.double()


def ventricular_volume_of(age: Tensor, brain_volume: Tensor, noise: Tensor) -> Tensor:
    """The mechanism of ventricular volume, in millilitres: exp(3.55 + 0.03 (age - 74) - 0.001 (brain - 1000) + 0.35 noise)."""
    return (3.55 + 0.03 * (age.double() - 74) - 0.001 * (brain_volume.double() - 1000) + 0.35 * noise.double()).exp()


@dataclass(frozen=True)
class _Draws:
    """Everything behind the phantom's slices, one entry per sample."""

    attributes: dict[str, Tensor]
    noise: dict[str, Tensor]
    traits: Tensor
    shot: Tensor
    scanner: Tensor
    lesion: Tensor
    subject: Tensor

    def take(self, rows: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """(traits, shot, scanner, lesion) of some samples: what does not follow from the variables."""
        return self.traits[rows], self.shot[rows], self.scanner[rows], self.lesion[rows]


@datasets.register()
class ADNI(Dataset):
    """Reader of the card `adni` (`datasets/adni.yaml`), which describes variables, sources and truth."""

    @property
    def side(self) -> int:
        """Of the pictures, in pixels."""
        return self.variables[self.card.image].shape[-1]  # type: ignore[attr-defined]

    @property
    def notes(self) -> list[str]:
        """How many visits and scans were left out, and why."""
        return [] if self.source == "phantom" else adni.scans(self.data_dir, self._ranges)[1]

    @property
    def _ranges(self) -> adni.Ranges:
        """What the card's quantities can be."""
        quantities = [variable for variable in self.variables.values() if isinstance(variable, Continuous)]
        return tuple((variable.name, *plausible_range(variable)) for variable in quantities)

    def split(self, name: str) -> Split:
        self._require_split(name)
        return self._loaded(name)

    @cache  # noqa: B019 - a dataset lives as long as the process
    def _loaded(self, name: str) -> Split:
        if self.source == "phantom":
            return cached(self._home(name), name, lambda: self._prepare(name))
        return adni.load(self.data_dir, name, self.side, self._ranges)

    @cache  # noqa: B019
    def reference(self, count: int = REFERENCES) -> Split:
        rows = self.reference_rows(count)
        if self.source != "phantom" or is_cached(self._home("train"), "train") or len(rows) < count:
            return Dataset.reference(self, count)
        return cached(self._home("train"), f"reference-{count}", lambda: self._prepare("train", rows))

    def attributes(self, name: str) -> dict[str, Tensor]:
        self._require_split(name)
        return dict(self._draws(name).attributes) if self.source == "phantom" else super().attributes(name)

    def knows_truth(self, intervened: Collection[str]) -> bool:
        return self.source == "phantom" or super().knows_truth(intervened)

    def true_attributes(self, split: str, index: Tensor, interventions: Mapping[str, Tensor]) -> dict[str, Tensor]:
        if self.source != "phantom":
            return super().true_attributes(split, index, interventions)
        draws = self._draws(split)
        factual = {name: value[index] for name, value in draws.attributes.items()}
        noise = {name: value[index] for name, value in draws.noise.items()}
        held = {**factual, **interventions}
        causes = {"age", "sex", "apoe"}
        if causes & interventions.keys() and "brain_volume" not in interventions:
            found = brain_volume_of(held["age"], held["sex"], held["apoe"], noise["brain_volume"])
            held["brain_volume"] = found.float()
        if {*causes, "brain_volume"} & interventions.keys() and "ventricular_volume" not in interventions:
            found = ventricular_volume_of(held["age"], held["brain_volume"], noise["ventricular_volume"])
            held["ventricular_volume"] = found.float()
        return held

    def _true_image(self, split: str, index: Tensor, attributes: Mapping[str, Tensor]) -> Tensor:
        return render(attributes, *self._draws(split).take(index), side=self.side).float()

    # --- what else the samples carry ----------------------------------------------------------------------------------

    def role(self, name: str, split: str, index: Tensor) -> Tensor | list[str]:
        draws = self._draws(split) if self.source == "phantom" else None
        if draws is None or name not in self.card.roles:
            return super().role(name, split, index)
        values = {key: value[index] for key, value in draws.attributes.items()}
        traits, shot, scanner, lesion = draws.take(index)
        if name == "identity":
            return draws.subject[index]
        if name == "domain":
            return scanner
        if name == "mask":
            return parts(values, traits, shot, lesion, self.side)
        if name == "boxes":
            return lesion_boxes(values, traits, shot, lesion, self.side)
        if name == "label":
            return lesion
        template = self.card.roles["caption"].template
        shown = self.variables
        return [
            template.format(**{key: shown[key].show(float(value[row])) for key, value in values.items()})
            for row in range(len(index))
        ]

    # --- the phantom --------------------------------------------------------------------------------------------------

    def _home(self, name: str) -> str:
        draws = self._draws(name)
        content = {**draws.attributes, "traits": draws.traits, "shot": draws.shot, "scanner": draws.scanner}
        return f"phantom-{RENDERING}-{self.side}-{sha256_of_tensors(content)[:16]}"

    def _prepare(self, name: str, chosen: Tensor | None = None) -> Split:
        draws = self._draws(name)
        chosen = torch.arange(len(draws.subject)) if chosen is None else chosen
        made = []
        with bar(len(chosen), f"Rendering phantom ({name})") as advance:
            for rows in chosen.split(_BLOCK):
                values = {key: value[rows] for key, value in draws.attributes.items()}
                made.append(render(values, *draws.take(rows), side=self.side))
                advance(len(rows))
        values = {key: value[chosen] for key, value in draws.attributes.items()}
        return Split(name, {**values, self.card.image: torch.cat(made)}, draws.subject[chosen])

    @cache  # noqa: B019
    def _draws(self, name: str) -> _Draws:
        """Subjects, their visits some years apart, and some slices of every visit."""
        rng = np.random.default_rng([_SEED, self.splits.index(name)])
        count = SUBJECTS[name]
        per_subject = VISITS * SLICES_PER_VISIT
        subject = np.repeat(np.arange(count), per_subject)
        visit = np.repeat(np.arange(count * VISITS), SLICES_PER_VISIT)
        first = np.clip(rng.normal(74, 7, count), 55, 86)
        later = np.stack([np.zeros(count), rng.uniform(1, 4, count)], 1)
        age = (first[:, None] + later).reshape(-1)[visit]
        sex, apoe = rng.integers(0, 2, count)[subject], rng.choice(3, count, p=APOE)[subject]
        # Most of what sets a brain apart stays from visit to visit.
        own = {
            key: 0.95 * rng.standard_normal(count)[subject] + 0.31225 * rng.standard_normal(count * VISITS)[visit]
            for key in ("brain_volume", "ventricular_volume")
        }
        noise = {key: torch.from_numpy(value) for key, value in own.items()}
        drawn = np.argsort(rng.random((count * VISITS, SLICES)), axis=1)[:, :SLICES_PER_VISIT].reshape(-1)
        values: dict[str, Tensor] = {
            "apoe": torch.from_numpy(apoe.astype(np.int64)),
            "age": torch.from_numpy(age).float(),
            "sex": torch.from_numpy(sex.astype(np.int64)),
            "slice": torch.from_numpy(drawn.astype(np.int64)),
        }
        values["brain_volume"] = brain_volume_of(
            values["age"], values["sex"], values["apoe"], noise["brain_volume"]
        ).float()
        values["ventricular_volume"] = ventricular_volume_of(
            values["age"], values["brain_volume"], noise["ventricular_volume"]
        ).float()
        order = torch.from_numpy(rng.permutation(len(subject)))
        traits = torch.from_numpy(rng.random((count, len(TRAITS)), dtype=np.float32)[subject])
        shot = torch.from_numpy(rng.random((len(subject), len(SHOT)), dtype=np.float32))
        scanner = torch.from_numpy(rng.integers(0, len(SCANNERS), count * VISITS)[visit])
        lesion = torch.from_numpy((rng.random(count) < 0.2).astype(np.int64)[subject])
        return _Draws(
            {key: value[order] for key, value in values.items()},
            {key: value[order] for key, value in noise.items()},
            *(tensor[order] for tensor in (traits, shot, scanner, lesion, torch.from_numpy(subject))),
        )
