"""Ranks of single numbers: who takes part, and who competes with whom."""

import json
import shutil
from dataclasses import replace

import pytest

from counterbench import evaluation, models
from counterbench.evaluation import results_folder
from counterbench.leaderboard import ranking
from counterbench.models.model import Contestant
from counterbench.records.record import Number, read_record

METRICS = ["composition", "effectiveness", "truth"]


@pytest.fixture(scope="module")
def records(toy, tmp_path_factory):
    """Four models, from good to useless."""
    home = tmp_path_factory.mktemp("ranked")
    dataset = toy.Toy()
    exam = evaluation.prepare(dataset, "standard", device="cpu", metrics=METRICS, limit=60)

    def model(keep):
        class Model:
            def counterfactual(self, factual, interventions, generator=None):
                return toy.exact_scm(keep=keep).counterfactual(factual, interventions, generator)

        return Model()

    contestants = [
        Contestant(name, model(keep), pixel_noise="none")
        for name, keep in (("good", 0.95), ("fair", 0.8), ("bad", 0.5))
    ]
    for contestant in (*contestants, models.load("identity", dataset)):
        results_folder.save(evaluation.evaluate(contestant, exam), home / contestant.name)
    return home


def named_records(home, lacking=(), metric="truth"):
    """All four; those that are named lack a metric."""
    listed = []
    for name in ("good", "fair", "bad", "identity"):
        path = home / name / "record.json"
        if name in lacking:
            record = json.loads(path.read_text())
            record["numbers"] = [number for number in record["numbers"] if number["metric"] != metric]
            path.write_text(json.dumps(record))
        listed.append(ranking.NamedRecord(name, read_record(path), path))
    return listed


@pytest.fixture
def home(records, tmp_path):
    return shutil.copytree(records, tmp_path / "records")


def test_a_number_that_nobody_else_has_is_not_ranked(home):
    found = ranking.rank(named_records(home, ("fair", "bad", "identity"), "effectiveness"), 300)
    assert not any(key[0] == "effectiveness" for key in found.ranks["good"])
    assert any(key[0] == "truth" for key in found.ranks["bad"])


def test_baselines_compete(home):
    """Doing nothing is better than a bad model where it is not barred, and that costs the model a rank."""
    found = ranking.rank(named_records(home), 1000)
    key = ("truth", "l1", "b", "", 0, "l1")
    ranks = {name: ranks[key] for name, ranks in found.ranks.items()}
    assert ranks == {"good": 1, "fair": 2, "bad": 3, "identity": 4}
    assert {pair for pair in ((one.first, one.second) for one in found.differences) if "identity" in pair}


def test_a_skill_that_may_be_zero_opens_no_gate(home):
    path = home / "fair" / "record.json"
    record = json.loads(path.read_text())
    for number in record["numbers"]:
        if number["quantity"] == "change_skill" and number["intervened"] == "b":
            number["low"] = -0.01
    record["row_skill"]["low"] = None
    path.write_text(json.dumps(record))
    found = ranking.rank(named_records(home), 300)
    assert found.barred["fair"]["composition", "l1", "", "", 1, "l1"] == "its row skill is not above 0"
    assert ("composition", "l1", "", "", 1, "l1") in found.ranks["good"]
    known = read_record(path)
    b = Number.model_validate({**known.numbers[0].model_dump(), "preserves": True, "intervened": "a + b"})
    assert ranking._gate(known, b) == "its change skill under do(b) is not above 0"
    assert ranking._gate(known, b.model_copy(update={"intervened": "a"})) == ""


def test_a_whole_record_is_not_partial_and_stands_before_partial_ones(home):
    listed = named_records(home)
    whole = [
        replace(one, record=one.record.model_copy(update={"test_images": 60})) if one.name in ("good", "bad") else one
        for one in listed
    ]
    found = ranking.rank(whole, 300)
    assert found.ranks.keys() == {"good", "bad"}
    assert "fair has no rank: it is partial (60 of 120 images)" in found.notes


def test_the_most_that_took_the_same_exam_are_ranked(home):
    listed = named_records(home)
    other = listed[0].record.inputs.model_copy(update={"plan": "another"})
    listed[0] = replace(listed[0], record=listed[0].record.model_copy(update={"inputs": other}))
    found = ranking.rank(listed, 300)
    assert found.ranks.keys() == {"fair", "bad", "identity"}
    assert any(note == "good has no rank: it answered other questions ('plan' differs)" for note in found.notes)


def test_leaked_numbers_and_details_have_no_rank(home):
    path = home / "bad" / "record.json"
    record = json.loads(path.read_text())
    for number in record["numbers"]:
        number["leaked"] = number["metric"] == "effectiveness"
    path.write_text(json.dumps(record))
    found = ranking.rank(named_records(home), 300)
    assert not any(key[0] == "effectiveness" for key in found.ranks["bad"])
    assert any(key[0] == "effectiveness" for key in found.ranks["good"])
    known = named_records(home)[0].record.by_key
    assert not any(known[key].detail for ranks in found.ranks.values() for key in ranks)


def test_a_number_that_says_it_cannot_be_ranked_has_no_rank(home):
    path = home / "fair" / "record.json"
    record = json.loads(path.read_text())
    for number in record["numbers"]:
        number["no_rank"] = "saturated" if number["metric"] == "effectiveness" else ""
    path.write_text(json.dumps(record))
    found = ranking.rank(named_records(home), 300)
    barred = {key: why for key, why in found.barred["fair"].items() if why == "saturated"}
    assert {key[0] for key in barred} == {"effectiveness"}
    assert not barred.keys() & found.ranks["fair"].keys()
    assert any(key[0] == "effectiveness" for key in found.ranks["good"])


def test_what_is_exact_by_construction_has_no_rank_and_costs_nobody_theirs(home):
    def declared(one, temperature):
        path = home / one.name / "record.json"
        record = json.loads(path.read_text())
        record |= {"pixel_temperature": temperature, "pixel_noise": "declared"}
        path.write_text(json.dumps(record))
        return replace(one, record=read_record(path))

    temperatures = {"good": 1.0, "fair": 0.1, "bad": 0.1, "identity": None}
    rows = [
        one if temperatures[one.name] is None else declared(one, temperatures[one.name]) for one in named_records(home)
    ]
    found = ranking.rank(rows, 300)
    key = ("composition", "l1", "", "", 1, "l1")
    assert "exact by construction" in found.barred["good"][key]
    assert key not in found.ranks["good"]
    assert {found.ranks["fair"][key], found.ranks["bad"][key]} == {1, 2}
    two = [rows[0], rows[1], declared(rows[2], 0.3)]
    assert all(
        "temperatures differ" in barred[key] for name, barred in ranking.rank(two, 300).barred.items() if name != "good"
    )
