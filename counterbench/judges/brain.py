"""Volumes and height of a brain slice, in closed form."""

from __future__ import annotations

import math
from collections.abc import Hashable
from dataclasses import dataclass

import torch
from torch import Tensor

from counterbench.causal.variables import Variable
from counterbench.errors import ConfigError
from counterbench.judges.base import Judge
from counterbench.plugins.registry import judges
from counterbench.processes.phantom import (
    HALF_LENGTH,
    HALF_WIDTH,
    MEAN_BRAIN,
    MEAN_VENTRICLES,
    SLICES,
    VENTRICLE_AREA,
    heights,
    section,
)

QUANTITIES = ("brain_volume", "ventricular_volume", "slice")
_FLOOR, _RIM = 0.10, 0.72  # of white matter's signal: above the noise of air; grey matter at the brain's edge
_DARK, _FLUID = 0.72, 0.5  # where a pixel begins to count as fluid, and where it counts as nothing else


@dataclass(frozen=True)
class Areas:
    """What is seen on a slice, (N,) each, in coordinates of the picture, which is 2 wide and 2 high.

    Args:
        brain: area of the brain, with everything in it.
        ventricles: area of the fluid in its middle.
        landmark: how far behind the brain's centre the ventricles lie, in half lengths of the brain.
    """

    brain: Tensor
    ventricles: Tensor
    landmark: Tensor


def read(images: Tensor) -> Areas:
    """Measure slices.

    Pixels at an edge count by their share, judged by their signal in units of white matter's. Everything within the middle of the
    brain counts as brain, so dark ventricles are part of it.

    Args:
        images: (N, 1, H, W), grey levels 0-255.

    Returns:
        Areas and landmark, finite; an image that shows nothing has areas of 0.
    """
    signal = images[:, 0].double()
    pixel = (2 / signal.shape[-1]) * (2 / signal.shape[-2])
    y = ((torch.arange(signal.shape[-2], device=images.device) + 0.5) * 2 / signal.shape[-2] - 1)[None, :, None]
    x = ((torch.arange(signal.shape[-1], device=images.device) + 0.5) * 2 / signal.shape[-1] - 1)[None, None, :]
    bright = signal > 0.3 * signal.flatten(1).quantile(0.97, 1)[:, None, None]
    white = torch.where(bright, signal, torch.nan).flatten(1).nanquantile(0.6, 1).nan_to_num(1.0)
    signal = signal / white.clamp(min=1.0)[:, None, None]
    share = ((signal - _FLOOR) / (_RIM - _FLOOR)).clamp(0, 1)
    total = share.sum((1, 2)).clamp(min=1e-6)

    def mean(values: Tensor) -> Tensor:
        return ((share * values).sum((1, 2)) / total)[:, None, None]

    x, y = x - mean(x), y - mean(y)
    wide, long = ((2 * mean(axis.square()).sqrt()).clamp(min=1e-6) for axis in (x, y))
    middle = (x / wide).square() + (y / long).square() < 0.62**2
    core = (x / (0.5 * wide)).square() + (y / (0.62 * long)).square() < 1
    fluid = ((_DARK - signal) / (_DARK - _FLUID)).clamp(0, 1) * core
    fluid = fluid * (share.sum((1, 2)) > 20)[:, None, None]  # a speck of noise has no ventricles
    mass = fluid.sum((1, 2))
    landmark = (fluid * y / long).sum((1, 2)) / mass.clamp(min=1e-6)
    return Areas(
        torch.where(middle & (mass[:, None, None] > 0), 1.0, share).sum((1, 2)) * pixel, mass * pixel, landmark
    )


@judges.register()
class Brain(Judge):
    """A volume or the height of an axial slice, from areas and a landmark, linearly calibrated.

    A section scales with the cube root of the volume, so volume = mean * (area / mean area)^(3/2). Which slice it is follows from
    where the ventricles lie. Made for the analytic slices of source `phantom`; on scans it would need a calibration of its own.

    Args:
        variable: continuous (a volume in millilitres), or ordinal with one class per slice.
        quantity: brain_volume, ventricular_volume or slice.
        height_slope, height_offset: from landmark to height: slope * landmark + offset.
        slope, offset: of the volume: slope * measured + offset.
        spread: of the height, for the probabilities of slices.
    """

    kinds = ("continuous", "ordinal")
    dimensions = (2,)

    def __init__(
        self,
        variable: Variable,
        quantity: str,
        *,
        height_slope: float = 1.0,
        height_offset: float = 0.0,
        slope: float = 1.0,
        offset: float = 0.0,
        spread: float = 0.07,
    ):
        super().__init__(variable)
        if quantity not in QUANTITIES:
            raise ConfigError(f"brain: quantity is {quantity!r}; give one of {', '.join(QUANTITIES)}.")
        self.quantity, self.spread = quantity, spread
        self.height = (height_slope, height_offset)
        self.calibration = (slope, offset)

    @property
    def fingerprint(self) -> str:
        return f"brain v1 {self.quantity} height={self.height} calibration={self.calibration} spread={self.spread}"

    @property
    def eye(self) -> Hashable:
        return "brain v1"  # areas and landmark are the same for all three

    def _look(self, images: Tensor) -> Tensor:
        found = read(images)
        return torch.stack([found.brain, found.ventricles, found.landmark], 1)

    def _measure(self, seen: Tensor) -> Tensor:
        found = Areas(*seen.unbind(1))
        slope, offset = self.calibration
        height = (self.height[0] * found.landmark + self.height[1]).clamp(-1.2, 1.2)
        if self.quantity == "slice":
            levels = heights(torch.arange(SLICES, device=seen.device))
            return (-0.5 * ((height[:, None] - levels) / self.spread).square()).softmax(1)
        if self.quantity == "ventricular_volume":
            return slope * MEAN_VENTRICLES * (found.ventricles / VENTRICLE_AREA).pow(1.5) + offset
        area = math.pi * HALF_WIDTH * HALF_LENGTH * section(height).square()
        return slope * MEAN_BRAIN * (found.brain / area).pow(1.5) + offset
