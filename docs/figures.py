"""Draws the figures of the documentation.

python docs/figures.py  # the curves that docs/sensitivity.py stored, samples of datasets, answers of shipped models
"""

from __future__ import annotations

import json
from typing import Any

from make import DOCS, GRIDS, IMAGES, SHEETS
from matplotlib.figure import Figure

import counterbench
from counterbench import datasets, models
from counterbench.pictures import gallery
from counterbench.storage.figures import save_figure


def draw(name: str, panels: list[dict[str, Any]]) -> None:
    """What one metric can tell: its curves side by side, a dotted line where the truth is."""
    figure = Figure(figsize=(3.6 * len(panels), 2.7))
    for axis, panel in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
        axis.plot(panel["x"], panel["y"], "o-", color="#1f77b4", markersize=4, linewidth=1.4)
        if panel["truth"] is not None:
            axis.axvline(panel["truth"], color="#999", linewidth=0.8, linestyle=":")
        axis.set_xlabel(panel["x_label"], fontsize=8)
        axis.set_ylabel(panel["y_label"], fontsize=8)
        axis.tick_params(labelsize=7)
        axis.grid(color="#eee")
        axis.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    figure.savefig(IMAGES / f"{name}.png", dpi=110)


def main() -> None:
    """Draw everything."""
    for name, panels in json.loads((DOCS / "sensitivity.json").read_text(encoding="utf-8")).items():
        draw(name, panels)
    for card, source in SHEETS.items():
        gallery.draw_dataset(datasets.load(card, source), 64, 0, DOCS / "images" / f"samples-{card}.png")
    for name, model in {"grid": "hvae", "grid-gan": "gan", "grid-retrieve": "retrieve"}.items():
        result = counterbench.evaluate(model, "morphomnist", suite="quick", limit=5, device="cpu")
        save_figure(result.plot(), DOCS / "images" / f"{name}.png")
    for card, (model, held) in GRIDS.items():
        dataset = datasets.load(card)
        gallery.generate(
            models.load(model, dataset), dataset, held, count=6, seed=0, path=DOCS / "images" / f"grid-{card}.png"
        )


if __name__ == "__main__":
    main()
