"""Real anatomy: tissue maps of the MNI ICBM152 template, and the deformations that change their volumes.

Two deformations act on the template. The *ventricular flow* follows a smooth vector field towards the lateral ventricles for some time:
whatever it carries into them is ventricle afterwards. The *sulcal shift* moves every point a little towards the nearest fluid outside
the ventricles, so that sulci widen. Both are maps from the deformed brain to the template, one to one, and the same for everybody; the
volumes of the deformed maps are tabulated once, by integration (:attr:`Anatomy.brain`, :attr:`Anatomy.ventricles`).

Points are (z, y, x) in millimetres: up, to the front and to the right, as in MNI space.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor
from torch.nn import functional

from counterbench.errors import DataError
from counterbench.storage.files import sha256_of_file

FILE = Path(__file__).with_name("anatomy.npz")
SHA256 = "78e60f0c17560ca7d3e1c402692b36d72e1a1a76e29209bad85018a00457e623"
"""Of the compact copy of the template's maps that this package ships."""

MAPS = ("t1", "grey", "white", "fluid", "ventricles")
"""Channels of the maps: the T1 average, then shares of a voxel, 0 to 1; fluid is what of the brain's mask is neither grey nor white,
and the lateral ventricles are a part of it."""

TIMES = (-12.0, -8.0, -5.0, -2.5, 0.0, 2.5, 5.0, 8.0, 12.0, 17.0, 23.0, 30.0, 40.0, 55.0, 75.0, 100.0)
"""Times of the ventricular flow whose maps are worked out; those between are interpolated."""
FINER = 4
"""Times of the tables between two of these."""
SHIFTS = (-1.0, 1.0, 3.0, 5.0)
"""Sulcal shifts of the tables."""
_STEP = 1.37
"""Between the points of their sums, in mm."""


@dataclass(frozen=True)
class Grid:
    """Values at regular points.

    Args:
        values: (C, Z, Y, X).
        origin: (3,), where the first one lies, in mm.
        step: from one to the next along every axis, in mm.
    """

    values: Tensor
    origin: Tensor
    step: float

    def at(self, points: Tensor, *, padding: str = "zeros") -> Tensor:
        """(N, ..., 3) points in mm -> (N, C, ...) values, linearly interpolated; outside zero, or with `border` the nearest."""
        flat = self.place(points).reshape(1, 1, 1, -1, 3)
        found = functional.grid_sample(self.values[None], flat, align_corners=True, padding_mode=padding)
        return found.reshape(len(self.values), *points.shape[:-1]).movedim(0, 1)

    def place(self, points: Tensor) -> Tensor:
        """Points in mm -> (x, y, z), each -1 at the first and 1 at the last value."""
        size = torch.tensor(self.values.shape[1:], device=points.device)
        scaled = 2 * (points - self.origin.to(points)) / self.step / (size - 1) - 1
        return scaled.flip(-1)

    def points(self) -> Tensor:
        """Where the values lie, (Z, Y, X, 3), in mm."""
        axes = [
            float(start) + self.step * torch.arange(size)
            for start, size in zip(self.origin, self.values.shape[1:], strict=True)
        ]
        return torch.stack(torch.meshgrid(*axes, indexing="ij"), -1)


class Anatomy:
    """The template's maps in three resolutions, its deformations, and the volumes that they give.

    Args:
        whole: all maps, 2 mm.
        slab: all maps between two heights, 1 mm.
        sites: (M, 3), points in white matter, in mm.
        brain, ventricles: (resolutions, times, shifts), volumes of the deformed maps in mL.
    """

    def __init__(self, whole: Grid, slab: Grid, *, sites: Tensor, brain: Tensor, ventricles: Tensor):
        self.whole, self.slab, self.sites = whole, slab, sites
        self.brain, self.ventricles = brain, ventricles
        # What 4 mm voxels see: as much blurred as a voxel is wide, on every second point.
        coarse = np.stack([ndimage.gaussian_filter(part, 0.85) for part in whole.values.numpy()])
        self.blurred = Grid(torch.from_numpy(coarse), whole.origin, whole.step)
        fluid, ventricle = (whole.values[MAPS.index(name)].numpy() for name in ("fluid", "ventricles"))
        near = sum(width**2 * ndimage.gaussian_filter(ventricle, width / 2) for width in (5, 10, 16))
        self.pull = Grid(_unit_gradient(near, whole.step)[:, ::2, ::2, ::2], whole.origin, 2 * whole.step)
        sulci = ndimage.gaussian_filter(fluid - ventricle, 1.2)
        self.shift = Grid(_unit_gradient(sulci, whole.step), whole.origin, whole.step)
        self.flow = self._flow()

    def _flow(self) -> Tensor:
        """Where the flow has carried the points of its grid by each of the times, less where they were: (times, 3, Z, Y, X), in mm."""
        start = self.pull.points()[None]
        found = {0.0: torch.zeros_like(start)}
        for times in (TIMES[TIMES.index(0.0) :], TIMES[TIMES.index(0.0) :: -1]):
            state, now = start, 0.0
            for time in times[1:]:
                steps = round(abs(time - now) / 1.25)
                step = (time - now) / steps
                for _ in range(steps):  # midpoint
                    half = state + step / 2 * self.pull.at(state, padding="border").movedim(1, -1)
                    state = state + step * self.pull.at(half, padding="border").movedim(1, -1)
                now, found[time] = time, state - start
        return torch.cat([found[time] for time in TIMES]).movedim(-1, 1)

    def deformed(self, points: Tensor, time: Tensor, shift: Tensor) -> Tensor:
        """Points of deformed brains -> points of the template, (N, ..., 3) both, in mm.

        Args:
            points: (N, ..., 3).
            time: (N,), of the ventricular flow, within :data:`TIMES`.
            shift: (N,), of the sulci, about as many mm.
        """
        times = torch.tensor(TIMES)
        place = (torch.searchsorted(times, time.contiguous(), right=True) - 1).clamp(0, len(times) - 2)
        share = ((time - times[place]) / (times[place + 1] - times[place])).to(points)[:, None, None, None, None]
        field = torch.lerp(self.flow[place], self.flow[place + 1], share)
        carried = torch.empty_like(points)
        for row, there in enumerate(points):  # a field for everybody
            carried[row] = (
                Grid(field[row], self.pull.origin, self.pull.step).at(there[None], padding="border")[0].movedim(0, -1)
            )
        points = points + carried
        half = shift.to(points).reshape(-1, *[1] * (points.ndim - 1)) / 2
        for _ in range(2):  # in one step, wide shifts would fold sulci over
            points = points + half * self.shift.at(points).movedim(1, -1)
        return points

    def level(self, pixel: float) -> int:
        """Which resolution serves pixels of a width in mm: 0 for 2 mm maps (and finer), 1 for blurred ones."""
        return int(pixel > 3)

    def maps(self, pixel: float) -> Grid:
        """The maps for pixels of a width in mm."""
        return self.slab if pixel < 1.5 else (self.whole, self.blurred)[self.level(pixel)]


def times_of_tables() -> Tensor:
    """The times at which volumes are tabulated, ascending."""
    parts = [torch.linspace(low, high, FINER + 1)[:-1] for low, high in pairwise(TIMES)]
    return torch.cat([*parts, torch.tensor(TIMES[-1:])])


def integrated(anatomy: Anatomy, level: int) -> tuple[Tensor, Tensor]:
    """Volumes (of the brain, of the ventricles) at all times and shifts of the tables, in mL.

    They are sums over points that have nothing to do with the maps' own: on those alone, sums of sharp edges are one percent off.
    """
    maps = (anatomy.whole, anatomy.blurred)[level]
    tissue = Grid(torch.stack([maps.values[1] + maps.values[2], maps.values[4]]), maps.origin, maps.step)
    axes = [
        torch.arange(float(low), float(low) + maps.step * size, _STEP)
        for low, size in zip(maps.origin, maps.values.shape[1:], strict=True)
    ]
    points = torch.stack(torch.meshgrid(*axes, indexing="ij"), -1)[None]
    times = times_of_tables()
    volumes = torch.empty(len(times), len(SHIFTS), 2)
    for row, time in enumerate(times):
        for column, shift in enumerate(SHIFTS):
            there = anatomy.deformed(points, time[None], torch.tensor([shift]))
            volumes[row, column] = tissue.at(there)[0].double().sum((1, 2, 3)).float() * _STEP**3 / 1000
    return volumes[..., 0], volumes[..., 1]


def _unit_gradient(values: np.ndarray, step: float) -> Tensor:
    """(3, Z, Y, X): the gradient, at most 1 long."""
    slopes: list[np.ndarray] = list(np.gradient(values.astype(np.float64), step))
    slope = np.stack(slopes)
    return torch.from_numpy((slope / np.sqrt((slope**2).sum(0)).max()).astype(np.float32))


@cache
def anatomy() -> Anatomy:
    """The template as shipped, read once.

    Raises:
        DataError: if the file is not the one that this package was made with.
    """
    if sha256_of_file(FILE) != SHA256:
        raise DataError(f"{FILE} is not the file that this version came with; install counterbench again.")
    with np.load(FILE, allow_pickle=False) as stored:
        whole, slab = (
            Grid(
                torch.from_numpy(stored[name].astype(np.float32) / 255),
                torch.from_numpy(stored[f"{name}_origin"]),
                float(stored[f"{name}_step"]),
            )
            for name in ("whole", "slab")
        )
        rest = {name: torch.from_numpy(stored[name].astype(np.float32)) for name in ("sites", "brain", "ventricles")}
    return Anatomy(whole, slab, **rest)
