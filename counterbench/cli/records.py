"""Commands that read records: comparisons, boards, validation."""

from __future__ import annotations

from pathlib import Path

import click

from counterbench.cli.base import (
    by_option,
    detail_option,
    main,
    print_record,
    print_subgroups,
    put,
    put_json,
    put_table,
    quiet_option,
    records_argument,
    say,
    show_progress,
)
from counterbench.errors import RecordError
from counterbench.runtime.terminal import one_line
from counterbench.runtime.words import counted


@main.command()
@records_argument
@click.option(
    "--picture",
    type=click.Path(path_type=Path),
    default=Path("comparison.png"),
    show_default=True,
    help="Where the picture goes.",
)
@click.option(
    "--detail", is_flag=True, help="Compare every number, not only the headline ones, and print all before the summary."
)
@click.option("--json", "as_json", is_flag=True, help="Print every pair's differences as JSON; draw nothing.")
def compare(records: tuple[Path, ...], picture: Path, detail: bool, as_json: bool) -> None:
    """Compare two or more RECORDS (folders of `evaluate`) that answer the same questions."""
    import json

    from counterbench.leaderboard import comparison, scored
    from counterbench.storage.files import require_picture

    require_picture(picture)
    compared = comparison.compare(scored.load(records), detail=detail)
    if as_json:
        put_json(json.dumps(compared.to_json(), indent=1))
        return
    from counterbench.leaderboard import comparison_report, comparison_summary

    if detail:
        put_table(
            lambda room, symbols: comparison_report.build(compared, room, symbols=symbols), comparison_report.WIDTH
        )
        put("")
    put_table(lambda room, symbols: comparison_summary.build(compared, room, symbols=symbols), comparison_summary.WIDTH)
    if not detail:
        say("Every number with its interval and tests: --detail")
    comparison_report.draw(compared, picture)
    say(f"drawn: {picture}")


@main.command()
@click.argument("record", type=click.Path(path_type=Path))
@by_option
@click.option("--dataset", default=None, help="Its card, if the dataset is not in the catalogue.")
@click.option("--suite", default=None, help="Its suite, if that is not in the catalogue.")
@click.option("--data-dir", type=click.Path(path_type=Path), default=None, help="Folder of published data.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@detail_option
def view(
    record: Path,
    by: tuple[str, ...],
    dataset: str | None,
    suite: str | None,
    data_dir: Path | None,
    as_json: bool,
    detail: bool,
) -> None:
    """Show RECORD again, or with --by its numbers in subgroups, from the scores beside it: no model is asked."""
    import json

    from counterbench.records.record import file_of, read_record

    if not by:
        print_record(read_record(file_of(record)), as_json, detail)
        return
    from counterbench.evaluation import subgroups

    whole, found = subgroups.of_folder(
        record, tuple(dict.fromkeys(by)), data_dir=data_dir, dataset=dataset, suite=suite
    )
    if as_json:
        put_json(json.dumps([divided.model_dump(mode="json") for divided in found], indent=1))
        return
    for divided in found:
        print_subgroups(whole, divided, detail)


@main.command()
@records_argument
@click.option("--name", default=None, help="Of the row; default: the recipe's.")
@click.option("--data-dir", type=click.Path(path_type=Path), default=None, help="Folder of published data.")
@click.option("--output", type=click.Path(path_type=Path), default=Path("results"), show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print the record alone, as JSON.")
@detail_option
@quiet_option
def group(
    records: tuple[Path, ...],
    name: str | None,
    data_dir: Path | None,
    output: Path,
    as_json: bool,
    detail: bool,
    quiet: bool,
) -> None:
    """Make one record of the RECORDS of several trainings of one recipe: means, with the chance of the training in every interval.

    Where all of them have kept their answers (evaluate --keep-answers), it also says how far the trainings are apart.
    """
    from counterbench.evaluation import results_folder
    from counterbench.evaluation.ensembles import compared_where_kept
    from counterbench.leaderboard import groups
    from counterbench.storage.files import claimed

    show_progress(quiet)
    compared = compared_where_kept(records, data_dir=data_dir)
    made, totals = groups.group(records, name=name, compared=compared)
    if not compared[0]:
        say(
            "Not all of them have kept their answers (evaluate --keep-answers), so nothing is said of how far they are apart."
        )
    folder = results_folder.folder_of(made.inputs, output)
    with claimed(folder):
        results_folder.save_group(made, totals, folder)
    print_record(made, as_json, detail)
    if not as_json:
        say(f"\nrecord of {len(made.group)} trainings, and totals: {folder}")


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
@click.option(
    "--trained",
    type=click.Path(path_type=Path),
    multiple=True,
    metavar="FOLDER",
    help="Ask the model in this folder of `train` too, for the record of its weights; may be repeated. Paths in records are not followed.",
)
@click.option("--data-dir", type=click.Path(path_type=Path), default=None, help="Folder of published data.")
@click.option("--device", default="auto", show_default=True, help="Of the models that are asked for pictures.")
@quiet_option
def leaderboard_build(
    records: Path,
    output: Path,
    pictures: bool,
    trained: tuple[Path, ...],
    data_dir: Path | None,
    device: str,
    quiet: bool,
) -> None:
    """Build boards from all records in a folder: a website that opens from disk, Markdown, CSV, LaTeX and JSON."""
    from counterbench import leaderboard
    from counterbench.leaderboard import formats as report
    from counterbench.leaderboard import website
    from counterbench.storage.files import require_writable, write_text

    show_progress(quiet)
    boards = leaderboard.build(leaderboard.find(records))
    require_writable(output)
    for name, text in report.pages(boards).items():
        write_text(output / name, text)
    for board in boards:
        names = ", ".join(one_line(row.name) for row in board.rows) if board.rows else "baselines only"
        put(f"{board.name:<32} {names}")
    albums = None
    if pictures:
        from counterbench.pictures.albums import draw_all

        albums = draw_all(
            boards, output, data_dir=data_dir, device=device, trained=trained, tell=lambda line: say(one_line(line))
        )
    page = website.build(boards, output, albums=albums)
    say(f"{counted(len(boards), 'boards')}; open {page}")


@main.command()
@records_argument
@click.option("--dataset", default=None, help="Their card, if the dataset is not in the catalogue.")
@click.option("--data-dir", type=click.Path(path_type=Path), default=None, help="Folder of published data.")
@click.option(
    "--data", "pixels", is_flag=True, help="Compare the fingerprints of images too, which renders or reads them."
)
def validate(records: tuple[Path, ...], dataset: str | None, data_dir: Path | None, pixels: bool) -> None:
    """Check RECORDS: schema, plausibility, scores, and whether questions and judges are those of this version (else: partly)."""
    from counterbench.verification import consistency

    invalid = 0
    for path in records:
        verdict = consistency.validate(path, data_dir, data=pixels, dataset=dataset)
        invalid += bool(verdict.problems)
        put(f"{verdict.word:<8} {path}")
        for line in (*verdict.problems, *verdict.unchecked, *verdict.notes):
            put(f"         {line}")
    if invalid:
        raise RecordError(f"{invalid} of {len(records)} records are invalid.")


@main.command()
@click.argument("record", type=click.Path(path_type=Path))
@click.option(
    "--count", type=click.IntRange(min=10), default=100, show_default=True, help="How many images to ask about."
)
@click.option("--model", default=None, help="Where the model is, if it is not where the record says.")
@click.option("--dataset", default=None, help="Its card, if the dataset is not in the catalogue.")
@click.option("--data-dir", type=click.Path(path_type=Path), default=None, help="Folder of published data.")
@click.option("--device", default="auto", show_default=True)
@quiet_option
def verify(
    record: Path, count: int, model: str | None, dataset: str | None, data_dir: Path | None, device: str, quiet: bool
) -> None:
    """Ask the model of RECORD some of its questions again, and compare the numbers with those it claims."""
    from counterbench.records.table import heading, show
    from counterbench.verification import reasking

    show_progress(quiet)
    verified = reasking.verify(record, count, data_dir=data_dir, device=device, model=model, dataset=dataset)
    for problem in verified.problems:
        put(f"PROBLEM  {problem}")
    for check in verified.checks:
        if not check.agrees:
            put(
                f"DIFFERS  {heading(check.number)}: {show(check.claimed)} claimed, {show(check.found)} found, {show(check.allowed)} allowed"
            )
    how = "sample by sample" if verified.exact else "within the sample's error"
    agreeing = len(verified.checks) - len(verified.disagreements)
    put(
        f"{agreeing} of {len(verified.checks)} numbers agree {how}, on {verified.images} of {verified.record.images} images"
    )
    if verified.unchecked:
        put(
            f"{verified.unchecked} numbers were not checked: a part of the images says nothing about costs, statistics of whole sets, and skills that fewer than {reasking.FEWEST} of them decide"
        )
    if verified.problems or verified.disagreements:
        raise RecordError(f"{record} could not be verified.")
