"""The engine: chunks, resuming, memory, sharing."""

import gc
import itertools
import json
import os
import signal
import subprocess
import sys
import weakref
from pathlib import Path

import numpy as np
import pytest
import torch

from counterbench import evaluation, models
from counterbench.causal.chance import normal
from counterbench.errors import ModelError
from counterbench.evaluation import asking, batches, session
from counterbench.evaluation import taking as taking_module
from counterbench.metrics.base import Cell, SampleMetric
from counterbench.models.model import Contestant
from counterbench.runtime import code

TESTS = Path(__file__).parents[1]
ALL = [
    "composition",
    "reversibility",
    "commutativity",
    "effectiveness",
    "off_target",
    "truth",
    "realism",
    "recognition",
    "estimate",
    "minimality",
    "abduction",
]


RECOGNISED = {name: {"recogniser": "toy-residual"} for name in ("recognition", "estimate")}


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("COUNTERBENCH_CACHE", str(tmp_path / "cache"))


@pytest.fixture(autouse=True)
def asked_once(monkeypatch):
    """Calls are counted here, so nobody is asked again at the end; tests/evaluation/test_asking.py is about that."""
    monkeypatch.setattr("counterbench.evaluation.evaluation.depends", lambda *_: False)
    monkeypatch.setattr("counterbench.evaluation.evaluation.not_shown", lambda *_: [])


@pytest.fixture
def small_chunks(monkeypatch):
    monkeypatch.setattr(session, "chunk_size", lambda batch, pixels=1: 16)


@pytest.fixture
def exam(toy):
    suite = evaluation.prepare(toy.Toy(), "standard", device="cpu").suite
    options = {**suite.metrics, "realism": {"spaces": ["pixel"]}, **RECOGNISED}
    return evaluation.prepare(
        toy.Toy(), suite.model_copy(update={"metrics": options, "resamples": 100}), device="cpu", metrics=ALL, limit=60
    )


class Counting:
    """The toy's own model, counting, and failing where it is told to. Its answers drift, so that no null intervention returns its input."""

    def __init__(self, toy, fail_at=None, error=None, most=None):
        self.scm, self.asked, self.fail_at, self.error, self.most = toy.exact_scm(0.9), 0, fail_at, error, most

    def counterfactual(self, factual, interventions, generator=None):
        self.asked += 1
        if self.asked == self.fail_at:
            raise self.error
        if self.most is not None and factual.count > self.most:
            raise torch.OutOfMemoryError("out of memory")
        answer = self.scm.counterfactual(factual, interventions, generator)
        return {**answer, "image": answer["image"] + 1}

    def abduct(self, values, generator=None):
        return self.scm.abduct(values, generator)

    def sample_noise(self, count, generator=None):
        return self.scm.sample_noise(count, generator)


def numbers(made):
    return [number for number in made.record.numbers if number.metric != "cost"]


def test_an_interrupted_run_goes_on_and_gives_the_same_to_the_last_bit(toy, exam, tmp_path, small_chunks):
    whole = evaluation.evaluate(Contestant("m", Counting(toy)), exam)
    folder = tmp_path / "unfinished"
    broken = Counting(toy, fail_at=47, error=KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        evaluation.evaluate(Contestant("m", broken), exam, folder=folder)
    kept = sorted(path.name for path in folder.iterdir())
    assert len(kept) == 2  # of four chunks
    rest = Counting(toy)
    resumed = evaluation.evaluate(Contestant("m", rest), exam, folder=folder)
    assert rest.asked == 2 * (10 + 3 + 3 + 4)
    assert numbers(resumed) == numbers(whole)
    for first, second in zip(whole.columns, resumed.columns, strict=True):
        assert torch.equal(first.value, second.value)


def test_chunks_of_anything_else_are_not_taken(toy, exam, tmp_path, small_chunks):
    """Another seed, another model, another device or another version of the code: other names; damage: made anew."""
    folder = tmp_path / "unfinished"
    evaluation.evaluate(Contestant("m", Counting(toy)), exam, folder=folder)
    again = Counting(toy)
    evaluation.evaluate(Contestant("m", again), exam, folder=folder)
    assert again.asked == 0
    other = Counting(toy)
    evaluation.evaluate(Contestant("other", other), exam, folder=folder)
    assert other.asked == 4 * 20
    path = sorted(folder.iterdir())[0]
    content = bytearray(path.read_bytes())
    content[-5] ^= 1
    path.write_bytes(bytes(content))
    mended = Counting(toy)
    evaluation.evaluate(Contestant("m", mended), exam, folder=folder)
    evaluation.evaluate(Contestant("other", mended), exam, folder=folder)
    assert mended.asked == 20


def test_the_key_changes_with_the_code(exam, monkeypatch):
    before = taking_module.key_of(exam, None)
    monkeypatch.setattr(taking_module, "code_hash", lambda modules: "other code")
    assert taking_module.key_of(exam, None) != before


def test_the_key_rests_on_the_code_that_decides_a_row(exam, toy, monkeypatch):
    """Of the metrics, judges and networks that take part, and of nothing that only shows, trains or compares."""
    asked = {}
    monkeypatch.setattr(taking_module, "code_hash", lambda modules: asked.setdefault("modules", modules) and "")
    taking_module.key_of(exam, Contestant("m", toy.exact_scm()))
    behind = code._behind(frozenset(asked["modules"]))
    assert {"counterbench.metrics.composition", "counterbench.evaluation.asking", "counterbench.models.scm"} <= behind
    assert {f"counterbench.metrics.{name}" for name in ("cost", "rung2")} & behind == set()
    folders = {name.split(".")[1] for name in behind if "." in name}
    assert not folders & {
        "api",
        "cli",
        "contracts",
        "exchange",
        "leaderboard",
        "pictures",
        "scaffold",
        "training",
        "verification",
    }


def test_baselines_are_examined_once_for_all_models(toy, exam, monkeypatch):
    first = evaluation.evaluate(Contestant("m", Counting(toy)), exam)
    monkeypatch.setattr("counterbench.models.baselines.Retrieve.counterfactual", None)  # nobody may ask it again
    second = evaluation.evaluate(Contestant("m", Counting(toy)), exam)
    assert numbers(first) == numbers(second)
    references = {name for number in first.record.numbers for name in number.references}
    assert references == {"identity", "noise", "retrieve", "resample", "truth", "real"}


def test_a_cache_that_cannot_be_written_costs_time_not_the_run(toy, exam, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("COUNTERBENCH_CACHE", str(tmp_path / "file" / "cache"))
    made = evaluation.evaluate(Contestant("m", Counting(toy)), exam)
    assert made.record.numbers[0].references.keys() >= {"identity", "truth"}


def test_when_memory_runs_out_the_batch_is_halved_and_no_number_changes(toy, exam, small_chunks):
    whole = evaluation.evaluate(Contestant("m", Counting(toy)), exam)
    tight = Counting(toy, most=5)
    made = evaluation.evaluate(Contestant("m", tight), exam, batch_size=16)
    for first, second in zip(numbers(whole), numbers(made), strict=True):
        assert second.value == pytest.approx(first.value, rel=1e-6, abs=1e-9)
    with pytest.raises(torch.OutOfMemoryError):
        evaluation.evaluate(Contestant("m2", Counting(toy, most=0)), exam, batch_size=4)


def test_each_question_is_asked_once(toy, exam):
    model = Counting(toy)
    evaluation.evaluate(Contestant("m", model), exam, batch_size=60)
    assert model.asked == 10 + 3 + 3 + 2 * 2


class Drawing(Counting):
    """Its abduction and its prior are draws from one law, and every answer notes what chance gave it."""

    def __init__(self, toy):
        super().__init__(toy)
        self.drawn = []

    def counterfactual(self, factual, interventions, generator=None):
        self.drawn.append(normal((factual.count, 1), generator, torch.empty(0)))
        return super().counterfactual(factual, interventions, generator)

    def abduct(self, values, generator=None):
        return {"a": {"e": normal((len(values["a"]), 1), generator, torch.empty(0))}}

    def sample_noise(self, count, generator=None):
        return {"a": {"e": normal((count, 1), generator, torch.empty(0))}}


def examined(toy, exam, model, batch_size=None):
    contestant = Contestant("m", model)
    taking = taking_module.Taking("m", contestant, exam.make_metrics(contestant), None, "key")
    session.examine(exam, [taking], batch_size=batch_size)
    return taking.chunks[0]


def test_abducted_noise_is_not_the_noise_of_the_prior(toy, exam):
    """Drawn from the same streams, a random abduction could not be told from the prior whatever its law."""
    taken = examined(toy, exam, Drawing(toy))
    abducted, prior = (taken[f"abduction/{part}_a__e"] for part in ("abducted", "prior"))
    assert abducted.shape == prior.shape == (60, 1)
    assert (abducted != prior).all()
    assert abs(np.corrcoef(abducted[:, 0], prior[:, 0])[0, 1]) < 0.5
    again = examined(toy, exam, Drawing(toy), 7)
    assert torch.equal(again["abduction/abducted_a__e"], abducted)
    assert torch.equal(again["abduction/prior_a__e"], prior)


def test_all_questions_about_an_image_share_its_chance(toy, exam):
    """Which question shares its stream with which is said here and nowhere else."""
    model = Drawing(toy)
    examined(toy, exam, model, 60)
    drawn = torch.cat(model.drawn, 1)
    assert drawn.shape == (60, 10 + 3 + 3 + 2 * 2)
    assert (drawn == drawn[:, :1]).all()
    assert len(drawn[:, 0].unique()) == 60
    parts = Drawing(toy)
    examined(toy, exam, parts, 7)
    assert torch.equal(torch.cat(parts.drawn[:20], 1), drawn[:7])


class Spy(SampleMetric):
    """Keeps the answers instead of judging them."""

    title, definition, blind_to = "Spy", "-", "-"
    asks = frozenset({"single", "pair"})

    def make_cells(self):
        return [Cell("q", "", "lower")]

    def update(self, answers):
        self.__dict__.setdefault("seen", []).append(answers)


def spied(exam, model, batch_size=None):
    spy = Spy(exam.setting())
    session.examine(
        exam, [taking_module.Taking("m", Contestant("m", model), [spy], None, "key")], batch_size=batch_size
    )
    return spy.seen


def test_no_answers_are_left_of_a_batch_that_is_done(toy, exam, monkeypatch):
    """Without a garbage collection: answers to many questions about many large images are gigabytes."""
    alive = []

    class Watched(asking.Asking):
        def __init__(self, *arguments):
            super().__init__(*arguments)
            alive.append(weakref.ref(self.batch))

    monkeypatch.setattr(session, "Asking", Watched)
    gc.collect()
    gc.disable()
    try:
        examined(toy, exam, Counting(toy), 20)
        left = [batch() is not None for batch in alive]
    finally:
        gc.enable()
    assert left == [False] * 3


def test_judges_look_once_at_an_image_whoever_answers_with_it(toy, exam, monkeypatch):
    """Their readings are those of every image on its own, in any memory layout."""
    looked, seen = [], []
    look, measure = batches.measure_all, batches.Shared._measure

    def counted(panels, images):
        looked.append(len(images))
        return look(panels, images)

    def compared(self, images):
        found, alone = measure(self, images), look(self.exam.panels, images)
        assert all(torch.equal(found[name].members, alone[name].members) for name in alone)
        seen.append(len(images))
        return found

    monkeypatch.setattr(batches, "measure_all", counted)
    monkeypatch.setattr(batches.Shared, "_measure", compared)
    evaluation.evaluate(Contestant("m", Counting(toy)), exam)
    assert 0 < sum(looked) < 0.9 * sum(seen)
    shared = batches.Shared(exam)
    image = exam.dataset.split("test").values["image"][:3]
    for other in (image, image.transpose(2, 3).contiguous().transpose(2, 3)):
        measure(shared, other)
    assert looked[-1] == 3  # of the second layout nothing was looked at


def test_matched_images_have_the_counterfactual_attributes(toy, exam):
    for answers in spied(exam, Counting(toy), 60):
        if answers.intervened == ("c",) and answers.kind == "single":
            shown = answers.batch.matched("c").measured["c"].value.argmax(1)
            assert torch.equal(shown, answers.wanted["c"])
            assert (shown != answers.factual["c"]).all()
            break
    else:
        raise AssertionError("do(c) was not asked")


def test_the_ceiling_is_read_at_the_counterfactual_law_of_attributes(toy, exam):
    spy = Spy(exam.setting())
    session.examine(exam, [taking_module.Taking(taking_module.REAL, None, [spy], None, "key")], batch_size=60)
    of_c = next(answers for answers in spy.seen if answers.intervened == ("c",))
    assert torch.equal(of_c.values["c"], of_c.wanted["c"])
    assert torch.equal(of_c.view.measured["c"].value.argmax(1), of_c.wanted["c"])
    train = exam.dataset.split("train").take(slice(0, None))
    for one in (of_c, next(answers for answers in spy.seen if answers.intervened == ("a",))):
        assert one.expected is one.values  # a real image shows its own attributes
        same = (one.values["image"][:, None] == train["image"][None]).flatten(2).all(2)
        assert torch.equal(train["a"][same.int().argmax(1)], one.values["a"])
        assert same.any(1).all()


def test_null_answers_are_fed_back_with_their_attributes(toy, exam):
    given, answered = [], []

    class Drifting(Counting):
        def counterfactual(self, factual, interventions, generator=None):
            answer = super().counterfactual(factual, interventions, generator)
            if not interventions:
                answer["a"] = factual["a"] + 0.1
                given.append(dict(factual))
                answered.append({**answer, "image": answer["image"].round().clamp(0, 255)})
            return answer

    examined(toy, exam, Drifting(toy), 60)
    assert len(given) == 10
    for cycle in range(1, 10):
        for name, value in given[cycle].items():
            assert torch.equal(value, answered[cycle - 1][name]), (cycle, name)


def test_both_orders_of_a_pair_are_compared(toy, exam):
    """A model that is 5 grey levels brighter where a was set before c."""

    class Ordered(Counting):
        def counterfactual(self, factual, interventions, generator=None):
            answer = self.scm.counterfactual(factual, interventions, generator)
            after_a = factual["a"] == exam.plan.single["a"]
            bright = 5.0 * after_a[:, None, None, None] if "c" in interventions else 0.0
            return {**answer, "image": answer["image"] + bright}

    model = Ordered(toy)
    model.scm = toy.exact_scm()
    made = evaluation.evaluate(Contestant("m", model), exam, batch_size=60).record.by_key
    assert made["commutativity", "l1", "a + c", "", 0, "l1"].value == pytest.approx(5, abs=1e-3)
    assert made["commutativity", "l1", "b + c", "", 0, "l1"].value == pytest.approx(0, abs=1e-3)
    for pair in ("a + c", "b + c"):  # baselines are told what was set before
        assert made["commutativity", "l1", pair, "", 0, "l1"].references["truth"].value == 0


def test_seconds_are_those_of_a_sample(toy, exam, monkeypatch):
    """By a clock that ticks once whenever somebody looks at it: a question takes as many ticks, however many samples it is about."""
    ticks = itertools.count()
    monkeypatch.setattr(asking.time, "perf_counter", lambda: float(next(ticks)))
    per_question = {
        answers.cost["seconds"] * len(answers.index)
        for size in (60, 20)
        for answers in spied(exam, Counting(toy), size)
        if answers.kind == "single"
    }
    assert len({round(value, 6) for value in per_question}) == 1


def test_an_answer_that_is_none_is_reported(toy, exam):
    class Silent(Counting):
        def counterfactual(self, factual, interventions, generator=None):
            return {}

    with pytest.raises(ModelError, match="has no tensor for"):
        evaluation.evaluate(Contestant("m", Silent(toy)), exam)


def test_what_a_model_does_to_its_input_reaches_nobody(toy, exam):
    class Vandal(Counting):
        def counterfactual(self, factual, interventions, generator=None):
            factual["image"].add_(50)
            for value in interventions.values():
                value.mul_(1)
            return {**factual, **interventions}

    clean = evaluation.evaluate(Contestant("clean", Counting(toy)), exam)
    made = evaluation.evaluate(Contestant("vandal", Vandal(toy)), exam)
    found = {number.key: number for number in made.record.numbers}
    assert found["composition", "l1", "", "", 1, "l1"].value == pytest.approx(50, abs=1e-3)
    for number in clean.record.numbers:
        if number.metric != "cost" and number.key in found:
            assert found[number.key].references.get("identity") == number.references.get("identity")


def test_a_model_that_declines_the_null_question_is_not_asked_it(toy, exam):
    class Active(Counting):
        def can_answer(self, intervened):
            return len(intervened) > 0

        def counterfactual(self, factual, interventions, generator=None):
            assert interventions
            return super().counterfactual(factual, interventions, generator)

    record = evaluation.evaluate(Contestant("active", Active(toy)), exam).record
    assert record.skipped["null intervention"] == "active does not answer this question"
    assert not any(number.metric in ("composition",) for number in record.numbers)
    assert any(number.metric == "truth" for number in record.numbers)


def test_keys_follow_the_card_and_the_weights_of_plugins(toy, exam):
    from dataclasses import replace

    other = toy.Toy(toy.CARD.model_copy(update={"group": "another"}))
    changed = replace(exam, dataset=other)
    assert taking_module.key_of(changed, None) != taking_module.key_of(exam, None)
    words = toy.Toy(toy.CARD.model_copy(update={"limits": ("none",)}))  # what a card says in words decides no number
    assert taking_module.key_of(replace(exam, dataset=words), None) == taking_module.key_of(exam, None)

    class Plugged:
        def __init__(self, dataset=None, weight=1.0):
            self.network = torch.nn.Linear(2, 1)
            torch.nn.init.constant_(self.network.weight, weight)
            torch.nn.init.zeros_(self.network.bias)

        def counterfactual(self, factual, interventions, generator=None):
            return {**factual, **interventions}

    from counterbench.plugins import registry

    hashes = []
    for weight in (1.0, 1.0, 2.0):
        with registry.models.temporarily("plugged", lambda dataset, weight=weight: Plugged(dataset, weight)):
            contestant = models.load("plugged", toy.Toy())
        hashes.append(contestant.weights_sha256)
    assert hashes[0] == hashes[1] != hashes[2]
    assert contestant.parameters == 3


def test_passes_count_by_the_share_of_the_batch(toy):
    from counterbench.models.cost import counted_passes

    layer = torch.nn.Linear(3, 3)
    for parts in (1, 4, 20):
        with counted_passes([layer], 20) as passes:
            for rows in torch.zeros(20, 3).chunk(parts):
                layer(rows)
        assert passes.mean == pytest.approx(1)
    with counted_passes([], 20) as passes:
        pass
    assert passes.mean is None


def test_the_spread_of_a_class_is_that_of_a_binary_one():
    from counterbench.causal.variables import Binary, Continuous, Vector
    from counterbench.metrics.scales import spread

    yes, width = Binary("yes"), Continuous("width", 0, 4)
    assert spread(torch.tensor([0, 1] * 50), yes) == pytest.approx(0.5)
    assert spread(torch.tensor([0] * 9 + [1]), yes) == pytest.approx(0.3)
    assert spread(torch.tensor([0.0, 2.0, 4.0]), width) == pytest.approx(2)
    # Of a vector, in units of half its ranges: 2 of 2 and 0 of 5, whose variances are 1 and 0 in the mean.
    point = Vector("point", (width, Continuous("height", 0, 10)))
    assert spread(torch.tensor([[0.0, 9.0], [2.0, 9.0], [4.0, 9.0]]), point) == pytest.approx(0.5**0.5)


def test_one_cluster_has_no_interval():
    from counterbench.evaluation import numbers
    from counterbench.metrics.base import Cell, Column

    column = Column("m", Cell("q", "", "lower"), torch.tensor([3]), torch.tensor([5.0], dtype=torch.float64))
    made, _ = numbers.numbers({"model": [column]}, torch.arange(20), torch.arange(20), resamples=200, seed=0)
    assert (made[0].value, made[0].low, made[0].high) == (5, None, None)


def test_sizes_follow_the_image():
    cpu, cuda = torch.device("cpu"), torch.device("cuda")
    assert session.default_batch(cpu, 32 * 32) == 96
    assert session.default_batch(cpu, 3 * 64 * 64) == 32
    assert session.default_batch(cuda, 32 * 32) == 1024
    assert session.chunk_size(96) == session.chunk_size(32) == 96
    assert session.chunk_size(60) == 60
    assert session.chunk_size(1024) == 1024
    # Of volumes less is held.
    assert session.default_batch(cpu, 96**3) == 2
    assert session.chunk_size(2, pixels=96**3) == 8


_RUN = """
import os, sys
sys.path.insert(0, {tests!r})
import toy
from pathlib import Path
from counterbench import evaluation
from counterbench.evaluation import session
from counterbench import records
from counterbench.evaluation import results_folder
from counterbench.models.loading import Contestant
session.chunk_size = lambda batch, pixels=1: 8

class Mortal(toy.ExactModel):
    def counterfactual(self, factual, interventions, generator=None):
        if len(list(Path({home!r}).rglob("unfinished/chunk-*.safetensors"))) >= {chunks}:
            os.kill(os.getpid(), 9)
        return self.scm.counterfactual(factual, interventions, generator)

exam = evaluation.prepare(toy.Toy(), "standard", device="cpu", metrics=["composition", "effectiveness", "truth"])
contestant = Contestant("mortal", Mortal())
folder = results_folder.folder_of(exam.inputs(contestant), Path({home!r}))
made = evaluation.evaluate(contestant, exam, folder=folder / "unfinished")
results_folder.save(made, folder)
print(folder)
"""


def run(home, chunks):
    """A process that kills itself without warning as soon as so many chunks are stored."""
    code = _RUN.format(tests=str(TESTS), home=str(home), chunks=chunks)
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    )


def test_killed_without_warning_it_resumes_bit_identically(tmp_path):
    """kill -9 in the middle; what is left is no record; the second run gives what an undisturbed one gives."""
    process = run(tmp_path / "a", 3)
    _, err = process.communicate(timeout=600)
    assert process.returncode == -signal.SIGKILL, err
    kept = len(list((tmp_path / "a").rglob("unfinished/chunk-*.safetensors")))
    assert kept == 3
    assert not list((tmp_path / "a").rglob("record.json"))
    assert not list((tmp_path / "a").rglob("samples.parquet"))
    folders = []
    for home in ("a", "b"):
        process = run(tmp_path / home, 1000)
        out, err = process.communicate(timeout=600)
        assert process.returncode == 0, err
        folders.append(Path(out.strip().splitlines()[-1]))
    records = [json.loads((folder / "record.json").read_text()) for folder in folders]
    assert records[0]["numbers"] == records[1]["numbers"]
    assert (folders[0] / "samples.parquet").read_bytes() == (folders[1] / "samples.parquet").read_bytes()
    assert not (folders[0] / "unfinished").exists()


@pytest.mark.slow
def test_ten_thousand_images_stay_below_three_gigabytes(tmp_path):
    """MNIST's test images; the data folder is given by COUNTERBENCH_DATA."""
    if "COUNTERBENCH_DATA" not in os.environ:
        pytest.skip("set COUNTERBENCH_DATA to a folder with MNIST")
    code = """
import resource
from counterbench import evaluation
from counterbench import models
exam = evaluation.prepare("morphomnist", "standard", "mnist", device="cpu")
assert len(exam.plan.index) == 10000
evaluation.evaluate(models.load("retrieve", exam.dataset), exam)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20)
"""
    environment = {**os.environ}
    environment.pop("COUNTERBENCH_CACHE")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) < 3


def test_models_that_decline_are_told_apart(toy, exam):
    class Choosy(Counting):
        def can_answer(self, intervened):
            return "c" not in intervened

    record = evaluation.evaluate(Contestant("choosy", Choosy(toy)), exam).record
    assert record.skipped["do(c)"] == "choosy does not answer this question"
    assert record.skipped["do(a, c)"] == "choosy does not answer this question"
    assert not any(number.metric == "commutativity" for number in record.numbers)
    assert models.can_answer(Choosy(toy), ["a"])


def test_a_baseline_as_model_beside_itself_shows_each_answer_once(toy, exam):
    """Two takings of one name share nothing, also where the baseline has not been examined before."""
    made = evaluation.evaluate(models.load("identity", exam.dataset), exam)
    assert {len(shown.answered) for shown in made.shown.values()} == {taking_module.SHOWN}
    assert all(number.value == number.references["identity"].value for number in numbers(made))
