"""What a fit is fed: batches of natural values, in an order that follows from seed and epoch."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from counterbench.catalog.recipes import Fit
from counterbench.errors import DataError
from counterbench.runtime.blocks import at_once

_ROOM = 1 << 23  # numbers of the images of a batch
_LEAST = 8  # images of a batch


class Rows(Dataset[dict[str, Tensor]]):
    """Natural values, fetched a whole batch at a time."""

    def __init__(self, values: Mapping[str, Tensor]):
        self.values = dict(values)

    def __len__(self) -> int:
        return len(next(iter(self.values.values())))

    def __getitem__(self, row: int) -> dict[str, Tensor]:
        return self.__getitems__([row])

    def __getitems__(self, rows: Sequence[int]) -> dict[str, Tensor]:
        index = torch.as_tensor(rows)
        return {name: value[index] for name, value in self.values.items()}


class EpochShuffle(Sampler[int]):
    """A permutation that follows from (seed, epoch) alone, so that a resumed epoch sees the order it would have seen.

    Args:
        count: how many rows.
        seed: of the order.
    """

    def __init__(self, count: int, seed: int):
        self.count, self.seed, self.epoch = count, seed, 0

    def set_epoch(self, epoch: int) -> None:
        """Called by Lightning at the start of each epoch."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[int]:
        return iter(self._rows(torch.Generator().manual_seed(mixed(self.seed, self.epoch))).tolist())

    def _rows(self, generator: torch.Generator) -> Tensor:
        return torch.randperm(self.count, generator=generator)


class BalancedRows(EpochShuffle):
    """As many rows as there are, drawn so that every subgroup is as frequent, from (seed, epoch) alone.

    Args:
        subgroup: (N,), long, of each row.
        seed: of the draws.
    """

    def __init__(self, subgroup: Tensor, seed: int):
        super().__init__(len(subgroup), seed)
        self.weight = 1 / subgroup.bincount()[subgroup].double()

    def _rows(self, generator: torch.Generator) -> Tensor:
        return torch.multinomial(self.weight, self.count, replacement=True, generator=generator)


def mixed(seed: int, step: int) -> int:
    """One seed from two numbers."""
    return (seed * 1_000_003 + step) % 2**63


def loader(
    values: Mapping[str, Tensor], batch_size: int, *, seed: int | None, devices: int = 1, balanced: Tensor | None = None
) -> DataLoader[dict[str, Tensor]]:
    """Batches of natural values; shuffled, and all of one size, if there is a seed. Each device gets its share of them.

    Args:
        values: (N, ...) each.
        batch_size: samples of a batch.
        seed: of the order; None for the order of the values.
        devices: that share them.
        balanced: (N,), subgroups that are to be equally frequent; None for every sample once.
    """
    rows = Rows(values)
    sampler: Sampler[int] | None = None
    if seed is not None:
        sampler = EpochShuffle(len(rows), seed) if balanced is None else BalancedRows(balanced, seed)
    # A last batch of a few samples would weigh as much as the others; an only one is all that a device has.
    partial = sampler is not None and math.ceil(len(rows) / devices) > batch_size
    return DataLoader(rows, batch_size=batch_size, sampler=sampler, collate_fn=_as_fetched, drop_last=partial)


def batch_of(size: int, most: int) -> int:
    """How many images of that many numbers make a batch: `most`, or fewer where they are volumes, but not below 8.

    Examples:
        >>> batch_of(192 * 192, 128), batch_of(64**3, 128), batch_of(96**3, 128)
        (128, 32, 9)
    """
    return min(most, max(_LEAST, at_once(size, most, room=_ROOM)))


def fitted_to(fit: Fit, images: Tensor, *, epochs: int | None = None) -> Fit:
    """A fit for such images, (N, ...), in batches that they fit into; with another number of epochs, if one is given."""
    changes = {"batch_size": batch_of(images[0].numel(), fit.batch_size), **({"epochs": epochs} if epochs else {})}
    return fit.model_copy(update=changes)


def require_samples(values: Mapping[str, Tensor], split: str) -> None:
    """Refuse a split that nothing can be learnt from, or by which no epoch can be told from another.

    Raises:
        DataError: for fewer than 2 samples: a single one has no spread.
    """
    count = len(next(iter(values.values())))
    if count < 2:
        raise DataError(f"The {split} split has {count or 'no'} sample{'s' * (count != 1)}; training needs at least 2.")


def _as_fetched(batch: Any) -> Any:
    return batch  # Rows.__getitems__ has made a batch already
