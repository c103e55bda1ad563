"""How widely an attribute varies in the training split: what changes and distances are measured by."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from counterbench.causal.variables import Continuous, Variable, Vector


def spread(values: Tensor, variable: Variable) -> float:
    """Standard deviation; of a class, sqrt((1 - sum p^2) / 2), which is the standard deviation of a binary one; of a vector, the root of
    the mean variance of its numbers, scaled by their ranges. 0 for a constant.

    Args:
        values: (N, ...), natural values.
        variable: decides the kind of spread.

    Examples:
        >>> from counterbench.causal.variables import Binary
        >>> spread(torch.tensor([0, 1, 0, 1]), Binary("sex"))
        0.5
    """
    if isinstance(variable, Vector):
        return float(variable.encode(values, torch.float64).var(0).mean().sqrt())
    if isinstance(variable, Continuous):
        return float(values.double().std()) if len(values.unique()) > 1 else 0.0
    shares = values.long().bincount().double() / len(values)
    return float(((1 - shares.square().sum()) / 2).clamp(min=0).sqrt())


def scale(values: Tensor, variable: Variable) -> float:
    """Interquartile range / 1.349, the standard deviation of a normal law with that range; of a vector, the mean over its numbers, in
    shares of their ranges; 1 for classes.

    Args:
        values: (N, ...), natural values.
        variable: decides the kind of scale.

    Examples:
        >>> round(scale(torch.arange(101), Continuous("age", 0, 100, "years")), 2)
        37.06
    """
    if isinstance(variable, Vector):
        values = variable.encode(values, torch.float64) / 2
    elif not isinstance(variable, Continuous):
        return 1.0
    quarter, three_quarters = np.quantile(values.double().numpy(), [0.25, 0.75], axis=0)
    return float(np.mean(three_quarters - quarter)) / 1.349
