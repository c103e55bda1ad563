"""Training curves as a picture."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from counterbench.storage.figures import own_style, save_figure
from counterbench.storage.files import MANIFEST

_COLOURS = ("#7a8794", "#c8452c", "#2b6ca3", "#4f8f4a", "#8a5fa8")
_UNITS = {"likelihood": "nats per sample"}
_GAME = "adversarial"


def draw_trained(folder: Path) -> None:
    """The curves of a finished training, as `curves.png` in its folder."""
    manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    draw_curves(manifest["curves"], folder / "curves.png")


@own_style()
def draw_curves(curves: Mapping[str, Mapping[str, Any]], path: Path) -> None:
    """One column per stage: the loss against epochs, and below it whatever else the objective has logged.

    Args:
        curves: stage -> {"train": [...], "validation": [...], "parts": {name: [...]}, "objective": name}, the last two optional.
        path: a .png file.
    """
    from matplotlib.figure import Figure

    shown = {name: curve for name, curve in curves.items() if curve["train"]}
    below = {name: _below(curve) for name, curve in shown.items()}
    rows = 2 if any(below.values()) else 1
    figure = Figure(figsize=(3.6 * max(1, len(shown)), 2.8 * rows), layout="constrained")
    axes = figure.subplots(rows, max(1, len(shown)), squeeze=False)
    for column, (name, curve) in enumerate(shown.items()):
        objective = curve.get("objective", "likelihood")
        _draw(axes[0, column], _above(curve), _UNITS.get(objective, "loss"))
        axes[0, column].set_title(name)
        if below[name]:
            _draw(axes[1, column], below[name], "")
        elif rows == 2:
            axes[1, column].set_axis_off()
    save_figure(figure, path, dpi=110)


def _above(curve: Mapping[str, Any]) -> dict[str, Sequence[float]]:
    """What can be compared: losses on training and held-out samples, or those of both sides of a game."""
    parts = curve.get("parts", {})
    if curve.get("objective") == _GAME:
        return {"generator": curve["train"], "discriminator": parts["discriminator_loss"]}
    return {"training": curve["train"], "validation": curve["validation"]}


def _below(curve: Mapping[str, Any]) -> dict[str, Sequence[float]]:
    if curve.get("objective") == _GAME:
        return {"reconstruction error, grey levels": curve["validation"]}
    return {name: values for name, values in curve.get("parts", {}).items() if not name.endswith("_loss")}


def _draw(axis: Any, lines: Mapping[str, Sequence[float]], unit: str) -> None:
    for (label, values), colour in zip(lines.items(), _COLOURS, strict=False):
        axis.plot(range(1, len(values) + 1), values, color=colour, label=label)
    # The first epochs tower over the rest: show what follows them.
    tail = [value for values in lines.values() for value in values[len(values) // 20 :]]
    margin = 0.05 * (max(tail) - min(tail)) or 1.0
    axis.set_ylim(min(tail) - margin, max(tail) + margin)
    axis.set(xlabel="epoch", ylabel=unit)
    axis.spines[["top", "right"]].set_visible(False)
    axis.legend(frameon=False)
