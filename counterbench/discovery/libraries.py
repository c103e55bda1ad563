"""Libraries of causal discovery: how they are called, and what they give as this package's graphs."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

from counterbench.discovery.base import Found


@contextmanager
def contained() -> Iterator[None]:
    """Import and call a library inside of this: both set torch's default type to float64 on import, and gcastle announces every step."""
    before, level = torch.get_default_dtype(), logging.root.manager.disable
    logging.disable(logging.INFO)
    try:
        yield
    finally:
        logging.disable(level)
        torch.set_default_dtype(before)


def of_endpoints(ends: np.ndarray) -> Found:
    """The graph behind causal-learn's matrix of endpoints: -1 a tail and 1 a head at the row's variable.

    Args:
        ends: (d, d); [i, j] is the mark at i of the pair i, j.

    Examples:
        >>> found = of_endpoints(np.array([[0, -1, -1], [1, 0, 0], [-1, 0, 0]]))
        >>> found.directed[0].tolist(), found.undirected[0].tolist()
        ([False, True, False], [False, False, True])
    """
    directed = (ends == -1) & (ends.T == 1)
    joined = (ends != 0) | (ends.T != 0)
    return Found(directed, joined & ~directed & ~directed.T)
