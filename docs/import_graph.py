"""Draw which parts of counterbench import which, as PNG: `python docs/import_graph.py [PACKAGE_FOLDER ...] --output FILE`.

A node is a folder, or a file beside the folders. Where a checkout declares layers in setup.cfg, nodes stand in their order;
elsewhere every node stands above whatever it imports, as far as the imports have no cycles. Dark arrows are those without a detour
over a third node, pale ones the rest; an arrow that does not point downwards, which a layered house must not have, is red.

    git archive 6b39c35 counterbench | tar -x -C /tmp/before
    python docs/import_graph.py /tmp/before . --output docs/images/imports.png
"""

from __future__ import annotations

import argparse
import configparser
import io
import sys
from pathlib import Path

import grimp
import matplotlib
import networkx
from PIL import Image

matplotlib.use("Agg")
import matplotlib.pyplot as plt

ROOT = Path(__file__).parents[1]
NAME = "counterbench"
RED, DARK, PALE = "#c0392b", "#1f4e79", "#c9d8e6"


def imports(checkout: Path) -> networkx.DiGraph:
    """Folder -> folder, with the number of imports between their modules as `weight`; what a registry types is left out."""
    sys.path.insert(0, str(checkout.resolve()))
    try:
        modules = grimp.build_graph(NAME, cache_dir=None)
    finally:
        sys.path.pop(0)
    graph = networkx.DiGraph()
    for importer in modules.modules:
        graph.add_node(_part(importer))
        for imported in modules.find_modules_directly_imported_by(importer):
            first, second = _part(importer), _part(imported)
            if first == second or "registry" in importer.split(".")[1:]:
                continue
            weight = graph.get_edge_data(first, second, {"weight": 0})["weight"]
            graph.add_edge(first, second, weight=weight + 1)
    graph.remove_nodes_from([node for node in graph if node == NAME])
    return graph


def _part(module: str) -> str:
    return module.split(".")[1] if "." in module else NAME


def layers(checkout: Path, graph: networkx.DiGraph) -> list[list[str]]:
    """Nodes from the top to the bottom, row by row."""
    parser = configparser.ConfigParser()
    parser.read(checkout / "setup.cfg")
    declared = parser.get("importlinter:contract:layers", "layers", fallback="")
    rows = [
        [part.strip().removeprefix(f"{NAME}.") for part in line.split("|")] for line in declared.split("\n") if line
    ]
    if rows and {name for row in rows for name in row} >= set(graph):
        return rows
    groups = networkx.condensation(graph)
    depth: dict[int, int] = {}
    for group in reversed(list(networkx.topological_sort(groups))):
        depth[group] = 1 + max((depth[below] for below in groups.successors(group)), default=-1)
    rows = [[] for _ in range(max(depth.values()) + 1)]
    for group, height in depth.items():
        rows[-1 - height] += sorted(groups.nodes[group]["members"])
    return rows


def places(rows: list[list[str]]) -> dict[str, tuple[float, float]]:
    """Where every node stands; rows of one node are moved aside in turn, so that arrows have room."""
    aside = (0.5, 0.16, 0.84, 0.42, 0.66)
    return {
        name: ((number + 1) / (len(row) + 1) if len(row) > 1 else aside[level % len(aside)], -level)
        for level, row in enumerate(rows)
        for number, name in enumerate(row)
    }


def draw(axes: plt.Axes, graph: networkx.DiGraph, rows: list[list[str]], title: str) -> None:
    """Every node as a box, every import as an arrow from whoever imports."""
    place = places(rows)
    downwards = networkx.DiGraph((a, b) for a, b in graph.edges if place[b][1] < place[a][1])
    direct = set(networkx.transitive_reduction(downwards).edges)
    for first, second in sorted(graph.edges):
        colour = (DARK if (first, second) in direct else PALE) if downwards.has_edge(first, second) else RED
        arrow = {
            "arrowstyle": "-|>",
            "color": colour,
            "linewidth": 0.6 if colour == PALE else 1.4,
            "shrinkA": 9,
            "shrinkB": 9,
        }
        axes.annotate("", place[second], place[first], arrowprops=arrow, zorder=1 if colour == PALE else 2)
    for name, (x, y) in place.items():
        box = {"boxstyle": "round", "facecolor": "white", "edgecolor": "0.5"}
        axes.text(x, y, name, ha="center", va="center", fontsize=9, bbox=box, zorder=3)
    upwards = graph.number_of_edges() - downwards.number_of_edges()
    words = f"{title}: {len(graph)} parts, {graph.number_of_edges()} arrows, {upwards} not downwards"
    axes.set(xlim=(0, 1), ylim=(-len(rows), 1), title=words)
    axes.axis("off")


def save(figure: plt.Figure, path: Path) -> None:
    """With 16 colours, which take a quarter of the bytes."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=70)
    Image.open(buffer).convert("RGB").quantize(16).save(path, optimize=True)


def main() -> None:
    """Draw the checkouts side by side."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "checkouts", nargs="*", type=Path, default=[ROOT], help="folders that hold a folder `counterbench`"
    )
    parser.add_argument("--titles", nargs="*", default=[])
    parser.add_argument("--output", type=Path, default=ROOT / "docs" / "images" / "imports.png")
    options = parser.parse_args()
    figure, all_axes = plt.subplots(1, len(options.checkouts), figsize=(8 * len(options.checkouts), 13), squeeze=False)
    for number, (axes, checkout) in enumerate(zip(all_axes[0], options.checkouts, strict=True)):
        graph = imports(checkout)
        title = options.titles[number] if number < len(options.titles) else checkout.resolve().name
        draw(axes, graph, layers(checkout, graph), title)
    figure.tight_layout()
    save(figure, options.output)


if __name__ == "__main__":
    main()
