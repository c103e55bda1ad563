"""Pictures of counterfactuals: factual, answer, truth, and what was changed."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from counterbench.causal.samples import Samples
from counterbench.causal.variables import Continuous, Variable
from counterbench.pictures.outlines import draw_contours, plane_of
from counterbench.storage.figures import own_style, save_figure
from counterbench.storage.slices import picture_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_CELL = 0.85  # inches
_NULL = "nothing set"
_GAP, _CAPTION, _HEAD = 0.06, 0.22, 0.82
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
    null: Tensor | None = None,
    contours: Tensor | None = None,
) -> None:
    """:func:`grid_figure` in a .png file."""
    save_figure(grid_figure(factual, image, interventions, title=title, null=null, contours=contours), path)


@own_style()
def grid_figure(
    factual: Samples,
    image: str,
    interventions: Sequence[InterventionColumns],
    *,
    title: str,
    null: Tensor | None = None,
    contours: Tensor | None = None,
) -> Figure:
    """One row per sample; for each intervention the answer, the truth and what was changed; of volumes their central slices.

    What was changed is the difference from the model's own answer to nothing asked, where that is known and not the factual image: what it
    blurs in every answer is then no change.

    Args:
        factual: the samples.
        image: name of the image variable.
        interventions: what was asked, from left to right.
        title: above everything.
        null: (N, C, H, W) or (N, C, D, H, W), the model's answers to nothing asked; None where nobody knows them.
        contours: parts of the samples, (N, *sides), to be outlined; None for none.
    """
    from matplotlib.figure import Figure

    before = picture_of(factual[image]).float()
    columns: list[tuple[str, Tensor, Sequence[str] | None, bool]] = [("factual", before, None, False)]
    outlined: list[Tensor | None] = [contours]
    start, of_null = before, null is not None and not torch.equal(null, factual[image].to(null))
    if null is not None and of_null:
        start = picture_of(null).float()
        columns.append((_NULL, start, None, False))
        outlined.append(None)
    for intervention in interventions:
        columns.append((intervention.title, intervention.answer, intervention.captions, False))
        outlined.append(intervention.contours[0])
        if intervention.truth is not None:
            columns.append(("truth", intervention.truth, None, False))
            outlined.append(intervention.contours[1])
        columns.append(("change", picture_of(intervention.answer).float() - start, None, True))
        outlined.append(None)
    span = span_of([pixels for _, pixels, _, signed in columns if signed])
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
        size = min(8.0, 72 * _CELL * (1 + _GAP) / (0.52 * len(name)))  # points, such that heads do not overlap
        axis.text(middle, -0.28, name, fontsize=size, ha="center", va="bottom")
        for row in range(rows):
            above = row * (1 + _CAPTION)
            show_image(axis, pixels[row], signed=signed, corner=(left, above), span=span)
            parts = outlined[position]
            if parts is not None:
                draw_contours(axis, plane_of(parts)[row], corner=(left, above))
            if captions is not None:
                axis.text(middle, above - 0.02, captions[row], fontsize=6, ha="center", va="bottom", color="#444")
    against = f"from {_NULL!r}, the model's answer to no intervention" if of_null else "from the factual image"
    scale = f"change {against}: blue darker, red brighter, full colour at {span:g} grey levels"
    size = min(9.0, 72 * figure.get_figwidth() / (0.62 * max(len(title), 1)))  # points, such that it fits
    axis.text(0, -top, title, fontsize=size, ha="left", va="top")
    if interventions:
        size = min(6.0, 72 * figure.get_figwidth() / (0.58 * len(scale)))
        axis.text(0, -top + 0.22, scale, fontsize=size, ha="left", va="top", color="#444")
    return figure


def span_of(changes: Sequence[Tensor]) -> float:
    """The change that gets the full colour: what hardly any pixel exceeds, in tens of grey levels; 255 at most.

    Args:
        changes: differences of images.

    Examples:
        >>> import torch
        >>> span_of([torch.tensor([0.0, -38.0])]), span_of([torch.zeros(3)]), span_of([])
        (40.0, 10.0, 255.0)
    """
    if not changes:
        return 255.0
    sizes = torch.cat([change.abs().flatten() for change in changes])
    most = sizes.kthvalue(max(1, math.ceil(0.999 * len(sizes)))).values
    return min(255.0, max(10.0, 10.0 * math.ceil(float(most) / 10)))


def show_image(  # type: ignore[no-untyped-def]
    axis,
    pixels: Tensor,
    *,
    signed: bool = False,
    corner: tuple[float, float] | None = None,
    span: float = 255.0,
) -> None:
    """One image, (C, H, W), or of a volume, (C, D, H, W), its central slice, grey levels; of a difference, its mean over channels, red
    where it is brighter.

    Args:
        axis: where it is drawn.
        pixels: of the image.
        signed: whether it is a difference.
        corner: left and upper end of the square of side 1 that it is fitted into; None for the whole of the axis.
        span: of a difference, what gets the full colour.
    """
    picture = picture_of(pixels[None])[0].float().permute(1, 2, 0).numpy()
    options: dict[str, Any] = {"interpolation": "nearest"}
    if corner is not None:
        high, wide = (side / max(picture.shape[:2]) for side in picture.shape[:2])
        left, above = corner[0] + (1 - wide) / 2, corner[1] + (1 - high) / 2
        options |= {"extent": (left, left + wide, above + high, above), "aspect": "auto"}
    if signed:
        axis.imshow(picture.mean(2), cmap="RdBu_r", vmin=-span, vmax=span, **options)
    elif picture.shape[2] == 1:
        axis.imshow(picture[..., 0], cmap="gray", vmin=0, vmax=255, **options)
    else:
        axis.imshow((picture / 255).clip(0, 1), **options)


def captions(variable: Variable, values: Tensor, *, before: Tensor | None = None) -> list[str]:
    """The values that were set, in words.

    Args:
        variable: that is set.
        values: (N,), what it is set to.
        before: (N,), what was observed, which is told too; None for what was set alone.
    """
    shown = [variable.show(value) for value in values.tolist()]
    if before is None:
        return [f"= {word}" for word in shown]
    unit = f" {variable.unit}" if isinstance(variable, Continuous) and variable.unit else ""
    old = [variable.show(value).removesuffix(unit) for value in before.tolist()]
    return [f"{was} to {word.replace('grey levels', 'levels')}" for was, word in zip(old, shown, strict=True)]


def captions_of(
    variables: Mapping[str, Variable], held: Mapping[str, Tensor], *, before: Mapping[str, Tensor] | None = None
) -> list[str]:
    """What is set in each sample, in words; of several variables one after the other.

    Args:
        variables: of the dataset.
        held: what is set.
        before: what was observed, which is told too; None for what is set alone.
    """
    words = [
        captions(variables[name], values, before=None if before is None else before[name])
        for name, values in held.items()
    ]
    return [", ".join(parts) for parts in zip(*words, strict=True)]
