"""Searching what of a trained model to open."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from counterbench.cli.base import keep, main, put, quiet_option, say, show_progress
from counterbench.runtime.words import counted


@main.command()
@click.argument("file")
@click.option(
    "--output", type=click.Path(path_type=Path), default=None, help="Folder of the study; default: studies/NAME."
)
@click.option("--trials", type=click.IntRange(min=1), default=None, help="Of the search; default: the study's.")
@click.option("--data-dir", type=click.Path(path_type=Path), default=None, help="Folder of published data.")
@quiet_option
def tune(file: str, output: Path | None, trials: int | None, data_dir: Path | None, quiet: bool) -> None:
    """Search what of a trained model to open, by any metrics: the study in FILE, or one of the catalogue.

    The same command goes on with what was interrupted. Given several times at once, on one machine or on several that share the folder, it
    shares the trials.
    """
    from counterbench.catalog.studies import find_study
    from counterbench.plugins.extras import require_extra
    from counterbench.search import tuning
    from counterbench.storage.files import require_writable

    show_progress(quiet)
    require_extra("tune", "counterbench tune")
    study = find_study(file)
    if trials is not None:
        study = study.model_copy(update={"trials": trials})
    folder = output or Path("studies") / study.name
    require_writable(folder)
    keep(folder, "trials")
    report = tuning.tune(study, folder, data_dir=data_dir, tell=say)
    _collect(report, folder, data_dir)


def _collect(report: Any, folder: Path, data_dir: Path | None) -> None:
    """The table, the picture and the recipes of what won."""
    from counterbench.pictures.fronts import draw_front
    from counterbench.search import tuning
    from counterbench.search.trials import Laboratory
    from counterbench.storage.files import write_text

    table = tuning.as_markdown(report)
    write_text(folder / "report.md", table)
    write_text(folder / "report.json", tuning.as_json(report))
    draw_front(tuning.picture(report), folder / "front.png")
    recipes = tuning.write_front(report, folder, Laboratory(report.study, folder, data_dir=data_dir))
    put(table.rstrip("\n"))
    say(
        f"{counted(len(recipes), 'recipes')}: {folder / 'front'}; table and picture: {folder / 'report.md'}, {folder / 'front.png'}"
    )
