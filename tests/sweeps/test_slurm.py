"""The script for Slurm: what it says everywhere, and, where Slurm is installed, what a real one makes of it."""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from counterbench.catalog.sweeps import find_sweep
from counterbench.sweeps import slurm, state
from counterbench.sweeps.jobs import expand

SBATCH = """#!/bin/bash
# Runs the tasks of an array here and now.
task=$(mktemp); cat > $task
for word; do case $word in --dependency=*) echo "$word" >> "$SAID";; esac; done
last=$(sed -n 's/^#SBATCH --array=0-\\([0-9]*\\)%.*/\\1/p' $task)
for SLURM_ARRAY_TASK_ID in $(seq 0 $last); do export SLURM_ARRAY_TASK_ID; bash $task >> "$SAID.log" 2>&1; done
echo 7
"""


@pytest.mark.parametrize("group", [1, 3])
def test_the_script_runs_every_job_after_what_it_needs(written, tmp_path, monkeypatch, group):
    """With an sbatch of our own: a task asks for the jobs of its group, and stages wait for those before."""
    file, folder = written(), tmp_path / "folder with space"
    jobs = expand(find_sweep(str(file)), folder)
    text = slurm.script(
        "small", str(file), folder, jobs, wishes=slurm.Wishes(group=group, at_once=2, gpus=1, partition="short")
    )
    bins = tmp_path / "bin"
    bins.mkdir()
    (bins / "sbatch").write_text(SBATCH)
    (bins / "sbatch").chmod(0o755)
    asked = tmp_path / "asked"
    # The interpreter of the tasks only notes what it is asked for.
    python = bins / "python"
    python.write_text(f'#!/bin/bash\necho "${{@: -1}}" >> {asked}\n')
    python.chmod(0o755)
    text = text.replace(sys.executable, str(python))
    environment = {**os.environ, "PATH": f"{bins}:{os.environ['PATH']}", "SAID": str(tmp_path / "said")}
    done = subprocess.run(["bash", "-c", text], env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert [int(line) for line in asked.read_text().split()] == [job.number for job in jobs]
    assert (tmp_path / "said").read_text().split() == ["--dependency=afterany:7"] * 2
    for line in ("--array=0-0%2", "--gpus-per-task=1", "--partition=short", "--requeue", "--signal=B:TERM@120"):
        assert f"#SBATCH {line}" in text


def _port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """One node with Slurm of its own: the environment for its commands."""
    lacking = [name for name in ("munged", "slurmctld", "slurmd", "sbatch", "scontrol") if shutil.which(name) is None]
    if lacking or os.geteuid():
        pytest.skip(
            f"no Slurm to start here ({', '.join(lacking) or 'only root can'}): apt install slurmctld slurmd slurm-client munge"
        )
    home = Path("/tmp") / f"slurm-{os.getpid()}"  # sockets want short paths
    home.mkdir(mode=0o700)
    key, munge = home / "key", home / "munge.socket"
    key.write_bytes(os.urandom(1024))
    key.chmod(0o400)
    name = socket.gethostname().split(".")[0]
    (home / "slurm.conf").write_text(
        f"""ClusterName=test
SlurmctldHost={name}(127.0.0.1)
AuthType=auth/munge
AuthInfo=socket={munge}
CredType=cred/munge
SlurmctldPort={_port()}
SlurmdPort={_port()}
SlurmUser=root
SlurmdUser=root
StateSaveLocation={home}/state
SlurmdSpoolDir={home}/spool
SlurmctldPidFile={home}/ctld.pid
SlurmdPidFile={home}/d.pid
SlurmctldLogFile={home}/ctld.log
SlurmdLogFile={home}/d.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
MpiDefault=none
ReturnToService=2
SchedulerParameters=sched_interval=1,bf_interval=1
RequeueExit=99
NodeName={name} NodeAddr=127.0.0.1 CPUs=2 RealMemory=4000 State=UNKNOWN
PartitionName=main Nodes={name} Default=YES MaxTime=INFINITE State=UP
"""
    )
    (home / "state").mkdir()
    (home / "spool").mkdir()
    environment = {**os.environ, "SLURM_CONF": str(home / "slurm.conf"), "SLURM_CONF_SERVER": ""}
    daemons = [
        ["munged", "--foreground", "--force", f"--socket={munge}", f"--key-file={key}", f"--log-file={home}/munge.log",
         f"--pid-file={home}/munge.pid", f"--seed-file={home}/seed"],
        ["slurmctld", "-D", "-i"],
        ["slurmd", "-D", "-N", name],
    ]  # fmt: skip
    running = []
    try:
        for command in daemons:
            running.append(
                subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            )
            time.sleep(1)
        for _ in range(60):
            seen = subprocess.run(["sinfo", "-h", "-o", "%t"], env=environment, capture_output=True, text=True)
            if seen.stdout.strip() in ("idle", "mix"):
                break
            time.sleep(1)
        else:
            pytest.fail(f"Slurm did not come up: {seen.stdout} {seen.stderr} {(home / 'ctld.log').read_text()[-2000:]}")
        yield environment
    finally:
        subprocess.run(["scancel", "--user=root"], env=environment, capture_output=True)
        for process in reversed(running):
            process.terminate()
            process.wait()
        shutil.rmtree(home, ignore_errors=True)


def _finished(environment, seconds=300):
    """Wait until nothing is queued."""
    for _ in range(seconds):
        queued = subprocess.run(["squeue", "-h"], env=environment, capture_output=True, text=True).stdout
        if not queued.strip():
            return
        time.sleep(1)
    raise AssertionError(f"still queued: {queued}")


def _submitted(file, folder, environment, *words):
    command = [
        sys.executable,
        "-m",
        "counterbench",
        "sweep",
        "script",
        str(file),
        "--output",
        str(folder),
        "--memory",
        "1G",
        *words,
    ]
    written = subprocess.run(command, capture_output=True, text=True, check=True, cwd=folder.parent).stdout.strip()
    assert Path(written) == folder / "submit.sh"
    done = subprocess.run(["bash", written], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_real_slurm_runs_a_sweep_and_goes_on_after_a_kill(cluster, written, tmp_path):
    file = written(models=["affine"], seeds=[0])
    jobs, folder, plain = expand(find_sweep(str(file))), tmp_path / "slurm", tmp_path / "plain"
    said = _submitted(file, folder, cluster)
    assert said.count("job ") == 3
    for _ in range(600):  # kill the training as soon as it runs, together with its task
        if state.look(jobs[2], folder).state == "running":
            break
        time.sleep(0.1)
    killed = subprocess.run(["pkill", "-KILL", "-f", "counterbench train --model affine"], capture_output=True)
    assert killed.returncode == 0
    _finished(cluster)
    states = [state.look(job, folder).state for job in jobs]
    assert states[:2] == ["done", "done"]
    assert states[2:] == ["interrupted", "missing"]
    _submitted(file, folder, cluster, "--group", "2")
    _finished(cluster)
    assert [state.look(job, folder).state for job in jobs] == ["done"] * 4
    command = [sys.executable, "-m", "counterbench", "sweep", "run", str(file), "--output", str(plain)]
    assert subprocess.run(command, cwd=tmp_path, capture_output=True).returncode == 0
    assert _records(folder) == _records(plain)


def test_a_task_whose_time_is_nearly_up_saves_and_is_requeued(cluster, written, tmp_path):
    """What Slurm sends before the limit, sent by hand: the task is queued again, and what was done is not done again."""
    file = written(models=["affine"], seeds=[0], budget={"epochs": 40, "samples": 1000, "limit": 20})
    jobs, folder = expand(find_sweep(str(file))), tmp_path / "slurm"
    stages = _submitted(file, folder, cluster).split("job ")
    train = stages[2].split()[0]
    log = state.log_of(jobs[2], folder)
    for _ in range(600):
        if (folder / jobs[2].output / "unfinished").exists():
            break
        time.sleep(0.1)
    time.sleep(1)
    subprocess.run(["scancel", "--batch", "--signal=TERM", train], env=cluster, check=True)
    _finished(cluster)
    assert [state.look(job, folder).state for job in jobs] == ["done"] * 4
    assert log.read_text().count("$ counterbench train") == 2


def _records(folder):
    found = {}
    for path in sorted(folder.rglob("record.json")):
        content = json.loads(path.read_text())
        found[path.parent.parent.name] = [one for one in content["numbers"] if one["metric"] != "cost"]
    return found
