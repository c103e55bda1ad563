"""Faces: the published photographs (CelebA), or rendered portraits with a known process behind them."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from counterbench.datasets.dataset import Dataset
from counterbench.datasets.files import celeba
from counterbench.datasets.source import Contents, Draws, FileSource, RenderedSource, Source
from counterbench.plugins.registry import datasets
from counterbench.processes.portraits import ATTRIBUTES, TRAITS, render
from counterbench.storage.tensors import sha256_of_tensors

RENDERING = 1
"""Number of the rendering; a change of any pixel it makes must raise it."""

SIZES = {"train": 20_000, "validation": 2_000, "judge": 8_000, "test": 2_000}
_SEED = 20240917

FREQUENCY = {"smiling": 0.5, "eyeglasses": 0.2, "young": 0.65, "male": 0.45}
"""Probabilities of the causes."""
NO_BEARD = torch.tensor([[0.98, 0.45], [0.98, 0.6]], dtype=torch.float64)
BALD = torch.tensor([[0.03, 0.35], [0.01, 0.08]], dtype=torch.float64)
"""Probability of 1 by [young, male]; somebody's own number, uniform on [0, 1], decides: 1 where it is smaller."""

_LISTED = {name: "_".join(part.capitalize() for part in name.split("_")) for name in ATTRIBUTES}
_PARTITION = {"train": 0, "validation": 1, "judge": 1, "test": 2}


def consequences(young: Tensor, male: Tensor, luck: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The mechanisms of no_beard and bald.

    Args:
        young, male: (N,), 0 or 1.
        luck: (N,) for no_beard and bald: the exogenous numbers, uniform on [0, 1].

    Returns:
        (N,) for no_beard and bald, 0 or 1.
    """
    tables = {"no_beard": NO_BEARD, "bald": BALD}
    return {name: (luck[name] < table[young.long(), male.long()]).long() for name, table in tables.items()}


class Portraits(RenderedSource):
    """Rendered portraits.

    They follow from all six attributes, whichever of them a card declares: the others are part of who somebody is.
    """

    redraws = "people who are in no public split"

    def draw(self, split: str) -> Draws:
        rng = np.random.default_rng([_SEED, *self.entropy(split)])
        count = SIZES[split]
        attributes = {
            cause: torch.from_numpy((rng.random(count) < share).astype(np.int64)) for cause, share in FREQUENCY.items()
        }
        luck = {name: torch.from_numpy(rng.random(count)) for name in ("no_beard", "bald")}
        attributes.update(consequences(attributes["young"], attributes["male"], luck))
        traits = torch.from_numpy(rng.random((count, len(TRAITS)), dtype=np.float32))
        people = self.numbered(split, torch.arange(count))  # everybody has one picture
        return Draws(attributes, people, luck, {"traits": traits})

    def key(self, split: str) -> str:
        """The same for every card."""
        draws = self.draws(split)
        return f"portraits-{RENDERING}-{sha256_of_tensors({**draws.attributes, **draws.hidden})[:16]}"

    def true_attributes(self, split: str, rows: Tensor, interventions: Mapping[str, Tensor]) -> dict[str, Tensor]:
        draws = self.draws(split).take(rows)
        held = {**draws.attributes, **{name: value.to(torch.long) for name, value in interventions.items()}}
        followed = consequences(held["young"], held["male"], draws.noise)
        everything = {**held, **{name: value for name, value in followed.items() if name not in interventions}}
        return {name: everything[name] for name in self.card.attributes}

    def render(self, split: str, rows: Tensor, attributes: Mapping[str, Tensor]) -> Tensor:
        draws = self.draws(split).take(rows)
        return render({**draws.attributes, **attributes}, draws.hidden["traits"])


class Photographs(FileSource):
    """The published photographs, by the official partition; of its validation part, people with odd numbers are for judges."""

    def download(self) -> None:
        celeba.download(self.data_dir)

    @cached_property
    def _lists(self) -> celeba.Lists:
        return celeba.read_lists(self.data_dir, tuple(_LISTED.values()))

    def find(self, split: str) -> Contents:
        lists = self._lists
        shown = lists.partition == _PARTITION[split]
        if split in ("validation", "judge"):
            shown &= (lists.identity % 2 == 1) == (split == "judge")
        rows = shown.nonzero()[:, 0]
        files = [lists.pictures / lists.names[row] for row in rows.tolist()]
        values = {attribute: lists.attributes[_LISTED[attribute]][rows] for attribute in self.card.attributes}
        return Contents(files, values, lists.identity[rows])

    def key(self, contents: Contents) -> str:
        return celeba.key(self._lists.pictures, contents.files)

    def decode(self, contents: Contents, split: str) -> Tensor:
        return celeba.decode(contents.files, split)


@datasets.register()
class CelebA(Dataset):
    """Reader of the cards `celeba-simple` and `celeba-complex`; see there."""

    sources: ClassVar[Mapping[str, type[Source]]] = {"portraits": Portraits, "celeba": Photographs}
