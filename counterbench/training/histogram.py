"""Fitting the closed-form judges of volumes: histograms, calibrated for every scanner."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from counterbench.datasets.dataset import Dataset
from counterbench.datasets.selection import domains
from counterbench.judges.histogram import HistogramReader
from counterbench.judges.sensitivity import blur, noise
from counterbench.storage.weights import save_weights

MIDDLE = ((0.375, 0.71), (0.25, 0.75), (0.29, 0.71))
"""Of a head, (z, y, x): where the ventricles lie."""
BINS = 20
SEEN_AS = (((0.0, 0.0), 3), ((0.3, 0.0), 1), ((0.45, 3.0), 1))
"""What a calibration is fitted on: ((blur in pixels, noise in grey levels), how often it counts)."""
_BATCH = 50


def fit_histogram(datasets: Sequence[Dataset], label: str, output: Path) -> dict[str, Any]:
    """Fit the calibration of one quantity on the judge splits of one or several sources together.

    Args:
        datasets: sources of one card, of volumes.
        label: the quantity.
        output: folder for `<label>-histogram.safetensors`.

    Returns:
        What the card should say: judge, options, weights, SHA-256, and for every source the error on real test images, of every scanner.
    """
    contrasts = 1 + max(int(domains(dataset, "judge").max()) for dataset in datasets)
    reader = HistogramReader(BINS, contrasts, MIDDLE)
    features, values, kinds = [], [], []
    for dataset in datasets:
        part = dataset.split("judge").values
        contrast = domains(dataset, "judge")
        for (width, grain), times in SEEN_AS:
            features += [_features(reader, part[dataset.card.image], width, grain)] * times
            values += [part[label]] * times
            kinds += [contrast] * times
    reader.fit(torch.cat(features), torch.cat(values), torch.cat(kinds))
    path = output / f"{label}-histogram.safetensors"
    return {
        "judge": "histogram",
        "options": {"bins": BINS, "contrasts": contrasts, "middle": [list(ends) for ends in MIDDLE]},
        "weights": path.name,
        "sha256": save_weights(reader, path),
        "quality": {dataset.source: _quality(reader, dataset, label) for dataset in datasets},
        "sources": [dataset.source for dataset in datasets],
    }


def _features(reader: HistogramReader, images: Tensor, width: float, grain: float) -> Tensor:
    found = []
    for part in images.split(_BATCH):
        pictures = part.float()
        pictures = blur(pictures, width) if width else pictures
        found.append(reader.features(noise(pictures, grain).round().clamp(0, 255) if grain else pictures))
    return torch.cat(found)


def _quality(reader: HistogramReader, dataset: Dataset, label: str) -> dict[str, float]:
    test = dataset.split("test").values
    error = (reader(_features(reader, test[dataset.card.image], 0.0, 0.0)) - test[label].double()).abs()
    kinds = domains(dataset, "test")
    return {
        "mean_absolute_error": float(f"{float(error.mean()):.4g}"),
        **{
            f"of_scanner_{kind}": float(f"{float(error[kinds == kind].mean()):.4g}") for kind in kinds.unique().tolist()
        },
    }
