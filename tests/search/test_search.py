"""Searches: spaces, fronts, a problem whose front is known, and what a kill leaves."""

import signal
import subprocess
import sys
import time
from contextlib import nullcontext
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from counterbench.catalog.recipes import AdaptEntry
from counterbench.catalog.studies import Space, Study
from counterbench.errors import ConfigError, UnavailableError
from counterbench.plugins import extras
from counterbench.search.objectives import dominates, front
from counterbench.search.space import Way, chosen, without_search
from counterbench.search.studies import Search, require_same
from counterbench.search.trials import Outcome
from counterbench.search.tuning import Report

STUDY = {
    "name": "s",
    "model": "m",
    "dataset": "d",
    "space": {"kinds": ["norm_bias", "lora"], "learning_rate": [0.0001, 0.01]},
    "objectives": ["truth.truth_skill", "opened"],
}


class Fixed:
    """Chooses what it is told."""

    def __init__(self, **choices):
        self.choices = choices

    def suggest_categorical(self, name, choices):
        assert self.choices[name.replace(" ", "_")] in choices
        return self.choices[name.replace(" ", "_")]

    def suggest_float(self, name, low, high, log=False):
        assert low <= self.choices[name] <= high
        assert log
        return self.choices[name]


def test_choices_become_a_way_of_adapting():
    space = Space(
        kinds=("norm_bias", "lora:alpha=2"),
        masks=True,
        ranks=(1, 8),
        learning_rate=(1e-4, 1e-2),
        random_parents=(0.0, 0.1),
    )
    said = {"rank": 8, "open_down": 0, "open_up": 1, "learning_rate": 0.003, "random_parents": 0.1}
    way = chosen(Fixed(kind="lora:alpha=2", **said), space, ["down", "up"])
    assert way.adapt == AdaptEntry(kind="lora", options={"alpha": 2, "rank": 8}, within="01")
    assert (way.learning_rate, way.mitigations) == (0.003, {"random_parents": 0.1})
    assert str(way) == "lora:alpha=2,rank=8,within=01 rate=0.003 random_parents=0.1"
    assert Way.read(way.plain()) == way
    other = chosen(Fixed(kind="norm_bias", **said), space, ["down", "up"])
    assert other.adapt.options == {}
    assert not other.opens_nothing
    assert chosen(Fixed(kind="norm_bias", **{**said, "open_up": 0}), space, ["down", "up"]).opens_nothing


def test_beside_stand_three_rates_of_each_kind():
    ways = without_search(Study.model_validate({**STUDY, "beside": ["full", "lora:rank=2"]}))
    assert [(way.adapt.kind, round(way.learning_rate, 6)) for way in ways] == [
        (kind, rate) for kind in ("full", "lora") for rate in (0.0001, 0.001, 0.01)
    ]


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"directions": {"cost": "lower"}}, "none of the objectives"),
        ({"objectives": ["opened", "opened"]}, "listed twice"),
        ({"fresh_seeds": [0]}, "seed of the search"),
        ({"space": {"kinds": ["full"], "learning_rate": [0.1, 0.01]}}, "above the highest"),
        ({"trials": 0}, "greater than or equal to 1"),
    ],
)
def test_studies_that_cannot_be_are_refused(change, why):
    with pytest.raises(ValueError, match=why):
        Study.model_validate({**STUDY, **change})


POINTS = st.lists(st.tuples(*[st.integers(0, 4)] * 3), min_size=1, max_size=12)


@given(POINTS)
def test_a_front_holds_those_that_nothing_is_better_than_and_no_others(values):
    points = {str(number): value for number, value in enumerate(values)}
    signs = (1, -1, 1)
    losses = {name: [s * v for s, v in zip(signs, value, strict=True)] for name, value in points.items()}
    found = front(points, ["lower", "higher", "lower"])
    assert found
    for name in points:
        beaten = any(dominates(other, losses[name]) for other in losses.values())
        assert (name in found) != beaten


USEFUL, USELESS = 4, 4


def known(trial):
    """Eight bits: what is opened costs, and half of it helps."""
    return [trial.suggest_categorical(f"bit {number}", [0, 1]) for number in range(USEFUL + USELESS)]


def scored(bits, number=0):
    return sum(bits), USEFUL - sum(bits[:USEFUL])


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in (1, 2))])
def test_a_search_recovers_the_front_of_a_problem_where_it_is_known(seed, tmp_path):
    pytest.importorskip("optuna")
    every = {bits: scored(bits) for bits in product((0, 1), repeat=USEFUL + USELESS)}
    true = {every[bits] for bits in front(every, ["lower", "lower"])}
    assert true == {(k, USEFUL - k) for k in range(USEFUL + 1)}
    found = {}
    for sampler in ("nsga2", "random"):
        search = Search(tmp_path, sampler, ["lower", "lower"], sampler, population=10, seed=seed)
        search.run(120, known, scored, free=lambda number: nullcontext(True))
        values = {str(one.number): tuple(one.values) for one in search.study().get_trials()}
        assert len(values) == 120
        found[sampler] = {values[name] for name in front(values, ["lower", "lower"])} & true
    assert found["nsga2"] == true
    assert len(found["random"]) < len(true)


def test_a_search_that_is_cut_in_two_makes_the_same_trials(tmp_path):
    pytest.importorskip("optuna")
    values = {}
    for name, counts in {"whole": [30], "parts": [7, 8, 30]}.items():
        for count in counts:
            search = Search(tmp_path, name, ["lower", "lower"], population=6, seed=3)
            search.run(count, known, scored, free=lambda number: nullcontext(True))
        values[name] = [tuple(one.params.values()) for one in search.study().get_trials()]
    assert len(values["whole"]) == 30
    assert values["whole"] == values["parts"]


def test_empty_choices_cost_nothing_and_failed_trials_count(tmp_path):
    pytest.importorskip("optuna")
    made = []

    def choose(trial):
        bits = known(trial)
        return bits if bits[0] else None

    def score(bits, number):
        made.append(number)
        return None if bits[1] else scored(bits)

    search = Search(tmp_path, "some", ["lower", "lower"], "random", seed=0)
    search.run(10, choose, score, free=lambda number: nullcontext(True))
    states = [one.state.name for one in search.study().get_trials()]
    assert len(made) == 10
    assert states.count("COMPLETE") + states.count("FAIL") == 10
    assert {"PRUNED", "FAIL", "COMPLETE"} == set(states)


WORKER = """
import pathlib, sys, time
from filelock import FileLock, Timeout
from contextlib import contextmanager
from counterbench.search.studies import Search
folder = pathlib.Path(sys.argv[1])
@contextmanager
def free(number):
    try:
        with FileLock(folder / f"{number}.lock", timeout=0):
            yield True
    except Timeout:
        yield False
def choose(trial):
    return [trial.suggest_categorical(f"bit {number}", [0, 1]) for number in range(6)]
def score(bits, number):
    with open(folder / f"begun-{number}", "a") as runs:
        runs.write("x")
    time.sleep(float(sys.argv[2]))
    with open(folder / f"done-{number}", "a") as runs:
        runs.write("x")
    return sum(bits), -bits[0]
Search(folder, "s", ["lower", "lower"], "nsga2", population=4, seed=0).run(8, choose, score, free=free)
"""


def test_a_killed_search_keeps_its_trials_and_processes_share_them(tmp_path):
    pytest.importorskip("optuna")
    command = [sys.executable, "-c", WORKER, str(tmp_path)]
    first = subprocess.Popen([*command, "0.5"])
    deadline = time.monotonic() + 60
    while not (tmp_path / "begun-2").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    first.send_signal(signal.SIGKILL)
    first.wait()
    kept = {path.name for path in tmp_path.glob("done-*")}
    assert {"done-0", "done-1"} <= kept
    together = [subprocess.Popen([*command, "0.2"]) for _ in range(2)]
    assert [one.wait(timeout=120) for one in together] == [0, 0]
    done = {path.name: path.read_text() for path in tmp_path.glob("done-*")}
    assert {f"done-{number}" for number in range(8)} <= done.keys()
    assert set(done.values()) == {"x"}
    trials = Search(tmp_path, "s", ["lower", "lower"]).study().get_trials()
    assert {one.state.name for one in trials} == {"COMPLETE"}
    assert len(trials) in (8, 9)  # both may ask for a last one at the same moment


def test_a_folder_is_of_one_study(tmp_path):
    require_same(tmp_path, {"steps": 3, "name": "a"})
    require_same(tmp_path, {"steps": 3, "name": "a"})
    with pytest.raises(ConfigError, match="its steps is 3"):
        require_same(tmp_path, {"steps": 4, "name": "a"})


def test_without_optuna_one_sentence_says_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setattr(extras, "find_spec", lambda package: None)
    with pytest.raises(UnavailableError, match=r"needs the Python package optuna: pip install 'counterbench\[tune\]'"):
        Search(tmp_path, "s", ["lower"]).study()


def outcome(name, *values, seconds=2.0):
    tried = Way(AdaptEntry(kind="full"), 0.1).plain()
    return Outcome(name, f"full rate={name}", tried, 0, dict(zip(("a", "b"), values, strict=True)), 7, seconds)


def test_what_won_is_held_against_itself_with_fresh_seeds():
    study = Study.model_validate({**STUDY, "objectives": ["a", "b"], "fresh_seeds": [5, 6, 7]})
    groups = {
        "search": [outcome("s0", 1.0, 5.0), outcome("s1", 2.0, 9.0), outcome("s2", 3.0, 4.0)],
        "random": [outcome("r0", 2.0, 8.0)],
        "beside": [outcome("b0", 4.0, 9.5)],
    }
    fronts = {"search": ["s0", "s1"], "random": ["r0"], "beside": ["b0"]}
    again = {
        "s0": [outcome("s0-seed5", 9.0, 5.0), outcome("s0-seed6", 3.0, 5.0), outcome("s0-seed7", 3.5, 5.0)],
        "s1": [outcome(f"s1-seed{seed}", 2.0, 9.0) for seed in (5, 6, 7)],
        "b0": [outcome(f"b0-seed{seed}", 4.0, 9.5) for seed in (5, 6, 7)],
    }
    report = Report(study, ["lower", "higher"], outcome("as-it-is", 0.0, 1.0), groups, fronts, again)
    assert report.fresh("s0") == {"a": 3.5, "b": 5.0}  # the median
    assert report.stays == ["s1", "b0"]
    assert report.covered("search", "random") == 1.0
    assert report.covered("random", "search") == 0.0
    assert report.seconds == {"search": 6.0, "random": 2.0, "beside": 2.0, "again": 18.0}
