"""How good each way to adapt a model is, against how many samples there were."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from counterbench.storage.figures import own_style, save_figure

_MOST = 9


@own_style()
def draw_openings(curves: Mapping[str, Mapping[str, Sequence[tuple[int, float]]]], path: Path) -> None:
    """One panel per number, one line per kind.

    Args:
        curves: number -> kind -> (samples, value), in the order of samples; numbers that are the same throughout are left out, and the first nine of the others drawn.
        path: a .png file.
    """
    from matplotlib.figure import Figure

    varied = {
        name: kinds for name, kinds in curves.items() if len({v for points in kinds.values() for _, v in points}) > 1
    }
    shown = dict(list(varied.items())[:_MOST])
    columns = min(3, max(1, len(shown)))
    rows = -(-max(1, len(shown)) // columns)
    figure = Figure(figsize=(3.6 * columns, 2.8 * rows + 0.6), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False)
    for axis in axes.flat:
        axis.set_axis_off()
    for axis, (name, kinds) in zip(axes.flat, shown.items(), strict=False):
        axis.set_axis_on()
        for kind, points in kinds.items():
            axis.plot([n for n, _ in points], [value for _, value in points], marker="o", markersize=3, label=kind)
        sizes = sorted({n for points in kinds.values() for n, _ in points})
        axis.set_xscale("log")
        axis.set_xticks(sizes, [str(n) for n in sizes])
        axis.set_xticks([], minor=True)
        axis.set_title(name, fontsize=9)
        axis.set_xlabel("samples")
    if shown:
        figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=5, fontsize=8)
    save_figure(figure, path, dpi=110)
