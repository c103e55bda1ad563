"""Where the samples of a dataset come from: a known process that renders them, or published files."""

from __future__ import annotations

import hashlib
import math
from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import ClassVar, Protocol, runtime_checkable

import torch
from torch import Tensor

from counterbench.catalog.cards import Card
from counterbench.datasets.cache import cached, is_cached, remembered
from counterbench.datasets.split import Split
from counterbench.errors import ConfigError, DataError, short
from counterbench.plugins.registry import source_hash_of
from counterbench.runtime.blocks import at_once, one_thread
from counterbench.runtime.devices import processors
from counterbench.runtime.progress import bar
from counterbench.storage.tensors import sha256_of_tensors

SPLITS = ("train", "validation", "judge", "test")
"""What every dataset is divided into."""
_ROOM = 1 << 24  # voxels that are rendered at once
_GROUPS = 1 << 24
"""How many numbers of groups an exam seed has to itself; those below are of the public splits."""


class Source(ABC):
    """One of the sources of a card.

    Args:
        card: the declaration of the dataset.
        name: of the source.
        data_dir: where the user keeps published data.
    """

    redraws: ClassVar[str] = ""
    """What an exam seed makes of the test split, in words; empty where nobody can draw new individuals."""

    def __init__(self, card: Card, name: str, data_dir: Path | None):
        self.card, self.name, self.data_dir = card, name, data_dir
        self.variables = card.build_variables()
        self.exam_seed: int | None = None

    @property
    def notes(self) -> list[str]:
        """What a reader of a record must know about this source as it was found."""
        if self.exam_seed is None:
            return []
        return [f"the test split is not the public one: {self.redraws}, drawn with the exam seed {self.exam_seed}"]

    def take_exam_seed(self, seed: int) -> None:
        """From now on, the test split is drawn anew, so that its truth is in no public package. The other splits stay.

        Raises:
            ConfigError: where nobody can draw new individuals, or for what is no seed.
        """
        if not 0 <= seed < 1 << 32:
            raise ConfigError(f"The exam seed is {short(seed)}; give a whole number from 0 to {2**32 - 1}.")
        if not self.redraws:
            raise ConfigError(
                f"The exam seed {seed} asks for new individuals, and nobody can draw new ones of {self.card.name}/{self.name}: its images "
                "were made elsewhere. Leave it out, or take a source that is rendered here from numbers that are drawn."
            )
        self.exam_seed = seed

    def entropy(self, split: str) -> list[int]:
        """What a split's draws are seeded with, beside the source's own seed: its number, and of an unseen test split the exam seed."""
        number = SPLITS.index(split)
        # The 1 in between: numbers at the end that are 0 are none to numpy.
        return [number, 1, self.exam_seed] if split == "test" and self.exam_seed is not None else [number]

    def numbered(self, split: str, group: Tensor) -> Tensor:
        """Groups of a split, (N,): as they are, or of an unseen test split with numbers that no other split and no other exam seed has."""
        unseen = split == "test" and self.exam_seed is not None
        return group + (1 + (self.exam_seed or 0)) * _GROUPS if unseen else group

    def download(self) -> None:
        """Fetch the published files into the data folder, where they may be fetched by a program.

        Raises:
            DataError: where they may not, or could not be.
        """
        entry, what = self.card.sources[self.name], f"{self.card.name}/{self.name}"
        if entry.embedded:
            raise DataError(f"{what} needs no download: it is made here.")
        raise DataError(
            f"{what} cannot be downloaded by a program. {entry.description.strip()} Licence: {entry.licence}."
        )

    @abstractmethod
    def split(self, name: str) -> Split:
        """Load one split, rendering or reading it on first use.

        Raises:
            DataError: for data that is missing or damaged.
        """

    def attributes(self, split: str) -> dict[str, Tensor] | None:
        """Natural values of all variables but the image, (N,) each; None where they come with the split alone."""
        return None

    def part(self, split: str, rows: Tensor) -> Split | None:
        """Some samples of a split, (M,) rows of it; None where the whole split is no dearer."""
        return None

    def role(self, name: str, split: str, rows: Tensor) -> Tensor | list[str]:
        """See :meth:`counterbench.datasets.dataset.Dataset.role`."""
        known = self.card.carried(self.name)
        raise DataError(
            f"The samples of {self.card.name}/{self.name} carry no {name!r}; they carry: {', '.join(known) or 'nothing else'}."
        )

    def knows_truth(self, intervened: Collection[str]) -> bool:
        """Whether interventions on these variables have true counterfactuals. Default: only the null one."""
        return not intervened

    def true_attributes(self, split: str, rows: Tensor, interventions: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """See :meth:`counterbench.datasets.dataset.Dataset.true_attributes`."""
        return dict(interventions)

    def render(self, split: str, rows: Tensor, attributes: Mapping[str, Tensor]) -> Tensor:
        """(M, C, H, W), uint8: the images of some samples had they these attributes."""
        raise NotImplementedError("a dataset that knows the truth renders it")

    def masks(self, split: str, rows: Tensor, attributes: Mapping[str, Tensor]) -> Tensor | None:
        """(M, *sides), uint8: the parts of these images, numbers of the classes of the role `mask`; None where nobody knows them."""
        return None


@runtime_checkable
class DrawsUnseen(Protocol):
    """A source whose true counterfactuals hang on luck that no image shows, and that can draw it from its law given everything visible."""

    unseen: int
    """How many uniform numbers one draw takes per sample."""

    def possible_counterfactual(
        self, split: str, rows: Tensor, interventions: Mapping[str, Tensor], chance: Tensor
    ) -> dict[str, Tensor]:
        """A counterfactual as it might be, as far as anybody can see.

        Args:
            split: name of the split.
            rows: (M,), rows of it.
            interventions: natural values, (M,) each.
            chance: (M, unseen), uniform on (0, 1), float64.

        Returns:
            Natural values of every variable, (M, ...); the image in whole grey levels.
        """
        ...


class Overridden(Source):
    """The source of a dataset that declares none, because its own methods take the place of one."""

    def split(self, name: str) -> Split:
        raise DataError(
            f"The reader of {self.card.name!r} yields nothing for the source {self.name!r}; give it an entry in `sources`, or a "
            "method `split`."
        )


@dataclass(frozen=True)
class Draws:
    """Everything behind the samples of a split; rendering needs nothing else.

    Args:
        attributes: natural values of every variable of the process but the image, (N,) each.
        group: (N,), see :class:`counterbench.datasets.split.Split`.
        noise: exogenous numbers of the mechanisms of the attributes, (N,) each.
        hidden: what else the pixels follow from, (N, ...) each.
    """

    attributes: Mapping[str, Tensor]
    group: Tensor
    noise: Mapping[str, Tensor] = field(default_factory=dict)
    hidden: Mapping[str, Tensor] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.group)

    def take(self, rows: Tensor) -> Draws:
        """Those of some samples."""
        attributes, noise, hidden = (
            {name: value[rows] for name, value in values.items()}
            for values in (self.attributes, self.noise, self.hidden)
        )
        return Draws(attributes, self.group[rows], noise, hidden)


class RenderedSource(Source):
    """A known process: parameters are drawn, and pixels follow from them; interventions have true counterfactuals."""

    block: ClassVar[int] = 250
    """How many samples are rendered at once; fewer of volumes."""

    def __init__(self, card: Card, name: str, data_dir: Path | None):
        super().__init__(card, name, data_dir)
        self._draws: dict[str, Draws] = {}

    @abstractmethod
    def draw(self, split: str) -> Draws:
        """Draw everything behind a split, always the same."""

    def key(self, split: str) -> str:
        """Folder of the cache: it differs wherever pixels may differ. Default: by everything drawn, and by the code."""
        draws = self.draws(split)
        drawn = sha256_of_tensors({**draws.attributes, **draws.hidden, "group": draws.group})
        digest = hashlib.sha256(f"{source_hash_of(type(self))} {drawn}".encode()).hexdigest()
        return f"{self.card.name}-{self.name}-{digest[:16]}"

    def draws(self, split: str) -> Draws:
        """Everything behind a split, drawn once."""
        return remembered(self._draws, split, lambda: self.draw(split))

    def attributes(self, split: str) -> dict[str, Tensor]:
        attributes = self.draws(split).attributes
        return {name: attributes[name] for name in self.card.attributes}

    def split(self, name: str) -> Split:
        if not self.card.image:
            return Split(name, self.attributes(name), self.draws(name).group)
        return self._from_cache(name, name, torch.arange(len(self.draws(name))))

    def part(self, split: str, rows: Tensor) -> Split | None:
        if len(rows) == len(self.draws(split)) or not self.card.image:
            return None
        if is_cached(self.key(split), split):
            whole = self.split(split)  # not that of the dataset, which would keep it
            return Split(split, {name: value[rows] for name, value in whole.values.items()}, whole.group[rows])
        return self._from_cache(split, f"reference-{len(rows)}", rows)

    def _from_cache(self, split: str, name: str, rows: Tensor) -> Split:
        stored = cached(self.key(split), name, lambda: self.rendered(split, rows))
        # Cards that share their pixels declare different attributes.
        attributes = {attribute: value[rows] for attribute, value in self.attributes(split).items()}
        return Split(name, {**attributes, self.card.image: stored.values[self.card.image]}, stored.group)

    def rendered(self, split: str, rows: Tensor) -> Split:
        """Render some samples of a split, blocks side by side: torch's own threads would cut up operations that are too small for that."""
        draws, images = self.draws(split).take(rows), []

        def drawn(positions: Tensor) -> Tensor:
            attributes = {name: value[positions] for name, value in draws.attributes.items()}
            return self.render(split, rows[positions], attributes)

        with (
            bar(len(rows), f"Rendering {self.card.name}/{self.name} ({split})") as advance,
            one_thread(),
            ThreadPoolExecutor(processors()) as pool,
        ):
            block = at_once(math.prod(self.card.image_shape), self.block, room=_ROOM)
            first, *rest = torch.arange(len(rows)).split(block)
            for part in chain([drawn(first)], pool.map(drawn, rest)):  # what the first block remembers is there for all
                images.append(part)
                advance(len(part))
        return Split(split, {**draws.attributes, self.card.image: torch.cat(images)}, draws.group)

    def knows_truth(self, intervened: Collection[str]) -> bool:
        """Default: of every intervention, for the whole process is known."""
        return True

    @abstractmethod
    def true_attributes(self, split: str, rows: Tensor, interventions: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Natural values of the attributes had the variables been set."""


@dataclass(frozen=True)
class Contents:
    """What the files of a split hold, as far as it is known before a pixel is read.

    Args:
        files: that hold the pixels, in the order of the samples; a file may hold several samples.
        values: natural values of all variables but the image, (N,) each.
        group: (N,), see :class:`counterbench.datasets.split.Split`.
    """

    files: Sequence[Path]
    values: Mapping[str, Tensor]
    group: Tensor


class FileSource(Source):
    """Published files, decoded once and kept in the cache; nobody knows the process behind them."""

    def __init__(self, card: Card, name: str, data_dir: Path | None):
        super().__init__(card, name, data_dir)
        self._contents: dict[str, Contents] = {}

    @abstractmethod
    def find(self, split: str) -> Contents:
        """Find the files of a split, and read the tables beside them.

        Raises:
            DataError: for what is missing or damaged, and a split without samples.
        """

    @abstractmethod
    def key(self, contents: Contents) -> str:
        """Folder of the cache: it differs wherever pixels may differ, as where a file was written anew."""

    @abstractmethod
    def decode(self, contents: Contents, split: str) -> Tensor:
        """(N, C, H, W), uint8: the pixels of a split.

        Raises:
            DataError: for files that are missing or damaged.
        """

    def contents(self, split: str) -> Contents:
        """What the files of a split hold, found once."""
        return remembered(self._contents, split, lambda: self.find(split))

    def attributes(self, split: str) -> dict[str, Tensor]:
        values = self.contents(split).values
        return {name: values[name] for name in self.card.attributes}

    def split(self, name: str) -> Split:
        contents, image = self.contents(name), self.card.image

        def decoded() -> Split:
            return Split(name, {**contents.values, image: self.decode(contents, name)}, contents.group)

        stored = cached(self.key(contents), name, decoded)
        return Split(name, {**self.attributes(name), image: stored.values[image]}, contents.group)
