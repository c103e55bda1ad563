"""Precision, recall, density and coverage: who lies in whose ball of nearest neighbours, and how much that hangs on each unit.

The statistics are kept as pseudo-values of a jackknife that leaves out a whole unit at a time, its answers and its real images, so that
their spread knows that both sets are samples: without a unit its balls are gone, and those of its neighbours are wider.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

_BLOCK = 512
_TIE = 1e-6
"""Relative to a radius: who is that near to its rim is inside. A retrieved image is one of the real ones, and rounding must not decide."""
_MOST = 64
"""Images of one unit that are looked beyond when it is left out; of more, the radius is that of the last."""
_NONE = -1


def prdc(answered: Tensor, real: Tensor, *, k: int = 5, unit: Tensor | None = None) -> dict[str, Tensor]:
    """Precision, recall (Kynkaanniemi et al. 2019), density and coverage (Naeem et al. 2020), as pseudo-values.

    Args:
        answered: (N, D), N > k.
        real: (N, D), row i matched with row i of `answered`.
        k: which neighbour sets the radius.
        unit: (N,), whole numbers: the independent unit of each row; None where each is its own.

    Returns:
        (N,) of each; their means are the statistics, their sums over units spread as the statistics do.

    Examples:
        >>> real = torch.tensor([[0.0], [1.0], [2.0], [3.0]])
        >>> {name: float(value.mean()) for name, value in prdc(real + 50, real, k=1).items()}
        {'precision': 0.0, 'density': 0.0, 'coverage': 0.0, 'recall': 0.0}
    """
    x, y = answered.double(), real.double()
    codes = torch.arange(len(x)) if unit is None else unit.unique(return_inverse=True)[1]
    statistics = _Hits(x, y, codes, k).statistics()
    statistics["recall"] = _Hits(y, x, codes, k).statistics()["precision"]
    return {name: _pseudo_values(*values, codes) for name, values in statistics.items()}


def _pseudo_values(value: Tensor, without: Tensor, unit: Tensor) -> Tensor:
    """(N,) with the statistic as their mean, from the statistic without each unit, (G,)."""
    sizes = unit.bincount()
    added = (len(unit) - sizes) * (value - without) / sizes
    spread = torch.where(added.isfinite(), added, 0.0)[unit]
    return value + spread - spread.mean()


@dataclass(frozen=True)
class _Balls:
    """Balls around some points, as wide as their k-th nearest neighbour is far.

    Args:
        squared: (N,), squared radii.
        neighbours: (N, k), the units of the k nearest others, each once; -1 for one that is there before, and for the point's own.
        wider: (N, k), squared radii without each of them.
    """

    squared: Tensor
    neighbours: Tensor
    wider: Tensor

    @classmethod
    def around(cls, points: Tensor, unit: Tensor, k: int) -> _Balls:
        most = min(k + min(int(unit.bincount().max()), _MOST), len(points) - 1)
        parts = []
        for start in range(0, len(points), _BLOCK):
            rows = torch.arange(start, min(start + _BLOCK, len(points)))
            distances = _squared(points[rows], points)
            distances[torch.arange(len(rows)), rows] = -1.0  # the nearest is the point itself
            near = distances.topk(most + 1, dim=1, largest=False)
            parts.append(cls._of(near.values[:, 1:], unit[near.indices[:, 1:]], unit[rows], k))
        return cls(*(torch.cat(column) for column in zip(*parts, strict=True)))

    @staticmethod
    def _of(distances: Tensor, units: Tensor, own: Tensor, k: int) -> tuple[Tensor, Tensor, Tensor]:
        names, radii = [], []
        for slot in range(k):
            name = units[:, slot]
            known = (units[:, :slot] == name[:, None]).any(1) | (name == own)
            others = (units != name[:, None]).cumsum(1)
            at = (others >= k).int().argmax(1)
            at = torch.where(others[:, -1] >= k, at, units.shape[1] - 1)
            names.append(torch.where(known, _NONE, name))
            radii.append(distances.gather(1, at[:, None])[:, 0])
        rim = (1 + _TIE) ** 2
        return distances[:, k - 1] * rim, torch.stack(names, 1), torch.stack(radii, 1) * rim


class _Hits:
    """Which points lie in which balls, and in which they would without a unit.

    Args:
        points: (N, D).
        centres: (N, D), of the balls.
        unit: (N,), 0 .. G - 1, of row i of both.
        k: which neighbour sets the radius.
    """

    def __init__(self, points: Tensor, centres: Tensor, unit: Tensor, k: int):
        self.unit, self.k, self.units = unit, k, int(unit.max()) + 1
        balls = _Balls.around(centres, unit, k)
        parts: list[tuple[Tensor, Tensor]] = []
        gains = []
        widest = torch.maximum(balls.squared, balls.wider.amax(1))
        for start in range(0, len(centres), _BLOCK):
            ball = slice(start, start + _BLOCK)
            distances = _squared(points, centres[ball])
            point, place = (distances <= widest[ball]).nonzero(as_tuple=True)
            distance, place = distances[point, place], place + start
            inside = distance <= balls.squared[place]
            parts.append((point[inside], place[inside]))
            point, place, distance = point[~inside], place[~inside], distance[~inside]
            without = balls.neighbours[place]
            reached = (distance[:, None] <= balls.wider[place]) & (without != _NONE) & (without != unit[point][:, None])
            row, slot = reached.nonzero(as_tuple=True)
            gains.append((point[row], place[row], without[row, slot]))
        self.point, self.ball = (torch.cat(column) for column in zip(*parts, strict=True))
        self.new_point, self.new_ball, self.new_without = (torch.cat(column) for column in zip(*gains, strict=True))

    def statistics(self) -> dict[str, tuple[Tensor, Tensor]]:
        """name -> (the statistic, the statistic without each unit (G,))."""
        return {
            "precision": self._hit(self.point, self.ball, self.new_point),
            "density": self._density(),
            "coverage": self._hit(self.ball, self.point, self.new_ball),
        }

    def _left(self) -> Tensor:
        return len(self.unit) - self._sums(torch.ones(len(self.unit), dtype=torch.float64), self.unit)

    def _sums(self, values: Tensor, unit: Tensor) -> Tensor:
        return torch.zeros(self.units, dtype=torch.float64).index_add_(0, unit, values.double())

    def _hit(self, one: Tensor, other: Tensor, new: Tensor) -> tuple[Tensor, Tensor]:
        """Share of points that lie in a ball, or of balls that hold a point.

        Args:
            one: of each hit, the point (or the ball) that counts.
            other: the ball (or the point) that it is counted for.
            new: which would be hit besides, without the unit `new_without`.
        """
        count, partner = len(self.unit), self.unit[other]
        first = torch.full((count,), self.units).scatter_reduce(0, one, partner, "amin")
        last = torch.full((count,), _NONE).scatter_reduce(0, one, partner, "amax")
        hit = last >= 0
        by_one_unit = torch.where(hit & (first == last) & (first != self.unit), first, _NONE)
        lost = self._sums((by_one_unit >= 0).double(), by_one_unit.clamp(min=0))
        matters = ~hit[new] | (by_one_unit[new] == self.new_without)
        gained = (new[matters] * self.units + self.new_without[matters]).unique() % self.units
        kept = hit.sum() - self._sums(hit, self.unit) - lost + self._sums(torch.ones(len(gained)), gained)
        return hit.double().mean(), kept / self._left()

    def _density(self) -> tuple[Tensor, Tensor]:
        """Balls that a point lies in, on average, over k."""
        of_point, of_ball = self.unit[self.point], self.unit[self.ball]
        ones = torch.ones(len(self.point))
        gone = self._sums(ones, of_point) + self._sums(ones, of_ball) - self._sums(of_point == of_ball, of_ball)
        gained = self._sums(torch.ones(len(self.new_point)), self.new_without)
        total = torch.tensor(float(len(self.point)), dtype=torch.float64)
        return total / len(self.unit) / self.k, (total - gone + gained) / self._left() / self.k


def _squared(first: Tensor, second: Tensor) -> Tensor:
    """Squared Euclidean distances, (N, M)."""
    lengths = first.square().sum(1, keepdim=True) + second.square().sum(1)
    return torch.addmm(lengths, first, second.T, alpha=-2).clamp_(min=0)
