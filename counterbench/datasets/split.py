"""One part of a dataset, in memory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from counterbench.causal.samples import Samples
from counterbench.storage.tensors import sha256_of_tensors


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
