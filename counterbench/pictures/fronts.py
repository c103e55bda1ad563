"""The front of a search: every trial as a point, two objectives at a time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

from counterbench.storage.figures import own_style, save_figure

_MOST = 3
_LOOKS = {"search": ("o", "C0"), "random": ("x", "C7"), "beside": ("s", "C1")}


@dataclass(frozen=True)
class FrontPicture:
    """What is drawn.

    Args:
        objectives: their names, with what is better.
        groups: group -> name of a trial -> values of the objectives.
        fronts: group -> names on its front.
        labels: name of a trial -> what it is called in the picture; only these are named.
        fresh: name of a trial -> its values with fresh seeds.
        start: values of the model as it is.
    """

    objectives: Sequence[str]
    groups: Mapping[str, Mapping[str, Sequence[float]]]
    fronts: Mapping[str, Sequence[str]]
    labels: Mapping[str, str]
    fresh: Mapping[str, Sequence[float]]
    start: Sequence[float]


@own_style()
def draw_front(drawn: FrontPicture, path: Path) -> None:
    """One panel for every two objectives, three at most: trials, fronts filled, and where they lie with fresh seeds.

    Args:
        drawn: what was found.
        path: a .png file.
    """
    from matplotlib.figure import Figure

    pairs = list(combinations(range(len(drawn.objectives)), 2))[:_MOST] or [(0, 0)]
    figure = Figure(figsize=(4.4 * len(pairs), 4.2), layout="constrained")
    axes = figure.subplots(1, len(pairs), squeeze=False)[0]
    for axis, (x, y) in zip(axes, pairs, strict=True):
        for group, trials in drawn.groups.items():
            marker, colour = _LOOKS[group]
            for name, values in trials.items():
                chosen = name in drawn.fronts[group]
                axis.scatter(
                    values[x], values[y], marker=marker, s=34 if chosen else 16, c=colour, alpha=1 if chosen else 0.4
                )
                if name in drawn.fresh:
                    there = drawn.fresh[name]
                    axis.annotate(
                        "",
                        (there[x], there[y]),
                        (values[x], values[y]),
                        arrowprops={"arrowstyle": "->", "color": colour, "alpha": 0.5, "lw": 0.8},
                    )
                if name in drawn.labels:
                    axis.annotate(
                        drawn.labels[name],
                        (values[x], values[y]),
                        xytext=(4, 3),
                        textcoords="offset points",
                        fontsize=6,
                    )
            if trials:
                axis.scatter([], [], marker=marker, c=colour, s=34, label=group)
        axis.scatter(drawn.start[x], drawn.start[y], marker="*", s=70, c="k", label="as it is")
        axis.set_xlabel(drawn.objectives[x], fontsize=8)
        axis.set_ylabel(drawn.objectives[y], fontsize=8)
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), fontsize=8)
    save_figure(figure, path, dpi=120)
