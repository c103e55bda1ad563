"""What a dataset is: splits of factual samples and, where the process is known, true counterfactuals."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from functools import wraps
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import torch
from torch import Tensor

from counterbench.catalog.cards import Card
from counterbench.causal.variables import Continuous
from counterbench.datasets.cache import remembered
from counterbench.datasets.source import SPLITS, Overridden, Source
from counterbench.datasets.split import Split
from counterbench.errors import DataError, suggestion
from counterbench.runtime.blocks import at_once
from counterbench.storage.tensors import sha256_of_tensors

__all__ = ["MARGIN", "REFERENCES", "REFERENCE_NUMBERS", "TRUTHS", "Dataset", "Split", "plausible_range"]

REFERENCES = 10_000
"""How many real training images answers are compared with, unless a suite says otherwise."""

UNSEEN = "judge"
"""The split that no model is trained on: real images that nobody can have memorised."""
REFERENCE_NUMBERS = REFERENCES * 192**2
"""How many numbers these may have together: of volumes there are fewer, such as 416 of 96^3 voxels, so that they fit into memory."""

TRUTHS = 8
"""How many true answers a dataset keeps."""

MARGIN = 0.5
"""How far beyond the card's range values of published data may lie, in widths of the range."""


def plausible_range(variable: Continuous) -> tuple[float, float]:
    """The card's range and a margin of half its width; where the range is positive, no less than half its lower end."""
    margin = MARGIN * (variable.high - variable.low)
    low = variable.low - margin
    return max(low, variable.low / 2) if variable.low > 0 else low, variable.high + margin


_Content = TypeVar("_Content")


def _kept(method: Callable[[Any, str], _Content]) -> Callable[[Any, str], _Content]:
    """A reader's `split` or `attributes`: what it returns is checked once, and lives as long as the dataset."""

    @wraps(method)
    def reading(self: Dataset, name: str) -> _Content:
        key = method.__qualname__, name  # a word: a dataset may be sent to another process
        if key not in self._kept:
            read: Any = method(self, name)
            self._require_sound(name, read.values if isinstance(read, Split) else read)
            self._kept[key] = read
        kept: Any = self._kept[key]
        content: _Content = kept if isinstance(kept, Split) else dict(kept)  # type: ignore[assignment]
        return content

    return reading


class Dataset:
    """Factual samples behind a card.

    A reader is a subclass that says in `sources` what is behind each source of its cards, or has a method `split` of its own
    (and `knows_truth`, `true_attributes` and `_true_image`, where the process is known).

    Args:
        card: the declaration.
        source: where the pixels come from; None for the card's default.
        data_dir: where the user keeps published data.
    """

    splits: ClassVar[tuple[str, ...]] = SPLITS
    sources: ClassVar[Mapping[str, type[Source]]] = {}
    """Name of a source -> what is behind it."""
    any_source: ClassVar[type[Source]] = Overridden
    """What is behind sources that have no entry there."""

    def __init_subclass__(cls, **options: Any) -> None:
        """Whatever a reader's `split` and `attributes` return is checked against the card, and kept: built in or from outside."""
        super().__init_subclass__(**options)
        for method in {"split", "attributes"} & vars(cls).keys():
            setattr(cls, method, _kept(vars(cls)[method]))

    def __init__(self, card: Card, source: str | None = None, data_dir: Path | None = None):
        self.card, self.source, self.data_dir = card, card.source(source), data_dir
        self.graph, self.variables = card.graph, card.build_variables()
        self.behind: Source = self.sources.get(self.source, self.any_source)(card, self.source, data_dir)
        self._kept: dict[tuple[str, str], Any] = {}
        self._references: dict[int, Split] = {}
        self._reference_rows: dict[int, Tensor] = {}
        self._truths: dict[tuple[str, bool, str], dict[str, Tensor]] = {}

    @property
    def notes(self) -> list[str]:
        """What a reader of a record must know about this source as it was found."""
        return self.behind.notes

    @property
    def exam_seed(self) -> int | None:
        """Seed of an unseen test split; None for the public one."""
        return self.behind.exam_seed

    def take_exam_seed(self, seed: int) -> None:
        """Draw the test split anew, before anything is read; see :meth:`counterbench.datasets.source.Source.take_exam_seed`."""
        self.behind.take_exam_seed(seed)

    def download(self) -> None:
        """Fetch the published files into the data folder, where they may be fetched by a program.

        Raises:
            DataError: where they may not, or could not be.
        """
        self.behind.download()

    @_kept
    def split(self, name: str) -> Split:
        """Load one split, rendering or reading it on first use.

        Raises:
            DataError: for an unknown split, or data that is missing or damaged.
        """
        self._require_split(name)
        return self.behind.split(name)

    @_kept
    def attributes(self, name: str) -> dict[str, Tensor]:
        """Natural values of all variables but the image; may be much cheaper than the whole split."""
        self._require_split(name)
        known = self.behind.attributes(name)
        values = self.split(name).values if known is None else known
        return {attribute: values[attribute] for attribute in self.card.attributes}

    def reference(self, count: int = REFERENCES) -> Split:
        """Real training images that answers are compared with: the whole training split, or `count` samples of it.

        They are drawn at random, once and for all: the same ones for every model. May be much cheaper than the whole split. Of large
        volumes there are fewer than asked for, see :data:`REFERENCE_NUMBERS`.
        """
        return remembered(self._references, count, lambda: self._part_of_training(self.reference_rows(count)))

    def _part_of_training(self, rows: Tensor) -> Split:
        part = self.behind.part("train", rows)
        if part is not None:
            return part
        train = self.split("train")
        return Split("reference", {name: value[rows] for name, value in train.values.items()}, train.group[rows])

    def reference_rows(self, count: int) -> Tensor:
        """Their rows of the training split, ascending."""
        return remembered(self._reference_rows, count, lambda: self._drawn_rows(count))

    def _drawn_rows(self, count: int) -> Tensor:
        total = len(next(iter(self.attributes("train").values())))
        drawn = torch.randperm(total, generator=torch.Generator().manual_seed(total))
        most = at_once(math.prod(self.card.image_shape), count, room=REFERENCE_NUMBERS)
        return drawn[:most].sort().values

    def attributes_fingerprint(self, name: str) -> str:
        """SHA-256 of :meth:`attributes`."""
        return sha256_of_tensors(self.attributes(name))

    def role(self, name: str, split: str, index: Tensor) -> Tensor | list[str]:
        """What else some samples carry: a role that the card declares for this source.

        Args:
            name: of the role.
            split: name of the split.
            index: (N,), rows of it.

        Returns:
            identity, domain, label: (N,) long; mask: (N, H, W) uint8; boxes: (N, 4) left, top, right, bottom in pixels, NaN
            where there is none; caption: N sentences.

        Raises:
            DataError: if the card declares no such role for this source.
        """
        return self.behind.role(name, split, index)

    def masks(self, split: str, index: Tensor, interventions: Mapping[str, Tensor]) -> Tensor | None:
        """The parts of true counterfactual images, as the process knows them.

        Args:
            split: name of the split.
            index: (N,), rows of it.
            interventions: natural values, (N, ...) each; such that :meth:`knows_truth`.

        Returns:
            (N, *sides), uint8, numbers of the classes of the role `mask`; None where nobody knows them.
        """
        return self.behind.masks(split, index, self.true_attributes(split, index, interventions))

    def knows_truth(self, intervened: Collection[str]) -> bool:
        """Whether interventions on these variables have true counterfactuals, images included. Of files: only the null one."""
        return self.behind.knows_truth(intervened)

    def true_attributes(self, split: str, index: Tensor, interventions: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """True counterfactual attributes, as far as the data-generating process is known.

        Args:
            split: name of the split.
            index: (N,), rows of it.
            interventions: natural values, (N, ...) each; the same variables for all rows.

        Returns:
            Natural values of the attributes whose true counterfactual is known; the others are left out.
        """
        return self.behind.true_attributes(split, index, interventions)

    def truth(self, split: str, index: Tensor, interventions: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """True counterfactuals of every variable: the factual values where nothing is intervened on.

        The answers to the last few questions are kept, so that several who ask the same cost one rendering; don't write into them.

        Raises:
            DataError: if these interventions have none; ask :meth:`knows_truth` first.
        """
        if not interventions:
            return dict(self.split(split).take(index))
        if not self.knows_truth(interventions):
            asked = ", ".join(f"do({name})" for name in interventions)
            raise DataError(f"{self.card.name} has no true counterfactual for {asked}. {self.card.truth.strip()}")
        question = sha256_of_tensors({"rows": index, **{f"do({name})": value for name, value in interventions.items()}})
        # Tensors made in inference mode can be used nowhere else.
        key = split, torch.is_inference_mode_enabled(), question
        truth = remembered(self._truths, key, lambda: self._truth(split, index, interventions))
        if len(self._truths) > TRUTHS:
            del self._truths[next(iter(self._truths))]
        return dict(truth)

    def _truth(self, split: str, index: Tensor, interventions: Mapping[str, Tensor]) -> dict[str, Tensor]:
        attributes = self.true_attributes(split, index, interventions)
        if not self.card.image:
            return attributes
        return {**attributes, self.card.image: self._true_image(split, index, attributes)}

    def _true_image(self, split: str, index: Tensor, attributes: Mapping[str, Tensor]) -> Tensor:
        return self.behind.render(split, index, attributes).float()

    def _require_sound(self, name: str, values: Mapping[str, Tensor]) -> None:
        """Raise DataError unless these are natural values of the attributes, plausible ones where they were read from files."""
        where = f"{self.card.name}/{self.source}, split {name!r}"
        for attribute in self.card.attributes:
            if attribute not in values:
                raise DataError(f"{where}: there are no values of {attribute!r}, which the card declares.")
            value, variable = values[attribute], self.variables[attribute]
            if not len(value):
                raise DataError(f"{where} is empty; it needs at least one sample.")
            try:
                variable.check(value)
            except DataError as error:
                raise DataError(f"{where}: {error}") from error
            if isinstance(variable, Continuous) and not self.card.sources[self.source].embedded:
                _require_plausible(variable, value, where)

    def _require_split(self, name: str) -> None:
        if name not in self.splits:
            raise DataError(f"{self.card.name} has no split {name!r}.{suggestion(name, self.splits)}")


def _require_plausible(variable: Continuous, values: Tensor, where: str) -> None:
    low, high = plausible_range(variable)
    outside = ((values < low) | (values > high)).nonzero()[:, 0]
    if len(outside):
        row = int(outside[0])
        raise DataError(
            f"{where}: {variable.name} of sample {row} is {float(values[row]):g} {variable.unit}".rstrip()
            + f", far outside the card's range {variable.low:g} to {variable.high:g} ({len(outside)} of {len(values)} are); correct "
            "the data, or the range."
        )
