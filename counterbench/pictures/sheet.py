"""One picture of a dataset: many samples, and true counterfactuals of a few of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from counterbench.pictures.grid import show_image
from counterbench.storage.figures import own_style, save_figure
from counterbench.storage.slices import picture_of

_CELL = 0.8  # inches
_GAP = 2  # pixels between the samples of a sheet


@own_style()
def draw_sheet(
    samples: Tensor, factual: Tensor, changed: Sequence[tuple[str, Sequence[str], Tensor]], *, title: str, path: Path
) -> None:
    """Samples side by side; below them one row per sample with a true counterfactual for every intervention.

    Args:
        samples: (N, C, H, W), of volumes (N, C, D, H, W), grey levels; of these the central slices are drawn.
        factual: (M, ...), the samples that are changed.
        changed: per intervention its name, a caption for each of the M samples, and the true images, (M, ...).
        title: above everything.
        path: a .png file.
    """
    from matplotlib.figure import Figure

    columns = [("factual", None, factual), *changed] if changed else []
    below = len(factual) if changed else 0
    across = max(len(columns), 8)
    sheet = tiled(samples, 2 * across)
    tall = across * _CELL * sheet.shape[1] / sheet.shape[2]
    height = tall + below * 1.16 * _CELL + (0.9 if below else 0.45)
    figure = Figure(figsize=(across * _CELL, height))
    top = figure.add_axes((0.01, 1 - (tall + 0.35) / height, 0.98, tall / height))
    show_image(top, sheet)
    top.set_axis_off()
    if columns:
        grid = figure.subplots(
            below,
            len(columns),
            squeeze=False,
            gridspec_kw={
                "left": 0.01,
                "right": 0.99,
                "bottom": 0.01,
                "top": 1 - (tall + 0.8) / height,
                "wspace": 0.08,
                "hspace": 0.24,
            },
        )
        for position, (name, captions, images) in enumerate(columns):
            words = name.replace("_", "_\n", 1) if len(name) > 14 else name
            grid[0][position].set_title(words, fontsize=7, pad=10)
            for row, axis in enumerate(grid[:, position]):
                show_image(axis, images[row])
                axis.set(xticks=[], yticks=[])
                axis.spines[:].set_visible(False)
                if captions is not None:
                    axis.text(
                        0.5, 1.03, captions[row], fontsize=5.5, ha="center", transform=axis.transAxes, color="#444"
                    )
    figure.suptitle(title, fontsize=9, x=0.01, ha="left", y=1 - 0.08 / height, va="top")
    save_figure(figure, path)


def tiled(samples: Tensor, across: int, *, ground: float = 255.0) -> Tensor:
    """(N, C, *sides) -> one image (C, rows, columns), `across` samples wide, on a ground of one value; of volumes their central slices."""
    samples = picture_of(samples)
    count, channels, height, width = samples.shape
    across = min(across, count)
    rows = -(-count // across)
    sheet = torch.full((channels, rows * (height + _GAP) - _GAP, across * (width + _GAP) - _GAP), ground)
    for number, sample in enumerate(samples):
        y, x = number // across * (height + _GAP), number % across * (width + _GAP)
        sheet[:, y : y + height, x : x + width] = sample
    return sheet
