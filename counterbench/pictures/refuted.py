"""What the data says of a graph: every claim with its interval, and the graphs with shuffled names beside."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from counterbench.discovery.refuting import Claim, Refutation
from counterbench.storage.figures import own_style, save_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_HOLDS, _FAILS, _SHUFFLED = "#1b7f4d", "#c4452d", "#9aa4ab"
_MOST = 30
"""Claims that are drawn; of more, those that fail come first, then those with the largest correlations."""


@own_style()
def refutation_figure(refutation: Refutation) -> Figure:
    """Left: what is left of the correlation for every claim; right: how many independences fail, against shuffled graphs.

    Args:
        refutation: what was found.
    """
    from matplotlib.figure import Figure

    claims = _drawn(refutation)
    figure = Figure(figsize=(9.0, max(2.6, 1.2 + 0.24 * len(claims))), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=[2, 1])
    _draw_claims(left, claims)
    _draw_shuffled(right, refutation)
    figure.suptitle(f"{refutation.table.title}, {len(refutation.table.values)} samples", fontsize=9)
    return figure


def _drawn(refutation: Refutation) -> list[Claim]:
    by_size = sorted(refutation.claims, key=lambda claim: (not claim.violated, -abs(claim.verdict.correlation)))
    kept = {id(claim) for claim in by_size[:_MOST]}
    return [claim for claim in refutation.claims if id(claim) in kept]


def _draw_claims(axis: Any, claims: list[Claim]) -> None:
    for place, claim in enumerate(claims):
        colour = _FAILS if claim.violated else _HOLDS
        axis.plot([claim.verdict.low, claim.verdict.high], [place, place], color=colour, lw=1.6)
        axis.plot(claim.verdict.correlation, place, "s" if claim.arrow else "o", color=colour, ms=4)
    axis.axvline(0, color=_SHUFFLED, lw=0.8)
    axis.set_yticks(range(len(claims)), [_words(claim) for claim in claims], fontsize=7)
    axis.set(ylim=(len(claims) - 0.4, -0.6))
    axis.set_xlabel("correlation of what is left, 95 % interval", fontsize=8)
    axis.tick_params(axis="x", labelsize=7)
    axis.set_title("circles: must be 0; squares (arrows): must not; red: is otherwise", fontsize=8)


def _words(claim: Claim) -> str:
    given = f" | {', '.join(claim.given)}" if claim.given else ""
    sign = "\u2192" if claim.arrow else "\u2013"
    words = f"{claim.first} {sign} {claim.second}{given}"
    return words if len(words) <= 60 else f"{words[:57]}..."


def _draw_shuffled(axis: Any, refutation: Refutation) -> None:
    if not refutation.shuffled:
        axis.axis("off")
        axis.text(
            0.5,
            0.5,
            "nothing to compare:\nno independence is implied,\nor no graph was shuffled",
            ha="center",
            va="center",
            fontsize=8,
        )
        return
    axis.hist(refutation.shuffled, bins=[k / 20 for k in range(22)], color=_SHUFFLED)
    axis.axvline(
        refutation.share, color=_FAILS if any(claim.violated for claim in refutation.independences) else _HOLDS, lw=2
    )
    axis.set(xlim=(-0.02, 1.05))
    axis.set_xlabel("independences that fail, share", fontsize=8)
    axis.tick_params(labelsize=7)
    axis.set_title("line: this graph; bars: names shuffled", fontsize=8)


def draw_refutation(refutation: Refutation, path: Path) -> None:
    """:func:`refutation_figure` in a file.

    Args:
        refutation: what was found.
        path: a .png or .svg file.
    """
    save_figure(refutation_figure(refutation), path, dpi=130)
