"""How well trained judges read images: calibration on images set aside, figures on real test images."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from counterbench.judges.network import deviation, normalised
from counterbench.runtime.blocks import at_once

_BINS = 15
_CENTRAL_90 = 1.6449


def looked(network: torch.nn.Module, images: Tensor) -> Tensor:
    """Outputs of a network for (N, C, *sides) images in grey levels."""
    with torch.inference_mode():
        return torch.cat([network(normalised(part.float())) for part in images.split(at_once(images[0].numel(), 500))])


def calibration(outputs: Tensor, truth: Tensor, scale: tuple[float, float]) -> dict[str, float]:
    """Options of a regressor: the line that fits best on images that it was not trained on, and how wide its errors are.

    Args:
        outputs: (N, 2), standardised mean and log deviation.
        truth: (N,), in the variable's unit.
        scale: mean and standard deviation with which the network was trained.
    """
    read = scale[0] + scale[1] * outputs[:, 0].double()
    truth = truth.double()
    slope = float(((read - read.mean()) * (truth - truth.mean())).mean() / read.var(correction=0).clamp(min=1e-12))
    offset = float(truth.mean() - slope * read.mean())
    error = (slope * read + offset - truth) / (slope * scale[1] * deviation(outputs.double()))
    # The central 90 % of what it says shall hold 90 % of its errors: robust to a few that are far off.
    spread = float(error.abs().quantile(0.9)) / _CENTRAL_90
    return {
        "mean": round(slope * scale[0] + offset, 5),
        "std": round(slope * scale[1], 5),
        "spread": round(spread, 3),
    }


def quality(outputs: Tensor, truth: Tensor, fitted: Mapping[str, float]) -> dict[str, float]:
    """Figures of one variable on real test images: of a quantity if it has a calibration, else of classes."""
    return quantity_figures(outputs, truth, fitted) if fitted else class_figures(outputs.softmax(1), truth)


def quantity_figures(outputs: Tensor, truth: Tensor, fitted: Mapping[str, float]) -> dict[str, float]:
    """Mean absolute error in the variable's unit, and how many errors the 90 % intervals of the network hold."""
    error = (fitted["mean"] + fitted["std"] * outputs[:, 0].double() - truth.double()).abs()
    expected = fitted["spread"] * fitted["std"] * deviation(outputs.double())
    return {
        "mean_absolute_error": float(f"{float(error.mean()):.4g}"),
        "coverage_90": round(float((error <= _CENTRAL_90 * expected).double().mean()), 3),
    }


def class_figures(probabilities: Tensor, truth: Tensor) -> dict[str, float]:
    """Accuracy, balanced accuracy and expected calibration error (15 equal bins)."""
    confidence, predicted = probabilities.max(1)
    right = (predicted == truth).float()
    bins = (confidence * _BINS).long().clamp(max=_BINS - 1)
    gaps = [
        abs(float(confidence[bins == b].mean() - right[bins == b].mean())) * float((bins == b).float().mean())
        for b in bins.unique()
    ]
    balanced = torch.stack([right[truth == label].mean() for label in truth.unique()]).mean()
    return {
        "accuracy": round(float(right.mean()), 4),
        "balanced_accuracy": round(float(balanced), 4),
        "calibration_error": round(sum(gaps), 4),
    }
