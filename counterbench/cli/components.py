"""Commands about components: `list`, `show`, `doctor`, `check` and `new`."""

from __future__ import annotations

from pathlib import Path

import click

from counterbench.cli.base import data_options, main, put, quiet_option, say, show_progress


@main.command("list")
@click.argument(
    "kind",
    required=False,
    type=click.Choice(
        [
            "models",
            "datasets",
            "metrics",
            "suites",
            "sweeps",
            "mechanisms",
            "objectives",
            "weightings",
            "feeds",
            "adapters",
            "discoverers",
            "judges",
            "judge-recipes",
            "segmenters",
            "architectures",
            "features",
            "recognisers",
        ]
    ),
)
def list_(kind: str | None) -> None:
    """List what there is."""
    from counterbench.cli import describe

    for listed_kind in [kind] if kind else list(describe.KINDS):
        if kind is None:
            put(listed_kind, bold=True)
        for name, words in describe.KINDS[listed_kind]():
            put(f"{'' if kind else '  '}{name:<24}{words}".rstrip())


@main.command()
@click.argument("name")
@click.option(
    "--picture",
    type=click.Path(path_type=Path),
    default=None,
    metavar="FILE.png",
    help="Draw a dataset's causal graph.",
)
@click.option(
    "--adapters",
    "of_dataset",
    default=None,
    metavar="DATASET",
    help="Of a model for this dataset: how many numbers each adapter opens in its image's mechanism.",
)
@click.option("--dataset", default=None, help="Of a recipe's name: the one for this dataset.")
def show(name: str, picture: Path | None, of_dataset: str | None, dataset: str | None) -> None:
    """Show a dataset, model, suite, metric, mechanism or judge by name; or a recipe, card or suite in a file."""
    from counterbench.cli import describe
    from counterbench.storage.files import require_picture

    if picture is not None:
        require_picture(picture)
    put(describe.describe_adapters(name, of_dataset) if of_dataset else describe.describe(name, dataset))
    if picture is not None:
        describe.draw(name, picture)
        say(f"drawn: {picture}")


@main.command()
@data_options
def doctor(dataset: str, source: str | None, data_dir: Path | None) -> None:
    """Say what works on this machine, which pretrained files are missing, and where they go."""
    from counterbench.cli import describe

    put(describe.diagnose(dataset, source, data_dir))


@main.command()
@click.argument("name")
@click.option("--kind", default=None, help="What NAME is, if several things are called that.")
@data_options
@quiet_option
def check(name: str, kind: str | None, dataset: str, source: str | None, data_dir: Path | None, quiet: bool) -> None:
    """Check a component of yours against its contract, on the CPU, and say what to mend.

    NAME is a model, mechanism, metric, judge, feature space or dataset (most likely of a plug-in), or a file: a recipe or a card.
    """
    from counterbench import datasets
    from counterbench.contracts import checking
    from counterbench.errors import ConfigError

    show_progress(quiet)
    kinds = checking.kinds_of(name, dataset)
    if kind is not None and kind not in kinds:
        raise ConfigError(f"--kind {kind}: {name} is {' and '.join(kinds)}.")
    broken = 0
    for one_kind in [kind] if kind else kinds:
        loaded = datasets.load(name if one_kind == "dataset" else dataset, source, data_dir=data_dir)
        put(f"{name} ({one_kind}), on {loaded.card.name}/{loaded.source}", bold=True)
        for finding in checking.check(name, one_kind, loaded):
            broken += finding.status == "broken"
            put(f"  {finding.status:<11}{finding.subject}: {finding.title}")
            if finding.advice:
                put(f"  {'':<11}  {finding.advice}")
    if broken:
        raise ConfigError(f"{name} does not keep its contract yet: {broken} broken.")
    put("All that was asked holds.")


@main.command()
@click.argument("kind", type=click.Choice(["model", "mechanism", "dataset", "metric"]))
@click.argument("name")
@click.option("--output", type=click.Path(path_type=Path), default=None, help="A new folder; default: NAME.")
@click.option(
    "--csv",
    type=click.Path(path_type=Path),
    default=None,
    help="Of a dataset: your table, one row per image; drafts a card.",
)
@click.option("--images", type=click.Path(path_type=Path), default=None, help="The folder of its images.")
def new(kind: str, name: str, output: Path | None, csv: Path | None, images: Path | None) -> None:
    """Write a working start for a component of yours: a Python package with tests, outside of this repository; or the card of a table."""
    if csv is not None or images is not None:
        _draft(kind, name, csv, images)
        return
    from counterbench.scaffold import starts

    for path in starts.create(kind, name, output=output):
        put(path)
    say(f"Next: cd {output or name} && pip install -e '.[dev]' && pytest")


def _draft(kind: str, name: str, csv: Path | None, images: Path | None) -> None:
    """The card of a table, and what to do with it."""
    from counterbench import datasets
    from counterbench.errors import ConfigError
    from counterbench.scaffold.drafting import draft_card, sizes

    if kind != "dataset" or csv is None or images is None:
        raise ConfigError("--csv FILE and --images FOLDER go together, and with `new dataset NAME`.")
    card = draft_card(name, csv, images)
    dataset = datasets.load(str(card))
    put(card)
    say(", ".join(f"{count:,} {split}" for split, count in sizes(dataset).items()))
    say(
        f"Next: look at {card}, say who causes whom (`parents`), then\n"
        f"  counterbench data prepare --dataset {card}\n"
        f"  counterbench discover --dataset {card}  # which graph do the attributes suggest?\n"
        f"  counterbench train-judges --dataset {card} --variable {dataset.card.attributes[0]} --output judges\n"
        f"  counterbench evaluate --model identity --dataset {card} --suite quick"
    )
