"""Running the jobs of a sweep: each as a process of its own, shared out by joblib's engines."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import BinaryIO

from filelock import FileLock, Timeout
from joblib import Parallel, delayed, parallel_config

from counterbench.errors import ConfigError, UnavailableError
from counterbench.sweeps import state
from counterbench.sweeps.jobs import STAGES, Job
from counterbench.sweeps.warm import WarmCommand

Command = subprocess.Popen[bytes] | WarmCommand
ENGINES = ("processes", "warm", "dask", "ray")
_RETURNS = {"ray": "list"}
"""Engines whose backend tells of jobs when all have ended."""
_BUSY = 75
"""Status of a job that somebody else works on: what the C library calls a temporary failure."""
_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")
_INTERRUPTED = 130
_COMMANDS: set[Command] = set()
_STOPPED = threading.Event()
"""The commands that run now, in any thread of this process, and whether they have been told to end."""
_GRACE = 60
"""Seconds that a command gets to save what it has when it is told to end."""


def run_job(job: Job, folder: Path, *, warm: bool = False) -> int:
    """Run one job, if it is not done; returns the status of its command (0: it is done now).

    Args:
        job: which.
        folder: of the sweep.
        warm: whether it begins in a process that has done the imports.
    """
    folder = folder.resolve()
    lock = state.lock_of(job, folder)
    lock.parent.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(lock, timeout=0):
            return _run_claimed(job, folder, warm)
    except Timeout:
        return _BUSY


def _run_claimed(job: Job, folder: Path, warm: bool) -> int:
    if state.result_is_there(job, folder):
        return 0
    if state.claimed_elsewhere(job, folder):
        return _BUSY
    if _STOPPED.is_set():
        return _INTERRUPTED
    log = state.log_of(job, folder)
    log.parent.mkdir(parents=True, exist_ok=True)
    state.begin(job, folder)
    begun = time.monotonic()
    with log.open("ab") as said:
        said.write(f"$ counterbench {' '.join(job.words)}\n".encode())
        said.flush()
        status = _commanded(job, folder, said, warm)
    state.end(job, folder, status, time.monotonic() - begun)
    return status


def command_of(job: Job) -> list[str]:
    """What is run for a job: this very installation."""
    return [sys.executable, "-m", "counterbench", *job.words]


def _commanded(job: Job, folder: Path, said: BinaryIO, warm: bool) -> int:
    """Run the command of a job; a request to end reaches it through :func:`_stop` alone, once."""
    process: Command = (
        WarmCommand(job.words, folder, Path(said.name), environment=dict.fromkeys(_THREADS, str(job.threads)))
        if warm
        else subprocess.Popen(
            command_of(job),
            cwd=folder,
            stdout=said,
            stderr=said,
            stdin=subprocess.DEVNULL,
            env=_environment(job),
            start_new_session=True,
        )
    )
    _COMMANDS.add(process)
    if _STOPPED.is_set():  # since we last looked
        process.terminate()
    try:
        return process.wait()
    except KeyboardInterrupt:  # a job that is run alone, in the main thread
        _stop()
        return _INTERRUPTED
    finally:
        _COMMANDS.discard(process)


def _stop() -> None:
    """Begin no further command, tell the running ones to end, and wait until they have saved what they had."""
    _STOPPED.set()
    running = list(_COMMANDS)
    for process in running:
        process.terminate()
    for process in running:
        try:
            process.wait(_GRACE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _environment(job: Job) -> dict[str, str]:
    return {**os.environ, **dict.fromkeys(_THREADS, str(job.threads))}


def run(
    jobs: Sequence[Job],
    folder: Path,
    *,
    some: Sequence[Job] | None = None,
    at_once: int = 1,
    engine: str = "processes",
    address: str | None = None,
    tell: Callable[[str], None] = lambda line: None,
) -> list[Job]:
    """Run all jobs that are not done, stage by stage; returns those that are not done in the end.

    Args:
        jobs: of the sweep, in the order of their numbers.
        folder: of the sweep; every worker must see it under this path.
        some: run only these of them, and of these only what lacks nothing that others must make; None for all.
        at_once: jobs at a time.
        engine: processes of this machine; warm, the same in forks of a process that has done the imports; dask or ray.
        address: of the scheduler of dask, or of the head of ray; None to start one here.
        tell: receives a line about every job that ends.

    Raises:
        ConfigError: for an unknown engine. UnavailableError: for one whose package is not there.
        KeyboardInterrupt: on Ctrl-C, when all commands have saved what they had.
    """
    wanted = jobs if some is None else some
    _STOPPED.clear()
    with _engine(engine, address, at_once), _stopping():
        for stage in STAGES:
            ready = [job for job in wanted if job.kind in stage and not state.lacking(job, jobs, folder)]
            made = Parallel(n_jobs=at_once, return_as=_RETURNS.get(engine, "generator_unordered"), pre_dispatch="all")(
                delayed(_told)(job, folder, engine == "warm") for job in ready
            )
            for number, status, seconds in made:
                job = next(one for one in ready if one.number == number)
                tell(_sentence(job, status, seconds, folder))
    return [job for job in wanted if state.look(job, folder).state != "done"]


@contextmanager
def _stopping() -> Iterator[None]:
    """Tell all commands to end where this process is told so."""
    try:
        yield
    except KeyboardInterrupt:
        _stop()
        raise


def _told(job: Job, folder: Path, warm: bool) -> tuple[int, int, float]:
    begun = time.monotonic()
    status = run_job(job, folder, warm=warm)
    return job.number, status, time.monotonic() - begun


def _sentence(job: Job, status: int, seconds: float, folder: Path) -> str:
    if status == _BUSY:
        return f"{job.number} {job.name}: another process works on it"
    if status:
        return f"{job.number} {job.name}: failed with status {status}; see {state.log_of(job, folder)}"
    return f"{job.number} {job.name}: done, {seconds:.0f} s"


def _engine(name: str, address: str | None, at_once: int) -> AbstractContextManager[object]:
    """The backend of joblib that runs jobs; each is a process already, so threads are enough to wait for those of this machine."""
    if name not in ENGINES:
        raise ConfigError(f"There is no engine {name!r}; choose from {', '.join(ENGINES)}.")
    if name not in ("processes", "warm"):
        return _dask(address, at_once) if name == "dask" else _ray(address, at_once)
    if address is not None:
        raise ConfigError("--address is that of a scheduler; name its engine too: --engine dask or --engine ray.")
    threads: AbstractContextManager[object] = parallel_config(backend="threading", n_jobs=at_once)
    return threads


@contextmanager
def _dask(address: str | None, at_once: int) -> Iterator[None]:
    try:
        from distributed import Client
    except ImportError:
        raise UnavailableError(
            "--engine dask needs the package distributed: pip install 'counterbench[dask]'"
        ) from None
    client = Client(address) if address else Client(n_workers=at_once, threads_per_worker=1, dashboard_address=None)
    with client, parallel_config(backend="dask", n_jobs=at_once, wait_for_workers_timeout=60):
        yield


@contextmanager
def _ray(address: str | None, at_once: int) -> Iterator[None]:
    try:
        import ray
        from ray.util.joblib import register_ray
    except ImportError:
        raise UnavailableError("--engine ray needs the package ray: pip install 'counterbench[ray]'") from None
    ray.init(address=address, num_cpus=None if address else at_once, include_dashboard=False, ignore_reinit_error=True)
    register_ray()
    try:
        with parallel_config(backend="ray", n_jobs=at_once):
            yield
    finally:
        ray.shutdown()
