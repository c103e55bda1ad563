"""The common style of figures, and how they are written."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from counterbench.storage.files import atomic

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@contextmanager
def own_style() -> Iterator[None]:
    """matplotlib's defaults, whatever a user's matplotlibrc says, for the length of a block or of a decorated function.

    Names, units and captions are words: a dollar sign in them begins no formula.
    """
    import matplotlib

    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams["text.parse_math"] = False
        yield


def save_figure(figure: Figure, path: Path, *, dpi: int = 150) -> None:
    """Write a figure atomically; the ending of the file's name decides how (the screen's backend plays no part)."""
    with own_style(), atomic(path) as temporary:
        figure.savefig(temporary, dpi=dpi)
