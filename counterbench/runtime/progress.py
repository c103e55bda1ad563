"""Progress on stderr, shown by the command line and silent in a library call: a bar on a terminal, lines in a file."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

shown: ContextVar[bool] = ContextVar("counterbench_progress_shown", default=False)

_within: ContextVar[str] = ContextVar("counterbench_progress_within", default="")

EVERY = 30.0
"""Seconds between two lines where nobody looks at a terminal."""
_ALL = 1e9
"""Seconds whose speed tells how long the rest will take: all that have gone, for chunks may take minutes each."""


@contextmanager
def bar(total: int, description: str) -> Iterator[Callable[[int], None]]:
    """A progress bar, or a line now and then where stderr is a file; the block receives a function that advances it by a number of steps."""
    if not shown.get():
        yield lambda steps: None
        return
    description = f"{_within.get()}{description}"
    if not watched():
        yield Lines(total, description)
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True, speed_estimate_period=_ALL) as progress:
        task = progress.add_task(description, total=total)
        yield lambda steps: progress.advance(task, steps)


class Pieces:
    """Several pieces of work, one after the other: bars and lines say which it is, and how long those after it may take.

    Args:
        total: pieces there are.
        clock: seconds; another one in tests.

    Examples:
        >>> gone = iter([0.0, 60.0])
        >>> parts = Pieces(3, clock=lambda: next(gone))
        >>> with parts.next() as left:
        ...     left
        ''
        >>> with parts.next() as left:
        ...     left
        'about 2 min left'
    """

    def __init__(self, total: int, *, clock: Callable[[], float] = time.monotonic):
        self.total, self.clock, self.begun, self.done = total, clock, clock(), 0

    @contextmanager
    def next(self) -> Iterator[str]:
        """One piece; the block receives how long the rest will take, this piece included, if as long as those before."""
        left = ""
        if self.done:
            left = f"about {duration((self.clock() - self.begun) / self.done * (self.total - self.done))} left"
        token = _within.set(f"{self.done + 1} of {self.total}, ")
        try:
            yield left
        finally:
            _within.reset(token)
            self.done += 1


class Lines:
    """A line on stderr whenever some seconds have gone since the last one: how much is done, and how long the rest will take.

    Args:
        total: steps there are.
        description: of what.
        clock: seconds; another one in tests.

    Examples:
        >>> gone = iter([0.0, 10.0, 40.0])
        >>> lines = Lines(8, "Asking", clock=lambda: next(gone))
        >>> lines(1)  # too early for a line
        >>> lines(3)  # prints `Asking: 4 of 8, 40 s gone, about 40 s left`
    """

    def __init__(self, total: int, description: str, *, clock: Callable[[], float] = time.monotonic):
        self.total, self.description, self.clock = total, description, clock
        self.done, self.begun = 0, clock()
        self.told = self.begun

    def __call__(self, steps: int) -> None:
        self.done += steps
        now = self.clock()
        if now - self.told < EVERY:
            return
        self.told, gone = now, now - self.begun
        left = gone * (self.total - self.done) / self.done if self.done else 0.0
        rest = f", about {duration(left)} left" if 0 < self.done < self.total else ""
        say(f"{self.description}: {self.done:,} of {self.total:,}, {duration(gone)} gone{rest}")


def duration(seconds: float) -> str:
    """Seconds in words, as coarse as people need it.

    Examples:
        >>> duration(40), duration(200), duration(5000)
        ('40 s', '3 min', '1 h 23 min')
    """
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def say(message: str) -> None:
    """A line on stderr, where progress is shown."""
    if shown.get():
        print(message, file=sys.stderr, flush=True)


def watched() -> bool:
    """Whether somebody looks at a terminal; a log file is better off with lines than with a bar."""
    return sys.stderr.isatty()
