import math

import numpy as np
import pytest
import torch
from scipy import stats
from sklearn.metrics import mean_absolute_percentage_error

from counterbench import datasets, evaluation, models
from counterbench.catalog.cards import Card
from counterbench.errors import ConfigError, DataError
from counterbench.evaluation import exam
from counterbench.models.baselines import available
from counterbench.models.model import Contestant
from counterbench.plugins import registry


@pytest.fixture(scope="module")
def ellipse():
    return datasets.load("ellipse")


def test_the_published_process(ellipse):
    """Laws of the generator: uniform confounder, normal turn, and both shapes inverted from what is seen."""
    seen = ellipse.split("train").values
    z, t, x, y = (seen[name].numpy() for name in "ztxy")
    assert stats.kstest(z, stats.uniform(-0.5, 1).cdf).pvalue > 0.001
    size = y / (2 + np.sin(t)) - np.exp(1.64985274 * z + 0.2656131)
    assert stats.kstest(size, stats.uniform().cdf).pvalue > 0.001
    stretch = x / (2 + np.cos(t)) * (2 + np.sin(t)) / y
    elongation = (stretch - 1) / np.exp(1.61323358 * z - 0.18070237)
    assert stats.kstest(elongation, stats.expon().cdf).pvalue > 0.001
    assert t.min() >= 0
    assert t.max() < 2 * math.pi


def test_splits_differ_and_repeat(ellipse):
    again = datasets.load("ellipse")
    for name in ellipse.splits:
        assert ellipse.split(name).fingerprint == again.split(name).fingerprint
    assert len({ellipse.split(name).fingerprint for name in ellipse.splits}) == 4


def test_truth_of_the_angle_is_the_published_ratio(ellipse):
    index = torch.arange(50)
    seen = ellipse.split("test").take(index)
    t = torch.linspace(0, 6, 50)
    true = ellipse.truth("test", index, {"t": t})
    assert torch.equal(true["z"], seen["z"])
    for name, wave in (("x", torch.cos), ("y", torch.sin)):
        assert torch.allclose(true[name], seen[name] * (2 + wave(t)) / (2 + wave(seen["t"])), rtol=1e-4)


def test_truth_of_nothing_changed_is_what_was_seen(ellipse):
    index = torch.arange(20)
    seen = ellipse.split("test").take(index)
    assert ellipse.truth("test", index, {}).keys() == set(seen)
    again = ellipse.truth("test", index, {"z": seen["z"]})
    for name in seen:
        assert torch.allclose(again[name], seen[name], rtol=1e-5)


def test_the_confounder_carries_over_to_the_angle_and_the_shape(ellipse):
    index = torch.arange(200)
    seen = ellipse.split("test").take(index)
    true = ellipse.truth("test", index, {"z": seen["z"] + 0.1})
    turned = (true["t"] - seen["t"]) % (2 * math.pi)
    assert torch.allclose(turned, torch.full_like(turned, 0.144254843), atol=1e-4)


def test_coordinates_cannot_be_set(ellipse):
    assert ellipse.card.intervenable == ("z", "t")
    assert not ellipse.knows_truth(["x"])
    with pytest.raises(DataError, match=r"no true counterfactual for do\(x\)"):
        ellipse.truth("test", torch.arange(3), {"x": torch.ones(3)})


def test_percentage_error_is_that_of_scikit_learn(ellipse):
    prepared = exam.prepare(ellipse, "mechanisms", metrics=["percentage_error"], limit=40, device="cpu")
    found = evaluation.evaluate(models.load("identity", ellipse), prepared).record
    (number,) = (n for n in found.numbers if n.intervened == "t" and not n.measured)
    seen = ellipse.split("test").take(torch.arange(40))
    true = ellipse.truth("test", torch.arange(40), {"t": prepared.plan.single["t"]})
    by_hand = [100 * mean_absolute_percentage_error(true[name], seen[name]) for name in "xy"]
    assert number.value == pytest.approx(np.mean(by_hand), rel=1e-5)
    assert number.ceiling.value == 0
    assert number.references.keys() >= {"identity", "truth"}


def test_what_looks_at_images_is_left_out_aloud(ellipse):
    prepared = exam.prepare(ellipse, "standard", limit=12, device="cpu")
    record = evaluation.evaluate(models.load("spline", ellipse), prepared).record
    for name in ("composition", "effectiveness", "realism", "minimality"):
        assert record.skipped[name] == "the dataset has no images"
    assert {n.metric for n in record.numbers} == {"truth", "rung2", "abduction", "cost"}
    assert available(ellipse.card) == ["identity", "truth"]
    with pytest.raises(ConfigError, match="changes images, and ellipse has none"):
        models.load("retrieve", ellipse)


def test_flows_find_the_point_and_know_better_than_location_and_scale(ellipse):
    """The published claim, on the shipped weights: monotone flows identify the counterfactual."""
    prepared = exam.prepare(ellipse, "mechanisms", metrics=["percentage_error"], limit=500, device="cpu")

    def error(name):
        record = evaluation.evaluate(models.load(name, ellipse), prepared).record
        return next(n.value for n in record.numbers if n.intervened == "t" and not n.measured)

    flow, affine = error("spline"), error("affine")
    assert flow < 2.5
    assert flow < affine


def test_a_card_without_images_has_no_judges(ellipse):
    given = ellipse.card.model_dump(exclude={"path"})
    given["judges"] = {"z": [{"judge": "brain"}]}
    with pytest.raises(ValueError, match="this card declares none"):
        Card.model_validate(given)


def test_every_metric_says_whether_it_needs_images():
    assert {name for name in registry.metrics.names() if not registry.metrics.get(name).needs_image} == {
        "abduction",
        "cost",
        "percentage_error",
        "rung2",
        "truth",
    }


def test_both_coordinates_as_one_variable_are_the_same_points(ellipse):
    together = datasets.load("ellipse-point")
    apart, rows = ellipse.split("test"), torch.arange(50)
    both = together.split("test").take(rows)["point"]
    assert torch.equal(both, torch.stack([apart.take(rows)[name] for name in ("x", "y")], 1))
    held = {"t": torch.full((50,), 1.0)}
    truth, expected = together.truth("test", rows, held), ellipse.truth("test", rows, held)
    assert torch.equal(truth["point"], torch.stack([expected[name] for name in ("x", "y")], 1))


def test_a_vector_is_evaluated_like_other_outcomes(tmp_path, monkeypatch):
    """Every metric of the suite of mechanisms, on an answer that is known: 10 % too much of x, and y as it is."""
    monkeypatch.setenv("COUNTERBENCH_CACHE", str(tmp_path))
    together = datasets.load("ellipse-point")

    class Off:
        def counterfactual(self, factual, interventions, generator=None):
            rows = torch.cdist(factual["point"].double(), together.split("test").values["point"].double()).argmin(1)
            truth = together.truth("test", rows, interventions)
            return {**truth, "point": truth["point"] * torch.tensor([1.1, 1.0])}

    exam = evaluation.prepare(together, "mechanisms", device="cpu", limit=20)
    found = evaluation.evaluate(Contestant("off", Off()), exam).record
    numbers = {(n.quantity, n.intervened, n.measured): n.value for n in found.numbers}
    assert numbers["percentage_error", "t", ""] == pytest.approx(5.0, rel=1e-4)
    assert numbers["percentage_error", "t", "point"] == pytest.approx(5.0, rel=1e-4)
    assert numbers["truth_skill", "t", ""] < 1
    assert 0 < numbers["attribute_error", "t", "point"] < 0.1
