"""Progress bars on stderr, shown by the command line and silent in a library call."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

shown: ContextVar[bool] = ContextVar("counterbench_progress_shown", default=False)


@contextmanager
def bar(total: int, description: str) -> Iterator[Callable[[int], None]]:
    """A progress bar; the block receives a function that advances it by a number of steps."""
    if not shown.get():
        yield lambda steps: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(description, total=total)
        yield lambda steps: progress.advance(task, steps)


def say(message: str) -> None:
    """A line on stderr, where progress is shown."""
    if shown.get():
        print(message, file=sys.stderr, flush=True)


def watched() -> bool:
    """Whether somebody looks at a terminal; a log file is better off with lines than with a bar."""
    return sys.stderr.isatty()
