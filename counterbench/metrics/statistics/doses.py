"""How large an intervention is, and whether the training split has anything like it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from counterbench.causal.variables import Continuous
from counterbench.metrics.references import References
from counterbench.plans.drawing import cell_edges

WITHIN = 0.25
"""Training standard deviations: so near a value, training samples support it."""
ENOUGH = 10
"""Training samples that make support."""
_QUANTILES = 1000


def size_edges(variable: Continuous, train: Tensor, bins: int) -> Tensor:
    """Inner edges of bins of |v - x| that hold equally many interventions by the law of plans: x a training value, v one in another
    tenth of the range.

    They follow from the training split alone, so that the bins are the same whatever a plan asks.

    Args:
        variable: whose distance it is.
        train: (N,), natural values.
        bins: how many.

    Returns:
        (bins - 1,), float64, in the variable's unit.

    Examples:
        >>> size_edges(Continuous("width", 0, 10), torch.arange(11.0), 2).tolist()
        [4.0]
    """
    ordered = np.sort(train.double().numpy())
    few = ordered[np.unique(np.linspace(0, len(ordered) - 1, _QUANTILES).round().astype(int))]
    tenth = np.searchsorted(cell_edges(ordered), few, side="right")
    first, second = np.nonzero(tenth[:, None] != tenth[None])
    sizes = variable.distance(torch.from_numpy(few[first]), torch.from_numpy(few[second])).numpy()
    return torch.from_numpy(np.quantile(sizes, np.arange(1, bins) / bins))


@dataclass(frozen=True)
class Support:
    """Where the training split has samples with like parents near a value.

    A value is in support if at least :data:`ENOUGH` training samples have it within :data:`WITHIN` training standard deviations, and
    every parent of the variable in the same group (the same class, or the same tenth of the training values by their count).

    Args:
        references: with the training split.
        variable: that is set.
        parents: its parents.

    Examples:
        >>> from counterbench.datasets import load
        >>> ellipse = load("ellipse")
        >>> angle = Support(References(ellipse), "t", ("z",))
        >>> angle(torch.tensor([3.0, 60.0]), {"z": torch.zeros(2)}).tolist()
        [True, False]
    """

    references: References
    variable: str
    parents: Sequence[str]

    def __call__(self, values: Tensor, given: Mapping[str, Tensor]) -> Tensor:
        """Whether each value is in support.

        Args:
            values: (N,), natural values that are set.
            given: parent -> (N,), natural values, whatever else is there.

        Returns:
            (N,), bool.
        """
        train = {name: self.references.training(name) for name in (self.variable, *self.parents)}
        own = train[self.variable].double()
        alike = self._groups(train)
        wanted = self._groups(given).expand(len(values))
        near = WITHIN * own.std()
        # Groups lie far apart on one line, so that two searches count the samples of a group within an interval.
        low, high = min(own.min(), values.double().min()), max(own.max(), values.double().max())
        apart = high - low + 4 * near + 1
        line = (alike * apart + own - low).sort().values
        place = wanted * apart + values.double() - low
        count = torch.searchsorted(line, place + near, right=True) - torch.searchsorted(line, place - near)
        return count >= ENOUGH

    def _groups(self, given: Mapping[str, Tensor]) -> Tensor:
        """(N,), or (1,) without parents: numbers of the groups of all parents together."""
        number = torch.zeros(1, dtype=torch.long)
        for parent in self.parents:
            group = self.references.grouping(parent)
            number = number * (len(group.edges) + getattr(group.variable, "cardinality", 2)) + group(given[parent])
        return number
