"""A batch of samples: natural values by variable, and where they come from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from torch import Tensor


class Samples(Mapping[str, Tensor]):
    """Natural values by variable name, with the row of the split that each sample is.

    Args:
        values: natural values, (N, ...) each.
        index: (N,), rows of the split.
    """

    def __init__(self, values: Mapping[str, Tensor], index: Tensor):
        self._values, self.index = dict(values), index

    def __getitem__(self, name: str) -> Tensor:
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    @property
    def count(self) -> int:
        """Number of samples (the length of a mapping is its number of variables)."""
        return len(self.index)
