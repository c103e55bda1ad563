"""Baselines answer any exam, and their fixed points hold in the record."""

import math

import pytest
import torch

from counterbench import evaluation, models
from counterbench.causal.chance import SampleNoise
from counterbench.causal.samples import Samples
from counterbench.datasets.matching import Matcher
from counterbench.models.baselines import BASELINES, Identity, Noise, Resample, Retrieve, TrueCounterfactual, available


@pytest.fixture(scope="module")
def dataset(toy):
    return toy.Toy()


@pytest.fixture(scope="module")
def exam(dataset):
    metrics = ["composition", "reversibility", "commutativity", "effectiveness", "off_target", "truth", "minimality"]
    return evaluation.prepare(dataset, "standard", device="cpu", metrics=metrics, limit=60)


@pytest.fixture(scope="module")
def found(unshaken, exam, dataset):
    return {
        name: {number.key: number for number in evaluation.evaluate(models.load(name, dataset), exam).record.numbers}
        for name in available(dataset.card, dataset.behind)
    }


def test_everybody_can_name_them(dataset):
    assert set(BASELINES) == {"identity", "noise", "retrieve", "resample", "truth", "oracle", "oracle_median"}
    assert set(BASELINES) <= set(models.names("toy"))


def test_identity_wins_what_asks_for_no_change_and_nothing_else(found):
    for (metric, quantity, *_), number in found["identity"].items():
        if metric in ("composition", "reversibility", "commutativity", "off_target"):
            assert number.value == 0
        if quantity in ("skill", "effect", "amplification"):
            assert number.value == 0
        if metric == "effectiveness":
            assert number.value == pytest.approx(number.references["identity"].value)


def test_the_truth_is_the_ceiling(found):
    for (metric, quantity, *_), number in found["truth"].items():
        perfect = 1 if quantity.endswith(("skill", "accuracy")) or quantity in ("effect", "judges_agreement") else 0
        if metric != "minimality":
            assert number.value == pytest.approx(perfect, abs=2e-3), (metric, quantity)
        if quantity in ("effect", "amplification"):
            assert number.value == pytest.approx(perfect, abs=1e-9)
        if quantity == "excess_change":
            assert number.value == 0


def test_a_stranger_with_the_right_attributes_is_effective_but_not_true(found):
    for name in ("retrieve", "resample"):
        numbers = found[name]
        assert numbers["effectiveness", "skill", "c", "c", 0, ""].value == 1
        assert numbers["effectiveness", "skill", "a", "a", 0, ""].value > 0.4  # of 400 real images, few are near
        assert numbers["truth", "l1", "a", "", 0, "l1"].value > 1
        assert numbers["composition", "l1", "", "", 1, "l1"].value > 1
    nearest, random = (found[name]["composition", "l1", "", "", 1, "l1"].value for name in ("retrieve", "resample"))
    assert nearest < random


def test_what_was_set_before_stays_set(dataset):
    """b hangs on a; once it was set, it does not follow a any more."""
    factual = dataset.split("test").take(torch.arange(5))
    first = {"b": factual["b"] + 1}
    given = Samples({**factual, **first}, factual.index, done=first)
    answer = Identity(dataset).counterfactual(given, {"a": factual["a"] + 2})
    assert torch.equal(answer["b"], first["b"])
    alone = Identity(dataset).counterfactual(factual, {"a": factual["a"] + 2})
    assert torch.allclose(alone["b"], factual["b"] + 1, atol=1e-5)


def test_noise_is_as_large_as_it_says_and_adds_up(found):
    first = found["noise"]["composition", "l1", "", "", 1, "l1"].value
    assert first == pytest.approx(10 * math.sqrt(2 / math.pi), rel=0.03)
    fourth = found["noise"]["composition", "l1", "", "", 4, "l1"].value  # all answers about an image share their noise
    assert fourth == pytest.approx(4 * first, rel=0.05)


def test_real_images_are_taken_from_training_with_the_wanted_attributes(dataset):
    rows = torch.arange(20)
    factual = dataset.split("test").take(rows)
    held = {"c": (factual["c"] + 1) % 3}
    train = dataset.split("train").values
    for family in (Retrieve, Resample):
        answer = family(dataset).counterfactual(factual, held, SampleNoise(0, rows.tolist()))
        flat = train["image"].flatten(1)
        where = [int((flat == image.flatten()).all(1).nonzero()[0]) for image in answer["image"]]
        assert torch.equal(train["c"][where], held["c"])
        assert set(where) <= set(Matcher(dataset).nearest(answer).flatten().tolist())
    nearest = Retrieve(dataset).counterfactual(factual, held)["image"]
    other = Resample(dataset).counterfactual(factual, held, SampleNoise(3, rows.tolist()))["image"]
    apart = [(image - factual["image"]).square().flatten(1).sum(1) for image in (nearest, other)]
    assert (apart[0] <= apart[1]).all()


def test_noise_stays_within_grey_levels_and_is_seeded(dataset):
    factual = dataset.split("test").take(slice(0, 5))
    made = [Noise(dataset).counterfactual(factual, {}, SampleNoise(7, range(5)))["image"] for _ in range(2)]
    assert torch.equal(*made)
    extremes = Samples({**factual, "image": (factual["image"] > 128) * 255.0}, factual.index)
    noisy = Noise(dataset).counterfactual(extremes, {}, SampleNoise(7, range(5)))["image"]
    assert noisy.min() == 0
    assert noisy.max() == 255


def test_the_attributes_of_a_second_intervention_are_those_of_both(dataset):
    rows = torch.arange(10)
    factual = dataset.split("test").take(rows)
    a, c = {"a": factual["a"] + 1}, {"c": (factual["c"] + 1) % 3}
    identity = Identity(dataset)
    first = Samples(identity.counterfactual(factual, a), rows, done=a)
    second = identity.counterfactual(first, c)
    expected = dataset.true_attributes("test", rows, {**a, **c})
    assert all(torch.equal(second[name], expected[name]) for name in ("a", "b", "c"))
    assert torch.equal(second["image"], factual["image"])


def test_the_truth_of_a_second_intervention_is_that_of_both(dataset):
    rows = torch.arange(10)
    factual = dataset.split("test").take(rows)
    a, c = {"a": factual["a"] + 1}, {"c": (factual["c"] + 1) % 3}
    truth = TrueCounterfactual(dataset)
    first = Samples(truth.counterfactual(factual, a), rows, done=a)
    both = truth.counterfactual(first, c)
    expected = dataset.truth("test", rows, {**a, **c})
    assert all(torch.allclose(both[name], expected[name]) for name in expected)
    back = truth.counterfactual(first, {"a": factual["a"]})
    assert torch.equal(back["image"], factual["image"])
