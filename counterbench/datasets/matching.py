"""Real images with given attributes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property

import numpy as np
import torch
from scipy.spatial import cKDTree
from torch import Tensor
from torch.nn import functional

from counterbench.causal.variables import Continuous
from counterbench.datasets.dataset import REFERENCES, Dataset
from counterbench.runtime.blocks import at_once

NEIGHBOURS = 16
"""How many real images count as having the wanted quantities; wanted classes are met exactly, by all that have them."""
_BLOCK = 16  # candidates whose pixels are compared at once
_HELD = 4_000_000  # numbers of candidates that are compared at once
_GRAIN = 4  # side, in pixels, of what is averaged for a first look


class Matcher:
    """Finds real images by their attributes: the same classes, and the nearest quantities.

    Quantities are compared in units of their standard deviation.

    Args:
        dataset: whose reference images; only the parents of the image are compared, for nothing else shows in it.
        count: how many reference images there are.
        split: `train`, or another one, all of whose images are then compared by their attributes.
    """

    def __init__(self, dataset: Dataset, count: int = REFERENCES, *, split: str = "train"):
        self.dataset, self.count, self.split = dataset, count, split
        parents = dataset.graph.parents(dataset.card.image)
        self.quantities = [name for name in parents if isinstance(dataset.variables[name], Continuous)]
        self.classes = [name for name in parents if name not in self.quantities]
        self._kept: dict[tuple[int, int], tuple[Tensor, Tensor]] = {}

    @cached_property
    def _known(self) -> dict[str, np.ndarray]:
        known = self.dataset.attributes(self.split)
        rows = self.dataset.reference_rows(self.count) if self.split == "train" else slice(None)
        return {name: value[rows].numpy() for name, value in known.items()}

    @cached_property
    def _spread(self) -> np.ndarray:
        return np.array([max(self._known[name].std(), 1e-12) for name in self.quantities])

    @cached_property
    def _trees(self) -> dict[tuple[int, ...], tuple[np.ndarray, cKDTree]]:
        count = len(next(iter(self._known.values())))
        labels = self._labels(self._known, count)
        points = self._points(self._known, count)
        trees = {}
        for combination in np.unique(labels, axis=0):
            rows = np.flatnonzero((labels == combination).all(1))
            trees[tuple(int(value) for value in combination)] = (rows, cKDTree(points[rows]))
        return trees

    def _labels(self, values: Mapping[str, np.ndarray], count: int) -> np.ndarray:
        """(count, classes): no classes are one combination of classes."""
        return np.stack([values[name] for name in self.classes], 1) if self.classes else np.zeros((count, 0))

    def _points(self, values: Mapping[str, np.ndarray], count: int) -> np.ndarray:
        if not self.quantities:
            return np.zeros((count, 1))
        points: np.ndarray = np.stack([values[name] for name in self.quantities], 1).astype(np.float64) / self._spread
        return points

    def nearest(self, attributes: Mapping[str, Tensor], count: int = NEIGHBOURS) -> Tensor:
        """Rows of the reference images, nearest first.

        Args:
            attributes: natural values of every parent of the image, (N,) each.
            count: how many per sample; where there are fewer with the wanted classes, the last one is repeated.

        Returns:
            (N, count), long. A combination of classes that never occurs takes the nearest quantities of any class.
        """
        wanted = {name: attributes[name].cpu().numpy() for name in (*self.quantities, *self.classes)}
        size = len(next(iter(wanted.values())))
        points, labels = self._points(wanted, size), self._labels(wanted, size)
        found = np.zeros((size, count), dtype=np.int64)
        for combination in np.unique(labels, axis=0):
            asked = np.flatnonzero((labels == combination).all(1))
            rows, tree = self._trees.get(tuple(int(value) for value in combination)) or self._everything
            take = min(count, len(rows))
            _, position = tree.query(points[asked], k=np.arange(1, take + 1))
            found[asked] = rows[np.pad(position, ((0, 0), (0, count - take)), mode="edge")]
        return torch.from_numpy(found)

    def random(self, attributes: Mapping[str, Tensor], drawn: Tensor) -> Tensor:
        """One real image with the attributes each, at random.

        Args:
            attributes: natural values of every parent of the image, (N,) each.
            drawn: (N,), uniform from [0, 1): the chance.

        Returns:
            (N,), rows of the reference images.
        """
        chosen = torch.zeros(len(drawn), dtype=torch.long)
        for asked, candidates in self._candidates(attributes, len(drawn)):
            count = candidates.shape[1]
            position = (drawn[asked].double() * count).long().clamp(max=count - 1)
            rows = candidates.expand(len(asked), -1)
            chosen[asked] = rows.gather(1, position[:, None])[:, 0]
        return chosen

    def most_alike(self, attributes: Mapping[str, Tensor], images: Tensor) -> Tensor:
        """The real image with the attributes that is nearest to an image, pixel by pixel (Euclidean), each.

        Args:
            attributes: natural values of every parent of the image, (N,) each.
            images: (N, C, *sides), grey levels.

        Returns:
            (N,), rows of the reference images.
        """
        chosen = torch.zeros(len(images), dtype=torch.long)
        for asked, candidates in self._candidates(attributes, len(images)):
            wanted = images[asked].float()
            # A few candidates of one's own are compared at once; of thousands that are shared, most are far at first sight.
            bound = torch.zeros(candidates.shape) if self.quantities else self._coarse_distance(candidates[0], wanted)
            chosen[asked] = self._nearest_of(candidates, wanted.flatten(1), bound)
        return chosen

    def _nearest_of(self, candidates: Tensor, wanted: Tensor, bound: Tensor) -> Tensor:
        """Which of (N or 1, K) rows is nearest to each of (N, D) images, exactly: (N,), rows.

        Args:
            candidates, wanted: see above.
            bound: (N, K), no more than their squared distances: whoever is too far by it is not looked at.
        """
        known = self._pixels.flatten(1)
        order = bound.argsort(dim=1, stable=True)
        bound, candidates = bound.gather(1, order), candidates.expand(len(wanted), -1).gather(1, order)
        best = torch.full((len(wanted),), torch.inf, dtype=torch.float64)
        chosen = torch.zeros(len(wanted), dtype=torch.long)
        for start in range(0, candidates.shape[1], _BLOCK):
            unsure = (bound[:, start] < best).nonzero()[:, 0]
            if not len(unsure):
                break
            for few in unsure.split(max(1, _HELD // (_BLOCK * known.shape[1]))):
                rows = candidates[few, start : start + _BLOCK]
                apart = known[rows].float().sub_(wanted[few, None])
                nearest, position = apart.square_().sum(2, dtype=torch.float64).min(1)
                closer = nearest < best[few]
                chosen[few[closer]] = rows.gather(1, position[:, None])[closer, 0]
                best[few[closer]] = nearest[closer]
        return chosen

    def _coarse_distance(self, rows: Tensor, images: Tensor) -> Tensor:
        """(N, K): squared distances of images reduced by averaging, times the pixels behind each, less what rounding may add.

        Coarse images are never farther apart than fine ones.
        """
        here, (there, length) = _coarse(images), self._shared(rows)
        apart = here.square().sum(1)[:, None] + length - 2 * here @ there.T
        return (images[0].numel() / here.shape[1]) * apart * (1 - 1e-9)

    def _shared(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """(K, D), (K,): coarse images of the rows that have the same classes, and their squared lengths; kept."""
        key = (int(rows[0]), len(rows))  # no row has two combinations of classes
        if key not in self._kept:
            there = torch.cat(
                [_coarse(self._pixels[part]) for part in rows.split(at_once(self._pixels[0].numel(), 1000))]
            )
            self._kept[key] = there, there.square().sum(1)
        return self._kept[key]

    @cached_property
    def _pixels(self) -> Tensor:
        return self.dataset.reference(self.count).values[self.dataset.card.image]

    def _candidates(self, attributes: Mapping[str, Tensor], count: int) -> Iterator[tuple[Tensor, Tensor]]:
        """(positions among the samples, (their number or 1, K) rows of the images that have their attributes)."""
        if self.quantities:
            nearest = self.nearest(attributes)
            yield torch.arange(len(nearest)), nearest
            return
        labels = self._labels({name: attributes[name].cpu().numpy() for name in self.classes}, count)
        for combination in np.unique(labels, axis=0):
            asked = np.flatnonzero((labels == combination).all(1))
            rows, _ = self._trees.get(tuple(int(value) for value in combination)) or self._everything
            yield torch.from_numpy(asked), torch.from_numpy(rows)[None]

    @cached_property
    def _everything(self) -> tuple[np.ndarray, cKDTree]:
        count = len(next(iter(self._known.values())))
        return np.arange(count), cKDTree(self._points(self._known, count))


def _coarse(images: Tensor) -> Tensor:
    """(N, C, *sides) -> (N, D), float64: means of squares (cubes) of pixels."""
    side = next(side for side in (_GRAIN, 2, 1) if not any(size % side for size in images.shape[2:]))
    pool = functional.avg_pool3d if images.ndim == 5 else functional.avg_pool2d
    return pool(images.double(), side).flatten(1)
