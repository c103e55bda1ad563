"""What has become of the jobs of a sweep, read from its folder: there is no server and no database."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, Literal

from filelock import FileLock, Timeout

from counterbench.judges.loading import JUDGES
from counterbench.records.record import RECORD
from counterbench.storage.files import MANIFEST, write_text
from counterbench.sweeps.jobs import Job

State = Literal["done", "running", "interrupted", "failed", "missing"]
STATUS, LOGS = "jobs", "logs"
"""Folders of a sweep: how the last run of every job began and ended, and what it said."""
_INTERRUPTED = (130, 143, 137)
"""Statuses of commands that were told to end: Ctrl-C, SIGTERM, SIGKILL."""


@dataclass(frozen=True)
class Seen:
    """A job as its folder shows it.

    Args:
        job: which.
        state: done; running (somebody works on it now); interrupted (it goes on where it was); failed; missing (never begun).
        seconds: that its last run took; of one that is not done, None.
        log: what it said.
    """

    job: Job
    state: State
    seconds: float | None
    log: Path


def look(job: Job, folder: Path) -> Seen:
    """The state of a job.

    Args:
        job: which.
        folder: of the sweep.
    """
    status, log = _status(job, folder), log_of(job, folder)
    if in_use(job, folder):
        return Seen(job, "running", None, log)
    if result_is_there(job, folder):
        return Seen(job, "done", float(status.get("seconds", 0.0)), log)
    if "begun" not in status:
        return Seen(job, "missing", None, log)
    code = status.get("status")
    interrupted = code is None or code < 0 or code in _INTERRUPTED or code == 0  # 0 without a result: it was removed
    return Seen(job, "interrupted" if interrupted else "failed", None, log)


def lacking(job: Job, jobs: Iterable[Job], folder: Path) -> list[int]:
    """Numbers of the jobs that a job needs and that are not done.

    Args:
        job: which.
        jobs: all of the sweep.
        folder: of the sweep.
    """
    known = {one.number: one for one in jobs}
    return [number for number in job.needs if look(known[number], folder).state != "done"]


def log_of(job: Job, folder: Path) -> Path:
    """What the job said."""
    return folder / LOGS / f"{job.key}.log"


def begin(job: Job, folder: Path) -> None:
    """Note that a job begins now."""
    _note(job, folder, {"begun": time.time()})


def end(job: Job, folder: Path, status: int, seconds: float) -> None:
    """Note how a job ended.

    Args:
        job: which.
        folder: of the sweep.
        status: of the command.
        seconds: that it took.
    """
    _note(job, folder, {"begun": time.time() - seconds, "seconds": round(seconds, 2), "status": status})


def in_use(job: Job, folder: Path) -> bool:
    """Whether a process works on it now: the one that runs it, or, where that was killed, the command itself."""
    return _held(lock_of(job, folder)) or claimed_elsewhere(job, folder)


def claimed_elsewhere(job: Job, folder: Path) -> bool:
    """Whether the command itself is at work, run by whomever."""
    return any(_held(path) for path in (sorted((folder / job.output).rglob(".lock")) if job.output else []))


def result_is_there(job: Job, folder: Path) -> bool:
    """Whether the command has ended well, and what it made is still there."""
    if _status(job, folder).get("status") != 0:
        return False
    if job.kind in ("data", "share"):
        return True  # in the cache, or in the folder of the evaluation, where the next command looks
    if job.kind == "judge":
        return (folder / job.output / JUDGES).is_file()
    if job.kind in ("train", "student"):
        return (folder / job.output / MANIFEST).is_file()
    return record_of(job, folder) is not None


def record_of(job: Job, folder: Path) -> Path | None:
    """The record that an evaluation has left; None where there is none."""
    return next((folder / job.output).rglob(RECORD), None)


def lock_of(job: Job, folder: Path) -> Path:
    """What whoever runs a job holds."""
    return folder / STATUS / f"{job.key}.lock"


def costs(seen: Iterable[Seen]) -> dict[int, float]:
    """Number of a job that is not done -> seconds that it may take: the median of the done ones of its kind, of the same dataset
    first; jobs of a kind of which none is done are left out."""
    listed = list(seen)
    found = {}
    for one in listed:
        if one.state == "done":
            continue
        alike = [other for other in listed if other.state == "done" and other.job.kind == one.job.kind]
        near = [other for other in alike if _of(other.job, "--dataset") == _of(one.job, "--dataset")]
        known = [other.seconds for other in near or alike if other.seconds is not None]
        if known:
            found[one.job.number] = median(known)
    return found


def _of(job: Job, option: str) -> str:
    return job.words[job.words.index(option) + 1]


def _held(lock: Path) -> bool:
    if not lock.exists():
        return False
    try:
        with FileLock(lock, timeout=0):
            return False
    except (Timeout, OSError):
        return True


def _status(job: Job, folder: Path) -> dict[str, Any]:
    try:
        found = json.loads((folder / STATUS / f"{job.key}.json").read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _note(job: Job, folder: Path, what: dict[str, Any]) -> None:
    path = folder / STATUS / f"{job.key}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, json.dumps({"job": job.key, "command": ["counterbench", *job.words], **what}, indent=1) + "\n")
