"""Training models, judges and feature spaces."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import click

from counterbench.cli.base import SEED, data_options, keep, main, put, put_json, quiet_option, say, show_progress


@main.command()
@click.option("--model", default=None, help="Name of a recipe, or a recipe file; default: that of --init.")
@click.option("--init", default=None, help="Start from a trained model: a recipe's name, or a folder made by training.")
@click.option(
    "--adapt",
    default=None,
    metavar="KIND[:OPTION=VALUE,...]",
    help="Open only a part of the image's mechanism, and keep all others; `list adapters` names the kinds. Needs --init.",
)
@click.option(
    "--graph",
    default=None,
    metavar="FILE|card|empty|reversed|full|discovered",
    help="Which attributes cause which, where it is not as the card says; `counterbench discover` writes such files.",
)
@data_options
@click.option(
    "--where",
    multiple=True,
    metavar="NAME=VALUE,...",
    help="Use only samples with these values of a variable or a role, such as digit=5,6 or age=60:70 or domain=noisy; several.",
)
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    default=None,
    help="Folder for the result; default: runs/MODEL-DATASET-SOURCE.",
)
@click.option("--seed", type=SEED, default=None, help="Default: the recipe's.")
@click.option("--epochs", type=click.IntRange(min=1), default=None, help="At most; default: the recipe's.")
@click.option(
    "--limit",
    type=click.IntRange(min=2),
    default=None,
    help="Use only the first N training samples (of those that --where leaves).",
)
@click.option(
    "--learning-rate",
    type=click.FloatRange(min=0, min_open=True),
    default=None,
    help="With --adapt; default: the recipe's.",
)
@click.option("--steps", type=click.IntRange(min=1), default=None, help="With --adapt: at most, of each stage.")
@click.option(
    "--keep",
    "kept",
    type=click.Choice(["best", "last"]),
    default=None,
    help="With --adapt: the epoch with the lowest validation loss, or the last one.",
)
@click.option(
    "--feed",
    default=None,
    metavar="KIND[:OPTION=VALUE,...]",
    help="How training data is made: repeated:times=3, synthetic:count=1000, filtered:verifier=siamese; `list feeds` names the kinds.",
)
@click.option(
    "--teacher",
    default=None,
    help="With --feed synthetic or filtered: the trained model whose samples are learnt from.",
)
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or mps.")
@click.option("--devices", type=click.IntRange(min=1), default=1, show_default=True, help="How many of them.")
@click.option("--precision", type=click.Choice(["32-true", "bf16-mixed"]), default="32-true", show_default=True)
@click.option("--resume", is_flag=True, help="Go on with an interrupted training in --output, if there is one.")
@quiet_option
def train(
    model: str | None,
    init: str | None,
    adapt: str | None,
    graph: str | None,
    dataset: str,
    source: str | None,
    data_dir: Path | None,
    where: tuple[str, ...],
    output: Path | None,
    seed: int | None,
    epochs: int | None,
    limit: int | None,
    learning_rate: float | None,
    steps: int | None,
    kept: Literal["best", "last"] | None,
    feed: str | None,
    teacher: str | None,
    device: str,
    devices: int,
    precision: str,
    resume: bool,
    quiet: bool,
) -> None:
    """Train every mechanism of a recipe, or a trained one further; the result is a folder that `evaluate --model FOLDER` takes."""
    from counterbench.storage.files import MANIFEST
    from counterbench.training.places import MARKER, require_free

    if output is not None and not resume:
        require_free(output, resume)  # told before anything heavy is imported

    from counterbench import datasets
    from counterbench.errors import ConfigError
    from counterbench.models import names
    from counterbench.pictures.curves import draw_trained
    from counterbench.runtime.devices import choose_device
    from counterbench.training import adaptation, feeding, graphs, recipes
    from counterbench.training.hardware import Hardware

    show_progress(quiet)
    place = str(choose_device(device))
    loaded = datasets.load(dataset, source, data_dir=data_dir)
    recipe = adaptation.start_recipe(model, init, loaded)
    if graph is not None:
        recipe = graphs.with_graph(recipe, graph, loaded, seed=recipe.seed if seed is None else seed)
    if feed is not None:
        recipe = recipe.model_copy(update={"feed": feeding.parsed_feed(feed, teacher)})
    elif teacher is not None:
        raise ConfigError("--teacher goes with --feed synthetic or --feed filtered.")
    if where:
        recipe = adaptation.with_rows(recipe, where, limit)
    if adapt is not None:
        recipe = adaptation.adapted_recipe(
            recipe,
            loaded.card.image or "",
            adaptation.parsed_adapter(adapt),
            learning_rate=learning_rate,
            steps=steps,
            keep=kept,
        )
    elif (learning_rate, steps, kept) != (None, None, None):
        raise ConfigError(
            "--learning-rate, --steps and --keep go with --adapt; of a whole recipe they are said in its file."
        )
    folder = output or Path("runs") / f"{recipe.name}-{loaded.card.name}-{loaded.source}"
    keep(folder, MARKER, how=" with --resume")
    hardware = Hardware(place, devices, precision)
    finished = (folder / MANIFEST).is_file()
    recipes.train(
        recipe, loaded, output=folder, hardware=hardware, seed=seed, epochs=epochs, limit=limit, resume=resume
    )
    draw_trained(folder)
    put(str(folder))
    if (folder / feeding.MADE).is_file():
        say(feeding.NO_GUARANTEE)
    # A recipe's name comes before a folder.
    named = f"./{folder}" if str(folder) in names(loaded.card.name) else str(folder)
    plugins = "".join(f" --plugin {target}" for target in click.get_current_context().find_root().params["plugin"])
    done = "It had been trained before, and nothing was left to do." if finished else "Trained."
    say(
        f"{done} Evaluate it with: counterbench{plugins} evaluate --model {named} --dataset {dataset} --source {loaded.source}"
    )


@main.command()
@click.argument("folder", type=click.Path(path_type=Path))
@data_options
@click.option("--output", type=click.Path(path_type=Path), required=True, help="A new folder.")
def merge(folder: Path, dataset: str, source: str | None, data_dir: Path | None, output: Path) -> None:
    """Write a model that was trained further as plain weights, which no longer need the model that it started from."""
    from counterbench import datasets
    from counterbench.training import adaptation

    put(str(adaptation.merge(folder, datasets.load(dataset, source, data_dir=data_dir), output)))


def _instrument_options(seed: int) -> Callable[..., Any]:
    """What training an instrument (a judge, a feature space) on several sources takes."""
    options = [
        click.option("--dataset", default="morphomnist", show_default=True),
        click.option("--source", multiple=True, help="One or several; default: the card's."),
        click.option("--data-dir", type=click.Path(path_type=Path), default=None),
        click.option(
            "--output", type=click.Path(path_type=Path), required=True, help="Folder for weights and a report."
        ),
        click.option("--seed", type=SEED, default=seed, show_default=True),
        click.option("--epochs", type=click.IntRange(min=1), default=None),
        click.option("--device", default="auto", show_default=True),
        click.option("--quiet", "-q", is_flag=True, help="No progress on stderr."),
    ]

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


def _sources(dataset: str, source: tuple[str, ...], data_dir: Path | None) -> list[Any]:
    from counterbench import datasets

    return [datasets.load(dataset, name, data_dir=data_dir) for name in (source or (None,))]


def _put_trained(
    train: Callable[..., Any], loaded: list[Any], output: Path, device: str, *, seed: int, epochs: int | None
) -> None:
    """Train an instrument, and print what the card should say of it."""
    import json

    from counterbench.runtime.devices import choose_device
    from counterbench.training.hardware import Hardware

    report = train(loaded, output, hardware=Hardware(str(choose_device(device))), seed=seed, epochs=epochs)
    put_json(json.dumps(report, indent=1))


@main.command("train-judges")
@_instrument_options(seed=7001)
@click.option(
    "--variable",
    "labels",
    multiple=True,
    required=True,
    help="A variable to read in images, classes or a quantity; one or several, which one network reads together.",
)
@click.option(
    "--recipe",
    default=None,
    help="How they are trained: a name (`list judge-recipes`) or a file; options of this command count more.",
)
@click.option(
    "--counterfactuals",
    type=click.IntRange(min=0),
    default=None,
    help="How often every image is shown once more with values of other images, where the truth can be rendered; default: 0.",
)
@click.option(
    "--init", default=None, help="Go on from judges in a folder made by this command, or `card` for the pinned ones."
)
@click.option(
    "--adapt", default=None, metavar="KIND[:OPTION=VALUE,...]", help="Open only a part of them; see `list adapters`."
)
@click.option(
    "--where", multiple=True, metavar="NAME=VALUE,...", help="Use only samples with these values; see `train`."
)
@click.option("--limit", type=click.IntRange(min=2), default=None, help="Use only the first N samples of each split.")
@click.option(
    "--learning-rate",
    type=click.FloatRange(min=0, min_open=True),
    default=None,
    help="With --init; default: that of new judges.",
)
@click.option("--steps", type=click.IntRange(min=1), default=None, help="With --init: all of them are taken.")
@click.option(
    "--teacher", default=None, help="Learn from judges in a folder made by this command, or `card` for the pinned ones."
)
@click.option(
    "--temperature", type=click.FloatRange(min=0, min_open=True), default=None, help="Of --teacher; default: 4."
)
@click.option(
    "--alpha",
    type=click.FloatRange(min=0, max=1),
    default=None,
    help="Share of the teacher in the loss, the rest is that of the labels; default: 0.9.",
)
@click.option(
    "--by", default=None, metavar="NAME,...", help="Tell errors by subgroup: domain, or digit,domain, or age:5."
)
@click.option(
    "--weighting",
    default=None,
    metavar="KIND[:OPTION=VALUE,...]",
    help="How these subgroups are weighted, such as group_dro:eta=0.05; `list weightings` names the kinds. Needs --by.",
)
@click.option(
    "--card",
    type=click.Path(path_type=Path),
    default=None,
    metavar="FILE.yaml",
    help="Write a card here that extends the dataset's by what was trained.",
)
@click.option(
    "--balanced-batches", is_flag=True, help="Draw batches in which every subgroup is as frequent. Needs --by."
)
def train_judges(
    dataset: str,
    source: tuple[str, ...],
    data_dir: Path | None,
    labels: tuple[str, ...],
    output: Path,
    seed: int,
    epochs: int | None,
    device: str,
    quiet: bool,
    recipe: str | None,
    counterfactuals: int | None,
    init: str | None,
    adapt: str | None,
    where: tuple[str, ...],
    limit: int | None,
    learning_rate: float | None,
    steps: int | None,
    teacher: str | None,
    temperature: float | None,
    alpha: float | None,
    by: str | None,
    weighting: str | None,
    balanced_batches: bool,
    card: Path | None,
) -> None:
    """Train the networks that judge variables in images, on the split that no model sees; a recogniser of individuals with them; and fit the reference SCM of the attributes."""
    import json

    from counterbench.catalog import judge_recipes
    from counterbench.catalog.recipes import RowsEntry, WeightingEntry
    from counterbench.datasets.selection import parsed
    from counterbench.errors import ConfigError, DataError
    from counterbench.runtime.devices import choose_device
    from counterbench.training import adaptation, judged, judges, recogniser, reference
    from counterbench.training.distillation import Distillation
    from counterbench.training.hardware import Hardware
    from counterbench.training.judge_start import JudgeStart, teachers, trained_judges
    from counterbench.training.subgroups import parsed_weighting

    show_progress(quiet)
    place = Hardware(str(choose_device(device)))
    loaded = _sources(dataset, source, data_dir)
    if card is not None:
        judged.require_place(card, loaded[0].card)
    attributes = loaded[0].card.attributes
    for label in labels:
        if label not in attributes:
            raise ConfigError(f"--variable {label}: choose a variable of {dataset}: {', '.join(attributes)}.")
    rows = RowsEntry(where=parsed(where), limit=limit) if where or limit else None
    start = JudgeStart(
        trained_judges(init, loaded[0], labels) if init else {},
        adapt=adaptation.parsed_adapter(adapt) if adapt else None,
        rows=rows,
        learning_rate=learning_rate,
        steps=steps,
    )
    plan = judge_recipes.find_judge_recipe(recipe) if recipe else judge_recipes.JudgeRecipe(name="usual")
    weighted = parsed_weighting(weighting, by, balanced=balanced_batches)
    if plan.weighting is not None and weighting is None:
        if by is None:
            raise ConfigError(
                f"--recipe {recipe} weights subgroups; say with --by what divides the samples, such as --by domain."
            )
        given = plan.weighting.model_dump()
        given["balanced_batches"] |= balanced_batches
        weighted = WeightingEntry(by=by, **given)
    if plan.distillation is not None and teacher is None:
        raise ConfigError(f"--recipe {recipe} learns from trained judges; name them with --teacher.")
    taught = plan.distillation or judge_recipes.JudgeDistillation()
    report: dict[str, Any] = judges.train_judges(
        loaded,
        labels,
        output=output,
        hardware=place,
        seed=seed,
        epochs=epochs or plan.epochs,
        counterfactuals=plan.counterfactuals if counterfactuals is None else counterfactuals,
        start=start,
        weighting=weighted,
        distillation=Distillation(
            teachers(teacher, loaded[0], labels),
            taught.temperature if temperature is None else temperature,
            taught.alpha if alpha is None else alpha,
        )
        if teacher
        else None,
        architectures=plan.architectures,
    )
    if not init:  # else individuals and attributes are those of before
        try:
            report["recogniser"] = recogniser.train_recogniser(
                loaded, output, hardware=place, seed=seed + 2000, epochs=epochs
            )
        except DataError as why:  # a dataset whose individuals were seen once each has judges all the same
            say(f"no recogniser: {why}")
        reference.fit_reference(loaded, output, hardware=place, seed=seed, epochs=epochs)
    put_json(json.dumps(report, indent=1))
    _tell_judges(loaded, output, card)


def _tell_judges(loaded: Sequence[Any], output: Path, card: Path | None) -> None:
    """What to doubt of trained judges, and what to do next with them."""
    import json

    from counterbench.training import judged

    judges = json.loads((output / "judges.json").read_text("utf-8"))["judges"]
    for doubt in judged.doubts(judges, loaded):
        say(f"! {doubt}")
    if card is not None:
        judged.write_card(card, loaded[0].card, output)
        say(f"Next: counterbench evaluate --model MODEL --dataset {card}")
        return
    there = [f"{key} ({output / file})" for file, key in judged.FILES.items() if (output / file).is_file()]
    say(
        f"Next: these are the keys of a card: {', '.join(there)}. With --card FILE.yaml, beside the card of the dataset, a card that has them is "
        "written; then evaluate --dataset FILE.yaml."
    )


@main.command("typical-change")
@click.option(
    "--model", "model", multiple=True, required=True, help="A recipe, folder or plug-in; several, of different kinds."
)
@data_options
@click.option(
    "--limit", type=click.IntRange(min=1), default=500, show_default=True, help="Validation samples to ask about."
)
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or mps.")
@quiet_option
def typical_change(
    model: tuple[str, ...],
    dataset: str,
    source: str | None,
    data_dir: Path | None,
    limit: int,
    device: str,
    quiet: bool,
) -> None:
    """Measure how much models change an image, for the key `typical_change` of a card: the scale of the estimated skill."""
    from counterbench import datasets, models
    from counterbench.evaluation.typical_change import typical_change as measured
    from counterbench.runtime.devices import choose_device

    show_progress(quiet)
    loaded = datasets.load(dataset, source, data_dir=data_dir)
    place = choose_device(device)
    contestants = [models.load(name, loaded, device=place) for name in model]
    changes = measured(contestants, loaded, limit=limit)
    put(
        f"typical_change:\n  {loaded.source}: {{{', '.join(f'{name}: {change:g}' for name, change in changes.items())}}}"
    )


@main.command("train-features")
@_instrument_options(seed=8001)
def train_features(
    dataset: str,
    source: tuple[str, ...],
    data_dir: Path | None,
    output: Path,
    seed: int,
    epochs: int | None,
    device: str,
    quiet: bool,
) -> None:
    """Train the unconditional autoencoder that a card pins for minimality, on the split that no model sees."""
    from counterbench.training.features import train_posterior

    show_progress(quiet)
    _put_trained(train_posterior, _sources(dataset, source, data_dir), output, device, seed=seed, epochs=epochs)


@main.command("train-verifiers")
@_instrument_options(seed=9101)
def train_verifiers(
    dataset: str,
    source: tuple[str, ...],
    data_dir: Path | None,
    output: Path,
    seed: int,
    epochs: int | None,
    device: str,
    quiet: bool,
) -> None:
    """Train the two verifiers that say whether two images show one individual, on the split that no model sees."""
    from counterbench.training.verifiers import train_verifiers as trained

    show_progress(quiet)
    _put_trained(trained, _sources(dataset, source, data_dir), output, device, seed=seed, epochs=epochs)
