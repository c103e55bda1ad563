"""A leaderboard as a static website that opens from disk and fetches nothing from elsewhere.

Pages are filled from records (:mod:`counterbench.leaderboard.pages`); pictures come from the models themselves, asked again
(:mod:`counterbench.pictures.albums`), where recipe and weights are at hand.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from importlib.resources import as_file, files
from pathlib import Path
from typing import TYPE_CHECKING

from jinja2 import Environment, PackageLoader, StrictUndefined

from counterbench.leaderboard import pages
from counterbench.leaderboard.board import Board
from counterbench.storage.files import atomic, slug, write_text

if TYPE_CHECKING:
    from counterbench.leaderboard.album import Album

STATIC = (
    "pico.min.css",
    "sortable.min.js",
    "counterbench.css",
    "counterbench.js",
    "LICENSES.txt",
)


def _visible(value: object) -> object:
    """Words without signs that a browser obeys instead of showing them; our own markup stays as it is."""
    if type(value) is not str:
        return value
    return "".join(sign if sign.isprintable() or sign == "\n" else " " for sign in value)


def build(boards: Sequence[Board], folder: Path, *, albums: Mapping[str, Album] | None = None) -> Path:
    """Write the website.

    Args:
        boards: from :func:`counterbench.leaderboard.board.build`.
        folder: where to; files of an earlier build are written over.
        albums: name of a board -> pictures of its models' answers, stored in the same folder.

    Returns:
        The page to open.
    """
    environment = Environment(
        loader=PackageLoader("counterbench.leaderboard"),
        undefined=StrictUndefined,
        autoescape=True,
        finalize=_visible,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["slug"] = slug

    def write(path: str, template: str, **context: object) -> None:
        depth = "../" * path.count("/")
        text = environment.get_template(template).render(root=depth, **context)
        write_text(folder / path, text)

    (folder / "static").mkdir(parents=True, exist_ok=True)
    for name in STATIC:
        with (
            as_file(files("counterbench.leaderboard") / "static" / name) as part,
            atomic(folder / "static" / name) as temporary,
        ):
            shutil.copyfile(part, temporary)
    write("index.html", "index.html.j2", page=pages.index(boards))
    for board in boards:
        album = (albums or {}).get(board.name)
        (folder / board.name).mkdir(exist_ok=True)
        write(f"{board.name}/index.html", "board.html.j2", page=pages.board(board))
        write(f"{board.name}/compare.html", "compare.html.j2", page=pages.comparison(board))
        write(f"{board.name}/viewer.html", "viewer.html.j2", page=pages.viewer(board, album))
        of_models = {row.name: f"model-{slug(row.name)}.html" for row in board.rows}
        for row in board.rows:
            write(f"{board.name}/{of_models[row.name]}", "model.html.j2", page=pages.model(board, row, album))
        for stale in list((folder / board.name).glob("model-*.html")):
            if stale.name not in of_models.values():
                stale.unlink()  # of a model that is not on the board any more
    return folder / "index.html"
