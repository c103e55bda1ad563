"""The command line: thin. Results go to stdout, progress and messages to stderr."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from counterbench import __version__
from counterbench.errors import CounterbenchError, RecordError, UnknownNameError

_INTERRUPTED = 130
_CLASSES = ("binary", "categorical", "ordinal")


class _Commands(click.Group):
    """Turns a user's mistake into one sentence and an exit code; everything else keeps its traceback."""

    def invoke(self, context: click.Context) -> Any:
        try:
            return super().invoke(context)
        except CounterbenchError as error:
            click.echo(f"counterbench: {error}", err=True)
            context.exit(2 if isinstance(error, UnknownNameError) else 1)
        except KeyboardInterrupt:
            click.echo(f"counterbench: interrupted. {_what_is_kept(context)}", err=True)
            context.exit(_INTERRUPTED)
        except BrokenPipeError:
            sys.stderr.close()
            context.exit(1)
        except OSError as error:
            # A full disk or a vanished folder can strike in any library below.
            click.echo(
                f"counterbench: {error.strerror or error}{f': {error.filename}' if error.filename else ''}.", err=True
            )
            context.exit(1)

    def resolve_command(self, context: click.Context, args: list[str]) -> Any:
        name = args[0] if args else ""
        if name and not name.startswith("-") and self.get_command(context, name) is None:
            raise UnknownNameError("command", name, self.list_commands(context))
        return super().resolve_command(context, args)


_KEPT = "counterbench.kept"


def _keep(folder: Path, sign: str, how: str = "") -> None:
    """Remember, in case of Ctrl-C, where this command keeps what it has finished (then `sign` is in the folder), and how to go on."""
    click.get_current_context().meta[_KEPT] = folder, sign, how


def _what_is_kept(context: click.Context) -> str:
    folder, sign, how = context.meta.get(_KEPT, (None, "", ""))
    if folder is None:
        return "Files that were finished stay; nothing is left half-written."
    if not (folder / sign).exists():
        return "Nothing had been finished yet."
    return f"What was finished is kept in {folder}; run the same command{how} to go on."


def _warned(message: Warning | str, category: type[Warning], *where: Any, **more: Any) -> str:
    return f"counterbench: {message}\n"


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="counterbench")
@click.option(
    "--plugin",
    multiple=True,
    metavar="MODULE|FILE.py",
    help="Load mechanisms, models, metrics, judges or datasets of yours.",
)
def main(plugin: tuple[str, ...]) -> None:
    """Judge counterfactual image generation.

    \b
    counterbench evaluate --model vae --dataset morphomnist
    counterbench list models
    """
    warnings.formatwarning = _warned
    if plugin:
        from counterbench.registry import load_plugin

        for target in plugin:
            load_plugin(target)


def _data_options(command: Callable[..., Any]) -> Callable[..., Any]:
    for option in reversed(
        [
            click.option("--dataset", default="morphomnist", show_default=True, help="Name of a card, or a card file."),
            click.option("--source", default=None, help="Where the pixels come from; default: the card's."),
            click.option(
                "--data-dir",
                type=click.Path(path_type=Path),
                default=None,
                help="Folder of published data; default: $COUNTERBENCH_DATA.",
            ),
        ]
    ):
        command = option(command)
    return command


def _quiet_option(command: Callable[..., Any]) -> Callable[..., Any]:
    return click.option("--quiet", "-q", is_flag=True, help="No progress on stderr.")(command)


def _show_progress(quiet: bool) -> None:
    from counterbench import progress

    progress.shown.set(not quiet)


def _say(message: str) -> None:
    click.echo(message, err=True)


@main.command()
@click.option(
    "--model", required=True, help="A baseline, a recipe, a trained folder, or a plug-in's model; see `list models`."
)
@_data_options
@click.option("--suite", default="standard", show_default=True, help="Name of a suite, or a suite file.")
@click.option("--metrics", default=None, metavar="A,B", help="Only these metrics; default: the suite's.")
@click.option("--limit", type=click.IntRange(min=1), default=None, help="Ask about the first N test images only.")
@click.option(
    "--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of the questions and of the noise."
)
@click.option(
    "--plan",
    type=click.Path(path_type=Path),
    default=None,
    help="Ask the questions in this file (plan.parquet of a record).",
)
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:N or mps.")
@click.option("--batch-size", type=click.IntRange(min=1), default=None, help="Samples at a time; changes no number.")
@click.option(
    "--output", type=click.Path(path_type=Path), default=Path("results"), show_default=True, help="Folder for records."
)
@click.option(
    "--overwrite",
    type=click.Choice(["never", "missing", "always"]),
    default="missing",
    show_default=True,
    help="If this very evaluation was made before: stop, show it, or make it again.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the record alone, as JSON.")
@click.option("--detail", is_flag=True, help="Print every number, not only the headline ones.")
@_quiet_option
def evaluate(
    model: str,
    dataset: str,
    source: str | None,
    data_dir: Path | None,
    suite: str,
    metrics: str | None,
    limit: int | None,
    seed: int,
    plan: Path | None,
    device: str,
    batch_size: int | None,
    output: Path,
    overwrite: str,
    as_json: bool,
    detail: bool,
    quiet: bool,
) -> None:
    """Ask a model all questions of a suite and print a table with intervals, floors and ceilings."""
    from counterbench import evaluation, models, storing

    _show_progress(quiet)
    chosen = [name.strip() for name in metrics.split(",") if name.strip()] if metrics is not None else None
    exam = evaluation.prepare(dataset, suite, source, data_dir, chosen, seed, limit, device, plan)
    contestant = models.load(model, exam.dataset, exam.device, exam.suite.references)
    inputs = exam.inputs(contestant)
    folder = storing.folder_of(inputs, output)
    record = None if overwrite == "always" else storing.stored(folder, inputs)
    if record is not None and overwrite == "never":
        raise RecordError(
            f"This evaluation was made before: {folder}. Use --overwrite missing to show it, or always to make it again."
        )
    if record is None:
        record = _evaluate_into(folder, contestant, exam, batch_size, afresh=overwrite == "always")
    else:
        _say("This evaluation was made before; showing it (--overwrite always makes it again).")
    _print_record(record, as_json, detail)
    if not as_json:
        _say(f"\nrecord, scores per sample and picture: {folder}  ({record.seconds['total']:.0f} s on {record.device})")


@main.command()
@click.option("--model", required=True, help="Name of a recipe, or a recipe file.")
@_data_options
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    default=None,
    help="Folder for the result; default: runs/MODEL-DATASET-SOURCE.",
)
@click.option("--seed", type=click.IntRange(min=0), default=None, help="Default: the recipe's.")
@click.option("--epochs", type=click.IntRange(min=1), default=None, help="At most; default: the recipe's.")
@click.option(
    "--limit",
    type=click.IntRange(min=2),
    default=None,
    help="Use only the first N training samples, to try things out.",
)
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or mps.")
@click.option("--devices", type=click.IntRange(min=1), default=1, show_default=True, help="How many of them.")
@click.option("--precision", type=click.Choice(["32-true", "bf16-mixed"]), default="32-true", show_default=True)
@click.option("--resume", is_flag=True, help="Go on with an interrupted training in --output.")
@_quiet_option
def train(
    model: str,
    dataset: str,
    source: str | None,
    data_dir: Path | None,
    output: Path | None,
    seed: int | None,
    epochs: int | None,
    limit: int | None,
    device: str,
    devices: int,
    precision: str,
    resume: bool,
    quiet: bool,
) -> None:
    """Train every mechanism of a recipe; the result is a folder that `evaluate --model FOLDER` takes."""
    from counterbench import datasets, models, training
    from counterbench.evaluation import choose_device
    from counterbench.fitting import Hardware

    _show_progress(quiet)
    place = str(choose_device(device))
    loaded = datasets.load(dataset, source, data_dir)
    recipe, _ = models.find_recipe(model, loaded.card.name)
    folder = output or Path("runs") / f"{recipe.name}-{loaded.card.name}-{loaded.source}"
    _keep(folder, training.MARKER, " with --resume")
    training.train(recipe, loaded, folder, Hardware(place, devices, precision), seed, epochs, limit, resume)
    click.echo(str(folder))
    _say(
        f"Trained. Evaluate it with: counterbench evaluate --model {folder} --dataset {loaded.card.name} --source {loaded.source}"
    )


def _instrument_options(seed: int) -> Callable[..., Any]:
    """What training an instrument (a judge, a feature space) on several sources takes."""
    options = [
        click.option("--dataset", default="morphomnist", show_default=True),
        click.option("--source", multiple=True, help="One or several; default: the card's."),
        click.option("--data-dir", type=click.Path(path_type=Path), default=None),
        click.option(
            "--output", type=click.Path(path_type=Path), required=True, help="Folder for weights and a report."
        ),
        click.option("--seed", type=click.IntRange(min=0), default=seed, show_default=True),
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

    return [datasets.load(dataset, name, data_dir) for name in (source or (None,))]


@main.command("train-judges")
@_instrument_options(seed=7001)
@click.option(
    "--variable",
    "labels",
    multiple=True,
    required=True,
    help="A binary or categorical variable to predict; one or several.",
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
) -> None:
    """Train the classifiers that judge categorical variables, on the split that no model sees."""
    import json

    from counterbench import judge_training
    from counterbench.errors import ConfigError
    from counterbench.evaluation import choose_device
    from counterbench.fitting import Hardware

    _show_progress(quiet)
    place = Hardware(str(choose_device(device)))
    loaded = _sources(dataset, source, data_dir)
    kinds = {name: v.kind for name, v in loaded[0].variables.items()}
    for label in labels:
        if kinds.get(label) not in _CLASSES:
            raise ConfigError(
                f"--variable {label}: choose a categorical variable of {dataset}: {', '.join(k for k, v in kinds.items() if v in _CLASSES)}."
            )
    click.echo(json.dumps(judge_training.train_judges(loaded, labels, output, place, seed, epochs), indent=1))


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
    import json

    from counterbench import feature_training
    from counterbench.evaluation import choose_device
    from counterbench.fitting import Hardware

    _show_progress(quiet)
    place = Hardware(str(choose_device(device)))
    loaded = _sources(dataset, source, data_dir)
    click.echo(json.dumps(feature_training.train_posterior(loaded, output, place, seed, epochs), indent=1))


@main.command()
@click.argument("records", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--picture",
    type=click.Path(path_type=Path),
    default=Path("comparison.png"),
    show_default=True,
    help="Where the picture goes.",
)
@click.option("--detail", is_flag=True, help="Compare every number, not only the headline ones.")
@click.option("--json", "as_json", is_flag=True, help="Print every pair's differences as JSON; draw nothing.")
def compare(records: tuple[Path, ...], picture: Path, detail: bool, as_json: bool) -> None:
    """Compare two or more RECORDS (folders of `evaluate`) that answer the same questions."""
    import json

    from counterbench import comparison
    from counterbench.files import require_picture

    require_picture(picture)
    made = comparison.compare(comparison.load(records), detail=detail)
    if as_json:
        click.echo(json.dumps(made.to_json(), indent=1))
        return
    from rich.console import Console

    from counterbench.report import versus

    Console(width=None if sys.stdout.isatty() else versus.WIDTH, highlight=False).print(versus.build(made))
    versus.draw(made, picture)
    _say(f"drawn: {picture}")


@main.group()
def plan() -> None:
    """Questions, as data."""


def _plan_options(command: Callable[..., Any]) -> Callable[..., Any]:
    for option in reversed(
        [
            click.option("--suite", default="standard", show_default=True, help="Name of a suite, or a suite file."),
            click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True),
            click.option(
                "--limit", type=click.IntRange(min=1), default=None, help="About the first N test images only."
            ),
        ]
    ):
        command = option(command)
    return _data_options(command)


@plan.command("show")
@_plan_options
@_quiet_option
def plan_show(
    dataset: str, source: str | None, data_dir: Path | None, suite: str, seed: int, limit: int | None, quiet: bool
) -> None:
    """Show how many questions a suite asks, what they set, and the plan's hash."""
    from counterbench import listing

    _show_progress(quiet)
    click.echo(listing.describe_plan(dataset, source, data_dir, suite, seed, limit))


@plan.command("export")
@_plan_options
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    required=True,
    metavar="FILE|FOLDER",
    help="A file that ends with .parquet, .csv or .json, or a new folder for questions with their images.",
)
@_quiet_option
def plan_export(
    dataset: str,
    source: str | None,
    data_dir: Path | None,
    suite: str,
    seed: int,
    limit: int | None,
    output: Path,
    quiet: bool,
) -> None:
    """Write every question of a suite to a file that `evaluate --plan FILE` takes, or with images to a folder that `score` takes."""
    from counterbench import datasets, evaluation, plans
    from counterbench.catalog.suites import find_suite
    from counterbench.letters import questions

    _show_progress(quiet)
    if not output.suffix.removeprefix(".").isalpha():  # exam, exam.v1; but plan.txt is a mistake
        exam = evaluation.prepare(dataset, suite, source, data_dir, None, seed, limit, "cpu")
        count = questions.export(exam, output)
        click.echo(exam.plan.hash)
        _say(
            f"{count} questions of round 1 of {questions.rounds_of(exam.plan)}: {output / 'README.txt'} says how to answer."
        )
        return
    plans.require_format(output)
    drawn = plans.draw(datasets.load(dataset, source, data_dir), find_suite(suite), seed, limit)
    drawn.save(output)
    click.echo(drawn.hash)
    _say(f"{len(drawn)} questions: {output}")


@main.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--name", default=None, help="Of the model; default: the folder's.")
@click.option("--data-dir", type=click.Path(path_type=Path), default=None, help="Folder of published data.")
@click.option("--device", default="auto", show_default=True, help="Of the judges.")
@click.option("--output", type=click.Path(path_type=Path), default=Path("results"), show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print the record as JSON.")
@click.option("--detail", is_flag=True, help="Every number, not only the headline ones.")
@_quiet_option
def score(
    folder: Path,
    name: str | None,
    data_dir: Path | None,
    device: str,
    output: Path,
    as_json: bool,
    detail: bool,
    quiet: bool,
) -> None:
    """Judge the answers in FOLDER (made by `plan export`), whatever program wrote them; write the next round's questions."""
    from counterbench import storing
    from counterbench.letters import scoring

    _show_progress(quiet)
    found = scoring.ready(folder, name, data_dir, device)
    for number, coverage in found.coverage.items():
        _say("\n  ".join([f"round {number}: {coverage}", *coverage.examples()]))
    if found.waiting is not None:
        _say(f"Round {found.rounds[0] + 1} of {found.rounds[1]}: answer {found.waiting}, then run this command again.")
    inputs = found.exam.inputs(found.contestant)
    home = storing.folder_of(inputs, output)
    record = storing.stored(home, inputs) or _evaluate_into(home, found.contestant, found.exam)
    _print_record(record, as_json, detail)
    _say(f"\nrecord, scores per sample and picture: {home}")


@main.group()
def leaderboard() -> None:
    """Records side by side."""


@leaderboard.command("build")
@click.option(
    "--records", type=click.Path(path_type=Path), default=Path("results"), show_default=True, help="Folder of records."
)
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    default=Path("leaderboard"),
    show_default=True,
    help="Folder of the boards.",
)
@click.option(
    "--pictures/--no-pictures",
    default=True,
    show_default=True,
    help="Ask the models again for pictures, where recipe, weights and data are here.",
)
@click.option("--data-dir", type=click.Path(path_type=Path), default=None, help="Folder of published data.")
@click.option("--device", default="auto", show_default=True, help="Of the models that are asked for pictures.")
@_quiet_option
def leaderboard_build(
    records: Path, output: Path, pictures: bool, data_dir: Path | None, device: str, quiet: bool
) -> None:
    """Build boards from all records in a folder: a website that opens from disk, Markdown, CSV, LaTeX and JSON."""
    from counterbench import leaderboard, site
    from counterbench.files import require_writable, write_text
    from counterbench.report import board as report

    _show_progress(quiet)
    boards = leaderboard.build(leaderboard.find(records))
    require_writable(output)
    for name, text in report.pages(boards).items():
        write_text(output / name, text)
    for board in boards:
        click.echo(f"{board.name:<32} {', '.join(row.name for row in board.rows) or 'baselines only'}")
    albums = None
    if pictures:
        from counterbench.site.pictures import draw_all

        albums = draw_all(boards, output, data_dir, device)
    page = site.build(boards, output, albums)
    _say(f"{len(boards)} boards; open {page}")


@main.command()
@click.argument("records", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--data-dir", type=click.Path(path_type=Path), default=None, help="Folder of published data.")
@click.option(
    "--data", "pixels", is_flag=True, help="Compare the fingerprints of images too, which renders or reads them."
)
def validate(records: tuple[Path, ...], data_dir: Path | None, pixels: bool) -> None:
    """Check RECORDS: schema, plausibility, and whether questions and judges are those of this version."""
    from counterbench import validation

    invalid = 0
    for path in records:
        verdict = validation.validate(path, data_dir, pixels)
        invalid += bool(verdict.problems)
        click.echo(f"{'INVALID' if verdict.problems else 'valid':<8} {path}")
        for line in (*verdict.problems, *verdict.notes):
            click.echo(f"         {line}")
    if invalid:
        raise RecordError(f"{invalid} of {len(records)} records are invalid.")


@main.command()
@click.argument("record", type=click.Path(path_type=Path))
@click.option(
    "--count", type=click.IntRange(min=10), default=100, show_default=True, help="How many images to ask about."
)
@click.option("--model", default=None, help="Where the model is, if it is not where the record says.")
@click.option("--data-dir", type=click.Path(path_type=Path), default=None, help="Folder of published data.")
@click.option("--device", default="auto", show_default=True)
@_quiet_option
def verify(record: Path, count: int, model: str | None, data_dir: Path | None, device: str, quiet: bool) -> None:
    """Ask the model of RECORD some of its questions again, and compare the numbers with those it claims."""
    from counterbench import verification
    from counterbench.report.table import heading, show

    _show_progress(quiet)
    found = verification.verify(record, count, data_dir, device, model)
    for problem in found.problems:
        click.echo(f"PROBLEM  {problem}")
    for check in found.checks:
        if not check.agrees:
            click.echo(
                f"DIFFERS  {heading(check.number)}: {show(check.claimed)} claimed, {show(check.found)} found, {show(check.allowed)} allowed"
            )
    how = "sample by sample" if found.exact else "within the sample's error"
    agreeing = len(found.checks) - len(found.disagreements)
    click.echo(
        f"{agreeing} of {len(found.checks)} numbers agree {how}, on {found.images} of {found.record.images} images"
    )
    if found.problems or found.disagreements:
        raise RecordError(f"{record} could not be verified.")


def _evaluate_into(
    folder: Path, contestant: Any, exam: Any, batch_size: int | None = None, afresh: bool = False
) -> Any:
    """Evaluate, and keep everything in a folder, chunks first; returns the record."""
    from counterbench import evaluation, gallery, storing
    from counterbench.files import UNFINISHED, claimed

    _keep(folder, UNFINISHED)
    with claimed(folder):
        if afresh:
            storing.discard_chunks(folder)
        made = evaluation.evaluate(contestant, exam, batch_size, folder / UNFINISHED)
        storing.save(made, folder)
    gallery.draw_evaluation(made, exam.dataset, folder / storing.GRID)
    return made.record


def _print_record(record: Any, as_json: bool, detail: bool) -> None:
    """A record to stdout, as a table or as JSON."""
    from counterbench.records import to_json

    if as_json:
        click.echo(to_json(record), nl=False)
        return
    from rich.console import Console

    from counterbench.report import table

    console = Console(width=None if sys.stdout.isatty() else table.WIDTH, highlight=False)
    console.print(table.build(record, detail, console.width))


@main.command()
@click.argument("name")
@click.option("--kind", default=None, help="What NAME is, if several things are called that.")
@_data_options
@_quiet_option
def check(name: str, kind: str | None, dataset: str, source: str | None, data_dir: Path | None, quiet: bool) -> None:
    """Check a component of yours against its contract, on the CPU, and say what to mend.

    NAME is a model, mechanism, metric, judge, feature space or dataset (most likely of a plug-in), or a file: a recipe or a card.
    """
    from counterbench import checks, datasets
    from counterbench.errors import ConfigError

    _show_progress(quiet)
    found = checks.kinds_of(name, dataset)
    if kind is not None and kind not in found:
        raise ConfigError(f"--kind {kind}: {name} is {' and '.join(found)}.")
    broken = 0
    for chosen in [kind] if kind else found:
        loaded = datasets.load(name if chosen == "dataset" else dataset, source, data_dir)
        click.secho(f"{name} ({chosen}), on {loaded.card.name}/{loaded.source}", bold=True)
        for finding in checks.check(name, chosen, loaded):
            broken += finding.status == "broken"
            click.echo(f"  {finding.status:<11}{finding.subject}: {finding.title}")
            if finding.advice:
                click.echo(f"  {'':<11}  {finding.advice}")
    if broken:
        raise ConfigError(f"{name} does not keep its contract yet: {broken} broken.")
    click.echo("All that was asked holds.")


@main.command()
@click.argument("kind", type=click.Choice(["model", "mechanism", "dataset", "metric"]))
@click.argument("name")
@click.option("--output", type=click.Path(path_type=Path), default=None, help="A new folder; default: NAME.")
def new(kind: str, name: str, output: Path | None) -> None:
    """Write a working start for a component of yours: a Python package with tests, outside of this repository."""
    from counterbench import scaffold

    for path in scaffold.create(kind, name, output):
        click.echo(path)
    _say(f"Next: cd {output or name} && pip install -e '.[dev]' && pytest")


@main.command()
@_data_options
def doctor(dataset: str, source: str | None, data_dir: Path | None) -> None:
    """Say what works on this machine, which pretrained files are missing, and where they go."""
    from counterbench import listing

    click.echo(listing.diagnose(dataset, source, data_dir))


@main.command("list")
@click.argument(
    "kind",
    required=False,
    type=click.Choice(["models", "datasets", "metrics", "suites", "mechanisms", "objectives", "judges", "features"]),
)
def list_(kind: str | None) -> None:
    """List what there is."""
    from counterbench import listing

    for chosen in [kind] if kind else list(listing.KINDS):
        if kind is None:
            click.secho(chosen, bold=True)
        for name, words in listing.KINDS[chosen]():
            click.echo(f"{'' if kind else '  '}{name:<24}{words}".rstrip())


@main.command()
@click.argument("name")
@click.option(
    "--picture",
    type=click.Path(path_type=Path),
    default=None,
    metavar="FILE.png",
    help="Draw a dataset's causal graph.",
)
def show(name: str, picture: Path | None) -> None:
    """Show a dataset, model, suite, metric, mechanism or judge by name; or a recipe, card or suite in a file."""
    from counterbench import listing
    from counterbench.files import require_picture

    if picture is not None:
        require_picture(picture)
    click.echo(listing.describe(name))
    if picture is not None:
        listing.draw(name, picture)
        _say(f"drawn: {picture}")


@main.group()
def data() -> None:
    """Prepare data."""


@data.command("prepare")
@_data_options
@click.option("--split", multiple=True, help="Only these splits; default: all.")
@click.option("--download", is_flag=True, help="Fetch the published files first, where that is allowed.")
@_quiet_option
def prepare(
    dataset: str, source: str | None, data_dir: Path | None, split: tuple[str, ...], download: bool, quiet: bool
) -> None:
    """Render or read a dataset once, so that later commands start at once; prints each split's SHA-256."""
    from counterbench import datasets

    _show_progress(quiet)
    loaded = datasets.load(dataset, source, data_dir)
    if download:
        loaded.download()
    for name in split or loaded.splits:
        part = loaded.split(name)
        click.echo(f"{name:<12}{len(part):>7} samples  {part.fingerprint}")


@data.command("draw")
@_data_options
@click.option("--count", default=64, show_default=True, help="How many test images.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Which ones.")
@click.option("--out", type=click.Path(path_type=Path), default=Path("samples.png"), show_default=True)
@_quiet_option
def draw(
    dataset: str, source: str | None, data_dir: Path | None, count: int, seed: int, out: Path, quiet: bool
) -> None:
    """Draw samples and, where the process is known, true counterfactuals of each intervention."""
    from counterbench import datasets, gallery
    from counterbench.files import require_picture

    require_picture(out)
    _show_progress(quiet)
    gallery.draw_dataset(datasets.load(dataset, source, data_dir), count, seed, out)
    click.echo(out)


@main.command()
@click.option("--model", default="vae", show_default=True)
@_data_options
@click.option(
    "--do",
    "assignments",
    multiple=True,
    required=True,
    metavar="VARIABLE=VALUE",
    help="Set a variable; repeat for several.",
)
@click.option("--count", default=8, show_default=True, help="How many test images.")
@click.option(
    "--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Which test images, and the noise."
)
@click.option("--device", default="auto", show_default=True)
@click.option("--out", type=click.Path(path_type=Path), default=Path("grid.png"), show_default=True)
@_quiet_option
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
    quiet: bool,
) -> None:
    """Draw counterfactuals of some test images, beside the truth, to look at."""
    from counterbench import datasets, gallery, models
    from counterbench.errors import ConfigError
    from counterbench.evaluation import choose_device
    from counterbench.files import require_picture

    _show_progress(quiet)
    require_picture(out)
    wanted = {}
    for assignment in assignments:
        name, sign, value = assignment.partition("=")
        if not sign or not name or not value:
            raise ConfigError(f"--do {assignment}: expected VARIABLE=VALUE, for example thickness=4.5.")
        wanted[name.strip()] = value.strip()
    loaded = datasets.load(dataset, source, data_dir)
    contestant = models.load(model, loaded, choose_device(device))
    gallery.generate(contestant, loaded, wanted, count, seed, out)
    click.echo(str(out))
