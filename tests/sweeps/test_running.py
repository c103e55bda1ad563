"""Jobs on engines: nothing is lost, nothing is done twice, and everybody who is told to end does."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from counterbench.catalog.sweeps import find_sweep
from counterbench.cli import main
from counterbench.sweeps import running, state, table
from counterbench.sweeps.jobs import expand
from counterbench.sweeps.warm import WarmCommand

FAKE = """
import pathlib, signal, sys, time
output, seconds, status = pathlib.Path(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3])
def ended(*_):
    raise SystemExit(130)
signal.signal(signal.SIGTERM, ended)
output.mkdir(parents=True, exist_ok=True)
with open(output / "runs", "a") as runs:
    runs.write("x")
time.sleep(seconds)
if status == 0:
    (output / "manifest.json").write_text("{}")
    (output / "record.json").write_text("{}")
sys.exit(status)
"""
"""A command that notes that it ran, and leaves what commands leave."""


@pytest.fixture
def jobs(written):
    return expand(find_sweep(str(written())))


@pytest.fixture
def faked(monkeypatch):
    """Replace commands by ones that cost nothing; `how` maps numbers of jobs to (seconds, status)."""

    def fake(**how):
        known = {int(number.removeprefix("job")): (seconds, status) for number, (seconds, status) in how.items()}

        def command(job):
            seconds, status = known.get(job.number, (0, 0))
            return [sys.executable, "-c", FAKE, job.output or "data", str(seconds), str(status)]

        monkeypatch.setattr(running, "command_of", command)

    return fake


def states(jobs, folder):
    return [state.look(job, folder).state for job in jobs]


def test_a_sweep_runs_each_job_once(jobs, tmp_path, faked):
    faked()
    told = []
    assert states(jobs, tmp_path) == ["missing"] * 7
    assert running.run(jobs, tmp_path, at_once=3, tell=told.append) == []
    assert states(jobs, tmp_path) == ["done"] * 7
    assert len(told) == 7
    running.run(jobs, tmp_path, at_once=3)
    assert {path.read_text() for path in tmp_path.rglob("runs")} == {"x"}
    (tmp_path / jobs[4].output / "record.json").unlink()
    assert states(jobs, tmp_path) == ["done"] * 4 + ["interrupted"] + ["done"] * 2  # it can be made again


def test_what_fails_is_told_with_its_log_and_what_needs_it_is_not_begun(jobs, tmp_path, faked):
    faked(job3=(0, 1))
    told = []
    left = running.run(jobs, tmp_path, at_once=2, tell=told.append)
    assert [job.number for job in left] == [3, 5]
    assert states(jobs, tmp_path) == ["done", "done", "failed", "done", "missing", "done", "done"]
    log = state.log_of(jobs[2], tmp_path)
    assert f"3 affine-ellipse-formula-seed0: failed with status 1; see {log}" in told
    assert log.read_text().startswith("$ counterbench train --model affine ")
    faked()
    assert running.run(jobs, tmp_path) == []


def test_some_jobs_wait_for_what_others_must_make(jobs, tmp_path, faked):
    faked()
    odd = jobs[::2]  # 1, 3, 5, 7; the baselines, which 5 and 7 need, are of the other half
    assert [job.number for job in running.run(jobs, tmp_path, some=odd)] == [5, 7]
    assert states(jobs, tmp_path) == ["done", "missing", "done", "missing", "missing", "missing", "missing"]
    assert running.run(jobs, tmp_path, some=jobs[1::2]) == []
    assert running.run(jobs, tmp_path, some=odd) == []


def test_costs_are_told_from_jobs_alike(jobs, tmp_path, faked):
    faked(job4=(0.3, 0), job3=(0, 1))
    running.run(jobs, tmp_path)
    seen = [state.look(job, tmp_path) for job in jobs]
    costs = state.costs(seen)
    assert costs.keys() == {3, 5}
    assert costs[3] == seen[3].seconds >= 0.3
    assert "2 of work" not in table.summary(seen)
    assert table.summary(seen).startswith("7 jobs: 5 done, 1 failed, 1 missing; some ")
    described = table.as_json(seen)
    assert [one["state"] for one in described] == states(jobs, tmp_path)
    assert described[2]["log"] == str(state.log_of(jobs[2], tmp_path))


def test_a_job_that_somebody_works_on_is_left_to_them(jobs, tmp_path, faked):
    faked()
    held = state.lock_of(jobs[0], tmp_path)
    held.parent.mkdir(parents=True)
    code = "import sys, filelock; lock = filelock.FileLock(sys.argv[1]); lock.acquire(); print('held', flush=True); sys.stdin.read()"
    with subprocess.Popen([sys.executable, "-c", code, held], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout.readline()
        assert state.look(jobs[0], tmp_path).state == "running"
        assert running.run_job(jobs[0], tmp_path) == 75
        other.kill()
    assert running.run_job(jobs[0], tmp_path) == 0


DRIVER = """
import signal, sys
from pathlib import Path
signal.signal(signal.SIGINT, signal.default_int_handler)  # whoever runs the tests may ignore it
sys.path.insert(0, sys.argv[1])
import test_running
from counterbench.catalog.sweeps import find_sweep
from counterbench.sweeps import running
from counterbench.sweeps.jobs import expand
def command(job):
    return [sys.executable, "-c", test_running.FAKE, job.output or "data", "0.3", "0"]
running.command_of = command
jobs = expand(find_sweep(str(Path(sys.argv[2]))))
print("begin", flush=True)
try:
    running.run(jobs, Path(sys.argv[3]), at_once=2)
except KeyboardInterrupt:
    print("stopped", flush=True)
"""


def driven(file, folder):
    words = [sys.executable, "-c", DRIVER, str(Path(__file__).parent), str(file), str(folder)]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "begin\n"
    return process


def test_a_driver_that_is_told_to_end_ends_its_commands(written, tmp_path):
    file, folder = written(), tmp_path / "sweep"
    jobs = expand(find_sweep(str(file)))
    process = driven(file, folder)
    for _ in range(600):
        if "running" in states(jobs, folder):
            break
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=60)[0] == "stopped\n"
    assert set(states(jobs, folder)) <= {"done", "interrupted", "missing"}
    assert "interrupted" in states(jobs, folder)


@pytest.mark.slow
def test_a_driver_that_is_killed_loses_only_what_is_in_flight(written, tmp_path):
    """Killed again and again at random moments, it comes to the end; no job that was done is done again."""
    file, folder = written(), tmp_path / "sweep"
    jobs, chance = expand(find_sweep(str(file))), random.Random(0)
    finished: dict[str, str] = {}
    for _ in range(6):
        process = driven(file, folder)
        time.sleep(chance.uniform(0.05, 0.8))
        process.kill()
        process.communicate()
        time.sleep(0.5)  # commands in flight outlive it
        runs = {
            job.key: (folder / (job.output or "data") / "runs").read_text()
            for job in jobs
            if state.result_is_there(job, folder)
        }
        assert finished.items() <= runs.items()
        finished = runs
    process = driven(file, folder)
    process.communicate(timeout=60)
    assert states(jobs, folder) == ["done"] * 7


def cli(*words, cwd):
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, "-m", "counterbench", "sweep", *words],
        cwd=cwd,
        capture_output=True,
        text=True,
        env=environment,
    )


def records(folder):
    """What is in the records of a sweep, without times."""
    found = {}
    for path in sorted(folder.rglob("record.json")):
        content = json.loads(path.read_text())
        for key in ("seconds", "training", "versions"):
            content.pop(key)
        content["numbers"] = [one for one in content["numbers"] if one["metric"] != "cost"]
        found[str(path.relative_to(folder))] = content
    return found


@pytest.fixture(scope="module")
def real(tmp_path_factory, small):
    """A sweep that was run with real commands, two at a time: (its file, its folder, what was said)."""
    home = tmp_path_factory.mktemp("sweep")
    file = home / "sweep.yaml"
    file.write_text(yaml.safe_dump({**small, "models": ["affine"], "seeds": [0]}))
    return file, home / "sweeps" / "small", cli("run", str(file), "--jobs", "2", cwd=home)


def test_real_commands_make_records_and_boards(real):
    file, folder, said = real
    assert said.returncode == 0, said.stderr
    assert "All 4 jobs of small are done" in said.stderr
    assert said.stdout.count("ellipse-formula-mechanisms") == 1
    assert (folder / "boards" / "index.html").is_file()
    listed = json.loads(cli("list", str(file), "--json", cwd=file.parent).stdout)
    assert [one["state"] for one in listed] == ["done"] * 4


@pytest.mark.slow
def test_one_job_after_the_other_gives_equal_records(real, tmp_path):
    file, folder, _ = real
    early = cli("run", str(file), "--output", "alone", "--job", "4", cwd=tmp_path)
    assert (early.returncode, early.stderr) == (1, "counterbench: Job 4 needs job 3, 2, which is not done.\n")
    for words in (("--from", "1", "--every", "2"), ("--from", "2", "--every", "2"), ()):
        last = cli("run", str(file), "--output", "alone", *words, cwd=tmp_path)
    assert last.returncode == 0, last.stderr
    assert len(records(folder)) == 2
    assert records(folder) == records(tmp_path / "alone")


@pytest.mark.slow
def test_shares_are_collected_and_trainings_are_one_row(small, tmp_path):
    """Two jobs share the images of one evaluation; two trainings become one record; the numbers are those of one process."""
    file = tmp_path / "sweep.yaml"
    changes = {"models": ["affine"], "seeds": [0, 1], "shares": 2, "budget": {**small["budget"], "limit": 200}}
    file.write_text(yaml.safe_dump({**small, **changes}))
    said = cli("run", str(file), "--output", "shared", "--jobs", "2", cwd=tmp_path)
    assert said.returncode == 0, said.stderr
    assert "All 10 jobs of small are done" in said.stderr
    log = next((tmp_path / "shared" / "logs").glob("evaluate-affine*seed1*")).read_text()
    assert "Error" not in log
    (together,) = (tmp_path / "shared" / "groups").rglob("record.json")
    assert [one["seed"] for one in json.loads(together.read_text())["group"]] == [0, 1]
    board = next((tmp_path / "shared" / "boards").glob("*.md")).read_text()
    assert "2 trainings (seeds 0, 1)" in board
    words = ["evaluate", "--model", "shared/trained/affine-ellipse-formula-seed1", "--dataset", "ellipse"]
    words += ["--suite", "mechanisms", "--limit", "200", "--workers", "1", "--output", "alone", "--device", "cpu"]
    subprocess.run([sys.executable, "-m", "counterbench", *words], cwd=tmp_path, check=True, capture_output=True)
    (alone,) = records(tmp_path / "alone").values()
    shared = records(tmp_path / "shared" / "records").items()
    (same,) = [record for path, record in shared if "seed1" in path]
    assert alone["numbers"] == same["numbers"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--job", "8"], "the sweep has 4 jobs"),
        (["--engine", "spark"], "choose from processes, warm, dask, ray"),
        (["--address", "a:1"], "--address is that of a scheduler"),
        (["--job", "1", "--every", "2"], "not both"),
    ],
)
def test_mistakes_on_the_command_line(small, tmp_path, monkeypatch, words, said):
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "sweep.yaml"
    file.write_text(yaml.safe_dump({**small, "models": ["affine"], "seeds": [0]}))
    result = CliRunner().invoke(main, ["sweep", "run", str(file), *words])
    assert result.exit_code != 0
    assert said in result.stderr + str(result.exception)


@pytest.mark.parametrize(
    ("engine", "package"),
    [("warm", "sys"), pytest.param("dask", "distributed", marks=pytest.mark.slow), ("ray", "ray")],
)
def test_engines_give_equal_records(real, tmp_path, engine, package):
    pytest.importorskip(package, reason=f"the extra {engine} is not there")
    file, folder, _ = real
    said = cli("run", str(file), "--output", engine, "--engine", engine, "--jobs", "2", cwd=tmp_path)
    assert said.returncode == 0, said.stderr
    assert records(folder) == records(tmp_path / engine)


def test_a_warm_job_writes_its_log_fails_with_its_status_and_is_told_to_end(written, tmp_path):
    """A command that is wrong, and one that would take minutes."""
    folder = tmp_path / "sweep"
    (folder / "logs").mkdir(parents=True)
    job = expand(find_sweep(str(written())))[0]
    wrong = replace(job, words=("evaluate", "--model", "no-such-model"), name="wrong")
    assert running.run_job(wrong, folder, warm=True) == running.run_job(replace(wrong, name="cold"), folder) != 0
    assert "no-such-model" in state.log_of(wrong, folder).read_text()
    assert state.look(wrong, folder).state == "failed"
    log = tmp_path / "long"
    log.touch()
    words = ["train", "--model", "vae", "--output", str(tmp_path / "vae"), "--limit", "2000"]
    command = WarmCommand(words, tmp_path, log, environment={"OMP_NUM_THREADS": "1"})
    with pytest.raises(subprocess.TimeoutExpired):
        command.wait(1)
    for _ in range(600):
        if (tmp_path / "vae" / "unfinished").exists():
            break
        time.sleep(0.1)
    command.terminate()
    assert command.wait(60) == 130
    assert "interrupted" in log.read_text()


@pytest.mark.slow
def test_a_worker_of_dask_that_is_killed_costs_what_it_worked_on(written, tmp_path):
    """A real scheduler with two workers, one of which is killed while it runs a job."""
    distributed = pytest.importorskip("distributed", reason="the extra dask is not there")
    file, folder = written(models=["affine"], seeds=[0, 1]), tmp_path / "sweep"
    jobs = expand(find_sweep(str(file)))
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None) as cluster:
        words = ["sweep", "run", str(file), "--output", str(folder), "--engine", "dask", "--jobs", "2"]
        command = [sys.executable, "-m", "counterbench", *words, "--address", cluster.scheduler_address]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
            for _ in range(900):
                if all(state.look(job, folder).state == "running" for job in jobs[2:4]):
                    break
                time.sleep(0.1)
            worker = next(iter(cluster.workers.values()))
            os.kill(worker.process.pid, signal.SIGKILL)
            said = process.communicate(timeout=240)
    assert process.returncode in (0, 1), said
    running.run(jobs, folder, at_once=2)
    assert states(jobs, folder) == ["done"] * 6
