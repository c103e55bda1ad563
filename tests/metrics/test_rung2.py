"""The interventional law, apart from the individual."""

import math

import asked
import pytest
import torch

from counterbench.causal.variables import Binary, Continuous
from counterbench.errors import ConfigError
from counterbench.metrics.rung2 import Rung2, encoded
from counterbench.metrics.statistics import laws
from counterbench.metrics.statistics.distributions import frechet_of_moments, moments

UNITS = torch.arange(240) // 2


def drawn(seed, count=240, size=3, shift=0.0):
    return torch.randn(count, size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) + shift


@pytest.fixture(scope="module")
def dataset(toy):
    return toy.Toy()


@pytest.fixture(scope="module")
def setting(dataset):
    return asked.setting(dataset)


def brute_energy(x, y, unit, other):
    def mean(first, second, of_first, of_second):
        pairs = [
            float((a - b).norm())
            for a, u in zip(first, of_first.tolist(), strict=True)
            for b, v in zip(second, of_second.tolist(), strict=True)
            if u != v
        ]
        return sum(pairs) / len(pairs)

    return 2 * mean(x, y, unit, other) - mean(x, x, unit, unit) - mean(y, y, other, other)


def test_energy_distance_is_what_its_definition_says():
    x, y, unit, other = drawn(0, 20), drawn(1, 14, shift=0.5), UNITS[:20], 100 + UNITS[:14]
    assert laws.energy_apart(x, y, unit, other)[0] == pytest.approx(brute_energy(x, y, unit, other))


def test_energy_distance_of_normal_laws():
    """Of N(0, 1) and N(m, 1) in one dimension: 2 (E|N(m, 2)| - E|N(0, 2)|), in closed form."""
    m = 2.0
    folded = 2 * math.exp(-(m**2) / 4) / math.sqrt(math.pi) + m * math.erf(m / 2)
    exact = 2 * (folded - 2 / math.sqrt(math.pi))
    units = torch.arange(4000)
    found = laws.across(drawn(0, 4000, 1, m), drawn(1, 4000, 1), units, laws.energy_apart)
    assert float(found.mean()) == pytest.approx(exact, abs=0.1)


@pytest.mark.parametrize("apart", [laws.energy_apart, laws.frechet_between])
def test_pseudo_values_spread_like_the_statistic_without_a_unit(apart):
    answered, true = drawn(0, shift=0.4), drawn(1)
    whole = laws.across(answered, true, UNITS, apart)
    half = laws.halves(UNITS)

    def without(unit):
        kept = unit != UNITS
        return sum(
            apart(answered[own & kept], true[other & kept], UNITS[own & kept], UNITS[other & kept])[0] / 2
            for own, other in ((half, ~half), (~half, half))
        )

    left = torch.tensor([float(whole.mean()) - without(unit) for unit in range(120)])
    moved = (whole - whole.mean()).view(-1, 2).sum(1) / len(whole)
    assert float(torch.corrcoef(torch.stack([left, moved.float()]))[0, 1]) > 0.99
    assert float(moved.std() / left.std()) == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize("apart", [laws.energy_apart, laws.frechet_between])
def test_copying_the_truth_of_each_individual_gains_nothing(apart):
    """Over many draws, the truth itself and a fresh sample of the same law are equally far; a paired distance would be 0."""
    own, fresh = (
        torch.stack([laws.across(drawn(3 * seed + k), drawn(3 * seed), UNITS, apart).mean() for seed in range(60)])
        for k in (0, 1)
    )
    assert float(own.abs().min()) > 0
    error = (own - fresh).std() / math.sqrt(60)
    assert abs(float((own - fresh).mean())) < 4 * float(error)


def test_halves_keep_units_together_and_are_equal():
    half = laws.halves(UNITS)
    assert torch.equal(half[::2], half[1::2])
    assert int(half.sum()) == 120
    assert torch.equal(laws.halves(UNITS.flip(0)), half.flip(0))


def test_too_few_individuals_have_no_law():
    few = torch.tensor([0, 0, 1, 1, 2, 2])
    assert laws.across(drawn(0, 6), drawn(1, 6), few, laws.energy_apart).isnan().all()


def test_other_individuals_are_as_good_as_the_truth_and_doing_nothing_is_not(dataset, setting):
    """The values that are set have the law of what was observed: who ignores them has the right images, at the wrong values."""

    def others(given, held, truth):
        return dataset.truth("test", (given.index + 60) % 120, held) if held else dict(truth)

    truth, other, nothing = (
        asked.points("rung2", setting, dataset, answer, range(120), spaces=["pixel"])
        for answer in (asked.true, others, asked.unchanged)
    )
    for name in asked.NAMES:
        own, theirs, missed = (found["frechet_distance", name, "", 0] for found in (truth, other, nothing))
        assert theirs - own < 0.1 * (missed - own)


def test_attributes_that_do_not_follow_are_noticed(dataset, setting):
    def stuck(given, held, truth):
        return {**truth, "b": given["b"] + 2 * ("a" in held)}

    true, wrong = (asked.points("rung2", setting, dataset, answer, range(120)) for answer in (asked.true, stuck))
    assert wrong["energy_distance", "a", "", 0] > true["energy_distance", "a", "", 0] + 0.01
    assert wrong["energy_distance", "c", "", 0] == true["energy_distance", "c", "", 0]


def test_what_is_not_known_is_said(dataset):
    metric = Rung2(asked.setting(dataset, with_truth=("a",)))
    assert {cell.intervened for cell in metric.cells} == {"a"}
    assert metric.skipped["rung2 of do(b)"] == "the true counterfactuals, whose law it would be, are not known"


def test_a_space_is_named_once(dataset):
    with pytest.raises(ConfigError, match="once"):
        Rung2(asked.setting(dataset), spaces=["pixel", "pixel"])


def test_encoding():
    angle = Continuous("t", 0, 360, periodic=True)
    assert encoded(angle, torch.tensor([0.0, 360.0, 90.0]), 1.0).round(decimals=6).abs().tolist() == [
        [1, 0],
        [1, 0],
        [0, 1],
    ]
    assert encoded(Binary("s"), torch.tensor([0, 1]), 0.5).tolist() == [[1, 0], [0, 1]]
    assert encoded(Continuous("c", 0, 1), torch.tensor([2.0]), 0.0).tolist() == [[2.0]]


def test_frechet_distance_of_sets_of_two_sizes():
    x, y = drawn(0, 50), drawn(1, 70)
    assert laws.frechet_between(x, y, UNITS[:50], UNITS[:70])[0] == pytest.approx(
        frechet_of_moments(*moments(x), *moments(y))
    )
