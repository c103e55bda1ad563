"""Mean ranks: which numbers are needed for one, and how they are weighed."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest

from counterbench import evaluation, models
from counterbench.evaluation import results_folder
from counterbench.leaderboard import ranking
from counterbench.models.model import Contestant
from counterbench.records.record import read_record

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

    contestants = [Contestant(name, model(keep)) for name, keep in (("good", 0.95), ("fair", 0.8), ("bad", 0.5))]
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


def test_what_half_of_the_models_have_is_needed(home):
    """Two of four lack the metric `truth`: the others have it, so a mean rank needs it; with three lacking it, it does not."""
    half = ranking.rank(named_records(home, ("bad", "identity")), 300)
    assert half.means.keys() == {"good", "fair"}
    assert half.lacking.keys() == {"bad", "identity"}
    numbers = [key for key in half.ranks["good"] if key[0] == "truth"]
    assert set(half.lacking.values()) == {len(numbers)}
    most = ranking.rank(named_records(home, ("fair",)), 300)
    assert most.means.keys() == {"good", "fair", "bad", "identity"}
    assert not most.lacking
    assert not any(key[0] == "truth" for key in most.ranks["good"])  # nobody to be compared with


def test_a_mean_rank_is_the_mean_over_metrics_of_the_mean_over_their_numbers(home):
    found = ranking.rank(named_records(home), 1000)
    record = named_records(home)[0].record
    kinds = {number.key: number.kind for number in record.numbers}
    for name, ranks in found.ranks.items():
        by_metric = {}
        for key, rank in ranks.items():
            if kinds[key] != "skill":
                by_metric.setdefault(key[0], []).append(rank)
        assert by_metric.keys() == set(METRICS)
        assert found.means[name] == pytest.approx(np.mean([np.mean(one) for one in by_metric.values()]))
    key = ("composition", "l1", "", "", 1, "l1")
    assert {name: ranks[key] for name, ranks in found.ranks.items()} == {"identity": 1, "good": 2, "fair": 3, "bad": 4}


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
    assert any(note.startswith("good has no rank: ") and "the field 'plan' differs" in note for note in found.notes)


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


def test_a_number_that_says_it_cannot_be_ranked_has_no_rank():
    from types import SimpleNamespace

    numbers = {
        name: SimpleNamespace(role="headline", leaked=False, given=False, no_rank=why)
        for name, why in (("a", ""), ("b", "saturated"))
    }
    record = SimpleNamespace(by_key=numbers, coverage=None)
    model = SimpleNamespace(record=record, ratios={"a": 1, "b": 2})
    assert ranking._rankable(model) == {"a": 1}
