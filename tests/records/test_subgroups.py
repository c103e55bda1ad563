"""The worst subgroup and the gap, and what their intervals hold."""

import numpy as np
import pytest
from scipy.stats import t as student

from counterbench.records.estimate import regret
from counterbench.records.subgroups import extremes, simultaneous


def intervals(samples, level):
    """(means, low, high) of (K, N) samples."""
    mean, error = samples.mean(1), samples.std(1, ddof=1) / np.sqrt(samples.shape[1])
    half = student.ppf((1 + level) / 2, samples.shape[1] - 1) * error
    return mean, mean - half, mean + half


@pytest.mark.parametrize("direction", ["lower", "higher", "one"])
@pytest.mark.parametrize("apart", [0.0, 0.3, 3.0])
def test_intervals_hold_the_true_worst_and_the_true_gap(direction, apart):
    """Where all subgroups are equally good, the worst looks worse than it is; the interval must hold the truth nevertheless."""
    rng, groups, times = np.random.default_rng(0), 6, 500
    true = 2 + apart * np.arange(groups)
    regrets = regret(true, direction)
    worst, gap = regrets.max(), regrets.max() - regrets.min()
    held = naive = held_gap = 0
    for _ in range(times):
        samples = true[:, None] + 2 * rng.standard_normal((groups, 30))
        mean, low, high = intervals(samples, simultaneous(0.95, groups))
        at, told, _, told_gap = extremes(direction, mean, low, high)
        ends = sorted(
            regret(np.array([told.low, told.high]), direction) if direction != "one" else (told.low, told.high)
        )
        held += ends[0] - 1e-9 <= worst <= ends[1] + 1e-9
        held_gap += told_gap.low - 1e-9 <= gap <= told_gap.high + 1e-9
        _, low, high = intervals(samples, 0.95)
        ends = sorted(regret(np.array([low[at], high[at]]), direction))
        naive += ends[0] <= worst <= ends[1]
    assert held >= 0.95 * times
    assert held_gap >= 0.95 * times
    if apart == 0:
        assert naive < 0.9 * times  # picking the worst without correcting for it


def test_of_numbers_best_in_the_middle_the_worst_is_farthest_from_there():
    at, worst, best, gap = extremes("one", [0.8, 1.5, 1.0], [0.7, 1.3, 0.9], [0.9, 1.7, 1.1])
    assert (at, best) == (1, 2)
    assert (worst.value, worst.low, worst.high) == pytest.approx((0.5, 0.3, 0.7))
    assert (gap.value, gap.low, gap.high) == pytest.approx((0.5, 0.2, 0.7))


def test_the_worst_may_be_uncertain_though_each_is_known():
    _, worst, _, gap = extremes("higher", [0.5, 0.51], [0.4, 0.45], [0.6, 0.57])
    assert (worst.low, worst.high) == pytest.approx((0.4, 0.57))
    assert gap.low == 0
