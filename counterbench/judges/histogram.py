"""Quantities that follow from how much of an image has which brightness, such as volumes of tissues, in closed form."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from counterbench.causal.variables import Variable
from counterbench.errors import ConfigError
from counterbench.judges.base import Judge
from counterbench.plugins.registry import judges
from counterbench.storage.weights import load_weights

_BRIGHTEST = 0.03
"""Share of the pixels that are as bright as white matter or brighter."""
_LOW, _HIGH = 0.15, 1.15
"""The first and the last bin, in units of that brightness."""


def soft_histogram(values: Tensor, bins: int) -> Tensor:
    """How many values lie in each bin; a value between the middles of two bins counts in both, by how near it is.

    Args:
        values: (N, M), float64.
        bins: how many, their middles from 0.15 to 1.15.

    Returns:
        (N, bins), float64; values beyond the ends count nowhere.

    Examples:
        >>> soft_histogram(torch.tensor([[0.15, 0.4, 1.15, 9.0]], dtype=torch.float64), 3).round(decimals=6).tolist()
        [[1.5, 0.5, 1.0]]
    """
    place = ((values - _LOW) / ((_HIGH - _LOW) / (bins - 1))).clamp(-1, bins)
    left = place.floor().clamp(max=bins - 1)
    share, row = place - left, torch.arange(len(values), device=values.device)[:, None] * (bins + 2)
    index = (left.long() + 1 + row).flatten()
    size = len(values) * (bins + 2)
    counts = torch.bincount(index, (1 - share).flatten(), size) + torch.bincount(index + 1, share.flatten(), size)
    return counts.view(len(values), -1)[:, 1:-1]


class HistogramReader(nn.Module):
    """Linear in soft histograms of the whole image and of its middle; with one calibration for every contrast.

    Which contrast an image has (that of its scanner) is told by how bright its brightest pixels are, softly.

    Args:
        bins: of each histogram.
        contrasts: how many calibrations there are.
        middle: (axes, 2), where the middle lies, as shares of the sides.
    """

    def __init__(self, bins: int, contrasts: int, middle: Sequence[Sequence[float]]):
        super().__init__()
        self.bins, self.middle = bins, [tuple(ends) for ends in middle]
        self.levels: Tensor
        self.spread: Tensor
        self.weights: Tensor
        self.register_buffer("levels", torch.zeros(contrasts, dtype=torch.float64))
        self.register_buffer("spread", torch.ones((), dtype=torch.float64))
        self.register_buffer("weights", torch.zeros(contrasts, 2 * bins + 2, dtype=torch.float64))

    def features(self, images: Tensor) -> Tensor:
        """(N, 1, *sides) grey levels -> (N, 2 bins + 2), float64: both histograms in percent of the image, 1, brightness."""
        pictures = images[:, 0].double()
        flat = pictures.flatten(1)
        white = flat.kthvalue(max(1, round((1 - _BRIGHTEST) * flat.shape[1])), 1).values.clamp(min=1)
        cut = tuple(
            slice(round(a * side), round(b * side))
            for (a, b), side in zip(self.middle, pictures.shape[1:], strict=True)
        )
        middle = pictures[(slice(None),) + cut].flatten(1)  # noqa: RUF005 - Python 3.10 has no stars in an index
        percent = 100 / flat.shape[1]
        shares = [percent * soft_histogram(part / white[:, None], self.bins) for part in (flat, middle)]
        return torch.cat([*shares, torch.ones_like(white)[:, None], white[:, None] / 255], 1)

    def contrasts(self, features: Tensor) -> Tensor:
        """(N, contrasts), which one it probably is."""
        return (-0.5 * ((255 * features[:, -1:] - self.levels) / self.spread).square()).softmax(1)

    def fit(self, features: Tensor, values: Tensor, contrast: Tensor, *, ridge: float = 1e-3) -> None:
        """Calibrate by least squares.

        Args:
            features: (N, 2 bins + 2), see :meth:`features`.
            values: (N,), of the quantity.
            contrast: (N,), which one each image has.
            ridge: penalty of squared coefficients.
        """
        white = 255 * features[:, -1]
        groups = [white[contrast == number] for number in range(len(self.levels))]
        self.levels.copy_(torch.stack([group.mean() for group in groups]))
        self.spread.copy_(torch.stack([group.std() for group in groups]).mean().clamp(min=1e-3))
        design = (self.contrasts(features)[:, :, None] * features[:, None]).flatten(1)
        penalty = ridge * len(features) / 1000 * torch.eye(design.shape[1], dtype=torch.float64)
        found = torch.linalg.solve(design.T @ design + penalty, design.T @ values.double())
        self.weights.copy_(found.view_as(self.weights))

    def forward(self, features: Tensor) -> Tensor:
        """(N, 2 bins + 2) -> (N,)."""
        read: Tensor = (self.contrasts(features) * (features @ self.weights.T)).sum(1)
        return read


@judges.register()
class Histogram(Judge):
    """A quantity from soft histograms of an image, linearly calibrated, for every scanner by itself.

    Args:
        variable: continuous.
        bins: of each histogram.
        contrasts: how many calibrations there are.
        middle: (axes, 2), the part of the image with a histogram of its own, as shares of the sides.
        weights: safetensors file.
        sha256: what its hash must be.
        device: where it computes; on Apple's GPUs, which have no double precision, on the processor.

    Raises:
        ConfigError: without weights.
    """

    kinds = ("continuous",)

    def __init__(
        self,
        variable: Variable,
        *,
        middle: Sequence[Sequence[float]],
        bins: int = 20,
        contrasts: int = 1,
        weights: Path | None = None,
        sha256: str | None = None,
        device: str | torch.device = "cpu",
    ):
        super().__init__(variable)
        if weights is None:
            raise ConfigError(f"The judge of {variable.name!r} is a fitted calibration and needs the key 'weights'.")
        self.reader = HistogramReader(bins, contrasts, middle)
        self.sha256 = load_weights(self.reader, weights, sha256=sha256)
        self.device = "cpu" if torch.device(device).type == "mps" else device
        self.reader.to(self.device)

    @property
    def fingerprint(self) -> str:
        return f"histogram v1 sha256={self.sha256}"

    def _look(self, images: Tensor) -> Tensor:
        return self.reader.features(images.to(self.device)).to(images.device)

    def _measure(self, seen: Tensor) -> Tensor:
        read: Tensor = self.reader(seen.to(self.device, torch.float64))
        return read.to(seen.device, seen.dtype)
