"""Commands that evaluate: a model, or a folder of answers from any program."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from counterbench.cli.base import (
    SEED,
    SharePart,
    by_option,
    config_option,
    data_options,
    detail_option,
    evaluate_into,
    exam_seed_option,
    keep,
    main,
    print_record,
    put,
    quiet_option,
    say,
    show_progress,
    workers_options,
)
from counterbench.errors import ConfigError, CounterbenchError, RecordError, short
from counterbench.runtime.words import counted


@main.command()
@config_option
@click.option(
    "--model",
    "model_names",
    required=True,
    multiple=True,
    help="A baseline, a recipe, a trained folder, or a plug-in's model; see `list models`. Several, with commas between, are asked one after the other.",
)
@data_options
@click.option(
    "--name", default=None, help="What tables and boards call the model; default: its own name, or its folder's."
)
@click.option(
    "--suite", default=None, help="Name of a suite, or a suite file; default: standard, without images mechanisms."
)
@click.option("--metrics", default=None, metavar="A,B", help="Only these metrics; default: the suite's.")
@click.option("--limit", type=click.IntRange(min=1), default=None, help="Ask about the first N test images only.")
@click.option("--seed", type=SEED, default=0, show_default=True, help="Of the questions and of the noise.")
@exam_seed_option
@click.option(
    "--plan",
    type=click.Path(path_type=Path),
    default=None,
    help="Ask the questions in this file (plan.parquet of a record).",
)
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:N or mps.")
@click.option(
    "--batch-size",
    type=click.IntRange(min=1),
    default=None,
    help="Samples at a time; changes the speed, and a network's answers in their last digits.",
)
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
@click.option(
    "--keep-answers", is_flag=True, help="Store all answers beside the record, so that `rejudge` needs no model."
)
@click.option(
    "--draws",
    type=click.IntRange(min=2),
    default=None,
    help="Answer single interventions so often, with other chance: adds spread, energy score, coverage (20 for 90 % intervals).",
)
@workers_options
@click.option(
    "--share",
    type=SharePart(),
    default=None,
    metavar="K/N",
    help="Answer only the K-th of N shares and store it: for machines that work side by side. The same command without it collects.",
)
@by_option
@click.option("--json", "as_json", is_flag=True, help="Print the record alone, as JSON.")
@detail_option
@quiet_option
def evaluate(
    model_names: tuple[str, ...],
    dataset: str,
    source: str | None,
    data_dir: Path | None,
    name: str | None,
    suite: str | None,
    metrics: str | None,
    limit: int | None,
    seed: int,
    exam_seed: int | None,
    plan: Path | None,
    device: str,
    batch_size: int | None,
    output: Path,
    overwrite: str,
    keep_answers: bool,
    draws: int | None,
    workers: int | None,
    threads: int,
    share: tuple[int, int] | None,
    by: tuple[str, ...],
    as_json: bool,
    detail: bool,
    quiet: bool,
) -> None:
    """Ask a model all questions of a suite and print what it comes to; several models, or datasets with commas between, one after the other."""
    from counterbench.cli import known

    show_progress(quiet)
    names = [name.strip() for name in metrics.split(",") if name.strip()] if metrics is not None else None
    pairs = _pairs(model_names, dataset)
    known.require_metrics(names or ())
    suites = {of: known.settled_suite(suite, of) for _, of in pairs}
    if len(pairs) > 1 and as_json:
        raise ConfigError(
            f"--json prints one record, and these are {len(pairs)} evaluations; their records lie in {output}."
        )
    if name is not None and (count := len({model for model, _ in pairs})) > 1:
        raise ConfigError(f"--name {short(name)} is one name, and these are {count} models; name them one by one.")

    from counterbench import evaluation, models
    from counterbench.datasets.division import divide
    from counterbench.evaluation import results_folder, subgroups
    from counterbench.evaluation.kept_answers import is_kept
    from counterbench.records.record import require_name

    def one(model: str, dataset: str) -> Any:
        exam = evaluation.prepare(
            dataset,
            suites[dataset],
            source=source,
            data_dir=data_dir,
            metrics=names,
            seed=seed,
            limit=limit,
            device=device,
            plan=plan,
            exam_seed=exam_seed,
            draws=draws,
        )
        for words in by:
            divide(exam.dataset, evaluation.SPLIT, words)  # a mistake is told before hours of work
        contestant = models.load(model, exam.dataset, device=exam.device, references=exam.suite.references)
        contestant = replace(contestant, called=contestant.called if name is None else require_name(name))
        exam = exam.knowing(contestant)
        inputs = exam.inputs(contestant)
        folder = results_folder.folder_of(inputs, output)
        record = None if overwrite == "always" else results_folder.stored(folder, inputs)
        if record is not None and overwrite == "never":
            raise RecordError(
                f"This evaluation was made before: {folder}. Use --overwrite missing to show it, or always to make it again."
            )
        if record is not None and keep_answers and not is_kept(folder, record.kept_answers):
            say("This evaluation was made before, without its answers; it is made again to keep them.")
            record = None
        if share is not None and record is None:
            _store_share(
                share, folder, contestant, exam, batch_size=batch_size, keep_answers=keep_answers, threads=threads
            )
            return None
        if record is None:
            record = evaluate_into(
                folder,
                contestant,
                exam,
                batch_size=batch_size,
                afresh=overwrite == "always",
                keep_answers=keep_answers,
                workers=workers,
                threads=threads,
            )
        else:
            record = results_folder.renamed(
                record, contestant.called if name else record.name or contestant.called, folder
            )
            say("This evaluation was made before; showing it (--overwrite always makes it again).")
        if by:
            record = subgroups.add(record, folder, exam, by)
        _tell(record, folder, as_json, detail)
        return record

    if len(pairs) == 1:
        one(*pairs[0])
    else:
        _one_by_one(pairs, one)


def _is_there(given: str) -> bool:
    """Whether it is a path; many names with commas between are longer than any."""
    try:
        return Path(given).exists()
    except OSError:
        return False


def _pairs(model_names: Sequence[str], dataset_names: str) -> list[tuple[str, str]]:
    """Who is asked about what, each pair once; a name that nothing has is told before the first of them is asked."""
    from counterbench.cli import known

    listed = list(dict.fromkeys(name.strip() for name in dataset_names.split(",") if name.strip()))
    if not listed:
        raise ConfigError("--dataset names none; give one, or several with commas between.")
    # A path may hold a comma.
    named = [one for given in model_names for one in ([given] if _is_there(given) else given.split(","))]
    models = dict.fromkeys(name.strip() for name in named if name.strip())
    if not models:
        raise ConfigError("--model names none; give one, or several with commas between.")
    pairs = [(model, dataset) for dataset in listed for model in models]
    for model, dataset in pairs:
        known.require_model(model, dataset)
    return pairs


def _one_by_one(pairs: Sequence[tuple[str, str]], one: Callable[[str, str], Any]) -> None:
    """Evaluate every pair; one that fails stops no other, and all that failed are told at the end."""
    from counterbench.runtime import progress

    failed, made, parts = [], [], progress.Pieces(len(pairs))
    for number, (model, dataset) in enumerate(pairs, 1):
        with parts.next() as left:
            put(f"{number} of {len(pairs)}: {model} on {dataset}", bold=True)
            if left:
                progress.say(f"{left} for all {len(pairs)}")
            try:
                made.append((model, dataset, one(model, dataset)))
            except CounterbenchError as error:
                failed.append(f"{model} on {dataset}")
                say(f"{model} on {dataset}: {error}")
        put("")
    for model, dataset, record in made:
        if record is not None and record.row_skill is not None:
            skill = record.row_skill
            put(f"{model:<24} {dataset:<20} row skill {skill.value:6.3f}")
    if failed:
        raise ConfigError(
            f"{len(failed)} of {len(pairs)} evaluations could not be made: {', '.join(failed)}. The others are stored."
        )


def _store_share(
    share: tuple[int, int],
    folder: Path,
    contestant: Any,
    exam: Any,
    *,
    batch_size: int | None,
    keep_answers: bool,
    threads: int,
) -> None:
    from counterbench.evaluation.evaluation import examine_share
    from counterbench.evaluation.kept_answers import Keeping
    from counterbench.evaluation.session import Share
    from counterbench.storage.files import UNFINISHED, require_writable

    number, count = share
    require_writable(folder)
    keep(folder, UNFINISHED)
    keeping = Keeping(folder, image=exam.dataset.card.image) if keep_answers else None
    examine_share(
        contestant,
        exam,
        Share(number - 1, count),
        folder=folder / UNFINISHED,
        batch_size=batch_size,
        keeping=keeping,
        threads=threads,
    )
    say(
        f"Share {number} of {count} is stored in {folder / UNFINISHED}; when all are, the same command without --share collects them."
    )


@main.command()
@click.argument("record", type=click.Path(path_type=Path))
@click.option("--metric", "metrics", multiple=True, help="Only this metric; may be repeated. Default: the record's.")
@click.option("--suite", default=None, help="Whose options the metrics get: a name or a file; default: the record's.")
@click.option("--dataset", default=None, help="Its card, if it is not in the catalogue or has other judges.")
@click.option("--data-dir", type=click.Path(path_type=Path), default=None, help="Folder of published data.")
@click.option("--device", default="auto", show_default=True, help="Of the judges.")
@click.option(
    "--batch-size", type=click.IntRange(min=1), default=None, help="Samples at a time; changes the speed alone."
)
@click.option(
    "--output", type=click.Path(path_type=Path), default=Path("results"), show_default=True, help="Folder for records."
)
@workers_options
@click.option("--json", "as_json", is_flag=True, help="Print the record alone, as JSON.")
@detail_option
@quiet_option
def rejudge(
    record: Path,
    metrics: tuple[str, ...],
    suite: str | None,
    dataset: str | None,
    data_dir: Path | None,
    device: str,
    batch_size: int | None,
    output: Path,
    workers: int | None,
    threads: int,
    as_json: bool,
    detail: bool,
    quiet: bool,
) -> None:
    """Judge the answers again that RECORD (a folder of `evaluate --keep-answers`) has kept, without asking the model."""
    from counterbench.evaluation import rejudging, results_folder

    show_progress(quiet)
    again = rejudging.ready(
        record, metrics=metrics or None, suite=suite, dataset=dataset, data_dir=data_dir, device=device
    )
    folder = results_folder.folder_of(again.exam.inputs(again.contestant), output)
    judged = evaluate_into(
        folder,
        again.contestant,
        again.exam,
        batch_size=batch_size,
        before=again.before,
        workers=workers,
        threads=threads,
    )
    _tell(judged, folder, as_json, detail)


def _tell(record: Any, folder: Path, as_json: bool, detail: bool) -> None:
    """A record that was made, and where it lies."""
    print_record(record, as_json, detail)
    if not as_json:
        say(f"\nrecord, scores per sample and picture: {folder}  ({record.seconds['total']:.0f} s on {record.device})")


@main.group()
def plan() -> None:
    """Questions, as data."""


def _plan_options(command: Callable[..., Any]) -> Callable[..., Any]:
    options: list[Callable[..., Any]] = [
        click.option(
            "--suite",
            default=None,
            help="Name of a suite, or a suite file; default: standard, without images mechanisms.",
        ),
        click.option("--seed", type=SEED, default=0, show_default=True),
        exam_seed_option,
        click.option("--limit", type=click.IntRange(min=1), default=None, help="About the first N test images only."),
    ]
    for option in reversed(options):
        command = option(command)
    return data_options(command)


@plan.command("show")
@_plan_options
@quiet_option
def plan_show(
    dataset: str,
    source: str | None,
    data_dir: Path | None,
    suite: str | None,
    seed: int,
    exam_seed: int | None,
    limit: int | None,
    quiet: bool,
) -> None:
    """Show how many questions a suite asks, what they set, and the plan's hash."""
    from counterbench.cli import describe, known

    show_progress(quiet)
    suite = known.settled_suite(suite, dataset)
    put(
        describe.describe_plan(
            dataset, source, data_dir=data_dir, suite=suite, seed=seed, exam_seed=exam_seed, limit=limit
        )
    )


@plan.command("export")
@_plan_options
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    required=True,
    metavar="FILE|FOLDER",
    help="A file that ends with .parquet, .csv or .json, or a new folder for questions with their images.",
)
@click.option("--nifti", is_flag=True, help="Volumes as NIfTI (needs nibabel), not as NPZ; in a folder.")
@quiet_option
def plan_export(
    dataset: str,
    source: str | None,
    data_dir: Path | None,
    suite: str | None,
    seed: int,
    exam_seed: int | None,
    limit: int | None,
    output: Path,
    nifti: bool,
    quiet: bool,
) -> None:
    """Write every question of a suite to a file that `evaluate --plan FILE` takes, or with images to a folder that `score` takes."""
    from counterbench import datasets, evaluation, plans
    from counterbench.catalog.suites import find_suite
    from counterbench.cli import known
    from counterbench.exchange import questions

    show_progress(quiet)
    suite = known.settled_suite(suite, dataset)
    if not output.suffix.removeprefix(".").isalpha():  # exam, exam.v1; but plan.txt is a mistake
        exam = evaluation.prepare(
            dataset,
            suite,
            source=source,
            data_dir=data_dir,
            metrics=None,
            seed=seed,
            exam_seed=exam_seed,
            limit=limit,
            device="cpu",
        )
        count = questions.export(exam, output, nifti=nifti)
        put(exam.plan.hash)
        say(
            f"{counted(count, 'questions')} of round 1 of {questions.rounds_of(exam.plan)}: {output / 'README.txt'} says how to answer."
        )
        return
    plans.require_format(output)
    loaded = datasets.load(dataset, source, data_dir=data_dir, exam_seed=exam_seed)
    drawn = plans.draw(loaded, find_suite(suite), seed, limit=limit)
    plans.save(drawn, output)
    put(drawn.hash)
    say(f"{counted(len(drawn), 'questions')}: {output}")


@main.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--name", default=None, help="Of the model; default: the folder's.")
@click.option("--dataset", default=None, help="Its card, if the dataset is not in the catalogue.")
@click.option("--data-dir", type=click.Path(path_type=Path), default=None, help="Folder of published data.")
@click.option("--device", default="auto", show_default=True, help="Of the judges.")
@click.option("--output", type=click.Path(path_type=Path), default=Path("results"), show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print the record as JSON.")
@detail_option
@quiet_option
def score(
    folder: Path,
    name: str | None,
    dataset: str | None,
    data_dir: Path | None,
    device: str,
    output: Path,
    as_json: bool,
    detail: bool,
    quiet: bool,
) -> None:
    """Judge the answers in FOLDER (made by `plan export`), whatever program wrote them; write the next round's questions."""
    from counterbench.evaluation import results_folder
    from counterbench.exchange import scoring

    show_progress(quiet)
    scored = scoring.ready(folder, name, data_dir=data_dir, device=device, dataset=dataset)
    for number, coverage in scored.coverage.items():
        say("\n  ".join([f"round {number}: {coverage}", *coverage.examples()]))
    if scored.waiting is not None:
        say(
            f"Round {scored.rounds[0] + 1} of {scored.rounds[1]}: answer {scored.waiting}, then run this command again."
        )
    inputs = scored.exam.inputs(scored.contestant)
    home = results_folder.folder_of(inputs, output)
    record = results_folder.stored(home, inputs) or evaluate_into(home, scored.contestant, scored.exam)
    print_record(record, as_json, detail)
    say(f"\nrecord, scores per sample and picture: {home}")
