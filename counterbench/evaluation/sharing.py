"""Examining with several processes on one machine: each takes some of the chunks, and all leave them where the first one reads them.

A chunk's numbers hang on the threads that one process computes with, and not on how many processes there are: the record is the same to the
last bit. A process that dies loses the chunk that it was at; the first one examines whatever is missing in the end.
"""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import pickle
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from multiprocessing import connection
from multiprocessing.process import BaseProcess
from typing import Any, TypeVar

import torch
from threadpoolctl import threadpool_limits

from counterbench.errors import ConfigError
from counterbench.evaluation.exam import Exam
from counterbench.evaluation.session import Share, count_of, examine, missing, size_of, title_of
from counterbench.evaluation.taking import Taking
from counterbench.runtime.blocks import PICTURE, at_once
from counterbench.runtime.devices import processors
from counterbench.runtime.progress import bar

Result = TypeVar("Result")
MOST = 8
"""Workers that are started where nobody says how many: each holds a batch with all its answers."""
_ROOM = 1 << 20
"""Voxels of one volume times the workers: where a volume is larger, one process works."""
_LOOK = 0.2
"""Seconds between looks at how far the others are."""
_DIE_WITH_PARENT = 1
"""PR_SET_PDEATHSIG of Linux's prctl."""


def workers_for(exam: Exam, takings: Sequence[Taking], *, batch_size: int | None = None) -> int:
    """How many processes pay: one per processor that this one may use, no more than there are chunks to examine; on an accelerator one.
    Of volumes fewer, for each process holds answers to many questions."""
    if exam.device.type != "cpu":
        return 1
    size = size_of(exam)
    most = MOST if size <= PICTURE else at_once(size, MOST, room=_ROOM)
    return max(1, min(processors(), most, len(missing(exam, takings, batch_size=batch_size))))


@contextmanager
def computing_with(threads: int) -> Iterator[None]:
    """Compute with so many threads inside the block: another number is another order of summation."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with threadpool_limits(threads):
            yield
    finally:
        torch.set_num_threads(before)


def examine_together(
    exam: Exam, takings: Sequence[Taking], *, workers: int, threads: int, batch_size: int | None = None
) -> dict[str, float]:
    """As :func:`counterbench.evaluation.session.examine`, with several processes; every contestant has a folder, or is examined here.

    Args:
        exam: the questions and the judges.
        takings: who is asked.
        workers: processes, this one included.
        threads: of each of them.
        batch_size: samples at a time; None to choose by the size of an image.

    Raises:
        ConfigError: where processes cannot be copied, and something cannot be sent to them.
    """
    if workers == 1:
        return examine(exam, takings, batch_size=batch_size)
    copied = can_be_copied(exam, threads)
    context: Any = multiprocessing.get_context("fork" if copied else "spawn")
    done = context.RawArray("q", workers)  # a lock would stay locked if its holder were killed
    started: list[BaseProcess] = []
    try:
        for number in range(1, workers):
            given = (exam, takings, Share(number, workers), threads, batch_size, done, os.getpid())
            process = context.Process(target=_help, args=given, daemon=True)
            _start(process)
            started.append(process)
        with bar(count_of(missing(exam, takings, batch_size=batch_size)), title_of(takings)) as advance:
            told = _Together(advance, done)
            examine(exam, takings, batch_size=batch_size, share=Share(0, workers), advance=told)
            while alive := [process.sentinel for process in started if process.is_alive()]:
                connection.wait(alive, _LOOK)
                told(0)
    finally:
        for process in started:
            process.kill()
            process.join()
    return examine(exam, takings, batch_size=batch_size)


@contextmanager
def beside(call: Callable[[], Result], *, apart: bool) -> Iterator[Callable[[], Result]]:
    """Work something out in a copy of this process while the block runs; the block receives a function that gives the result.

    Args:
        call: what is worked out; its result must be plain data.
        apart: whether another process is wanted, and this one can be copied. Without one, and where it fails, the call is made when its
            result is asked for.
    """
    if not apart:
        yield call
        return
    context: Any = multiprocessing.get_context("fork")
    here, there = context.Pipe(duplex=False)
    process = context.Process(target=_tell, args=(call, there), daemon=True)
    process.start()
    there.close()

    def result() -> Result:
        try:
            told: Result = here.recv()
        except EOFError:  # whatever went wrong there is met here
            told = call()
        return told

    try:
        yield result
    finally:
        process.kill()
        process.join()
        here.close()


def _tell(call: Callable[[], object], there: Any) -> None:
    _die_with_parent()
    try:
        there.send(call())
    except BaseException:
        os._exit(1)
    os._exit(0)


def can_be_copied(exam: Exam, threads: int) -> bool:
    """Whether this process can be copied: a copy has no threads but one; more, or an accelerator, need processes that begin afresh."""
    return sys.platform == "linux" and threads == 1 and exam.device.type == "cpu"


class _Together:
    """Advances one bar by what all processes have judged.

    Args:
        advance: of the bar.
        done: (workers,), what each has judged so far; this process is the first.
    """

    def __init__(self, advance: Callable[[int], None], done: Any):
        self.advance, self.done, self.shown = advance, done, 0

    def __call__(self, steps: int) -> None:
        self.done[0] += steps
        total = sum(self.done)
        self.advance(total - self.shown)
        self.shown = total


def _start(process: Any) -> None:
    try:
        process.start()
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise ConfigError(
            f"This cannot be sent to other processes here ({error}); evaluate it with one worker, or as a trained folder."
        ) from error


def _help(
    exam: Exam, takings: Sequence[Taking], share: Share, threads: int, batch_size: int | None, done: Any, parent: int
) -> None:
    """Examine one share, in a process of its own; what goes wrong is met again, and told, by the first process."""
    _die_with_parent()

    def advance(steps: int) -> None:
        if os.getppid() != parent:
            os._exit(1)
        done[share.number] += steps

    try:
        advance(0)
        with computing_with(threads):
            examine(exam, takings, batch_size=batch_size, share=share, advance=advance)
    except BaseException:
        os._exit(1)
    os._exit(0)


def _die_with_parent() -> None:
    """Or the chunk that a process is at would keep the folder locked when the first one is killed."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_DIE_WITH_PARENT, signal.SIGKILL)
