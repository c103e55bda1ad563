"""Heat maps over pictures: where a model looks for a phrase."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor

from counterbench.leaderboard.album import OPAQUE
from counterbench.pictures.grid import show_image
from counterbench.pictures.outlines import plane_of
from counterbench.storage.figures import own_style, save_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_CELL, _HEAD, _LEGEND = 1.5, 0.4, 0.35  # inches


def draw_heat(axis: Any, heat: Tensor) -> None:
    """A heat map over one image, the more opaque the higher.

    Args:
        axis: where it is drawn, over the image.
        heat: (H, W), from 0 to 1.
    """
    shown = heat.float().clamp(0, 1).numpy()
    axis.imshow(shown, cmap="inferno", vmin=0, vmax=1, alpha=0.75 * shown, interpolation="nearest")


def change_pixels(change: Tensor) -> np.ndarray:
    """How much an image changed, as a picture to be laid over it: (4, H, W), uint8, transparent where nothing did.

    Args:
        change: (H, W), grey levels; from `OPAQUE` on the colour is fullest.
    """
    from matplotlib import colormaps

    share = (change.float() / OPAQUE).clamp(0, 1).numpy()
    coloured = colormaps["inferno"](0.25 + 0.75 * share)
    coloured[..., 3] = 0.85 * share
    pixels: np.ndarray = (255 * coloured).round().astype(np.uint8).transpose(2, 0, 1)
    return pixels


@own_style()
def grounding_figure(
    images: Tensor, heats: Tensor, phrases: Sequence[str], *, boxes: Tensor | None = None, title: str
) -> Figure:
    """Every image, and beside it where the model looks for a phrase, with the true box; of volumes their central slices.

    Args:
        images: (N, C, *sides), grey levels.
        heats: (N, *sides), from 0 to 1.
        phrases: N of them.
        boxes: (N, 4), left, top, right, bottom in pixels, NaN for none; None where nobody knows them.
        title: above everything.
    """
    from matplotlib.figure import Figure

    across = min(3, len(images))
    down = -(-len(images) // across)
    figure = Figure(figsize=(2 * across * _CELL, down * (_CELL + _LEGEND) + _HEAD))
    height = figure.get_figheight()
    for number, phrase in enumerate(phrases):
        row, column = divmod(number, across)
        bottom = (height - _HEAD - (row + 1) * (_CELL + _LEGEND)) / height
        for side in (0, 1):
            left = (2 * column + side) / (2 * across)
            axis = figure.add_axes((left + 0.004, bottom, 1 / (2 * across) - 0.008, _CELL / height))
            axis.set_axis_off()
            show_image(axis, images[number])
            if side:
                draw_heat(axis, plane_of(heats)[number])
                _draw_box(axis, boxes[number] if boxes is not None else None)
            else:
                axis.text(0, 1.03, _fitted(phrase), fontsize=7, transform=axis.transAxes, va="bottom")
    figure.text(0.006, 1 - 0.1 / height, title, fontsize=9, ha="left", va="top", wrap=True)
    return figure


def _fitted(phrase: str, width: int = 44) -> str:
    return phrase if len(phrase) <= width else phrase[: width - 1] + "\u2026"


def _draw_box(axis: Any, box: Tensor | None) -> None:
    from matplotlib.patches import Rectangle

    if box is None or box.isnan().any():
        return
    left, top, right, bottom = box.tolist()
    axis.add_patch(Rectangle((left - 0.5, top - 0.5), right - left, bottom - top, fill=False, ec="#39ff14", lw=0.9))


def draw_grounding(
    images: Tensor, heats: Tensor, phrases: Sequence[str], *, boxes: Tensor | None, title: str, path: Path
) -> None:
    """:func:`grounding_figure` in a .png file.

    Args:
        images: (N, C, *sides), grey levels.
        heats: (N, *sides), from 0 to 1.
        phrases: N of them.
        boxes: (N, 4), or None.
        title: above everything.
        path: a .png file.
    """
    save_figure(grounding_figure(images, heats, phrases, boxes=boxes, title=title), path)
