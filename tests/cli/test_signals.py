"""Real signals to real processes: a request to end is one sentence and exit code 130; who ignores Ctrl-C (nohup) goes on."""

import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest
import yaml

TOY = str(Path(__file__).parents[1] / "toy.py")
ENDLESS = {
    "name": "endless",
    "title": "Endless",
    "dataset": "toy",
    "mechanisms": {
        "a": {"family": "spline_flow", "options": {"bins": 0}, "fit": {"epochs": 100_000, "patience": 100_000}},
        "b": {"family": "spline_flow"},
        "c": {"family": "empirical"},
        "image": {"family": "vae"},
    },
}
PATIENCE = 300  # seconds until a test gives up; nothing is measured


@contextmanager
def counterbench(*words, cwd, sigint=signal.SIG_DFL):
    """A process that is dead when the block ends, whatever happens; it inherits nobody's idea of Ctrl-C."""
    process = subprocess.Popen(
        [sys.executable, "-m", "counterbench", *words],
        cwd=cwd,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=partial(signal.signal, signal.SIGINT, sigint),
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def wait_for(condition, process):
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.fixture
def train(tmp_path):
    (tmp_path / "endless.yaml").write_text(yaml.safe_dump(ENDLESS))
    words = ("--plugin", TOY, "train", "--model", "endless.yaml", "--dataset", "toy", "--output", "run")
    words += ("--device", "cpu", "--quiet")
    return partial(counterbench, *words, cwd=tmp_path)


def require_a_clean_end(process):
    _, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130, err
    assert err.startswith("counterbench: interrupted. What was finished is kept in ")
    assert err.count("\n") == 1
    return err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_training_that_is_asked_to_end(train, tmp_path, number):
    latest = tmp_path / "run" / "unfinished" / "a" / "latest.ckpt"
    with train() as process:
        wait_for(latest.is_file, process)
        process.send_signal(number)
        assert "run the same command with --resume to go on" in require_a_clean_end(process)
    assert latest.is_file()
    assert not (tmp_path / "run" / ".lock").exists()


@pytest.mark.slow
def test_a_training_that_ignores_ctrl_c_goes_on(train, tmp_path):
    """As under `nohup ... &`; it can be asked to end all the same."""
    latest = tmp_path / "run" / "unfinished" / "a" / "latest.ckpt"
    with train(sigint=signal.SIG_IGN) as process:
        wait_for(latest.is_file, process)
        process.send_signal(signal.SIGINT)
        before = latest.stat().st_mtime_ns
        wait_for(lambda: latest.stat().st_mtime_ns > before, process)
        process.send_signal(signal.SIGTERM)
        require_a_clean_end(process)


PLUGIN = """
import signal
from pathlib import Path
import toy
from counterbench import registry

@registry.models.register("mortal")
class Mortal(toy.ExactModel):
    def counterfactual(self, factual, interventions, generator=None):
        if Path("ask-to-end").exists():
            signal.raise_signal(signal.SIGTERM)
        return super().counterfactual(factual, interventions, generator)
"""


def test_an_evaluation_that_is_asked_to_end_by_a_scheduler(tmp_path):
    (tmp_path / "mortal.py").write_text(f"import sys\nsys.path.insert(0, {str(Path(TOY).parent)!r})\n{PLUGIN}")
    (tmp_path / "ask-to-end").touch()
    words = ("--plugin", "mortal.py", "evaluate", "--model", "mortal", "--dataset", "toy", "--suite", "quick")
    words += ("--device", "cpu", "--limit", "10", "--output", "results", "-q")
    with counterbench(*words, cwd=tmp_path) as process:
        _, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130, err
    assert err == "counterbench: interrupted. Nothing had been finished yet.\n"
    assert not list(tmp_path.rglob(".lock"))
    (tmp_path / "ask-to-end").unlink()
    with counterbench(*words, cwd=tmp_path) as process:
        process.communicate(timeout=PATIENCE)
    assert process.returncode == 0
