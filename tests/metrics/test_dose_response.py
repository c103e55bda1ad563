"""Effect against the size of an intervention."""

import asked
import numpy as np
import pytest
import torch

from counterbench.causal.variables import Continuous
from counterbench.metrics.dose_response import DoseResponse
from counterbench.metrics.references import References
from counterbench.metrics.statistics import doses
from counterbench.metrics.statistics.dose_bins import BINS, quantity_of
from counterbench.plans import drawing


@pytest.fixture(scope="module")
def dataset(toy):
    return toy.Toy()


@pytest.fixture(scope="module")
def setting(dataset):
    return asked.setting(dataset)


def curve(found, what, name, side="in"):
    keys = [(quantity_of(what, side, number), name, "", 0) for number in range(BINS)]
    return [found[key] for key in keys if key in found]


def test_bins_are_equally_full_by_the_law_of_plans():
    rng = np.random.default_rng(0)
    train, factual = (torch.from_numpy(rng.gamma(3, 1, count)) for count in (20_000, 5000))
    variable = Continuous("v", 0, 20)
    values = drawing.other_value(variable, factual, train, rng)
    edges = doses.size_edges(variable, train, 5)
    shares = torch.searchsorted(edges, (values - factual).abs(), right=True).bincount(minlength=5) / 5000
    assert shares.tolist() == pytest.approx([0.2] * 5, abs=0.03)


def test_sizes_of_a_periodic_variable_go_the_shorter_way():
    angle = Continuous("t", 0, 360, periodic=True)
    assert float(doses.size_edges(angle, torch.linspace(0, 359, 500), 2)) < 120


def brute_support(dataset, name, parents, value, given):
    train = dataset.attributes("train")
    near = (train[name].double() - value).abs() <= doses.WITHIN * float(train[name].double().std())
    for parent in parents:
        group = References(dataset).grouping(parent)
        near &= group(train[parent]) == group(given[parent][None])[0]
    return int(near.sum()) >= doses.ENOUGH


@pytest.mark.parametrize(("name", "parents"), [("a", ()), ("b", ("a",)), ("b", ("c",))])
def test_support_counts_training_samples_with_like_parents_near_the_value(name, parents, dataset):
    test = dataset.attributes("test")
    values = torch.linspace(-6, 6, 60)
    given = {parent: test[parent][:60] for parent in parents}
    found = doses.Support(References(dataset), name, parents)(values, given)
    expected = [
        brute_support(dataset, name, parents, float(values[i]), {p: v[i] for p, v in given.items()}) for i in range(60)
    ]
    assert found.tolist() == expected
    assert 0 < sum(expected) < 60


def test_doing_nothing_and_the_truth_have_their_values_everywhere(dataset, setting):
    nothing, truth = (
        asked.points("dose_response", setting, dataset, a, range(120)) for a in (asked.unchanged, asked.true)
    )
    for name in ("a", "b"):
        for side in ("in", "out"):
            assert set(curve(nothing, "effect", name, side)) <= {0.0}
            assert set(curve(nothing, "effect_error", name, side)) <= {1.0}
            assert curve(truth, "effect", name, side) == pytest.approx([1.0] * len(curve(truth, "size", name, side)))
        sizes = curve(truth, "size", name)
        assert sizes == sorted(sizes)
        assert len(sizes) > 2
    assert len(curve(truth, "size", "a")) == BINS
    assert not any(key[1] == "c" for key in truth)  # a class has no size


def test_a_model_that_shrinks_from_large_changes_is_seen(dataset, setting):
    def timid(given, held, truth):
        (name,) = held or ("",)
        if name != "a":
            return dict(truth)
        large = ((held[name] - given[name]).abs() > 1.5).view(-1, 1, 1, 1)
        return {**truth, "image": torch.where(large, (given["image"] + truth["image"]) / 2, truth["image"])}

    found = asked.points("dose_response", setting, dataset, timid, range(120))
    effects, errors = curve(found, "effect", "a"), curve(found, "effect_error", "a")
    assert (effects[0], effects[-1]) == pytest.approx((1.0, 0.5))
    assert (errors[0], errors[-1]) == pytest.approx((0.0, 0.5))
    assert curve(found, "effect", "b") == pytest.approx([1.0] * len(curve(found, "effect", "b")))


def test_bins_and_both_sides_make_the_whole(dataset, setting):
    known = asked.computed("dose_response", setting, asked.answers(dataset, asked.noisy, [torch.arange(120)]))
    for name in ("a", "b"):
        rows = [
            i
            for c in known
            if c.cell.intervened == name and c.cell.quantity.startswith("size")
            for i in c.index.tolist()
        ]
        assert sorted(rows) == list(range(120))


def test_without_truth_there_is_a_sentence(dataset):
    metric = DoseResponse(asked.setting(dataset, with_truth=("c",)))
    assert metric.cells == []
    assert metric.skipped == {"dose_response": "no continuous variable has true counterfactuals here"}
