"""What a dataset is: splits of factual samples and, where the process is known, true counterfactuals."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import cache, cached_property, wraps
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor

from counterbench.catalog.cards import Card
from counterbench.causal.samples import Samples
from counterbench.causal.variables import Continuous
from counterbench.errors import DataError, suggestion
from counterbench.storage.tensors import sha256_of_tensors

REFERENCES = 10_000
"""How many real training images answers are compared with, unless a suite says otherwise."""

MARGIN = 0.5
"""How far beyond the card's range values of published data may lie, in widths of the range."""


def plausible_range(variable: Continuous) -> tuple[float, float]:
    """The card's range and a margin of half its width; where the range is positive, no less than half its lower end."""
    margin = MARGIN * (variable.high - variable.low)
    low = variable.low - margin
    return max(low, variable.low / 2) if variable.low > 0 else low, variable.high + margin


@dataclass(frozen=True)
class Split:
    """One part of a dataset.

    Args:
        name: train, validation, judge or test.
        values: natural values; images as uint8 to save memory, turned into floats by :meth:`take`.
        group: (N,), what several samples share (the same number: the same base digit, the same subject).
    """

    name: str
    values: Mapping[str, Tensor]
    group: Tensor

    def __len__(self) -> int:
        return len(self.group)

    def take(self, rows: Tensor | slice | None = None) -> Samples:
        """Natural values of some rows (default: all), floats in float32."""
        index = torch.arange(len(self)) if rows is None else torch.arange(len(self))[rows]
        return Samples({name: self._natural(value[index]) for name, value in self.values.items()}, index)

    @staticmethod
    def _natural(value: Tensor) -> Tensor:
        return value.to(torch.float32) if value.dtype in (torch.uint8, torch.float64) else value

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of everything in this split."""
        return sha256_of_tensors({**self.values, "group": self.group})


class Dataset(ABC):
    """Factual samples behind a card.

    Args:
        card: the declaration.
        source: where the pixels come from; None for the card's default.
        data_dir: where the user keeps published data.
    """

    splits: ClassVar[tuple[str, ...]] = ("train", "validation", "judge", "test")

    def __init_subclass__(cls, **options: Any) -> None:
        """Whatever a reader's `split` and `attributes` return is checked against the card: built in or from outside."""
        super().__init_subclass__(**options)
        for method in {"split", "attributes"} & vars(cls).keys():
            setattr(cls, method, _checked(vars(cls)[method]))

    def __init__(self, card: Card, source: str | None = None, data_dir: Path | None = None):
        self.card, self.source, self.data_dir = card, card.source(source), data_dir
        self._sound: set[tuple[str, str]] = set()
        self.graph, self.variables = card.graph, card.build_variables()

    @property
    def notes(self) -> list[str]:
        """What a reader of a record must know about this source as it was found."""
        return []

    def download(self) -> None:
        """Fetch the published files into the data folder, where they may be fetched by a program.

        Raises:
            DataError: where they may not, or could not be.
        """
        entry = self.card.sources[self.source]
        what = f"{self.card.name}/{self.source}"
        if entry.embedded:
            raise DataError(f"{what} needs no download: it is made here.")
        raise DataError(
            f"{what} cannot be downloaded by a program. {entry.description.strip()} Licence: {entry.licence}."
        )

    @abstractmethod
    def split(self, name: str) -> Split:
        """Load one split, rendering or reading it on first use.

        Raises:
            DataError: for an unknown split, or data that is missing or damaged.
        """

    @cache  # noqa: B019 - a dataset lives as long as the process
    def reference(self, count: int = REFERENCES) -> Split:
        """Real training images that answers are compared with: the whole training split, or `count` samples of it.

        They are drawn at random, once and for all: the same ones for every model. May be much cheaper than the whole split.
        """
        rows, train = self.reference_rows(count), self.split("train")
        return Split("reference", {name: value[rows] for name, value in train.values.items()}, train.group[rows])

    @cache  # noqa: B019
    def reference_rows(self, count: int) -> Tensor:
        """Their rows of the training split, ascending."""
        total = len(next(iter(self.attributes("train").values())))
        drawn = torch.randperm(total, generator=torch.Generator().manual_seed(total))
        return drawn[:count].sort().values

    def attributes(self, name: str) -> dict[str, Tensor]:
        """Natural values of all variables but the image; may be much cheaper than the whole split."""
        loaded = self.split(name)
        return {attribute: loaded.values[attribute] for attribute in self.card.attributes}

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
        known = [role for role, entry in self.card.roles.items() if self.source in entry.sources]
        raise DataError(
            f"The samples of {self.card.name}/{self.source} carry no {name!r}; they carry: {', '.join(known) or 'nothing else'}."
        )

    def knows_truth(self, intervened: Collection[str]) -> bool:
        """Whether interventions on these variables have true counterfactuals, images included. Default: only the null one."""
        return not intervened

    def true_attributes(self, split: str, index: Tensor, interventions: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """True counterfactual attributes, as far as the data-generating process is known.

        Args:
            split: name of the split.
            index: (N,), rows of it.
            interventions: natural values, (N, ...) each; the same variables for all rows.

        Returns:
            Natural values of the attributes whose true counterfactual is known; the others are left out.
        """
        return dict(interventions)

    def truth(self, split: str, index: Tensor, interventions: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """True counterfactuals of every variable: the factual values where nothing is intervened on.

        Raises:
            DataError: if these interventions have none; ask :meth:`knows_truth` first.
        """
        if not interventions:
            return dict(self.split(split).take(index))
        if not self.knows_truth(interventions):
            asked = ", ".join(f"do({name})" for name in interventions)
            raise DataError(f"{self.card.name} has no true counterfactual for {asked}. {self.card.truth.strip()}")
        attributes = self.true_attributes(split, index, interventions)
        if not self.card.image:
            return attributes
        return {**attributes, self.card.image: self._true_image(split, index, attributes)}

    def _true_image(self, split: str, index: Tensor, attributes: Mapping[str, Tensor]) -> Tensor:
        raise NotImplementedError("a dataset that knows the truth renders it")

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


def _checked(method: Callable[..., Any]) -> Callable[..., Any]:
    """A reader's `split` or `attributes`, whose values are checked when they are given out for the first time."""

    @wraps(method)
    def checked(self: Dataset, name: str) -> Any:
        content = method(self, name)
        key = (method.__name__, name)
        if key not in self._sound:
            self._require_sound(name, content.values if isinstance(content, Split) else content)
            self._sound.add(key)
        return content

    return checked
