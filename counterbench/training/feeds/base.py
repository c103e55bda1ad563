"""What a feed is: it makes the samples that a training gets."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor

from counterbench.datasets.dataset import Dataset
from counterbench.datasets.split import Split
from counterbench.errors import DataError
from counterbench.training.batches import require_samples


@dataclass(frozen=True)
class FeedContext:
    """What a feed is made of.

    Args:
        dataset: of which card and source.
        rows: split -> the real rows that the recipe uses, (N,), ascending.
        seed: of every draw.
        device: where a teacher computes.
    """

    dataset: Dataset
    rows: Mapping[str, Tensor]
    seed: int = 0
    device: str | torch.device = "cpu"


@dataclass(frozen=True)
class Fed:
    """What a training gets.

    Args:
        train, validation: natural values of every variable, (N, ...) each.
        rows: split -> the real row behind each sample; None where samples are not real.
        about: what the manifest says of it.
    """

    train: Mapping[str, Tensor]
    validation: Mapping[str, Tensor]
    rows: Mapping[str, Tensor] | None = None
    about: Mapping[str, Any] = field(default_factory=dict)


class Feed(ABC):
    """Makes the samples that a training gets.

    A subclass registers with `@registry.feeds.register()`; its keyword arguments after `context` are the options that a recipe may write.

    Args:
        context: data, seed and device.
    """

    real: ClassVar[bool] = True
    """Whether its samples are rows of the dataset; else no real image may be among them."""

    def __init__(self, context: FeedContext):
        self.context = context

    @property
    def made_by(self) -> tuple[str, ...]:
        """What decides samples that are not real, beyond options and seed: the hash of the teacher's weights, the fingerprint of a verifier."""
        return ()

    @abstractmethod
    def feed(self) -> Fed:
        """Make them; the same ones every time."""


def stored(split: Split, rows: Tensor) -> dict[str, Tensor]:
    """Some rows of a split, natural values.

    Args:
        split: whose.
        rows: (N,), in any order, with repeats.

    Raises:
        DataError: for too few of them, or NaN among them.
    """
    require_samples(split.values, split.name)
    everything = torch.equal(rows, torch.arange(len(split)))
    values = {name: value if everything else value[rows] for name, value in split.values.items()}
    require_samples(values, split.name)
    for name, value in values.items():
        if value.is_floating_point() and not value.isfinite().all():
            bad = int((~value.isfinite()).sum())
            raise DataError(
                f"{name}: {bad} of {value.numel()} values of the {split.name} split are NaN or infinite; clean the data first."
            )
    return values
