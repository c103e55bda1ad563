"""Commands that begin in a process which has everything imported: for many short jobs, most of whose time would be imports."""

from __future__ import annotations

import multiprocessing
import os
import runpy
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from multiprocessing import connection, forkserver
from multiprocessing.context import ForkServerProcess
from pathlib import Path

PRELOADED = (
    "counterbench.cli",
    "counterbench.training.recipes",
    "counterbench.training.adaptation",
    "counterbench.evaluation.evaluation",
    "counterbench.pictures.curves",
    "counterbench.pictures.gallery",
    "counterbench.judges.network",
    "counterbench.judges.thickness",
    "counterbench.metrics.effectiveness",
    "counterbench.metrics.realism",
    "counterbench.records.table",
    "counterbench.mechanisms.categorical",
    "counterbench.mechanisms.spline_flow",
    "counterbench.mechanisms.vae",
    "counterbench.metrics.composition",
    "counterbench.metrics.truth",
    "matplotlib.backends.backend_agg",
    "networkx",
    "pandas",
    "psutil",
    "pyarrow.compute",
    "pyarrow.parquet",
    "pyro.distributions",
    "safetensors.torch",
    "skimage.draw",
    "skimage.exposure",
    "skimage.measure",
    "skimage.morphology",
    "sklearn.datasets",
    "sklearn.preprocessing",
    "counterbench.sweeps.settled",
)
"""What trainings and evaluations import. A name that cannot be imported is passed over."""


_LOCK = threading.Lock()
"""Processes are begun, and their statuses read, by one thread at a time."""


class WarmCommand:
    """A command that runs in a fork of a process which has done the imports; it is waited for and ended like a `subprocess.Popen`.

    Args:
        words: after `counterbench`.
        folder: where it runs.
        log: file that receives its output.
        environment: of the process that does the imports, when this is its first command: threads of the CPU are fixed there.
    """

    def __init__(self, words: Sequence[str], folder: Path, log: Path, *, environment: Mapping[str, str]):
        if "forkserver" not in multiprocessing.get_all_start_methods():
            raise OSError("This system cannot fork processes; leave out --engine warm.")
        self._process = ForkServerProcess(target=_run, args=(list(words), str(folder), str(log)))
        with _LOCK:
            _ready(environment)
            self._process.start()

    def terminate(self) -> None:
        """Ask it to end."""
        self._process.terminate()

    def kill(self) -> None:
        """End it."""
        self._process.kill()

    def wait(self, timeout: float | None = None) -> int:
        """Its status, when it has ended.

        Raises:
            subprocess.TimeoutExpired: if that takes longer.
        """
        # Its status can be read once, so whoever reads it does so alone; waiting for its end disturbs nobody.
        if not connection.wait([self._process.sentinel], timeout):
            raise subprocess.TimeoutExpired("counterbench", timeout or 0.0)
        with _LOCK:
            self._process.join()
        status = self._process.exitcode
        assert status is not None
        return status


def _ready(environment: Mapping[str, str]) -> None:
    """Start the process that does the imports, once."""
    before = dict(os.environ)
    os.environ.update(environment)
    try:
        forkserver.set_forkserver_preload(list(PRELOADED))
        forkserver.ensure_running()
    finally:
        for name in environment:
            if name in before:
                os.environ[name] = before[name]
            else:
                del os.environ[name]


def _run(words: list[str], folder: str, log: str) -> None:
    """The command itself, in a process of its own session, as a shell would run it."""
    os.setsid()
    os.chdir(folder)
    said = os.open(log, os.O_WRONLY | os.O_APPEND)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for here, there in ((nothing, 0), (said, 1), (said, 2)):
        os.dup2(here, there)
    sys.argv = ["counterbench", *words]
    runpy.run_module("counterbench", run_name="__main__")
