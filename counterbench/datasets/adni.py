"""Brain slices: published scans (ADNI), or an analytic phantom with a known process behind it."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from counterbench.causal.variables import Continuous, Image, Variable
from counterbench.datasets.dataset import Dataset, plausible_range
from counterbench.datasets.files import adni
from counterbench.datasets.source import Contents, Draws, FileSource, RenderedSource, Source
from counterbench.plugins.registry import datasets
from counterbench.processes.phantom import SCANNERS, SHOT, SLICES, TRAITS, lesion_boxes, parts, render
from counterbench.storage.tensors import sha256_of_tensors

RENDERING = 1
"""Number of the rendering; a change of any pixel it makes must raise it."""

SUBJECTS = {"train": 2_500, "validation": 250, "judge": 1_000, "test": 250}
VISITS, SLICES_PER_VISIT = 2, 4
_SEED = 20241003

APOE = (0.55, 0.35, 0.10)
"""Probability of 0, 1 and 2 copies of the e4 allele, as in a memory clinic."""


def brain_volume_of(age: Tensor, sex: Tensor, apoe: Tensor, noise: Tensor) -> Tensor:
    """The mechanism of brain volume, in millilitres: 970 + 95 male - 4 (age - 74) - 12 apoe + 65 noise."""
    return 970 + 95.0 * sex.double() - 4.0 * (age.double() - 74) - 12.0 * apoe.double() + 65 * noise.double()


def ventricular_volume_of(age: Tensor, brain_volume: Tensor, noise: Tensor) -> Tensor:
    """The mechanism of ventricular volume, in millilitres: exp(3.55 + 0.03 (age - 74) - 0.001 (brain - 1000) + 0.35 noise)."""
    return (3.55 + 0.03 * (age.double() - 74) - 0.001 * (brain_volume.double() - 1000) + 0.35 * noise.double()).exp()


class Phantom(RenderedSource):
    """The analytic phantom."""

    redraws = "subjects who are in no public split"

    @property
    def side(self) -> int:
        """Of the pictures, in pixels."""
        return _side(self.variables[self.card.image])

    def draw(self, split: str) -> Draws:
        """Subjects, their visits some years apart, and some slices of every visit."""
        rng = np.random.default_rng([_SEED, *self.entropy(split)])
        count = SUBJECTS[split]
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
        hidden = {"traits": traits, "shot": shot, "scanner": scanner, "lesion": lesion}
        return Draws(values, self.numbered(split, torch.from_numpy(subject)), noise, hidden).take(order)

    def key(self, split: str) -> str:
        draws = self.draws(split)
        content = {**draws.attributes, **{name: draws.hidden[name] for name in ("traits", "shot", "scanner")}}
        return f"phantom-{RENDERING}-{self.side}-{sha256_of_tensors(content)[:16]}"

    def true_attributes(self, split: str, rows: Tensor, interventions: Mapping[str, Tensor]) -> dict[str, Tensor]:
        draws = self.draws(split).take(rows)
        noise, held = draws.noise, {**draws.attributes, **interventions}
        causes = {"age", "sex", "apoe"}
        if causes & interventions.keys() and "brain_volume" not in interventions:
            brain = brain_volume_of(held["age"], held["sex"], held["apoe"], noise["brain_volume"])
            held["brain_volume"] = brain.float()
        if {*causes, "brain_volume"} & interventions.keys() and "ventricular_volume" not in interventions:
            ventricles = ventricular_volume_of(held["age"], held["brain_volume"], noise["ventricular_volume"])
            held["ventricular_volume"] = ventricles.float()
        return held

    def render(self, split: str, rows: Tensor, attributes: Mapping[str, Tensor]) -> Tensor:
        draws = self.draws(split).take(rows).hidden
        return render(
            attributes,
            draws["traits"],
            shot=draws["shot"],
            scanner=draws["scanner"],
            lesion=draws["lesion"],
            side=self.side,
        )

    def role(self, name: str, split: str, rows: Tensor) -> Tensor | list[str]:
        if name not in self.card.roles:
            return super().role(name, split, rows)
        draws = self.draws(split).take(rows)
        values, hidden = draws.attributes, draws.hidden
        if name == "identity":
            return draws.group
        if name == "domain":
            return hidden["scanner"]
        if name == "label":
            return hidden["lesion"]
        if name in ("mask", "boxes"):
            draw = parts if name == "mask" else lesion_boxes
            return draw(values, hidden["traits"], shot=hidden["shot"], lesion=hidden["lesion"], side=self.side)
        template = self.card.roles["caption"].template
        return [
            template.format(**{key: self.variables[key].show(float(value[row])) for key, value in values.items()})
            for row in range(len(draws))
        ]


class Scans(FileSource):
    """The published scans."""

    @property
    def ranges(self) -> adni.Ranges:
        """What the card's quantities can be."""
        quantities = [variable for variable in self.variables.values() if isinstance(variable, Continuous)]
        return tuple((variable.name, *plausible_range(variable)) for variable in quantities)

    @cached_property
    def _scans(self) -> tuple[list[adni.Scan], list[str]]:
        return adni.scans(self.data_dir, self.ranges)

    @property
    def notes(self) -> list[str]:
        """How many visits and scans were left out, and why."""
        return self._scans[1]

    def find(self, split: str) -> Contents:
        scans = adni.of_split(*self._scans, split)
        return Contents([scan.path for scan in scans], *adni.values_of(scans))

    def key(self, contents: Contents) -> str:
        of_path = {scan.path: scan for scan in self._scans[0]}
        return adni.key([of_path[path] for path in contents.files], _side(self.variables[self.card.image]))

    def decode(self, contents: Contents, split: str) -> Tensor:
        return adni.decode(contents.files, _side(self.variables[self.card.image]), split)


def _side(image: Variable) -> int:
    """Of square pictures, in pixels."""
    assert isinstance(image, Image)
    return image.width


@datasets.register()
class ADNI(Dataset):
    """Reader of the card `adni`; see there."""

    sources: ClassVar[Mapping[str, type[Source]]] = {"phantom": Phantom, "adni": Scans}
