"""From values per sample to numbers."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from counterbench.evaluation import numbers
from counterbench.metrics.base import Cell, Column
from counterbench.records.intervals import Ratios, intervals

INDEX = torch.arange(10, 90)
GROUP = torch.arange(80) // 4 + 7


@pytest.fixture(scope="module")
def values():
    rng = np.random.default_rng(0)
    shared = np.repeat(rng.exponential(size=20), 4)
    return torch.from_numpy(shared + 0.1 * rng.random(80)), torch.from_numpy(1 + rng.random(80))


def column(values, kind="mean", quantity="q", direction="lower"):
    value, denominator = values
    return Column("m", Cell(quantity, "", direction, kind=kind), INDEX, value, reference=denominator)


def of(columns, rows=None, leaked=frozenset()):
    found, _ = numbers.numbers({"model": columns, **(rows or {})}, INDEX, GROUP, resamples=2000, seed=3, leaked=leaked)
    return found


def by_hand(values):
    """Totals of four neighbours each, in one bootstrap."""
    totals = Ratios(*(part.numpy().reshape(20, 4).sum(1)[:, None] for part in values))
    (low,), (high,) = intervals(totals, [Cell("q", "", "lower")], 2000, 3)
    return float(totals.point()[0]), float(low), float(high)


def test_a_mean_and_its_interval_come_from_clusters(values):
    (number,) = of([column(values)])
    assert (number.value, number.low, number.high) == pytest.approx(by_hand(values))
    assert number.n == 80
    alone = Ratios(*(part.numpy()[:, None] for part in values))
    low, high = intervals(alone, [Cell("q", "", "lower")], 2000, 3)
    assert high[0] - low[0] < 0.75 * (number.high - number.low)


def test_a_skill_is_one_less_and_its_interval_turns_around(values):
    (number,) = of([column(values, "skill", direction="higher")])
    ratio, low, high = by_hand(values)
    assert (number.value, number.low, number.high) == pytest.approx((1 - ratio, 1 - high, 1 - low))
    assert number.low < number.value < number.high


def test_a_record_writes_a_pair_in_words(values):
    """Inside, its two variables are a tuple; records keep the text that they always had."""
    cells = [Cell("l1", "", "lower", intervened) for intervened in ("", "a", ("a", "b"))]
    found = of([Column("m", cell, INDEX, values[0], reference=values[1]) for cell in cells])
    assert [number.intervened for number in found] == ["", "a", "a + b"]
    none = torch.full_like(values[0], torch.nan)
    _, skipped = numbers.numbers(
        {"model": [Column("m", cells[2], INDEX, none, reference=values[1])]}, INDEX, GROUP, resamples=2000, seed=3
    )
    assert list(skipped) == ["m do(a + b) l1"]


def test_costs_have_no_interval(values):
    timing, peak = of([column(values, "timing", "t"), column(values, "peak", "p")])
    assert timing.low is timing.high is peak.low is peak.high is None
    assert timing.value == pytest.approx(by_hand(values)[0])
    assert peak.value == float(values[0].max())


def test_a_baseline_stands_beside_the_number_that_it_has_too(values):
    other = (values[0] * 2, values[1])
    known, unknown = of([column(values), column(values, quantity="r")], {"identity": [column(other)], "real": []})
    assert known.references["identity"].value == pytest.approx(2 * known.value)
    assert unknown.references == {}


@pytest.mark.parametrize(("of_truth", "hindered"), [(0.9, False), (1.0, True), (1.1, True)])
def test_a_number_that_the_truth_does_not_win_is_not_ranked(values, of_truth, hindered):
    """Only where its metric says so: elsewhere doing nothing may well be better."""
    cells = [Cell("q", "", "lower", only_if_truth_wins=wanted) for wanted in (True, False)]

    def columns(scale):
        return [
            Column("m", replace(cell, quantity=f"q{k}"), INDEX, scale * values[0], reference=values[1])
            for k, cell in enumerate(cells)
        ]

    found = of(columns(1), {"identity": columns(1), "truth": columns(of_truth)})
    assert bool(found[0].no_rank) == hindered
    assert found[1].no_rank == ""
    (alone,) = of(columns(1)[:1], {"identity": columns(1)})
    assert alone.no_rank == ""
    marked = column(values)
    marked.no_rank = "it says nothing"
    assert of([marked])[0].no_rank == "it says nothing"


def test_what_is_leaked_is_marked(values):
    one, other = column(values), column(values, quantity="r")
    found = of([one, other], leaked=frozenset({("m", other.cell)}))
    assert [number.leaked for number in found] == [False, True]
