"""Looking at data and at answers."""

from __future__ import annotations

from pathlib import Path

import click

from counterbench.cli.base import SEED, data_options, exam_seed_option, main, put, quiet_option, say, show_progress


@main.group()
def data() -> None:
    """Prepare data."""


@data.command("prepare")
@data_options
@click.option("--split", multiple=True, help="Only these splits; default: all.")
@click.option("--download", is_flag=True, help="Fetch the published files first, where that is allowed.")
@exam_seed_option
@quiet_option
def prepare(
    dataset: str,
    source: str | None,
    data_dir: Path | None,
    split: tuple[str, ...],
    download: bool,
    exam_seed: int | None,
    quiet: bool,
) -> None:
    """Render or read a dataset once, so that later commands start at once; prints each split's SHA-256."""
    from counterbench import datasets

    show_progress(quiet)
    loaded = datasets.load(dataset, source, data_dir=data_dir, exam_seed=exam_seed)
    if download:
        loaded.download()
    for name in split or loaded.splits:
        part = loaded.split(name)
        put(f"{name:<12}{len(part):>7} samples  {part.fingerprint}")
    for note in loaded.notes:
        say(note)


@data.command("draw")
@data_options
@click.option("--count", default=64, show_default=True, help="How many test images.")
@click.option("--seed", type=SEED, default=0, show_default=True, help="Which ones.")
@exam_seed_option
@click.option(
    "--output", "--out", "out", type=click.Path(path_type=Path), default=Path("samples.png"), show_default=True
)
@quiet_option
def draw(
    dataset: str,
    source: str | None,
    data_dir: Path | None,
    count: int,
    seed: int,
    exam_seed: int | None,
    out: Path,
    quiet: bool,
) -> None:
    """Draw samples and, where the process is known, true counterfactuals of each intervention."""
    from counterbench import datasets
    from counterbench.pictures import gallery
    from counterbench.storage.files import require_picture

    require_picture(out)
    show_progress(quiet)
    loaded = datasets.load(dataset, source, data_dir=data_dir, exam_seed=exam_seed)
    gallery.draw_dataset(loaded, count, seed, out)
    put(out)


@main.command()
@click.option("--model", default="vae", show_default=True)
@data_options
@click.option(
    "--do",
    "assignments",
    multiple=True,
    required=True,
    metavar="VARIABLE=VALUE",
    help="Set a variable; repeat for several.",
)
@click.option("--count", default=8, show_default=True, help="How many test images.")
@click.option("--seed", type=SEED, default=0, show_default=True, help="Which test images, and the noise.")
@click.option("--device", default="auto", show_default=True)
@click.option("--output", "--out", "out", type=click.Path(path_type=Path), default=Path("grid.png"), show_default=True)
@click.option(
    "--contours", is_flag=True, help="Outline the parts of the images, where they are known or a segmenter is pinned."
)
@quiet_option
def generate(
    model: str,
    dataset: str,
    source: str | None,
    data_dir: Path | None,
    assignments: tuple[str, ...],
    count: int,
    seed: int,
    device: str,
    out: Path,
    contours: bool,
    quiet: bool,
) -> None:
    """Draw counterfactuals of some test images, beside the truth, to look at."""
    from counterbench import datasets, models
    from counterbench.errors import ConfigError
    from counterbench.pictures import gallery
    from counterbench.runtime.devices import choose_device
    from counterbench.storage.files import require_picture

    show_progress(quiet)
    require_picture(out)
    interventions = {}
    for assignment in assignments:
        name, sign, value = assignment.partition("=")
        if not sign or not name or not value:
            raise ConfigError(f"--do {assignment}: expected VARIABLE=VALUE, for example thickness=4.5.")
        interventions[name.strip()] = value.strip()
    loaded = datasets.load(dataset, source, data_dir=data_dir)
    contestant = models.load(model, loaded, device=choose_device(device))
    gallery.generate(contestant, loaded, interventions, count=count, seed=seed, path=out, contours=contours)
    put(str(out))
