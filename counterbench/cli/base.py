"""The command `counterbench` itself, and what its subcommands share."""

from __future__ import annotations

import os
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from counterbench import __version__
from counterbench.cli import environment
from counterbench.errors import CounterbenchError, UnknownNameError
from counterbench.runtime.terminal import discard_stdout, is_unicode, open_streams, printable_lines

_INTERRUPTED = 130
_NOBODY_READS = 141
"""What a shell says of a program whose reader has gone: 128 + SIGPIPE."""


class _Commands(click.Group):
    """Turns a user's mistake into one sentence and an exit code; everything else keeps its traceback."""

    def main(self, *args: Any, **extra: Any) -> Any:
        open_streams()
        environment.settle(os.environ)
        return super().main(*args, **extra)

    def make_context(self, *args: Any, **extra: Any) -> click.Context:
        with _output_errors():  # --help and --version write as well
            return super().make_context(*args, **extra)

    def invoke(self, context: click.Context) -> Any:
        try:
            with _output_errors(), _terminated_like_interrupted():
                return super().invoke(context)
        except CounterbenchError as error:
            say(f"counterbench: {error}")
            context.exit(2 if isinstance(error, UnknownNameError) else 1)
        except KeyboardInterrupt:
            say(f"counterbench: interrupted. {_what_is_kept(context)}")
            context.exit(_INTERRUPTED)

    def resolve_command(self, context: click.Context, args: list[str]) -> Any:
        name = args[0] if args else ""
        if name and not name.startswith("-") and self.get_command(context, name) is None:
            raise UnknownNameError("command", name, self.list_commands(context))
        return super().resolve_command(context, args)


@contextmanager
def _output_errors() -> Iterator[None]:
    """End with a status where something cannot be written: in silence where the reader has gone, else in one sentence."""
    try:
        yield
    except BrokenPipeError:
        discard_stdout()
        raise click.exceptions.Exit(_NOBODY_READS) from None
    except OSError as error:
        # A full disk or a vanished folder can strike in any library below.
        discard_stdout()
        say(f"counterbench: {error.strerror or error}{f': {error.filename}' if error.filename else ''}.")
        raise click.exceptions.Exit(1) from None


@contextmanager
def _terminated_like_interrupted() -> Iterator[None]:
    """A request to end (SIGTERM, as schedulers send it) is Ctrl-C; a signal that is ignored, as under nohup, stays ignored."""
    before = signal.getsignal(signal.SIGTERM)
    mine = before is signal.SIG_DFL and threading.current_thread() is threading.main_thread()
    if mine:
        signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        if mine:
            signal.signal(signal.SIGTERM, before)


_KEPT = "counterbench.kept"


def keep(folder: Path, sign: str, *, how: str = "") -> None:
    """Remember, in case of Ctrl-C or SIGTERM, where this command keeps what it has finished (then `sign` is in the folder), and how to go on."""
    click.get_current_context().meta[_KEPT] = folder, sign, how


def _what_is_kept(context: click.Context) -> str:
    folder, sign, how = context.meta.get(_KEPT, (None, "", ""))
    if folder is None:
        return "Files that were finished stay; nothing is left half-written."
    if not (folder / sign).exists():
        return "Nothing had been finished yet."
    return f"What was finished is kept in {folder}; run the same command{how} to go on."


def _warned(message: Warning | str, category: type[Warning], *where: Any, **more: Any) -> str:
    return printable_lines(f"counterbench: {message}\n")


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
    if os.environ.get("NO_COLOR"):
        click.get_current_context().color = False
    if plugin:
        from counterbench.plugins.registry import load_plugin

        for target in plugin:
            load_plugin(target)


SEED = click.IntRange(min=0, max=2**32 - 1)
"""Of every `--seed`: what numpy, torch and Lightning all take."""


def data_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """`--dataset`, `--source` and `--data-dir`."""
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


def config_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """`--config`: a YAML file of this command's options; what the command line says goes before it."""
    return click.option(
        "--config",
        type=click.Path(path_type=Path),
        default=None,
        is_eager=True,
        expose_value=False,
        callback=_settled_by,
        metavar="FILE",
        help="YAML of these options (dataset: adni, limit: 100, model: [a, b]); what the command line says goes before it.",
    )(command)


def _settled_by(context: click.Context, _: click.Parameter, path: Path | None) -> None:
    if path is None:
        return
    from counterbench.catalog.reading import load_mapping

    options = {
        word.removeprefix("--"): one
        for one in context.command.params
        if isinstance(one, click.Option) and one.name != "config"
        for word in one.opts
        if word.startswith("--")
    }
    settled = {}
    for key, value in load_mapping(path).items():
        option = options.get(str(key).replace("_", "-"))
        if option is None or option.name is None:
            raise UnknownNameError(f"option in {path}", str(key), list(options))
        settled[option.name] = _as_given(option, value)
    context.default_map = {**(context.default_map or {}), **settled}


def _as_given(option: click.Option, value: Any) -> Any:
    """A value as click expects it: lists for what may be repeated, else text with commas."""
    if value is None:
        return [] if option.multiple else None
    if option.multiple:
        return [str(one) for one in value] if isinstance(value, list) else [str(value)]
    if isinstance(value, list):
        return ",".join(map(str, value))
    return value if option.is_flag else str(value)


records_argument = click.argument("records", nargs=-1, required=True, type=click.Path(path_type=Path))
"""`RECORDS`: files of records, or folders of evaluations; one at least."""


def exam_seed_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """`--exam-seed`."""
    return click.option(
        "--exam-seed",
        type=SEED,
        default=None,
        help="Draw new test individuals with this seed; default: the public ones.",
    )(command)


class SharePart(click.ParamType[Any]):
    """A share of the work: K/N."""

    name = "share"

    def convert(self, value: Any, param: click.Parameter | None, context: click.Context | None) -> Any:
        if isinstance(value, tuple):
            return value
        number, _, count = str(value).partition("/")
        if not (number.isdecimal() and count.isdecimal() and 1 <= int(number) <= int(count)):
            self.fail(f"{value!r} is no share; give K/N with K from 1 to N, as in 1/4.", param, context)
        return int(number), int(count)


def workers_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """`--workers` and `--threads`."""
    for option in reversed(
        [
            click.option(
                "--workers",
                type=click.IntRange(min=1),
                default=None,
                help="Processes that share the work; default: one per processor, at most 8. The numbers are the same.",
            ),
            click.option(
                "--threads",
                type=click.IntRange(min=1),
                default=1,
                show_default=True,
                help="Of each process; changes a network's answers in their last digits.",
            ),
        ]
    ):
        command = option(command)
    return command


def quiet_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """`--quiet`, to be handed to :func:`show_progress`."""
    return click.option("--quiet", "-q", is_flag=True, help="No progress on stderr.")(command)


def show_progress(quiet: bool) -> None:
    """Show progress on stderr from now on, or not."""
    from counterbench.runtime import progress

    progress.shown.set(not quiet)


def say(message: str) -> None:
    """A message to stderr; stdout is for results."""
    click.echo(printable_lines(message), file=sys.stderr)  # named, or click writes UTF-8 where ASCII is asked for


def put(result: object, bold: bool = False) -> None:
    """A line or more of a result to stdout."""
    click.secho(printable_lines(str(result)), file=sys.stdout, bold=bold)


def put_json(text: str) -> None:
    """JSON to stdout, in UTF-8 whatever the terminal's encoding: it is read by programs."""
    click.echo(text.encode(), nl=not text.endswith("\n"))


def put_table(build: Callable[[int, bool], Any], width: int) -> None:
    """A table of rich to stdout, as wide as the terminal.

    Args:
        build: takes the number of characters there are and whether the encoding has all characters; returns the table.
        width: characters, where stdout is no terminal.
    """
    from rich.console import Console
    from rich.segment import Segment, Segments

    console = Console(width=None if sys.stdout.isatty() else width, highlight=False)
    table = console.render(build(console.width, is_unicode(console.encoding)))
    console.print(Segments(Segment(printable_lines(part.text), part.style) for part in table), end="")


def evaluate_into(
    folder: Path,
    contestant: Any,
    exam: Any,
    *,
    batch_size: int | None = None,
    afresh: bool = False,
    keep_answers: bool = False,
    before: Any = None,
    workers: int | None = 1,
    threads: int = 1,
) -> Any:
    """Evaluate, and keep everything in a folder, chunks first; returns the record.

    Args:
        folder: of the evaluation.
        contestant: who is asked.
        exam: the questions.
        batch_size: samples at a time.
        afresh: forget what an interrupted run has finished.
        keep_answers: store the answers too.
        before: of answers that are judged again, what only asking could tell.
        workers: processes that share the work; None for one per processor, where that pays.
        threads: of each of them.
    """
    from counterbench import evaluation
    from counterbench.evaluation import results_folder
    from counterbench.evaluation.kept_answers import Keeping, room
    from counterbench.pictures import gallery
    from counterbench.storage.files import UNFINISHED, claimed

    keep(folder, UNFINISHED)
    keeping = Keeping(folder, image=exam.dataset.card.image) if keep_answers else None
    if keeping is not None:
        say(room(exam, contestant, folder))
    with claimed(folder):
        if afresh:
            results_folder.discard_chunks(folder)
        unfinished = folder / UNFINISHED
        completed = evaluation.evaluate(
            contestant,
            exam,
            batch_size=batch_size,
            folder=unfinished,
            keeping=keeping,
            before=before,
            workers=workers,
            threads=threads,
        )
        results_folder.save(completed, folder, pictures=gallery.figures(completed, exam.dataset))
    return completed.record


def by_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """`--by`."""
    return click.option(
        "--by",
        multiple=True,
        metavar="NAME,...",
        help="Show every number in subgroups too: of a variable or role (domain), of several (digit,domain), of bins of a quantity (age:5); several.",
    )(command)


def detail_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """`--detail` of commands that show a record."""
    return click.option(
        "--detail",
        is_flag=True,
        help="Print all numbers, but for those that are the same in every row, before the summary.",
    )(command)


def print_record(record: Any, as_json: bool, detail: bool) -> None:
    """A record to stdout: its summary, with `detail` all its numbers before that, or as JSON."""
    from counterbench.records.record import to_json

    if as_json:
        put_json(to_json(record))
        return
    from counterbench.records import summary, table

    if detail:
        put_table(lambda width, symbols: table.build(record, True, width=width, symbols=symbols), table.WIDTH)
        put("")
    put_table(lambda width, symbols: summary.build(record, width=width, symbols=symbols, detail=detail), summary.WIDTH)
    for divided in record.subgroups:
        print_subgroups(record, divided, detail)
    if not detail:
        say("All numbers, with intervals and baselines: --detail")


def print_subgroups(record: Any, divided: Any, detail: bool) -> None:
    """The numbers of subgroups to stdout."""
    from counterbench.records import subgroups_table, table

    put("")
    put_table(
        lambda width, symbols: subgroups_table.build(record, divided, detail=detail, width=width, symbols=symbols),
        table.WIDTH,
    )
