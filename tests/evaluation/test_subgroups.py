"""Numbers of subgroups, from stored scores."""

import pytest
import torch

from counterbench import evaluation
from counterbench.catalog.suites import find_suite
from counterbench.errors import ConfigError, RecordError
from counterbench.evaluation import results_folder, stored_scores, subgroups
from counterbench.evaluation.stored_scores import SETS
from counterbench.models.model import Contestant
from counterbench.plugins import registry
from counterbench.records.record import SAMPLES, read_record

METRICS = ["composition", "reversibility", "effectiveness", "off_target", "truth", "minimality", "realism", "rung2"]
pytestmark = pytest.mark.usefixtures("unshaken")


class Dull:
    """Answers half of the change that the toy's own model makes."""

    def __init__(self, toy):
        self.scm = toy.exact_scm()

    def counterfactual(self, factual, interventions, generator=None):
        answer = self.scm.counterfactual(factual, interventions, generator)
        return {**answer, "image": (answer["image"] + factual["image"]) / 2}


def evaluated(toy, folder, *, where=None, limit=None, metrics=METRICS):
    suite = find_suite("quick").model_copy(
        update={"where": where or {}, "limit": None, "metrics": {name: {} for name in metrics}}
    )
    suite = suite.model_copy(
        update={"metrics": {**suite.metrics, "realism": {"spaces": ["pixel"]}}} if "realism" in metrics else {}
    )
    exam = evaluation.prepare(toy.Toy(), suite, device="cpu", limit=limit)
    made = evaluation.evaluate(Contestant("dull", Dull(toy)), exam)
    results_folder.save(made, folder)
    return made.record, exam


@pytest.fixture(scope="module")
def whole(toy, tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    record, exam = evaluated(toy, folder)
    return record, exam, folder


def divided(whole, by):
    record, exam, folder = whole
    return subgroups.of_scores(record, exam, stored_scores.of_record(folder / "record.json", record), [by])[0]


def test_numbers_of_a_subgroup_are_those_of_evaluating_it_alone(toy, whole, tmp_path):
    found = divided(whole, "c")
    assert found.names == ["zero", "one", "two"]
    for place, name in enumerate(found.names):
        alone, _ = evaluated(toy, tmp_path / name, where={"c": [name]})
        compared, sets = 0, 0
        for number in found.numbers:
            one, other = number.values[place], alone.by_key.get(number.key)
            if one is None or other is None:
                continue
            assert one.value == pytest.approx(other.value, rel=1e-6, abs=1e-9), number.key
            assert one.n == other.n, number.key
            assert (one.low, one.high) == pytest.approx((other.low, other.high), rel=1e-6, abs=1e-9), number.key
            for row, value in one.references.items():
                assert value == pytest.approx(other.references[row].value, rel=1e-6, abs=1e-9), (number.key, row)
            compared, sets = compared + 1, sets + (other.statistic == "pseudo")
        assert compared > 50
        assert sets > 10
        assert found.row_skill.values[place].value == pytest.approx(alone.row_skill.value)
        assert found.images[place] == alone.images


def test_divisions_cross_and_bins_hold_every_image(whole):
    record = whole[0]
    found = divided(whole, "c,a:2")
    assert len(found.names) == 6
    assert sum(found.images) == record.images
    assert all("a below" in name or "a from" in name for name in found.names)


def test_worst_and_best_are_picked_by_what_is_better(whole):
    found = divided(whole, "c")
    picked = 0
    for number in found.numbers:
        values = [one.value for one in number.values if one is not None]
        if number.direction in ("lower", "higher") and number.worst is not None:
            worst = max(values) if number.direction == "lower" else min(values)
            assert number.worst.value == worst
            assert number.worst.low <= worst <= number.worst.high
            assert number.gap.value == pytest.approx(max(values) - min(values))
            picked += 1
    assert picked > 30


def test_too_small_a_subgroup_has_a_dash_and_the_reason(whole):
    found = divided(whole, "a:40")
    number = next(one for one in found.numbers if one.metric == "composition")
    assert None in number.values
    assert set(number.why.values()) == {"fewer than 10 independent units bear on it"}


def test_without_features_numbers_of_sets_have_a_dash_and_the_reason(whole, tmp_path):
    record, exam, folder = whole
    scores = stored_scores.of_record(folder / "record.json", record)
    bare = stored_scores.Scores(scores.columns)
    (found,) = subgroups.of_scores(record, exam, bare, ["c"])
    realism = [one for one in found.numbers if one.metric == "realism"]
    assert realism
    assert all(one.values == [None] * 3 and SETS in one.why["zero"] for one in realism)
    assert any(one.values[0] is not None for one in found.numbers if one.metric == "composition")


def test_a_record_keeps_its_subgroups_and_computes_them_once(whole, tmp_path, monkeypatch):
    record, exam, folder = whole
    once = subgroups.add(record, folder, exam, ["c", "c"])
    assert [one.by for one in once.subgroups] == ["c"]
    assert read_record(folder / "record.json") == once
    monkeypatch.setattr(subgroups, "of_scores", lambda *_: pytest.fail("computed again"))
    assert subgroups.add(once, folder, exam, ["c"]) == once


def test_scores_that_are_not_there_are_told(whole, tmp_path):
    record = whole[0]
    with pytest.raises(RecordError, match=SAMPLES):
        stored_scores.of_record(tmp_path / "record.json", record)


@pytest.mark.parametrize(
    ("by", "told"),
    [
        ("colour", "no such variable or role"),
        ("a", "say how many bins"),
        ("a:1", "say how many bins"),
        ("c:3", "it takes no number of bins"),
    ],
)
def test_divisions_that_there_are_not_are_refused(whole, by, told):
    with pytest.raises(ConfigError, match=told):
        divided(whole, by)


def test_more_subgroups_than_can_be_told_apart_are_refused(whole, monkeypatch):
    monkeypatch.setattr("counterbench.datasets.division.MOST", 5)
    with pytest.raises(ConfigError, match="at most 5"):
        divided(whole, "a:3,c")


def test_scores_and_features_of_rows_belong_together():
    """Whatever a metric keeps for numbers of whole sets can be divided by rows."""
    metric = registry.metrics.get("realism")
    stored = {
        "number": torch.arange(4),
        "row": torch.tensor([3, 1, 3, 2]),
        "answered_pixel": torch.arange(8.0).reshape(4, 2),
    }
    kept = metric.of_rows(object.__new__(metric), stored, torch.tensor([3]))
    assert kept["number"].tolist() == [0, 2]
    assert kept["answered_pixel"].tolist() == [[0.0, 1.0], [4.0, 5.0]]
