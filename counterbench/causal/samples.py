"""A batch of samples: natural values by variable, and where they come from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from torch import Tensor

from counterbench.errors import ModelError

_VALUES_ALONE = "answer from the values alone."


class Samples(Mapping[str, Tensor]):
    """Natural values by variable name, with the row of the split that each sample is. A model that is asked sees the values alone.

    Args:
        values: natural values, (N, ...) each.
        index: (N,), rows of the split; None where they are not told.
        done: the interventions behind these values, where they are a counterfactual and not what was observed.

    Examples:
        >>> import torch
        >>> batch = Samples({"thickness": torch.tensor([2.0, 3.0])}, index=torch.tensor([7, 9]))
        >>> batch["thickness"].tolist(), batch.count
        ([2.0, 3.0], 2)
    """

    def __init__(
        self, values: Mapping[str, Tensor], index: Tensor | None = None, *, done: Mapping[str, Tensor] | None = None
    ):
        self._values, self._index, self._done = dict(values), index, dict(done or {})

    @property
    def index(self) -> Tensor:
        """(N,), rows of the split.

        Raises:
            ModelError: where they are not told.
        """
        if self._index is None:
            raise ModelError(f"A model is not told which rows of a split it is asked about (`index`); {_VALUES_ALONE}")
        return self._index

    @property
    def done(self) -> dict[str, Tensor]:
        """The interventions behind these values; empty for what was observed.

        Raises:
            ModelError: where they are not told.
        """
        if self._index is None:
            raise ModelError(f"A model is not told what was set before (`done`); {_VALUES_ALONE}")
        return self._done

    def __getitem__(self, name: str) -> Tensor:
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    @property
    def count(self) -> int:
        """Number of samples (the length of a mapping is its number of variables)."""
        return len(next(iter(self._values.values()))) if self._index is None else len(self._index)
