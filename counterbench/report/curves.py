"""Training curves as a picture."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from counterbench.files import atomic


def draw_curves(curves: Mapping[str, Mapping[str, Any]], path: Path) -> None:
    """One panel per trained mechanism: loss in nats per sample against epochs.

    Args:
        curves: mechanism -> {"train": [...], "validation": [...]}.
        path: a .png file.
    """
    from matplotlib.figure import Figure

    shown = {name: curve for name, curve in curves.items() if curve["train"]}
    figure = Figure(figsize=(3.6 * max(1, len(shown)), 3), layout="constrained")
    for axis, (name, curve) in zip(
        figure.subplots(1, max(1, len(shown)), squeeze=False)[0], shown.items(), strict=False
    ):
        epochs = range(1, len(curve["train"]) + 1)
        axis.plot(epochs, curve["train"], color="#7a8794", label="training")
        axis.plot(epochs, curve["validation"], color="#c8452c", label="validation")
        # The first epochs tower over the rest: show what follows them.
        tail = [value for part in ("train", "validation") for value in curve[part][len(curve[part]) // 20 :]]
        margin = 0.05 * (max(tail) - min(tail)) or 1.0
        axis.set_ylim(min(tail) - margin, max(tail) + margin)
        axis.set(title=name, xlabel="epoch", ylabel="nats per sample")
        axis.spines[["top", "right"]].set_visible(False)
    if shown:
        axis.legend(frameon=False)
    with atomic(path) as temporary:
        figure.savefig(temporary, dpi=110)
