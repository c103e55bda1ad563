"""A sweep as Slurm jobs: one array per stage, each waiting for the one before."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from counterbench.sweeps.jobs import STAGES, Job

_SIGNAL_SECONDS = 120
"""How long before its time limit a task is told to save what it has."""


@dataclass(frozen=True)
class Wishes:
    """What is asked of Slurm.

    Args:
        time: limit of a task, as Slurm writes it.
        memory: of a task, as Slurm writes it.
        at_once: tasks of an array at a time.
        group: jobs that one task runs one after the other.
        gpus: of a task.
        partition: "" for the cluster's default.
    """

    time: str = "04:00:00"
    memory: str = "8G"
    at_once: int = 20
    group: int = 1
    gpus: int = 0
    partition: str = ""


def script(name: str, file: str, folder: Path, jobs: Sequence[Job], *, wishes: Wishes) -> str:
    """A shell script that submits a sweep: `bash submit.sh`.

    Tasks are requeued when a node fails or their time is up, and go on where they were. Submitted once more, whatever is not done
    runs again.

    Args:
        name: of the sweep.
        file: of the sweep, or its name in the catalogue.
        folder: of the sweep.
        jobs: all of them.
        wishes: what is asked of Slurm.
    """
    lines = ["#!/bin/bash", f"# Submits the sweep {name}: {len(jobs)} jobs, {wishes.group} to a task.", "set -e"]
    before = ""
    for number, stage in enumerate(STAGES, 1):
        members = [job.number for job in jobs if job.kind in stage]
        if not members:
            continue
        lines += [
            "",
            f"# {' and '.join(stage)}",
            f"stage{number}=$(sbatch --parsable {before}<<'TASK'",
            *_task(name, file, folder, members, wishes, jobs),
            "TASK",
            ")",
        ]
        before = f"--dependency=afterany:$stage{number} "
        lines.append(f'echo "{" and ".join(stage)}: job $stage{number}"')
    return "\n".join(lines) + "\n"


def _task(name: str, file: str, folder: Path, members: Sequence[int], wishes: Wishes, jobs: Sequence[Job]) -> list[str]:
    """The batch script of one array; a task runs `group` of the members."""
    tasks = -(-len(members) // wishes.group)
    threads = max(job.threads for job in jobs)
    options = {
        "job-name": f"counterbench-{name}",
        "array": f"0-{tasks - 1}%{wishes.at_once}",
        "cpus-per-task": threads,
        "mem": wishes.memory,
        "time": wishes.time,
        "signal": f"B:TERM@{_SIGNAL_SECONDS}",
        "output": shlex.quote(str(folder / "logs" / "slurm-%A-%a.log")),
        "open-mode": "append",
    }
    if wishes.gpus:
        options["gpus-per-task"] = wishes.gpus
    if wishes.partition:
        options["partition"] = wishes.partition
    run = shlex.join([sys.executable, "-m", "counterbench", "sweep", "run", file, "--output", str(folder)])
    return [
        "#!/bin/bash",
        *(f"#SBATCH --{name}={value}" for name, value in options.items()),
        "#SBATCH --requeue",
        f"jobs=({' '.join(map(str, members))})",
        f"first=$((SLURM_ARRAY_TASK_ID * {wishes.group}))",
        'command=""',
        # bash acts on a signal only between commands, or while it waits.
        "trap 'kill -TERM $command 2>/dev/null; wait $command; scontrol requeue ${SLURM_ARRAY_JOB_ID}_${SLURM_ARRAY_TASK_ID}' TERM",
        "failed=0",
        f'for job in "${{jobs[@]:first:{wishes.group}}}"; do',
        f"  {run} --job $job & command=$!",
        "  wait $command || failed=1",
        "done",
        "exit $failed",
    ]
