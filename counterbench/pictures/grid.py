"""Pictures of counterfactuals: factual, answer, truth, and what was changed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from torch import Tensor

from counterbench.causal.samples import Samples
from counterbench.causal.variables import Variable
from counterbench.storage.figures import own_style, save_figure
from counterbench.storage.slices import picture_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_CELL = 0.85  # inches


@dataclass(frozen=True)
class InterventionColumns:
    """The answers to one intervention.

    Args:
        title: e.g. do(thickness).
        captions: one per sample, e.g. the value that was set.
        answer: (N, C, H, W), of volumes (N, C, D, H, W), grey levels.
        truth: the same, or None.
    """

    title: str
    captions: Sequence[str]
    answer: Tensor
    truth: Tensor | None


def draw_grid(
    factual: Samples, image: str, interventions: Sequence[InterventionColumns], *, title: str, path: Path
) -> None:
    """:func:`grid_figure` in a .png file."""
    save_figure(grid_figure(factual, image, interventions, title=title), path)


@own_style()
def grid_figure(factual: Samples, image: str, interventions: Sequence[InterventionColumns], *, title: str) -> Figure:
    """One row per sample; for each intervention the answer, the truth and the difference answer - factual; of volumes their central slices.

    Args:
        factual: the samples.
        image: name of the image variable.
        interventions: what was asked, from left to right.
        title: above everything.
    """
    from matplotlib.figure import Figure

    before = picture_of(factual[image]).float()
    columns: list[tuple[str, Tensor | None, Sequence[str] | None, bool]] = [("factual", before, None, False)]
    for intervention in interventions:
        columns.append((intervention.title, intervention.answer, intervention.captions, False))
        columns.append(("truth" if intervention.truth is not None else "no truth", intervention.truth, None, False))
        columns.append(("change", picture_of(intervention.answer).float() - before, None, True))
    rows = factual.count
    figure = Figure(figsize=(_CELL * (len(columns) + 0.35 * len(interventions)), _CELL * 1.12 * rows + 0.75))
    widths = [1.0] + [width for _ in interventions for width in (1.0, 1.0, 1.0)]
    axes = figure.subplots(rows, len(columns), squeeze=False, gridspec_kw={"width_ratios": widths})
    for position, (name, pixels, captions, signed) in enumerate(columns):
        axes[0][position].set_title(name, fontsize=8, pad=10 if captions is not None else 4)
        for row in range(rows):
            axis = axes[row][position]
            axis.set(xticks=[], yticks=[])
            axis.spines[:].set_visible(False)
            if pixels is None:
                continue
            show_image(axis, pixels[row], signed=signed)
            if captions is not None:
                axis.text(
                    0.5,
                    1.02,
                    captions[row],
                    fontsize=6,
                    ha="center",
                    va="bottom",
                    transform=axis.transAxes,
                    color="#444",
                )
    size = min(9.0, 72 * figure.get_figwidth() / (0.62 * len(title)))  # points, such that it fits
    figure.suptitle(title, fontsize=size, x=0.01, ha="left", y=1 - 0.12 / figure.get_figheight(), va="top")
    figure.subplots_adjust(
        left=0.01, right=0.99, bottom=0.01, top=1 - 0.62 / figure.get_figheight(), wspace=0.06, hspace=0.22
    )
    return figure


def show_image(axis, pixels: Tensor, *, signed: bool = False) -> None:  # type: ignore[no-untyped-def]
    """One image, (C, H, W), or of a volume, (C, D, H, W), its central slice, grey levels; of a difference, its mean over channels, red
    where it is brighter."""
    picture = picture_of(pixels[None])[0].float().permute(1, 2, 0).numpy()
    if signed:
        axis.imshow(picture.mean(2), cmap="RdBu_r", vmin=-255, vmax=255, interpolation="nearest")
    elif picture.shape[2] == 1:
        axis.imshow(picture[..., 0], cmap="gray", vmin=0, vmax=255, interpolation="nearest")
    else:
        axis.imshow((picture / 255).clip(0, 1), interpolation="nearest")


def captions(variable: Variable, values: Tensor) -> list[str]:
    """The values that were set, in words."""
    return [f"= {variable.show(value)}" for value in values.tolist()]


def captions_of(variables: Mapping[str, Variable], held: Mapping[str, Tensor]) -> list[str]:
    """What is set in each sample, in words; of several variables one after the other."""
    words = [captions(variables[name], values) for name, values in held.items()]
    return [", ".join(parts) for parts in zip(*words, strict=True)]
