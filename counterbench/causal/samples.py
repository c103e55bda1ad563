"""A batch of samples: natural values by variable, and where they come from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from torch import Tensor


class Samples(Mapping[str, Tensor]):
    """Natural values by variable name, with the row of the split that each sample is.

    Args:
        values: natural values, (N, ...) each.
        index: (N,), rows of the split.
        done: the interventions behind these values, where they are a counterfactual and not what was observed.

    Examples:
        >>> import torch
        >>> batch = Samples({"thickness": torch.tensor([2.0, 3.0])}, index=torch.tensor([7, 9]))
        >>> batch["thickness"].tolist(), batch.count
        ([2.0, 3.0], 2)
    """

    def __init__(self, values: Mapping[str, Tensor], index: Tensor, *, done: Mapping[str, Tensor] | None = None):
        self._values, self.index, self.done = dict(values), index, dict(done or {})

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
