from types import SimpleNamespace

import numpy as np
import pytest
from scipy import stats

from counterbench.records.intervals import (
    FEWEST,
    Differences,
    Ratios,
    Spread,
    cluster_totals,
    holm,
    intervals,
    limits,
    p_values,
    share_limits,
    spread_of,
)

MEAN = SimpleNamespace(kind="mean", bounds=(None, None))
SHARE = SimpleNamespace(kind="mean", bounds=(0.0, 1.0))


def means(values):
    return Ratios(values, np.ones_like(values))


def shares(right, of):
    """One share, from how many are right in each cluster, and out of how many."""
    return Ratios(np.array(right, float)[:, None], np.array(of, float)[:, None])


def test_influences_are_derivatives_by_the_weight_of_a_cluster():
    rng = np.random.default_rng(0)
    top, bottom = rng.random((12, 2)), 1 + rng.random((12, 2))
    for g in range(12):
        weight = np.ones((12, 1))
        weight[g] += 1e-6
        moved = (weight * top).sum(0) / (weight * bottom).sum(0)
        expected = (moved - top.sum(0) / bottom.sum(0)) / 1e-6
        assert Ratios(top, bottom).influence()[g] == pytest.approx(expected, abs=1e-5)


def test_differences_transform_both_sides():
    """Distances from 1, and their derivatives."""
    rng = np.random.default_rng(0)
    first, second = rng.random((20, 1)), 2 + rng.random((20, 1))
    pair = Differences(means(first), means(second), lambda ratios: (abs(ratios - 1), np.sign(ratios - 1)))
    assert pair.point()[0] == pytest.approx((1 - first.mean()) - (second.mean() - 1))
    assert pair.influence()[:, 0] == pytest.approx((-(first - first.mean()) - (second - second.mean()))[:, 0] / 20)


def test_what_differs_by_rounding_alone_does_not_differ():
    rng = np.random.default_rng(0)
    first = rng.random((30, 1))
    second = first * (1 + 1e-15)
    pair = Differences(means(first), means(second))
    assert pair.point()[0] == 0
    assert not pair.influence().any()


def test_effective_clusters_are_those_of_equal_weight():
    assert Ratios(np.ones((8, 1)), np.full((8, 1), 3.0)).effective()[0] == pytest.approx(8)
    assert Ratios(np.ones((3, 1)), np.array([[1.0], [1], [0]])).effective()[0] == pytest.approx(2)
    assert Ratios(np.ones((2, 1)), np.array([[1.0], [3]])).effective()[0] == pytest.approx(16 / 10)


def test_limits_are_those_of_student_where_errors_are_not_skewed():
    data = np.random.default_rng(0).normal(size=30)
    found = spread_of(means(data[:, None]), 500, 0)
    low, high = limits(found._replace(studentised=np.zeros((500, 1))))
    expected = stats.ttest_1samp(data, 0).confidence_interval()
    assert [low[0], high[0]] == pytest.approx([expected.low, expected.high])


def test_what_is_rare_in_clusters_of_unequal_size_has_an_end():
    """Resamples without any of the three events have no error to speak of: their spread is that of the sizes of clusters."""
    sizes = np.where(np.arange(256) % 5 == 0, 7.0, 8.0)[:, None]
    events = np.zeros((256, 1))
    events[[10, 100, 200]] = 1
    uneven, even = (
        limits(spread_of(Ratios(events, one), 2000, 0)) for one in (sizes, np.full_like(sizes, sizes.mean()))
    )
    assert uneven[1][0] == pytest.approx(even[1][0], rel=0.2)
    assert uneven[1][0] < 0.01


def test_a_long_tail_makes_its_end_longer():
    """Studentised resamples that reach further than t on one side."""
    drawn = np.linspace(-6, 1, 1001)[:, None]
    found = Spread(np.array([10.0]), np.array([2.0]), np.array([29.0]), drawn)
    low, high = limits(found)
    assert low[0] == pytest.approx(10 - 2 * stats.t.ppf(0.975, 29))
    assert high[0] == pytest.approx(10 - 2 * np.quantile(drawn, 0.025))
    skewed = np.random.default_rng(1).exponential(size=(60, 1)) ** 2
    low, high = limits(spread_of(means(skewed), 2000, 0))
    assert high[0] - skewed.mean() > 1.3 * (skewed.mean() - low[0])


def test_studentised_resamples_are_those_of_whole_clusters_by_hand():
    data = np.random.default_rng(0).exponential(size=(15, 1))
    rng = np.random.default_rng([7, 15])
    weights = rng.multinomial(15, np.full(15, 1 / 15), 40)
    expected = []
    for row in weights:
        sample = np.repeat(data[:, 0], row)
        expected.append((sample.mean() - data.mean()) / (sample.std() / np.sqrt(15)))
    assert spread_of(means(data), 40, 7).studentised[:, 0] == pytest.approx(expected)


def test_clusters_are_resampled_whole():
    """Eight copies of each value must not make the interval narrower than the value alone gives."""
    rng = np.random.default_rng(0)
    base = rng.normal(size=50)
    copies = np.repeat(base, 8)
    clusters = np.repeat(np.arange(50), 8)
    clustered = Ratios(
        cluster_totals(copies, clusters, 50)[:, None], cluster_totals(np.ones(400), clusters, 50)[:, None]
    )
    alone, together, naive = (
        np.subtract(*intervals(ratios, [MEAN], 4000, 0)[::-1])
        for ratios in (means(base[:, None]), clustered, means(copies[:, None]))
    )
    assert together == pytest.approx(alone, rel=1e-6)
    assert naive < 0.5 * together


def test_columns_do_not_influence_each_other():
    rng = np.random.default_rng(0)
    data = rng.random(size=(80, 4))
    declared = [MEAN, SHARE, SimpleNamespace(kind="skill", bounds=(None, 1.0)), MEAN]
    whole = intervals(means(data), declared, 500, 0)
    for k in range(4):
        part = intervals(means(data[:, [k]]), declared[k : k + 1], 500, 0)
        assert [end[k] for end in whole] == pytest.approx([end[0] for end in part], rel=1e-9)


def test_few_clusters_say_nothing_of_their_spread():
    rng = np.random.default_rng(0)
    for count, there in ((int(FEWEST) - 1, False), (int(FEWEST), True)):
        data = rng.random((count, 1))
        for declared in (MEAN, SHARE):
            low, high = intervals(means(data), [declared], 500, 0)
            assert np.isfinite([low[0], high[0]]).all() == there
        assert (p_values(spread_of(means(data + 1), 500, 0))[0] < 0.01) == there
    one_rules = Ratios(rng.random((40, 1)), np.where(np.arange(40) == 0, 1000.0, 1.0)[:, None])
    assert np.isnan(intervals(one_rules, [MEAN], 500, 0)).all()


def test_a_share_of_nothing_but_hits_is_as_uncertain_as_its_clusters_are_few():
    """25 clusters of 8: Clopper and Pearson's limits of 25, not of 200 and not of none."""
    low, high = share_limits(shares([8] * 25, [8] * 25))
    exact = stats.binomtest(25, 25).proportion_ci(method="exact")
    assert [low[0], high[0]] == pytest.approx([exact.low, 1.0])
    pseudo = 8 + 0.1 * (-1.0) ** np.arange(25)
    pseudo[-1] = 8 - 1e-12
    assert share_limits(shares(pseudo - 1e-13, [8] * 25))[0] == pytest.approx(
        low
    )  # pseudo-values vary around a mean of 1
    low, high = share_limits(shares([0] * 25, [8] * 25))
    assert [low[0], high[0]] == pytest.approx([0.0, 1 - exact.low])


def test_a_share_is_worth_as_many_samples_as_its_clusters_vary():
    rng = np.random.default_rng(0)
    right = rng.binomial(1, 0.9, 400).astype(float)
    low, high = share_limits(shares(right, np.ones(400)))
    exact = stats.binomtest(int(right.sum()), 400).proportion_ci(method="exact")
    assert [low[0], high[0]] == pytest.approx([exact.low, exact.high], abs=2e-3)
    twice = share_limits(shares(2 * right, np.full(400, 2.0)))  # the same said twice
    assert [twice[0][0], twice[1][0]] == pytest.approx([low[0], high[0]])
    apart = share_limits(shares(right.reshape(50, 8).sum(1), [8] * 50))
    assert apart[0][0] <= exact.low + 0.01  # never worth more samples than there are
    together = share_limits(shares(np.sort(right).reshape(50, 8).sum(1), [8] * 50))
    assert together[1][0] - together[0][0] > 1.5 * (exact.high - exact.low)


def test_shares_stay_between_0_and_1_and_hold_their_value():
    rng = np.random.default_rng(0)
    for errors in (1, 2, 3, 30):
        right = np.ones(60)
        right[:errors] = 0
        rng.shuffle(right)
        low, high = share_limits(shares(right, np.ones(60)))
        assert 0 <= low[0] < right.mean() < high[0] <= 1


def test_no_end_lies_beyond_what_a_number_can_be():
    """A squared distance near 0, kept as pseudo-values; a skill of hardly any error."""
    rng = np.random.default_rng(0)
    pseudo = means(0.01 + rng.normal(size=(50, 1)))
    free = intervals(pseudo, [MEAN], 500, 0)
    low, high = intervals(pseudo, [SimpleNamespace(kind="mean", bounds=(0.0, None))], 500, 0)
    assert free[0][0] < 0 == low[0] < high[0] == free[1][0]
    low, high = intervals(pseudo, [SimpleNamespace(kind="skill", bounds=(None, 1.0))], 500, 0)
    assert high[0] == 1.0
    assert low[0] == pytest.approx(1 - free[1][0])


def test_numbers_from_0_to_1_have_the_limits_of_shares():
    data = means((np.arange(60) < 57).astype(float)[:, None])
    assert intervals(data, [SHARE], 500, 0) == share_limits(data)
    assert intervals(data, [MEAN], 500, 0)[1][0] != pytest.approx(share_limits(data)[1][0], rel=1e-3)


def test_costs_have_no_interval():
    data = means(np.random.default_rng(0).random((50, 2)))
    declared = [SimpleNamespace(kind=kind, bounds=(None, None)) for kind in ("timing", "peak")]
    assert np.isnan(intervals(data, declared, 500, 0)).all()


def test_degenerate_cases():
    low, high = intervals(means(np.full((30, 1), 7.0)), [MEAN], 500, 0)
    assert (low[0], high[0]) == (7.0, 7.0)
    assert np.isnan(intervals(means(np.array([[3.0]])), [MEAN], 500, 0)).all()
    assert np.isnan(intervals(Ratios(np.ones((30, 1)), np.zeros((30, 1))), [MEAN], 500, 0)).all()


def test_same_seed_same_interval():
    data = np.random.default_rng(0).exponential(size=(40, 1))
    assert intervals(means(data), [MEAN], 300, 5) == intervals(means(data), [MEAN], 300, 5)
    assert intervals(means(data), [MEAN], 300, 5) != intervals(means(data), [MEAN], 300, 6)


def test_p_values_are_those_of_students_test_over_clusters():
    rng = np.random.default_rng(0)
    data = rng.normal(size=(25, 40)) + np.linspace(0, 1.5, 40)
    found = p_values(spread_of(means(data), 2000, 0))
    exact = stats.ttest_1samp(data, 0).pvalue
    assert (found >= exact * (1 - 1e-9)).all()
    assert found[:5] == pytest.approx(exact[:5], abs=0.05)
    assert found[-1] == pytest.approx(exact[-1])  # where nothing is left to count, and no smaller
    assert exact[-1] < 1e-5


def test_p_values_are_never_less_than_counted():
    """Skewed errors: resamples reach -2.5 more often than t does."""
    drawn = np.concatenate([np.full(40, -3.0), np.linspace(-1, 1, 960)])[:, None]
    found = Spread(np.array([-2.5]), np.array([1.0]), np.array([200.0]), drawn)
    assert p_values(found)[0] == pytest.approx(2 * 41 / 1001)


def test_no_difference_and_one_without_any_spread():
    flat = spread_of(means(np.full((30, 1), 7.0)), 1000, 0)
    assert p_values(flat)[0] == pytest.approx(2 / 1001)
    assert p_values(spread_of(means(np.zeros((30, 1))), 1000, 0))[0] == 1


def test_holm_never_falls():
    """Where a larger p-value would get a smaller adjusted one, it gets that of its predecessor."""
    assert holm(np.array([0.01, 0.02, 0.021])).tolist() == pytest.approx([0.03, 0.04, 0.04])
    assert holm(np.array([0.021, 0.01, 0.02])).tolist() == pytest.approx([0.04, 0.03, 0.04])


def trainings(rng, seeds=3, clusters=60, between=0.3):
    """Scores of several trainings about the same clusters: one number of mean 0."""
    drawn = between * rng.standard_normal((seeds, 1)) + rng.standard_normal(clusters)
    return drawn + 0.5 * rng.standard_normal((seeds, clusters))


def test_intervals_of_several_trainings_hold_what_they_say():
    """Over trainings and clusters that are drawn anew; without the second level they are far too short, and a bootstrap of three
    trainings is too."""
    rng = np.random.default_rng(0)
    held, alone, resampled = [], [], []
    for _ in range(300):
        scores = trainings(rng)
        low, high = limits(spread_of(Ratios.mean([means(one[:, None]) for one in scores]), 200, 0))
        held.append(low[0] <= 0 <= high[0])
        low, high = limits(spread_of(means(scores.mean(0)[:, None]), 200, 0))
        alone.append(low[0] <= 0 <= high[0])
        rows = rng.integers(len(scores), size=(400, 3))
        columns = rng.integers(scores.shape[1], size=(400, scores.shape[1]))
        moved = np.array([scores[r][:, c].mean() for r, c in zip(rows, columns, strict=True)])
        resampled.append(np.quantile(moved, 0.025) <= 0 <= np.quantile(moved, 0.975))
    assert np.mean(held) >= 0.92
    assert np.mean(alone) < 0.85
    assert np.mean(resampled) < 0.9


def test_equal_trainings_add_nothing_and_a_difference_has_the_chance_of_both_sides():
    rng = np.random.default_rng(1)
    one = means(rng.standard_normal((40, 2)))
    same, single = (spread_of(given, 100, 0) for given in (Ratios.mean([one, one, one]), one))
    assert np.allclose(same.point, single.point)
    assert np.allclose(same.error, single.error)
    first, second = (Ratios.mean([means(scores[:, None]) for scores in trainings(rng)]) for _ in range(2))
    blocks = Differences(first, second).trainings()
    assert [block.shape for block in blocks] == [(3, 1), (3, 1)]
    assert all(abs(block.sum()) < 1e-12 for block in blocks)
    variances = [np.square(given.trainings()[0]).sum() * 3 / 2 for given in (first, second)]
    clusters = np.square(Differences(first, second).influence()).sum() * 60 / 59
    assert spread_of(Differences(first, second), 100, 0).error[0] ** 2 == pytest.approx(sum(variances) + clusters)


def test_what_a_training_adds_is_the_derivative_by_its_weight():
    rng = np.random.default_rng(2)
    each = [Ratios(rng.random((12, 2)), 1 + rng.random((12, 2))) for _ in range(3)]
    pooled = Ratios.mean(each)
    for k in range(3):
        top, below = (
            sum((1 + 1e-6 * (number == k)) * getattr(other, part).sum(0) for number, other in enumerate(each))
            for part in ("numerator", "denominator")
        )
        derivative = (top / below - pooled.point()) / 1e-6
        assert np.allclose(pooled.trainings()[0][k], derivative, rtol=1e-4)
