"""Brains: published scans (ADNI), and sources with a known process: real anatomy that is deformed, and an analytic phantom."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from counterbench.causal.variables import Continuous, Image
from counterbench.datasets.dataset import Dataset, plausible_range
from counterbench.datasets.files import adni
from counterbench.datasets.roles import phrases_of
from counterbench.datasets.source import Contents, Draws, FileSource, RenderedSource, Source
from counterbench.plugins.registry import datasets
from counterbench.processes import phantom, template
from counterbench.processes.phantom import SCANNERS, SLICES
from counterbench.storage.tensors import sha256_of_tensors

SUBJECTS = {"train": 2_500, "validation": 250, "judge": 1_000, "test": 250}
"""Of slices."""
VISITS, SLICES_PER_VISIT = 2, 4
HEADS = {"train": 2_000, "validation": 200, "judge": 800, "test": 200}
"""Subjects of volumes, seen once each."""

APOE = (0.55, 0.35, 0.10)
"""Probability of 0, 1 and 2 copies of the e4 allele, as in a memory clinic."""


def brain_volume_of(age: Tensor, sex: Tensor, apoe: Tensor, noise: Tensor) -> Tensor:
    """The mechanism of brain volume, in millilitres: 970 + 95 male - 4 (age - 74) - 12 apoe + 65 noise."""
    return 970 + 95.0 * sex.double() - 4.0 * (age.double() - 74) - 12.0 * apoe.double() + 65 * noise.double()


def ventricular_volume_of(age: Tensor, brain_volume: Tensor, noise: Tensor) -> Tensor:
    """The mechanism of ventricular volume, in millilitres: exp(3.55 + 0.03 (age - 74) - 0.001 (brain - 1000) + 0.35 noise)."""
    return (3.55 + 0.03 * (age.double() - 74) - 0.001 * (brain_volume.double() - 1000) + 0.35 * noise.double()).exp()


def _spatial(source: Source) -> tuple[int, ...]:
    image = source.variables[source.card.image]
    assert isinstance(image, Image)
    return image.spatial


class Subjects(RenderedSource):
    """Subjects whose volumes follow age, sex and apoE by the mechanisms above; how a brain looks is for others to say."""

    redraws = "subjects who are in no public split"
    seed: ClassVar[int]
    """Of everything that is drawn."""
    traits: ClassVar[Sequence[str]]
    shots: ClassVar[Sequence[str]]
    """Names of the numbers behind a subject, and of those behind a picture."""
    rendering: ClassVar[str]
    """Name and number of the rendering; a change of any pixel it makes must raise the number."""

    @property
    def spatial(self) -> tuple[int, ...]:
        """Of the pictures, in pixels."""
        return _spatial(self)

    @property
    def shows_volumes(self) -> bool:
        """Whether a picture is a whole head and not a slice of it."""
        return len(self.spatial) == 3

    def draw(self, split: str) -> Draws:
        """Subjects, their visits some years apart, and some slices of every visit; of heads one visit of everybody."""
        rng = np.random.default_rng([self.seed, *self.entropy(split)])
        count = (HEADS if self.shows_volumes else SUBJECTS)[split]
        visits, slices = (1, 1) if self.shows_volumes else (VISITS, SLICES_PER_VISIT)
        subject = np.repeat(np.arange(count), visits * slices)
        visit = np.repeat(np.arange(count * visits), slices)
        first = np.clip(rng.normal(74, 7, count), 55, 86)
        later = np.stack([np.zeros(count), rng.uniform(1, 4, count)], 1)[:, :visits]
        age = (first[:, None] + later).reshape(-1)[visit]
        sex, apoe = rng.integers(0, 2, count)[subject], rng.choice(3, count, p=APOE)[subject]
        # Most of what sets a brain apart stays from visit to visit.
        own = {
            key: 0.95 * rng.standard_normal(count)[subject] + 0.31225 * rng.standard_normal(count * visits)[visit]
            for key in ("brain_volume", "ventricular_volume")
        }
        noise = {key: torch.from_numpy(value) for key, value in own.items()}
        drawn = np.argsort(rng.random((count * visits, SLICES)), axis=1)[:, :slices].reshape(-1)
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
        traits = torch.from_numpy(rng.random((count, len(self.traits)), dtype=np.float32)[subject])
        shot = torch.from_numpy(rng.random((len(subject), len(self.shots)), dtype=np.float32))
        scanner = torch.from_numpy(rng.integers(0, len(SCANNERS), count * visits)[visit])
        lesion = torch.from_numpy((rng.random(count) < 0.2).astype(np.int64)[subject])
        hidden = {"traits": traits, "shot": shot, "scanner": scanner, "lesion": lesion}
        return Draws(values, self.numbered(split, torch.from_numpy(subject)), noise, hidden).take(order)

    def key(self, split: str) -> str:
        draws = self.draws(split)
        content = {**draws.attributes, **{name: draws.hidden[name] for name in ("traits", "shot", "scanner")}}
        sides = "x".join(map(str, self.spatial)) if self.shows_volumes else str(self.spatial[-1])
        return f"{self.rendering}-{sides}-{sha256_of_tensors(content)[:16]}"

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
        return {name: held[name] for name in self.card.attributes}

    def role(self, name: str, split: str, rows: Tensor) -> Tensor | list[str]:
        if name not in self.card.roles:
            return super().role(name, split, rows)
        draws = self.draws(split).take(rows)
        if name == "identity":
            return draws.group
        if name == "domain":
            return draws.hidden["scanner"]
        if name == "label":
            return draws.hidden["lesion"]
        if name == "mask":
            return self.mask(draws, draws.attributes)
        if name == "boxes":
            return self.boxes(draws)
        if self.card.grammar is not None:
            return phrases_of(self.card, draws)
        template, values = self.card.roles["caption"].template, draws.attributes
        return [
            template.format(**{key: self.variables[key].show(float(values[key][row])) for key in self.card.attributes})
            for row in range(len(draws))
        ]

    def masks(self, split: str, rows: Tensor, attributes: Mapping[str, Tensor]) -> Tensor:
        return self.mask(self.draws(split).take(rows), attributes)

    @abstractmethod
    def mask(self, draws: Draws, attributes: Mapping[str, Tensor]) -> Tensor:
        """Parts of the pictures had these individuals these attributes, (N, *spatial), uint8."""

    @abstractmethod
    def boxes(self, draws: Draws) -> Tensor:
        """Of the lesions, (N, 4)."""


class Phantom(Subjects):
    """The analytic phantom."""

    seed = 20241003
    traits, shots = phantom.TRAITS, phantom.SHOT
    rendering = "phantom-1"

    def render(self, split: str, rows: Tensor, attributes: Mapping[str, Tensor]) -> Tensor:
        return phantom.render(attributes, side=self.spatial[-1], **self.draws(split).take(rows).hidden)

    def mask(self, draws: Draws, attributes: Mapping[str, Tensor]) -> Tensor:
        return phantom.parts(attributes, side=self.spatial[-1], **_seen(draws))

    def boxes(self, draws: Draws) -> Tensor:
        return phantom.lesion_boxes(draws.attributes, side=self.spatial[-1], **_seen(draws))


class Template(Subjects):
    """Real anatomy: the MNI ICBM152 template, deformed."""

    seed = 20261127
    traits, shots = template.TRAITS, template.SHOT
    rendering = "template-1"

    def render(self, split: str, rows: Tensor, attributes: Mapping[str, Tensor]) -> Tensor:
        hidden = self.draws(split).take(rows).hidden
        traits, shot, scanner, lesion = (hidden[name] for name in ("traits", "shot", "scanner", "lesion"))
        return template.render(attributes, traits, shot=shot, scanner=scanner, lesion=lesion, spatial=self.spatial)

    def mask(self, draws: Draws, attributes: Mapping[str, Tensor]) -> Tensor:
        traits, shot, lesion = _seen(draws).values()
        return template.parts(attributes, traits, shot=shot, lesion=lesion, spatial=self.spatial)

    def boxes(self, draws: Draws) -> Tensor:
        return template.lesion_boxes(draws.attributes, side=self.spatial[-1], **_seen(draws))


def _seen(draws: Draws) -> dict[str, Tensor]:
    """What shapes follow from, without what a scanner makes of them."""
    return {name: draws.hidden[name] for name in ("traits", "shot", "lesion")}


class Scans(FileSource):
    """The published scans: slices of them, or whole heads."""

    @property
    def spatial(self) -> tuple[int, ...]:
        """Of the pictures, in pixels."""
        return _spatial(self)

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
        several = SLICES if len(self.spatial) == 2 else 1
        return Contents([scan.path for scan in scans], *adni.values_of(scans, several))

    def key(self, contents: Contents) -> str:
        of_path = {scan.path: scan for scan in self._scans[0]}
        return adni.key([of_path[path] for path in contents.files], self.spatial)

    def decode(self, contents: Contents, split: str) -> Tensor:
        return adni.decode(contents.files, self.spatial, split)


@datasets.register()
class ADNI(Dataset):
    """Reader of the card `adni`; see there."""

    sources: ClassVar[Mapping[str, type[Source]]] = {"template": Template, "phantom": Phantom, "adni": Scans}
