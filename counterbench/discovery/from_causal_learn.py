"""What the library causal-learn gives, as this package's graphs."""

from __future__ import annotations

import numpy as np

from counterbench.discovery.base import Found


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
