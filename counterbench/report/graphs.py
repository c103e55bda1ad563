"""A causal graph as a picture."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from counterbench.files import atomic
from counterbench.graph import CausalGraph
from counterbench.variables import Variable


def draw_graph(graph: CausalGraph, variables: Mapping[str, Variable], path: Path, title: str = "") -> None:
    """Causes on the left, effects on the right.

    Args:
        graph, variables: what is drawn.
        path: a .png or .svg file.
        title: above it.
    """
    from matplotlib.figure import Figure

    depth = dict.fromkeys(graph, 0)
    for name in graph.order:
        depth[name] = max((depth[parent] + 1 for parent in graph.parents(name)), default=0)
    layers = [[name for name in graph.order if depth[name] == level] for level in range(max(depth.values()) + 1)]
    tallest = max(len(layer) for layer in layers)
    place = {
        name: (2.6 * x, -1.3 * (y - (len(layer) - 1) / 2) + 0.45 * (x % 2))
        for x, layer in enumerate(layers)
        for y, name in enumerate(layer)
    }
    figure = Figure(figsize=(2.2 * len(layers) + 0.6, 1.15 * tallest + 0.9), layout="constrained")
    axis = figure.subplots()
    for parent, child in graph.edges:
        style = {"arrowstyle": "-|>", "color": "#5b6770", "lw": 1.4, "shrinkA": 34, "shrinkB": 34}
        axis.annotate("", xy=place[child], xytext=place[parent], arrowprops=style)
    for name, (x, y) in place.items():
        round_box = {
            "boxstyle": "round,pad=0.55",
            "fc": "#eef3f6" if variables[name].kind != "image" else "#fdf0e2",
            "ec": "#5b6770",
        }
        axis.text(x, y, f"{name}\n", ha="center", va="center", fontsize=10, bbox=round_box, linespacing=1.0)
        axis.text(x, y - 0.13, variables[name].kind, ha="center", va="center", fontsize=7, color="#5b6770")
    horizontal, vertical = [x for x, _ in place.values()], [y for _, y in place.values()]
    axis.set_xlim(min(horizontal) - 1.0, max(horizontal) + 1.0)
    axis.set_ylim(min(vertical) - 0.7, max(vertical) + 0.7)
    axis.set_title(title, fontsize=10)
    axis.axis("off")
    with atomic(path) as temporary:
        figure.savefig(temporary, dpi=130)
