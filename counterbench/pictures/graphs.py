"""A causal graph as a picture."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from counterbench.causal.graph import CausalGraph
from counterbench.causal.variables import Variable
from counterbench.storage.figures import own_style, save_figure

_LINE = "#5b6770"


@own_style()
def draw_graph(graph: CausalGraph, variables: Mapping[str, Variable], path: Path, *, title: str = "") -> None:
    """Causes on the left, effects on the right.

    Args:
        graph: what is drawn.
        variables: their kinds stand under the names.
        path: a .png or .svg file.
        title: above it.
    """
    from matplotlib.figure import Figure

    depth = _depths(graph)
    layers = [[name for name in graph.order if depth[name] == level] for level in range(max(depth.values()) + 1)]
    place = {
        name: (2.4 * x, -1.4 * (y - (len(layer) - 1) / 2))
        for x, layer in enumerate(layers)
        for y, name in enumerate(layer)
    }
    figure = Figure(
        figsize=(2.3 * len(layers) + 0.8, 1.1 * max(len(layer) for layer in layers) + 1.0), layout="constrained"
    )
    axis = figure.subplots()
    boxes = {}
    for name, (x, y) in place.items():
        fill = "#fdf0e2" if variables[name].kind == "image" else "#eef3f6"
        box = {"boxstyle": "round,pad=0.5", "fc": fill, "ec": _LINE}
        words = f"{name}\n({variables[name].kind})"
        boxes[name] = axis.text(x, y, words, ha="center", va="center", fontsize=10, bbox=box, linespacing=1.3, zorder=3)
    for parent, child in graph.edges:
        # Arrows that skip a layer bend around the boxes between.
        bend = 0.0 if depth[child] - depth[parent] == 1 else (-0.3 if place[parent][1] >= 0 else 0.3)
        style = {"arrowstyle": "-|>", "color": _LINE, "lw": 1.3, "shrinkA": 2, "shrinkB": 2, "mutation_scale": 14}
        style |= {"connectionstyle": f"arc3,rad={bend}"}
        style |= {"patchA": boxes[parent].get_bbox_patch(), "patchB": boxes[child].get_bbox_patch()}
        axis.annotate("", xy=place[child], xytext=place[parent], arrowprops=style, zorder=2)
    across, down = [x for x, _ in place.values()], [y for _, y in place.values()]
    axis.set_xlim(min(across) - 0.9, max(across) + 0.9)
    axis.set_ylim(min(down) - 0.8, max(down) + 0.9)
    axis.set_title(title, fontsize=11)
    axis.axis("off")
    save_figure(figure, path, dpi=130)


def _depths(graph: CausalGraph) -> dict[str, int]:
    """Longest path from a root."""
    depth: dict[str, int] = {}
    for name in graph.order:
        depth[name] = max((depth[parent] + 1 for parent in graph.parents(name)), default=0)
    return depth
