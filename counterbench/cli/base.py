"""The command `counterbench` itself, and what its subcommands share."""

from __future__ import annotations

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
from counterbench.errors import CounterbenchError, UnknownNameError

_INTERRUPTED = 130


class _Commands(click.Group):
    """Turns a user's mistake into one sentence and an exit code; everything else keeps its traceback."""

    def invoke(self, context: click.Context) -> Any:
        try:
            with _terminated_like_interrupted():
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


def keep(folder: Path, sign: str, how: str = "") -> None:
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


def quiet_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """`--quiet`, to be handed to :func:`show_progress`."""
    return click.option("--quiet", "-q", is_flag=True, help="No progress on stderr.")(command)


def show_progress(quiet: bool) -> None:
    """Show progress on stderr from now on, or not."""
    from counterbench import progress

    progress.shown.set(not quiet)


def say(message: str) -> None:
    """A message to stderr; stdout is for results."""
    click.echo(message, err=True)


def evaluate_into(folder: Path, contestant: Any, exam: Any, batch_size: int | None = None, afresh: bool = False) -> Any:
    """Evaluate, and keep everything in a folder, chunks first; returns the record."""
    from counterbench import evaluation, gallery, storing
    from counterbench.files import UNFINISHED, claimed

    keep(folder, UNFINISHED)
    with claimed(folder):
        if afresh:
            storing.discard_chunks(folder)
        made = evaluation.evaluate(contestant, exam, batch_size, folder / UNFINISHED)
        storing.save(made, folder)
    gallery.draw_evaluation(made, exam.dataset, folder / storing.GRID)
    return made.record


def print_record(record: Any, as_json: bool, detail: bool) -> None:
    """A record to stdout, as a table or as JSON."""
    from counterbench.records import to_json

    if as_json:
        click.echo(to_json(record), nl=False)
        return
    from rich.console import Console

    from counterbench.report import table

    console = Console(width=None if sys.stdout.isatty() else table.WIDTH, highlight=False)
    console.print(table.build(record, detail, console.width))
