import numpy as np
import pytest
from scipy import stats

from counterbench.records.intervals import Differences, Ratios, bca, cluster_totals, holm, interval


def means(values):
    return Ratios(values, np.ones_like(values))


@pytest.mark.parametrize("draw", ["normal", "exponential", "binary"])
def test_agrees_with_scipy_on_unclustered_means(draw):
    rng = np.random.default_rng(0)
    data = {
        "normal": rng.normal(size=200),
        "exponential": rng.exponential(size=200),
        "binary": (rng.random(200) < 0.1) * 1.0,
    }[draw]
    low, high = bca(means(data[:, None]), 20_000, 0)
    reference = stats.bootstrap(
        (data,), np.mean, n_resamples=20_000, method="BCa", vectorized=True, random_state=np.random.default_rng(1)
    )
    width = reference.confidence_interval.high - reference.confidence_interval.low
    step = 1 / 200 if draw == "binary" else 0  # means of 0s and 1s lie on a lattice
    assert low[0] == pytest.approx(reference.confidence_interval.low, abs=0.04 * width + step)
    assert high[0] == pytest.approx(reference.confidence_interval.high, abs=0.04 * width + step)


def test_agrees_with_scipy_on_ratios():
    rng = np.random.default_rng(0)
    bottom = rng.exponential(size=150) + 1
    top = 0.3 * bottom + 0.1 * rng.exponential(size=150)
    low, high = bca(Ratios(top[:, None], bottom[:, None]), 20_000, 0)
    reference = stats.bootstrap(
        (top, bottom),
        lambda t, b, axis: t.sum(axis) / b.sum(axis),
        n_resamples=20_000,
        method="BCa",
        paired=True,
        random_state=np.random.default_rng(1),
    ).confidence_interval
    assert [low[0], high[0]] == pytest.approx(
        [reference.low, reference.high], abs=0.05 * (reference.high - reference.low)
    )


@pytest.mark.parametrize("level", [0.95, 0.8])
@pytest.mark.parametrize("draw", ["exponential", "falling", "lognormal", "binary"])
def test_limits_are_those_of_scipy_on_the_same_resamples(draw, level):
    """Skewed data, where the acceleration moves both ends; nothing is left to chance, so they agree to rounding."""
    rng = np.random.default_rng(0)
    data = {
        "exponential": rng.exponential(size=60),
        "falling": -rng.exponential(size=60),
        "lognormal": rng.lognormal(0, 1.2, size=40),
        "binary": (np.arange(50) < 4) * 1.0,  # many resamples are exactly as the data: half of them count as below
    }[draw]
    drawn = stats.bootstrap((data,), np.mean, n_resamples=5000, random_state=rng)
    reference = stats.bootstrap(
        (data,), np.mean, n_resamples=0, bootstrap_result=drawn, method="BCa", confidence_level=level
    ).confidence_interval
    statistic = means(data[:, None])
    low, high = interval(statistic.point(), drawn.bootstrap_distribution[:, None], statistic.jackknife(), level=level)
    assert [low[0], high[0]] == pytest.approx([reference.low, reference.high], rel=1e-9)
    plain, _ = interval(statistic.point(), drawn.bootstrap_distribution[:, None], np.array([[0.0], [1.0]]), level=level)
    assert draw == "binary" or plain[0] != low[0]  # without acceleration it would be another end


def test_the_jackknife_by_hand():
    left = Ratios(np.array([[1.0], [2.0], [6.0]]), np.array([[1.0], [1.0], [2.0]])).jackknife()
    assert left[:, 0].tolist() == [8 / 3, 7 / 3, 3 / 2]


def test_the_jackknife_of_a_difference_transforms_both_sides():
    """Distances from 1, with each cluster left out by hand."""
    rng = np.random.default_rng(0)
    first, second = rng.random((6, 1)), 2 * rng.random((6, 1))
    pair = Differences(means(first), means(second), lambda values: abs(values - 1))
    expected = [abs(np.delete(first, i).mean() - 1) - abs(np.delete(second, i).mean() - 1) for i in range(6)]
    assert pair.jackknife()[:, 0].tolist() == pytest.approx(expected)
    assert pair.point()[0] == pytest.approx(abs(first.mean() - 1) - abs(second.mean() - 1))


def test_resamples_without_a_value_say_nothing():
    """Every second resample lacks the reference of a ratio: the limits are those of the others."""
    rng = np.random.default_rng(0)
    data = rng.exponential(size=50)
    statistic = means(data[:, None])
    drawn = rng.choice(data, (4000, 50)).mean(1)[:, None]
    holes = np.repeat(drawn, 2, axis=0)
    holes[1::2] = [[np.nan], [np.inf]] * 2000
    whole = interval(statistic.point(), drawn, statistic.jackknife())
    part = interval(statistic.point(), holes, statistic.jackknife())
    assert np.array(part).tolist() == np.array(whole).tolist()


def test_holm_never_falls():
    """Where a larger p-value would get a smaller adjusted one, it gets that of its predecessor."""
    assert holm(np.array([0.01, 0.02, 0.021])).tolist() == pytest.approx([0.03, 0.04, 0.04])
    assert holm(np.array([0.021, 0.01, 0.02])).tolist() == pytest.approx([0.04, 0.03, 0.04])


@pytest.mark.slow
def test_coverage():
    rng = np.random.default_rng(0)
    hits = 0
    for trial in range(400):
        low, high = bca(means(rng.exponential(size=(60, 1))), 1000, trial)
        hits += low[0] <= 1 <= high[0]
    assert 0.91 <= hits / 400 <= 0.98


def test_clusters_are_resampled_whole():
    """Eight copies of each value must not make the interval narrower than the value alone gives."""
    rng = np.random.default_rng(0)
    base = rng.normal(size=50)
    copies = np.repeat(base, 8)
    clusters = np.repeat(np.arange(50), 8)
    clustered = Ratios(
        cluster_totals(copies, clusters, 50)[:, None], cluster_totals(np.ones(400), clusters, 50)[:, None]
    )
    alone = bca(means(base[:, None]), 4000, 0)
    together = bca(clustered, 4000, 0)
    naive = bca(means(copies[:, None]), 4000, 0)
    assert together[1] - together[0] == pytest.approx(alone[1] - alone[0], rel=1e-6)
    assert naive[1] - naive[0] < 0.5 * (together[1] - together[0])


def test_columns_do_not_influence_each_other():
    rng = np.random.default_rng(0)
    data = rng.normal(size=(80, 3))
    whole = bca(means(data), 500, 0)
    for k in range(3):
        part = bca(means(data[:, [k]]), 500, 0)
        assert whole[0][k] == pytest.approx(part[0][0], rel=1e-9)


def test_degenerate_cases():
    low, high = bca(means(np.full((30, 1), 7.0)), 500, 0)
    assert (low[0], high[0]) == (7.0, 7.0)
    low, high = bca(means(np.array([[3.0]])), 500, 0)
    assert np.isnan(low[0])
    assert np.isnan(high[0])


def test_a_reference_that_only_some_clusters_have():
    """Without them the ratio is undefined, not infinite; resamples that miss them say nothing."""
    numerator = np.array([[1.0], [2.0], [3.0], [4.0]])
    for reference in ([1.0, 0, 0, 0], [1.0, 2.0, 0, 0]):
        low, high = bca(Ratios(numerator, np.array(reference)[:, None]), 500, 0)
        assert 0 < low[0] <= high[0] < np.inf


def test_same_seed_same_interval():
    data = np.random.default_rng(0).normal(size=(40, 1))
    assert bca(means(data), 300, 5)[0] == bca(means(data), 300, 5)[0]
    assert bca(means(data), 300, 5)[0] != bca(means(data), 300, 6)[0]
