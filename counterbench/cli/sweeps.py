"""Sweeps: a matrix of trainings and evaluations."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from counterbench.cli.base import keep, main, put, put_json, put_table, say
from counterbench.errors import CounterbenchError
from counterbench.runtime.words import counted


@main.group()
def sweep() -> None:
    """Many trainings and evaluations: a matrix of models, datasets, sources, suites and seeds.

    \b
    counterbench sweep list FILE
    counterbench sweep run FILE --jobs 2
    """


def _sweep_options(command: Callable[..., Any]) -> Callable[..., Any]:
    for option in (
        click.option(
            "--output", type=click.Path(path_type=Path), default=None, help="Folder of the sweep; default: sweeps/NAME."
        ),
        click.argument("file"),
    ):
        command = option(command)
    return command


def _expanded(file: str, output: Path | None, *, write: bool) -> tuple[Any, list[Any], Path]:
    """(sweep, its jobs, its folder)."""
    from counterbench.catalog.sweeps import find_sweep
    from counterbench.sweeps.jobs import expand

    found = find_sweep(file)
    folder = output or Path("sweeps") / found.name
    return found, expand(found, folder if write else None), folder


@sweep.command("list")
@_sweep_options
@click.option("--json", "as_json", is_flag=True, help="Print the jobs as JSON.")
def sweep_list(file: str, output: Path | None, as_json: bool) -> None:
    """List the jobs of the sweep in FILE: number, state, and what they took or may take."""
    import json

    from counterbench.sweeps import state, table

    _, jobs, folder = _expanded(file, output, write=False)
    seen = [state.look(job, folder) for job in jobs]
    if as_json:
        put_json(json.dumps(table.as_json(seen), indent=1))
        return
    put_table(lambda width, symbols: table.build(seen, width), table.WIDTH)
    put(table.summary(seen))


@sweep.command("run")
@_sweep_options
@click.option("--jobs", "at_once", type=click.IntRange(min=1), default=1, show_default=True, help="How many at a time.")
@click.option("--job", "number", type=click.IntRange(min=1), default=None, help="Only the job of this number.")
@click.option("--from", "first", type=click.IntRange(min=1), default=None, help="Only jobs from this number on ...")
@click.option("--every", type=click.IntRange(min=1), default=None, help="... and of these every so many.")
@click.option(
    "--engine",
    default="processes",
    show_default=True,
    help="processes, warm (the same with fewer imports, for short jobs), dask or ray.",
)
@click.option("--address", default=None, help="Of dask's scheduler or ray's head; default: one is started here.")
def sweep_run(
    file: str,
    output: Path | None,
    at_once: int,
    number: int | None,
    first: int | None,
    every: int | None,
    engine: str,
    address: str | None,
) -> None:
    """Run the jobs of the sweep in FILE that are not done, then build the boards. Interrupted, the same command goes on."""
    from counterbench.errors import ConfigError
    from counterbench.storage.files import require_writable
    from counterbench.sweeps import running

    found, jobs, folder = _expanded(file, output, write=True)
    require_writable(folder)
    keep(folder, "jobs")
    if number is not None:
        if first is not None or every is not None:
            raise ConfigError("Give --job, or --from and --every, not both.")
        _run_one(jobs, number, folder)
        return
    some = jobs[(first or 1) - 1 :: every or 1]
    open_jobs = running.run(jobs, folder, some=some, at_once=at_once, engine=engine, address=address, tell=say)
    if len(some) == len(jobs):
        _finish(jobs, folder)
    if open_jobs:
        raise CounterbenchError(
            f"{len(open_jobs)} of {counted(len(some), 'jobs')} not done; counterbench sweep list {file} shows them, with their logs."
        )
    say(f"All {len(some)} jobs of {found.name} are done: {folder}")


def _run_one(jobs: list[Any], number: int, folder: Path) -> None:
    from counterbench.errors import ConfigError
    from counterbench.sweeps import running, state

    if number > len(jobs):
        raise ConfigError(f"--job {number}: the sweep has {counted(len(jobs), 'jobs')}.")
    job = jobs[number - 1]
    if lacking := state.lacking(job, jobs, folder):
        raise CounterbenchError(f"Job {number} needs job {', '.join(map(str, lacking))}, which is not done.")
    status = running.run_job(job, folder)
    if status == 130:
        raise KeyboardInterrupt
    if status:
        raise CounterbenchError(f"Job {number} ended with status {status}; see {state.log_of(job, folder)}")


def _finish(jobs: list[Any], folder: Path) -> None:
    """What to open where something was adapted, then boards and their table, which take longer."""
    _report_openings(jobs, folder)
    _build_boards(jobs, folder)


def _build_boards(jobs: list[Any], folder: Path) -> None:
    """Records of several trainings, boards of all records that are there, and one table."""
    from counterbench import leaderboard
    from counterbench.errors import RecordError
    from counterbench.leaderboard import formats, website
    from counterbench.storage.files import write_text
    from counterbench.sweeps import rows, table

    try:
        found = leaderboard.find(folder / "records")
    except RecordError:
        return  # there are none yet
    try:
        boards = leaderboard.build(rows.on_boards(found, rows.together(jobs, folder)))
    except RecordError as why:
        say(f"No boards: {why}")
        return
    for name, text in formats.pages(boards).items():
        write_text(folder / "boards" / name, text)
    page = website.build(boards, folder / "boards")
    put_table(lambda width, symbols: table.results(boards), table.WIDTH)
    say(f"{counted(len(boards), 'boards')}; open {page}")


def _report_openings(jobs: list[Any], folder: Path) -> None:
    """Where a model was adapted: what to open, for how many samples."""
    import json

    from counterbench.judges.loading import JUDGES
    from counterbench.pictures.openings import draw_openings
    from counterbench.records.record import read_record
    from counterbench.storage.files import read_bounded, write_text
    from counterbench.sweeps import openings, state

    by_suite: dict[str, list[Any]] = {}
    reports = []
    for job in jobs:
        if not state.result_is_there(job, folder):
            continue
        if job.kind == "evaluate" and (path := state.record_of(job, folder)):
            record = read_record(path)
            by_suite.setdefault(record.inputs.suite, []).append(record)
        if job.kind == "judge":
            reports.append(
                (json.loads(read_bounded(folder / job.output / JUDGES)), state.look(job, folder).seconds or 0.0)
            )
    collected = {suite: openings.openings(records) for suite, records in by_suite.items()}
    collected["judges"] = openings.openings_of_judges(reports)
    for suite, found in collected.items():
        if not found:
            continue
        best = openings.best_rates(found, openings.chosen_by(found))
        crossed = openings.crossovers(best)
        page = folder / "openings" / f"{suite}.md"
        write_text(page, openings.as_markdown(best, crossed))
        write_text(page.with_suffix(".json"), openings.as_json(found, crossed))
        draw_openings(openings.curves(best), page.with_suffix(".png"))
        say(f"what to open: {page}")


@sweep.command("script")
@_sweep_options
@click.option("--scheduler", type=click.Choice(["slurm"]), default="slurm", show_default=True)
@click.option(
    "--time", "limit", default="04:00:00", show_default=True, help="Limit of a task; then it saves and is requeued."
)
@click.option("--memory", default="8G", show_default=True, help="Of a task.")
@click.option(
    "--at-once", type=click.IntRange(min=1), default=20, show_default=True, help="Tasks of an array at a time."
)
@click.option(
    "--group",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="Jobs that one task runs one after the other.",
)
@click.option("--gpus", type=click.IntRange(min=0), default=0, show_default=True, help="Of a task.")
@click.option("--partition", default="", help="Default: the cluster's.")
def sweep_script(
    file: str,
    output: Path | None,
    scheduler: str,
    limit: str,
    memory: str,
    at_once: int,
    group: int,
    gpus: int,
    partition: str,
) -> None:
    """Write a script that submits the sweep in FILE to a cluster, into the folder of the sweep; prints where."""
    from counterbench.storage.files import write_text
    from counterbench.sweeps import slurm

    found, jobs, folder = _expanded(file, output, write=True)
    (folder / "logs").mkdir(parents=True, exist_ok=True)
    wishes = slurm.Wishes(limit, memory, at_once, group, gpus, partition)
    located = str(Path(file).resolve()) if Path(file).suffix else file
    write_text(folder / "submit.sh", slurm.script(found.name, located, folder.resolve(), jobs, wishes=wishes))
    put(str(folder / "submit.sh"))
