"""Pictures of counterfactuals: factual, answer, truth, and what was changed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor

from counterbench.causal.samples import Samples
from counterbench.causal.variables import Variable
from counterbench.pictures.outlines import draw_contours, plane_of
from counterbench.storage.figures import own_style, save_figure
from counterbench.storage.slices import picture_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_CELL = 0.85  # inches
_GAP, _CAPTION, _HEAD = 0.06, 0.22, 0.75
"""In cells: between columns, above a row for its captions, above everything for names and the title."""


@dataclass(frozen=True)
class InterventionColumns:
    """The answers to one intervention.

    Args:
        title: e.g. do(thickness).
        captions: one per sample, e.g. the value that was set.
        answer: (N, C, H, W), of volumes (N, C, D, H, W), grey levels.
        truth: the same, or None.
        contours: parts of the answers, then of the truth, (N, *sides) each, or None: what is outlined.
    """

    title: str
    captions: Sequence[str]
    answer: Tensor
    truth: Tensor | None
    contours: tuple[Tensor | None, Tensor | None] = (None, None)


def draw_grid(
    factual: Samples,
    image: str,
    interventions: Sequence[InterventionColumns],
    *,
    title: str,
    path: Path,
    contours: Tensor | None = None,
) -> None:
    """:func:`grid_figure` in a .png file."""
    save_figure(grid_figure(factual, image, interventions, title=title, contours=contours), path)


@own_style()
def grid_figure(
    factual: Samples,
    image: str,
    interventions: Sequence[InterventionColumns],
    *,
    title: str,
    contours: Tensor | None = None,
) -> Figure:
    """One row per sample; for each intervention the answer, the truth and the difference answer - factual; of volumes their central slices.

    Args:
        factual: the samples.
        image: name of the image variable.
        interventions: what was asked, from left to right.
        title: above everything.
        contours: parts of the samples, (N, *sides), to be outlined; None for none.
    """
    from matplotlib.figure import Figure

    before = picture_of(factual[image]).float()
    columns: list[tuple[str, Tensor | None, Sequence[str] | None, bool]] = [("factual", before, None, False)]
    outlined: list[Tensor | None] = [contours]
    for intervention in interventions:
        columns.append((intervention.title, intervention.answer, intervention.captions, False))
        columns.append(("truth" if intervention.truth is not None else "no truth", intervention.truth, None, False))
        columns.append(("change", picture_of(intervention.answer).float() - before, None, True))
        outlined += [*intervention.contours, None]
    rows, right, top = factual.count, len(columns) + _GAP * (len(columns) - 1), _HEAD
    figure = Figure(figsize=(_CELL * (right + 2 * _GAP), _CELL * (rows * (1 + _CAPTION) + top)))
    # One pair of axes in units of cells: a pair for each image would take longer than everything else.
    axis = figure.add_axes((0, 0, 1, 1))
    axis.set_axis_off()
    axis.set(xlim=(-_GAP, right + _GAP), ylim=(rows * (1 + _CAPTION) - _CAPTION / 2, -top - _CAPTION / 2))
    axis.set_autoscale_on(False)
    for position, (name, pixels, captions, signed) in enumerate(columns):
        left = position * (1 + _GAP)
        middle = left + 0.5
        axis.text(middle, -0.28, name, fontsize=8, ha="center", va="bottom")
        for row in range(rows if pixels is not None else 0):
            assert pixels is not None
            above = row * (1 + _CAPTION)
            show_image(axis, pixels[row], signed=signed, corner=(left, above))
            parts = outlined[position]
            if parts is not None:
                draw_contours(axis, plane_of(parts)[row], corner=(left, above))
            if captions is not None:
                axis.text(middle, above - 0.02, captions[row], fontsize=6, ha="center", va="bottom", color="#444")
    size = min(9.0, 72 * figure.get_figwidth() / (0.62 * len(title)))  # points, such that it fits
    axis.text(0, -top, title, fontsize=size, ha="left", va="top")
    return figure


def show_image(  # type: ignore[no-untyped-def]
    axis, pixels: Tensor, *, signed: bool = False, corner: tuple[float, float] | None = None
) -> None:
    """One image, (C, H, W), or of a volume, (C, D, H, W), its central slice, grey levels; of a difference, its mean over channels, red
    where it is brighter.

    Args:
        axis: where it is drawn.
        pixels: of the image.
        signed: whether it is a difference.
        corner: left and upper end of the square of side 1 that it is fitted into; None for the whole of the axis.
    """
    picture = picture_of(pixels[None])[0].float().permute(1, 2, 0).numpy()
    options: dict[str, Any] = {"interpolation": "nearest"}
    if corner is not None:
        high, wide = (side / max(picture.shape[:2]) for side in picture.shape[:2])
        left, above = corner[0] + (1 - wide) / 2, corner[1] + (1 - high) / 2
        options |= {"extent": (left, left + wide, above + high, above), "aspect": "auto"}
    if signed:
        axis.imshow(picture.mean(2), cmap="RdBu_r", vmin=-255, vmax=255, **options)
    elif picture.shape[2] == 1:
        axis.imshow(picture[..., 0], cmap="gray", vmin=0, vmax=255, **options)
    else:
        axis.imshow((picture / 255).clip(0, 1), **options)


def captions(variable: Variable, values: Tensor) -> list[str]:
    """The values that were set, in words."""
    return [f"= {variable.show(value)}" for value in values.tolist()]


def captions_of(variables: Mapping[str, Variable], held: Mapping[str, Tensor]) -> list[str]:
    """What is set in each sample, in words; of several variables one after the other."""
    words = [captions(variables[name], values) for name, values in held.items()]
    return [", ".join(parts) for parts in zip(*words, strict=True)]
