"""Faces: the published photographs (CelebA), or rendered portraits with a known process behind them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from torch import Tensor

from counterbench.datasets.cache import cached, is_cached
from counterbench.datasets.dataset import REFERENCES, Dataset, Split
from counterbench.datasets.files import celeba
from counterbench.plugins.registry import datasets
from counterbench.processes.portraits import ATTRIBUTES, TRAITS, render
from counterbench.runtime.progress import bar
from counterbench.storage.tensors import sha256_of_tensors

RENDERING = 1
"""Number of the rendering; a change of any pixel it makes must raise it."""

SIZES = {"train": 20_000, "validation": 2_000, "judge": 8_000, "test": 2_000}
_SEED = 20240917
_BLOCK = 250

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


@dataclass(frozen=True)
class _Draws:
    """Everything behind rendered portraits: their attributes, what decided them, and who they are."""

    attributes: dict[str, Tensor]
    luck: dict[str, Tensor]
    traits: Tensor


@datasets.register()
class CelebA(Dataset):
    """Reader of the cards `celeba-simple` and `celeba-complex` (`datasets/celeba-*.yaml`), which describe variables, sources and truth.

    Rendered portraits follow from all six attributes, whichever of them a card declares: the others are part of who somebody is.
    """

    def download(self) -> None:
        if self.source != "celeba":
            super().download()
        else:
            celeba.download(self.data_dir)

    def split(self, name: str) -> Split:
        self._require_split(name)
        return self._loaded(name)

    @cache  # noqa: B019 - a dataset lives as long as the process
    def _loaded(self, name: str) -> Split:
        if self.source == "portraits":
            return self._with_attributes(name, cached(self._home(name), name, lambda: self._prepare(name)))
        rows = self._published_rows(name)
        found = self._listing()
        image = celeba.pictures(found, rows, name)
        return Split(name, {**self.attributes(name), self.card.image: image}, found.identity[rows])

    @cache  # noqa: B019
    def reference(self, count: int = REFERENCES) -> Split:
        if self.source != "portraits" or is_cached(self._home("train"), "train") or count >= SIZES["train"]:
            return Dataset.reference(self, count)
        rows = self.reference_rows(count)
        name = f"reference-{count}"
        pictures = cached(self._home("train"), name, lambda: self._prepare("train", rows))
        return self._with_attributes("train", pictures, rows)

    def attributes(self, name: str) -> dict[str, Tensor]:
        self._require_split(name)
        if self.source == "portraits":
            known: Mapping[str, Tensor] = self._draws(name).attributes
            return {attribute: known[attribute] for attribute in self.card.attributes}
        rows = self._published_rows(name)
        listed = self._listing().attributes
        return {attribute: listed[_LISTED[attribute]][rows] for attribute in self.card.attributes}

    # --- the published photographs ------------------------------------------------------------------------------------

    def _listing(self) -> celeba.Listing:
        return celeba.listing(self.data_dir, tuple(_LISTED.values()))

    def _published_rows(self, name: str) -> Tensor:
        """The official partition; of its validation part, people with odd numbers are for judges."""
        found = self._listing()
        chosen = found.partition == _PARTITION[name]
        if name in ("validation", "judge"):
            chosen &= (found.identity % 2 == 1) == (name == "judge")
        return chosen.nonzero()[:, 0]

    # --- rendered portraits -------------------------------------------------------------------------------------------

    def knows_truth(self, intervened: Collection[str]) -> bool:
        return self.source == "portraits" or super().knows_truth(intervened)

    def true_attributes(self, split: str, index: Tensor, interventions: Mapping[str, Tensor]) -> dict[str, Tensor]:
        if self.source != "portraits":
            return super().true_attributes(split, index, interventions)
        everything = self._answer(split, index, interventions)
        return {name: everything[name] for name in self.card.attributes}

    def _answer(self, split: str, index: Tensor, interventions: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """All six attributes of these people had the variables been set."""
        draws = self._draws(split)
        held = {name: value[index] for name, value in draws.attributes.items()}
        held.update({name: value.to(torch.long) for name, value in interventions.items()})
        luck = {name: value[index] for name, value in draws.luck.items()}
        followed = consequences(held["young"], held["male"], luck)
        return {**held, **{name: value for name, value in followed.items() if name not in interventions}}

    def _true_image(self, split: str, index: Tensor, attributes: Mapping[str, Tensor]) -> Tensor:
        hidden = {name: value[index] for name, value in self._draws(split).attributes.items()}
        return render({**hidden, **attributes}, self._draws(split).traits[index]).float()

    def _home(self, name: str) -> str:
        """Pixels follow from the rendering and the draws, and are the same for every card."""
        draws = self._draws(name)
        return f"portraits-{RENDERING}-{sha256_of_tensors({**draws.attributes, 'traits': draws.traits})[:16]}"

    def _with_attributes(self, name: str, pictures: Split, rows: Tensor | slice = slice(None)) -> Split:
        chosen = {attribute: value[rows] for attribute, value in self.attributes(name).items()}
        return Split(pictures.name, {**chosen, self.card.image: pictures.values[self.card.image]}, pictures.group)

    def _prepare(self, name: str, chosen: Tensor | None = None) -> Split:
        draws = self._draws(name)
        chosen = torch.arange(SIZES[name]) if chosen is None else chosen
        made = []
        with bar(len(chosen), f"Rendering portraits ({name})") as advance:
            for rows in chosen.split(_BLOCK):
                made.append(render({key: value[rows] for key, value in draws.attributes.items()}, draws.traits[rows]))
                advance(len(rows))
        return Split(name, {self.card.image: torch.cat(made)}, chosen)  # everybody has one picture

    @cache  # noqa: B019
    def _draws(self, name: str) -> _Draws:
        rng = np.random.default_rng([_SEED, self.splits.index(name)])
        count = SIZES[name]
        attributes = {
            cause: torch.from_numpy((rng.random(count) < share).astype(np.int64)) for cause, share in FREQUENCY.items()
        }
        luck = {name: torch.from_numpy(rng.random(count)) for name in ("no_beard", "bald")}
        attributes.update(consequences(attributes["young"], attributes["male"], luck))
        traits = torch.from_numpy(rng.random((count, len(TRAITS)), dtype=np.float32))
        return _Draws(attributes, luck, traits)
