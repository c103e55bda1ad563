import asked
import numpy as np
import pytest
import torch

from counterbench.causal.variables import Binary, Categorical, Continuous
from counterbench.metrics.abduction import WIDTH, narrowed, readable, two_sample_test


def test_equal_laws_cannot_be_told_apart_and_different_ones_can():
    rng = np.random.default_rng(0)
    same = two_sample_test(rng.normal(size=(500, 4)), rng.normal(size=(500, 4))).mean()
    assert same == pytest.approx(0.5, abs=0.06)
    shifted = two_sample_test(rng.normal(2, 1, (500, 4)), rng.normal(size=(500, 4))).mean()
    assert shifted > 0.95
    wider = two_sample_test(2 * rng.normal(size=(500, 4)), rng.normal(size=(500, 4))).mean()
    assert wider > 0.7  # a difference of scale alone, which no linear classifier sees
    assert shifted > wider > same


def test_a_known_difference_is_found_up_to_the_bayes_rate():
    """N(1, 1) against N(-1, 1): the best possible accuracy is Phi(1) = 0.841."""
    rng = np.random.default_rng(1)
    found = two_sample_test(rng.normal(1, 1, (1000, 1)), rng.normal(-1, 1, (1000, 1))).mean()
    assert found == pytest.approx(0.841, abs=0.03)


def test_a_parent_is_read_off_noise_that_holds_it_and_not_off_other_noise():
    rng = np.random.default_rng(0)
    parent = rng.normal(size=600) * 3 + 5
    free, held = rng.normal(size=(600, 3)), np.stack([parent + 0.3 * rng.normal(size=600), rng.normal(size=600)], 1)
    variable = Continuous("p", -10, 20)

    def score(noise, values, what):
        error, blind = readable(noise, values, what)
        return 1 - error.sum() / blind.sum()

    assert score(held, parent, variable) > 0.9
    assert score(free, parent, variable) < 0.05
    # A network that has found nothing but chance, in few samples of much noise, would be far worse than none.
    assert score(rng.normal(size=(150, 20)), rng.normal(size=150), variable) == pytest.approx(0, abs=0.1)
    classes = rng.integers(3, size=600)
    shown = rng.normal(size=(600, 2)) + 4 * np.eye(3)[classes][:, :2]
    assert score(shown, classes, Categorical("c", ("x", "y", "z"))) > 0.85
    assert score(free, classes, Categorical("c", ("x", "y", "z"))) < 0.15


def mixed(noise):
    """Noise reflected along a random direction: what one number said, all of them say together."""
    axis = np.random.default_rng(5).normal(size=noise.shape[1])
    axis /= np.linalg.norm(axis)
    return noise - 2 * np.outer(noise @ axis, axis)


def seen(noise):
    return narrowed(torch.from_numpy(noise)).numpy()


def spread_over(noise, spread):
    return mixed(noise) if spread else noise


@pytest.mark.parametrize("spread", [False, True])
def test_a_leak_into_noise_of_image_size_is_found(spread):
    """Nine tenths of a parent's variance in one of 1,024 numbers, or in all of them together; random directions see nearly nothing."""
    rng = np.random.default_rng(0)
    parent, noise = rng.normal(size=900), rng.normal(size=(900, 1024))
    free = noise.copy()
    noise[:, 17] = np.sqrt(0.9) * parent + np.sqrt(0.1) * noise[:, 17]
    noise = spread_over(noise, spread)
    smile = (parent > 0).astype(int)
    for values, variable, least in ((parent, Continuous("p", -9, 9), 0.2), (smile, Binary("smile"), 0.2)):
        leaks = []
        for numbers, every in ((noise, noise), (noise, None), (free, free)):
            error, blind = readable(seen(numbers), values, variable, every=every)
            leaks.append(1 - error.sum() / blind.sum())
        assert leaks[0] > least + leaks[2]
        assert leaks[1] < 0.15
        assert leaks[2] < 0.1


@pytest.mark.parametrize("what", ["shift", "scales"])
def test_the_prior_test_sees_all_numbers_of_wide_noise(what):
    """Shifted along one direction of 1,024; or half of the numbers wider and half narrower, as much on average as they should be."""
    rng = np.random.default_rng(1)
    abducted, prior = rng.normal(size=(2, 600, 1024))
    same = two_sample_test(seen(abducted), seen(prior), every=(abducted, prior)).mean()
    if what == "shift":
        abducted[:, 17] += 6
        abducted, prior = mixed(abducted), mixed(prior)
    else:
        abducted *= np.repeat([1.2, np.sqrt(2 - 1.2**2)], 512)
    assert same == pytest.approx(0.5, abs=0.06)
    assert two_sample_test(seen(abducted), seen(prior), every=(abducted, prior)).mean() > 0.8
    assert two_sample_test(seen(abducted), seen(prior)).mean() < 0.7


def test_wide_noise_is_seen_along_orthonormal_directions():
    wide = torch.randn(2000, 300, generator=torch.Generator().manual_seed(0))
    seen = narrowed(wide)
    assert seen.shape == (2000, WIDTH)
    assert torch.allclose(seen.T.cov(), torch.eye(WIDTH, dtype=torch.float64), atol=0.15)
    assert torch.equal(narrowed(wide[:, :5]), wide[:, :5].double())


def test_the_true_model_passes_but_for_its_short_noise(toy):
    """The toy's own causal model: noise of a is standard normal and says nothing of anything; nothing is lost."""
    dataset = toy.Toy()
    found = asked.points("abduction", asked.setting(dataset), dataset, asked.true, range(120))
    assert found["prior_test", "", "a.e", 0] == pytest.approx(0.5, abs=0.12)
    assert found["round_trip_error", "", "a", 0] == 0
    assert found["round_trip_accuracy", "", "c", 0] == 1
    assert found["leak", "a", "image.e", 0] < 0.3


def test_a_model_without_noise_says_so(toy):
    from counterbench.plugins import registry

    metric = registry.metrics.get("abduction")(asked.setting(toy.Toy(), noise={}))
    assert metric.cells == []
    assert "no access to exogenous noise" in metric.skipped["abduction"]


def test_noise_that_is_no_number_costs_its_own_cells_only(toy):
    from dataclasses import replace

    from counterbench.metrics.answers import NoiseSample
    from counterbench.plugins import registry

    dataset = toy.Toy()
    metric = registry.metrics.get("abduction")(asked.setting(dataset))
    for answers in asked.answers(dataset, asked.true, [torch.arange(30)]):
        if answers.kind == "null":
            noise = answers.batch.noise
            broken = {**noise.abducted, "a.e": noise.abducted["a.e"] / 0}
            answers.batch.__dict__["noise"] = NoiseSample(broken, noise.prior)
            metric.update(replace(answers))
    found = {(column.cell.quantity, column.cell.measured) for column in metric.compute()}
    assert ("prior_test", "a.e") not in found
    assert ("prior_test", "image.e") in found
    assert "NaN or infinite" in metric.skipped["abduction of a.e"]


def test_the_first_samples_of_the_plan_are_looked_at_wherever_they_lie(toy):
    dataset = toy.Toy()
    rows = torch.arange(60, 100)
    known = asked.setting(dataset, rows=rows)
    columns = asked.computed("abduction", known, asked.answers(dataset, asked.true, [rows]), samples=20)
    assert columns
    assert all(column.index.tolist() == list(range(60, 80)) for column in columns)


def test_few_samples_give_no_number_instead_of_a_wrong_one(toy):
    dataset = toy.Toy()
    columns = asked.computed("abduction", asked.setting(dataset), asked.answers(dataset, asked.true, [torch.arange(4)]))
    assert columns == []


def test_readers_get_all_numbers_of_wide_noise_and_of_that_only(toy, monkeypatch):
    """The image's noise has 64 numbers, that of a has one."""
    from counterbench.metrics import abduction

    given = {}

    def read(noise, parent, variable, *, every):
        given[noise.shape[1]] = every
        return np.zeros(len(noise)), np.ones(len(noise))

    def told_apart(first, second, *, every):
        given["prior", first.shape[1]] = every
        return np.ones(len(first))

    monkeypatch.setattr(abduction, "readable", read)
    monkeypatch.setattr(abduction, "two_sample_test", told_apart)
    dataset = toy.Toy()
    batches = list(asked.answers(dataset, asked.true, [torch.arange(60), torch.arange(60, 120)]))
    asked.computed("abduction", asked.setting(dataset), batches)
    noise = torch.cat(
        [one.batch.noise.abducted["image.e"] for one in batches if one.kind == "null" and one.cycles == 1]
    )
    assert np.array_equal(given[WIDTH], noise.float().numpy())
    assert [part.shape for part in given["prior", WIDTH]] == [(120, 64), (120, 64)]
    assert given["prior", 1] is None


def test_a_part_of_the_noise_without_a_law_has_a_size_and_no_prior_test(toy):
    dataset = toy.Toy()
    found = asked.points("abduction", asked.setting(dataset, held=frozenset({"a.e"})), dataset, asked.true, range(120))
    assert ("prior_test", "", "a.e", 0) not in found
    assert ("prior_test", "", "image.e", 0) in found
    assert found["correction", "", "a.e", 0] == pytest.approx(1.1, abs=0.3)  # of two standard normals: 2 / sqrt(pi)


def test_what_every_draw_shares_is_told_from_noise_with_a_law(toy):
    from counterbench import evaluation
    from counterbench.mechanisms.flow_matching import FlowMatching
    from counterbench.models.model import Contestant
    from counterbench.models.scm import StructuralCausalModel

    dataset = toy.Toy()
    mechanisms = dict(toy.exact_scm().mechanisms)
    parents = [dataset.variables[name] for name in dataset.graph.parents("image")]
    mechanisms["image"] = FlowMatching(
        dataset.variables["image"], parents, width=8, channels=[8], attention=[0], heads=2
    )
    contestant = Contestant("flow", StructuralCausalModel(dataset.graph, mechanisms.values()))
    exam = evaluation.prepare(dataset, "standard", limit=8, metrics=["abduction"], device="cpu")
    (metric,) = exam.make_metrics(contestant)
    assert metric.setting.held == {"image.correction"}
    assert {cell.quantity for cell in metric.cells if cell.measured == "image.correction"} == {"correction", "leak"}
