"""Several processes share the chunks of one evaluation."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from counterbench import evaluation
from counterbench.errors import ModelError
from counterbench.evaluation import session, sharing
from counterbench.evaluation.evaluation import examine_share
from counterbench.evaluation.kept_answers import Keeping, read_manifest
from counterbench.evaluation.session import Share
from counterbench.models.model import Contestant

METRICS = ["composition", "reversibility", "effectiveness", "truth", "abduction"]
TESTS = Path(__file__).parents[1]


@pytest.fixture(autouse=True)
def small_chunks(tmp_path, monkeypatch):
    monkeypatch.setenv("COUNTERBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(session, "chunk_size", lambda batch, pixels=1: 16)


class Model:
    """The toy's own model; it writes down which process asked it."""

    def __init__(self, toy, log=None, fails=False):
        self.scm, self.log, self.fails = toy.exact_scm(0.9), log, fails

    def counterfactual(self, factual, interventions, generator=None):
        if self.log is not None:
            (self.log / str(os.getpid())).touch()
        if self.fails:
            raise ModelError("it cannot")
        return self.scm.counterfactual(factual, interventions, generator)

    def abduct(self, values, generator=None):
        return self.scm.abduct(values, generator)

    def sample_noise(self, count, generator=None):
        return self.scm.sample_noise(count, generator)


@pytest.fixture
def exam(toy):
    return evaluation.prepare(toy.Toy(), "standard", device="cpu", metrics=METRICS, limit=100)


def equal(first, second):
    timeless = {"seconds": {}}
    assert first.record.model_copy(update=timeless) == second.record.model_copy(update=timeless)
    for one, other in zip(first.columns, second.columns, strict=True):
        assert torch.equal(one.value, other.value)
        assert torch.equal(one.reference, other.reference)


@pytest.mark.parametrize("workers", [2, 3])
def test_numbers_do_not_hang_on_the_number_of_processes(toy, exam, tmp_path, workers, monkeypatch):
    alone = evaluation.evaluate(Contestant("m", Model(toy)), exam)
    monkeypatch.setenv("COUNTERBENCH_CACHE", str(tmp_path / "another"))
    log = tmp_path / "log"
    log.mkdir()
    together = evaluation.evaluate(Contestant("m", Model(toy, log)), exam, workers=workers)
    equal(alone, together)
    assert workers <= len(list(log.iterdir())) <= workers + 1  # one more asks again in the end


def test_kept_answers_are_the_same(toy, exam, tmp_path):
    for workers in (1, 2):
        keeping = Keeping(tmp_path / str(workers), image="image")
        made = evaluation.evaluate(
            Contestant("m", Model(toy)), exam, folder=tmp_path / f"chunks{workers}", keeping=keeping, workers=workers
        )
        keeping.save(made.kept[1], tmp_path / str(workers))
    first, second = (read_manifest(tmp_path / str(workers)) for workers in (1, 2))
    assert first.hash == second.hash


def test_shares_are_collected(toy, exam, tmp_path):
    """Machines that work side by side leave chunks; who collects them asks the model nothing but what is asked again."""
    alone = evaluation.evaluate(Contestant("m", Model(toy)), exam)
    folder = tmp_path / "unfinished"
    for number, there in enumerate((3, 5, 7)):
        examine_share(Contestant("m", Model(toy)), exam, Share(number, 3), folder=folder)
        assert len(list(folder.glob("chunk-*"))) == there
    times = [path.stat().st_mtime_ns for path in sorted(folder.glob("chunk-*"))]
    equal(alone, evaluation.evaluate(Contestant("m", Model(toy)), exam, folder=folder))
    assert times == [path.stat().st_mtime_ns for path in sorted(folder.glob("chunk-*"))]


def test_chunks_of_another_execution_are_made_anew(toy, exam, tmp_path):
    folder = tmp_path / "unfinished"
    examine_share(Contestant("m", Model(toy)), exam, Share(), folder=folder, threads=2)
    evaluation.evaluate(Contestant("m", Model(toy)), exam, folder=folder)
    assert len(list(folder.glob("chunk-*"))) == 14


def test_the_first_process_tells_what_went_wrong(toy, exam):
    with pytest.raises(ModelError, match="it cannot"):
        evaluation.evaluate(Contestant("m", Model(toy, fails=True)), exam, workers=2)


def test_a_process_that_dies_loses_its_chunk_alone(toy, exam, tmp_path, monkeypatch):
    alone = evaluation.evaluate(Contestant("m", Model(toy)), exam)
    monkeypatch.setenv("COUNTERBENCH_CACHE", str(tmp_path / "another"))
    parent = os.getpid()

    class Mortal(Model):
        def counterfactual(self, factual, interventions, generator=None):
            if os.getpid() != parent:
                os.kill(os.getpid(), signal.SIGKILL)
            return super().counterfactual(factual, interventions, generator)

    equal(alone, evaluation.evaluate(Contestant("m", Mortal(toy)), exam, workers=2))


def test_processes_that_begin_afresh_give_the_same(toy, exam, tmp_path, monkeypatch):
    """As on systems that cannot copy a process: everything is sent."""
    alone = evaluation.evaluate(Contestant("identity", toy_identity(exam)), exam)
    monkeypatch.setenv("COUNTERBENCH_CACHE", str(tmp_path / "another"))
    monkeypatch.setenv("PYTHONPATH", str(TESTS))
    monkeypatch.setattr(sharing.sys, "platform", "other")
    equal(alone, evaluation.evaluate(Contestant("identity", toy_identity(exam)), exam, workers=2))


def toy_identity(exam):
    from counterbench.models.baselines import Identity

    return Identity(exam.dataset)


def test_workers_follow_the_processors_and_the_work(toy, exam, monkeypatch):
    monkeypatch.setattr(sharing, "processors", lambda: 64)
    takings = []
    assert sharing.workers_for(exam, takings) == 1  # nothing is left to do
    taking = evaluation.evaluation._taking(
        exam, Contestant("m", Model(toy)), evaluation.evaluation._execution(exam, None, 1), folder=None, keeping=None
    )
    assert sharing.workers_for(exam, [taking]) == 7
    monkeypatch.setattr(session, "chunk_size", lambda batch, pixels=1: 4)
    assert sharing.workers_for(exam, [taking]) == sharing.MOST


_RUN = """
import os, sys, time
sys.path.insert(0, {tests!r})
import toy
from pathlib import Path
from counterbench import evaluation
from counterbench.evaluation import session
from counterbench.models.model import Contestant
session.chunk_size = lambda batch, pixels=1: 4

class Slow(toy.ExactModel):
    def counterfactual(self, factual, interventions, generator=None):
        (Path({home!r}) / f"asked-{{os.getpid()}}").touch()
        time.sleep(0.05)
        return self.scm.counterfactual(factual, interventions, generator)

exam = evaluation.prepare(toy.Toy(), "standard", device="cpu", metrics=["composition", "truth"])
evaluation.evaluate(Contestant("slow", Slow()), exam, folder=Path({home!r}) / "unfinished", workers=2)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the others end after their batch")
def test_when_the_first_process_is_killed_the_others_end_too(tmp_path):
    code = _RUN.format(tests=str(TESTS), home=str(tmp_path))
    process = subprocess.Popen([sys.executable, "-c", code])
    begun = time.monotonic()
    while len(list(tmp_path.glob("asked-*"))) < 2 and time.monotonic() - begun < 120:
        time.sleep(0.05)
    others = {int(path.name.removeprefix("asked-")) for path in tmp_path.glob("asked-*")} - {process.pid}
    process.kill()
    process.wait()
    begun = time.monotonic()
    while any(Path(f"/proc/{pid}").exists() for pid in others) and time.monotonic() - begun < 20:
        time.sleep(0.1)
    assert others
    assert not any(Path(f"/proc/{pid}").exists() for pid in others)


def test_what_is_worked_out_beside_is_the_same(monkeypatch):
    parent = os.getpid()
    with sharing.beside(os.getpid, apart=True) as result:
        assert result() != parent
    with sharing.beside(os.getpid, apart=False) as result:
        assert result() == parent

    def mortal():
        if os.getpid() != parent:
            os._exit(9)
        return "here"

    with sharing.beside(mortal, apart=True) as result:
        assert result() == "here"
