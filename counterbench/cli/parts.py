"""Commands about where things are in an image: phrases, and parts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from counterbench.cli.base import SEED, data_options, main, put, put_json, put_table, quiet_option, show_progress

if TYPE_CHECKING:
    from rich.table import Table

    from counterbench.pictures.grounded import Grounded


@main.command()
@click.option(
    "--model", default="flow-matching", show_default=True, help="A model whose image mechanism reads phrases."
)
@data_options
@click.option("--phrase", default=None, help="What is looked for; default: each image's own caption.")
@click.option("--count", default=6, show_default=True, help="How many test images, at most 12.")
@click.option("--seed", type=SEED, default=0, show_default=True, help="Which ones.")
@click.option("--steps", type=click.IntRange(min=1), default=300, show_default=True, help="Of the inversion.")
@click.option(
    "--window",
    nargs=2,
    type=click.FloatRange(0, 1),
    default=(0.4, 0.6),
    show_default=True,
    help="Times between which attention is read, 0 noise to 1 data.",
)
@click.option("--layer", "layers", multiple=True, help="An attention layer that counts; several; default: all.")
@click.option(
    "--words",
    type=click.Choice(["all", "subject"]),
    default="all",
    show_default=True,
    help="Which words count: all, or those that name what the phrase is about.",
)
@click.option(
    "--reads",
    type=click.Choice(["weights", "heard", "prediction"]),
    default="weights",
    show_default=True,
    help="Weights of attention, as published; what attention adds there; or how the prediction changes without the phrase.",
)
@click.option(
    "--smoothing",
    type=click.FloatRange(min=0),
    default=2.5,
    show_default=True,
    help="Of the map, in 64ths of the image's side.",
)
@click.option(
    "--cut/--no-cut", default=True, show_default=True, help="Whether what is below Otsu's threshold is left out."
)
@click.option("--device", default="auto", show_default=True)
@click.option(
    "--output", "--out", "out", type=click.Path(path_type=Path), default=Path("phrase.png"), show_default=True
)
@click.option("--json", "as_json", is_flag=True, help="The numbers as JSON.")
@quiet_option
def ground(
    model: str,
    dataset: str,
    source: str | None,
    data_dir: Path | None,
    phrase: str | None,
    count: int,
    seed: int,
    steps: int,
    window: tuple[float, float],
    layers: tuple[str, ...],
    words: Literal["all", "subject"],
    reads: Literal["weights", "heard", "prediction"],
    smoothing: float,
    cut: bool,
    device: str,
    out: Path,
    as_json: bool,
    quiet: bool,
) -> None:
    """Draw where in test images a model looks for a phrase, and how well that fits the boxes, where there are any."""
    from counterbench import datasets, models
    from counterbench.models.grounding import Rule
    from counterbench.pictures.grounded import ground_images
    from counterbench.runtime.devices import choose_device
    from counterbench.storage.files import require_picture

    show_progress(quiet)
    require_picture(out)
    loaded = datasets.load(dataset, source, data_dir=data_dir)
    contestant = models.load(model, loaded, device=choose_device(device))
    rule = Rule(steps, window, layers or None, words, reads, smoothing, cut)
    found = ground_images(contestant, loaded, phrase, count=count, seed=seed, rule=rule, path=out)
    if as_json:
        put_json(json.dumps({"rows": found.rows.tolist(), "phrases": found.phrases, "scores": found.scores}, indent=1))
        return
    put(str(out))
    if found.scores:
        put_table(lambda width, unicode: _table(found, width), 78)


def _table(found: Grounded, width: int) -> Table:
    from rich.table import Table

    table = Table(
        box=None,
        pad_edge=False,
        width=min(width, 78),
        title=f"Agreement with the boxes of {found.boxed} images",
        title_justify="left",
    )
    table.add_column("map", no_wrap=True)
    for name in ("area under ROC", "contrast", "overlap", "pointing"):
        table.add_column(name, justify="right")
    for name, scores in found.scores.items():
        table.add_row(name, *(f"{value:.3f}" for value in scores.values()))
    return table


@main.command("train-segmenter")
@data_options
@click.option("--kind", default="unet", show_default=True, help="Of the segmenter; see `list segmenters`.")
@click.option("--output", type=click.Path(path_type=Path), required=True, help="Folder for weights and a report.")
@click.option(
    "--labels",
    type=click.IntRange(min=1),
    default=10,
    show_default=True,
    help="Images with labels, of each domain (scanner); of all together where there are no domains.",
)
@click.option("--without", multiple=True, metavar="DOMAIN", help="Show it no image of this domain; several.")
@click.option(
    "--unlabelled/--no-unlabelled",
    default=True,
    show_default=True,
    help="Whether images without labels are learnt from, where the kind can.",
)
@click.option("--steps", type=click.IntRange(min=1), default=800, show_default=True, help="Of the optimiser.")
@click.option("--seed", type=SEED, default=7001, show_default=True)
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or mps.")
@quiet_option
def train_segmenter(
    dataset: str,
    source: str | None,
    data_dir: Path | None,
    kind: str,
    output: Path,
    labels: int,
    without: tuple[str, ...],
    unlabelled: bool,
    steps: int,
    seed: int,
    device: str,
    quiet: bool,
) -> None:
    """Train a network that finds the parts of an image, from a handful of labels, on the split that no model sees."""
    from counterbench import datasets
    from counterbench.training.hardware import Hardware
    from counterbench.training.segmenters import train_segmenter as trained

    show_progress(quiet)
    report = trained(
        datasets.load(dataset, source, data_dir=data_dir),
        kind,
        output,
        hardware=Hardware(device),
        labels=labels,
        without=without,
        unlabelled=unlabelled,
        steps=steps,
        seed=seed,
    )
    put_json(json.dumps(report, indent=1))
