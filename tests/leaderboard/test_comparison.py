"""Paired comparison of records on the same questions."""

import io
import json
import shutil
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from scipy import stats

from counterbench import evaluation, models
from counterbench.errors import RecordError
from counterbench.evaluation import results_folder
from counterbench.leaderboard import comparison, paired, scored
from counterbench.leaderboard.paired import Difference
from counterbench.models.model import Contestant
from counterbench.records import totals
from counterbench.records.intervals import Differences, Ratios, holm, p_values, spread_of


def cards(keep, toy):
    class Model:
        def __init__(self):
            self.scm = toy.exact_scm(keep=keep)

        def counterfactual(self, factual, interventions, generator=None):
            return self.scm.counterfactual(factual, interventions, generator)

    return Model()


METRICS = ["composition", "effectiveness", "truth"]


@pytest.fixture(scope="module")
def folders(toy, tmp_path_factory):
    """Records of a better and a worse model, of the identity, of another plan, and of the better one's twin."""
    home = tmp_path_factory.mktemp("records")
    dataset = toy.Toy()
    made = {}
    for name, contestant, seed in (
        ("good", Contestant("good", cards(0.95, toy), pixel_noise="none"), 0),
        ("bad", Contestant("bad", cards(0.6, toy), pixel_noise="none"), 0),
        ("twin", Contestant("twin", cards(0.95, toy), pixel_noise="none"), 0),
        ("identity", models.load("identity", dataset), 0),
        ("elsewhere", Contestant("good", cards(0.95, toy), pixel_noise="none"), 1),
    ):
        exam = evaluation.prepare(dataset, "standard", device="cpu", metrics=METRICS, seed=seed)
        done = evaluation.evaluate(contestant, exam)
        made[name] = home / name
        results_folder.save(done, made[name])
    return made


@pytest.fixture(scope="module")
def compared(folders):
    return comparison.compare(scored.load([folders["good"], folders["bad"]]), resamples=4000)


def test_differences_are_differences_of_the_records_numbers(compared):
    for one in compared.differences:
        first, second = compared.numbers[one.key]
        assert one.value == pytest.approx(first.value - second.value, abs=1e-9)
        assert one.low <= one.value + 1e-9
        assert one.value <= one.high + 1e-9


def test_a_better_model_wins_where_it_is_better_and_ties_elsewhere(compared):
    by_key = {one.key: one for one in compared.differences}
    for cycle in (1, 10):
        one = by_key["composition", "l1", "", "", cycle, "l1"]
        assert one.better == "good"
        assert compared.ranks[one.key] == [1, 2]
        assert one.p_wilcoxon < 0.05
        assert one.advantage > 0
        assert one.high < 0  # less is better
    tied = by_key["effectiveness", "accuracy", "c", "c", 0, ""]
    assert tied.better is None
    assert compared.ranks[tied.key] == [1, 1]
    assert np.isnan(tied.p_wilcoxon)


def test_equal_models_are_tied_everywhere(folders):
    made = comparison.compare(scored.load([folders["good"], folders["twin"]]), resamples=500)
    assert all(one.value == 0 and one.better is None and one.p_bootstrap == 1 for one in made.differences)
    assert all(ranks == [1, 1] for ranks in made.ranks.values())


def test_chance_names_no_winner():
    told = {"key": ("truth", "l1", "a", "", 0, "l1"), "first": "x", "second": "y", "value": 1.0, "advantage": -1.0}
    apart = Difference(**told, low=-1.0, high=3.0, effect=(0.1, -0.1, 0.3), p_bootstrap=0.3, p_wilcoxon=0.3)
    assert apart.better is None
    assert replace(apart, p_bootstrap=0.001).better == "y"
    assert replace(apart, p_bootstrap=0.001, margin=5.0).better is None
    assert replace(apart, p_bootstrap=0.001, advantage=1.0).better == "x"


def test_a_target_of_one_is_approached_from_both_sides():
    """Effects of 0.9 and 1.3: the first is better, though the second is larger."""
    first, second = (Ratios(np.full((20, 1), value), np.ones((20, 1))) for value in (0.9, 1.3))
    lost = Differences(first, second, lambda values: (abs(values - 1), np.sign(values - 1))).point()
    assert lost[0] == pytest.approx(-0.2)


def test_three_records_are_compared_pair_by_pair(folders):
    made = comparison.compare(scored.load([folders[n] for n in ("good", "bad", "identity")]), resamples=4000)
    assert {(one.first, one.second) for one in made.differences} == {
        ("good", "bad"),
        ("good", "identity"),
        ("bad", "identity"),
    }
    # Of 5% less noise, whole grey levels keep nothing: the good model repeats an image as well as doing nothing does.
    assert made.ranks["composition", "l1", "", "", 1, "l1"] == [1, 3, 1]
    assert made.ranks["truth", "effect_error", "a", "", 0, ""] == [1, 1, 3]
    assert json.loads(json.dumps(made.to_json()))["models"] == ["good", "bad", "identity"]


def test_records_of_other_questions_are_refused_and_the_field_is_named(folders):
    with pytest.raises(RecordError, match="the field 'plan' differs"):
        scored.load([folders["good"], folders["elsewhere"]])
    with pytest.raises(RecordError, match="at least two"):
        scored.load([folders["good"]])
    with pytest.raises(RecordError, match="The same record was given twice"):
        scored.load([folders["good"], folders["good"]])


@pytest.mark.parametrize(
    ("field", "value"), [("data", {"test": "x"}), ("judges", {}), ("source", "other"), ("edition", 9)]
)
def test_every_field_that_matters_is_compared(folders, tmp_path, field, value):
    record = json.loads((folders["bad"] / "record.json").read_text())
    record["inputs"][field] = value
    (tmp_path / "record.json").write_text(json.dumps(record))
    with pytest.raises(RecordError, match=f"the field '{field}' differs"):
        scored.load([folders["good"], tmp_path])


def test_a_version_of_the_package_that_defines_the_same_is_no_difference(folders, tmp_path):
    record = json.loads((folders["bad"] / "record.json").read_text())
    record["inputs"]["counterbench"] = "9.9"
    shutil.copytree(folders["bad"], tmp_path / "newer")
    (tmp_path / "newer" / "record.json").write_text(json.dumps(record))
    assert len(scored.load([folders["good"], tmp_path / "newer"])) == 2


def altered(folder, to, change):
    to.mkdir()
    record = json.loads((folder / "record.json").read_text())
    change(record)
    (to / "record.json").write_text(json.dumps(record))
    (to / "samples.parquet").write_bytes((folder / "samples.parquet").read_bytes())
    return to


def test_leaked_numbers_are_marked_and_every_row_has_its_floor(folders, tmp_path):
    from rich.console import Console

    from counterbench.leaderboard import comparison_report

    def leak(record):
        for number in record["numbers"]:
            number["leaked"] = number["metric"] == "effectiveness"

    leaky = altered(folders["bad"], tmp_path / "leaky", leak)
    made = comparison.compare(scored.load([folders["good"], leaky]), resamples=300)
    console = Console(width=170, record=True, file=io.StringIO())
    console.print(comparison_report.build(made))
    text = console.export_text()
    assert "LEAKED: bad" in text
    assert "0 (identity)" in text
    rows = made.to_json()["numbers"]
    assert {row["metric"] for row in rows if row["leaked"]} == {"effectiveness"}
    assert all("identity" in row["baselines"] for row in rows)


def test_composition_is_compared_at_one_temperature_only(folders, tmp_path):
    warm = altered(folders["good"], tmp_path / "warm", lambda record: record.update(pixel_temperature=1.0))
    cool = altered(folders["bad"], tmp_path / "cool", lambda record: record.update(pixel_temperature=0.1))
    made = comparison.compare(scored.load([warm, cool]), resamples=300)
    assert {key[0] for key in made.numbers} == {"effectiveness", "truth"}
    assert "pixel-noise temperatures differ (good 1, bad 0.1)" in made.notes[0]
    mixed = comparison.compare(scored.load([warm, folders["identity"]]), resamples=300)  # the baseline has none
    assert "composition" in {key[0] for key in mixed.numbers}


def test_many_models_can_still_be_told_apart(folders):
    """Holm runs over the numbers of a pair: more models do not make every difference insignificant."""
    entries = scored.load([folders["good"], folders["bad"]])
    five = [scored.ScoredRecord(f"m{i}", entries[i % 2].record, entries[i % 2].ratios) for i in range(5)]
    made = comparison.compare(five, resamples=4000)
    assert made.ranks["composition", "l1", "", "", 1, "l1"] == [1, 4, 1, 4, 1]


def test_clusters_without_data_are_no_evidence():
    rng = np.random.default_rng(0)
    alarms = 0
    for _ in range(100):
        score = np.zeros((300, 2))
        score[:40] = rng.normal(size=(40, 2))
        weights = np.zeros((300, 1))
        weights[:40] = 1
        alarms += difference_of(score[:, [0]], score[:, [1]], weights, resamples=50).p_wilcoxon < 0.05
    assert alarms < 14


WITHOUT_SCALE = {"preserves": False, "floor": None, "ceiling": None, "references": {}}


def difference_of(first, second, weights, kind="mean", direction="lower", statistic="mean", resamples=200):
    """The difference of one number, from totals per cluster, (G, 1)."""
    number = SimpleNamespace(kind=kind, direction=direction, statistic=statistic, **WITHOUT_SCALE)
    entries = (
        scored.ScoredRecord(name, None, {"k": Ratios(score, weights)})
        for name, score in zip("ab", (first, second), strict=True)
    )
    (one,) = paired.differences(*entries, {"k": [number, number]}, resamples=resamples, seed=0)
    return one


def sizes_of(count, rng, equal):
    return np.full(count, 8) if equal else rng.integers(3, 14, count)


@pytest.mark.parametrize("equal", [True, False])
@pytest.mark.parametrize(
    ("direction", "kind"), [("higher", "mean"), ("lower", "mean"), ("one", "mean"), ("higher", "skill")]
)
def test_tied_clusters_are_no_evidence(direction, kind, equal):
    """Two models of equal quality, right in 98 of 100 answers: most clusters tie, and the signed-rank test keeps its level."""
    rng = np.random.default_rng(0)
    alarms, trials = 0, 300
    for _ in range(trials):
        sizes = sizes_of(250, rng, equal)
        first, second = (rng.binomial(sizes, 0.98)[:, None].astype(float) for _ in range(2))
        assert (first == second).mean() > 0.6
        one = difference_of(first, second, sizes[:, None].astype(float), kind, direction, resamples=2)
        alarms += one.p_wilcoxon < 0.05
    assert 0.02 * trials < alarms < 0.085 * trials


def test_a_cluster_that_only_one_of_them_answers_says_nothing():
    rng = np.random.default_rng(5)
    first, second = rng.random((60, 1)), 0.1 + rng.random((60, 1))
    weights = np.ones((60, 1))
    weights[:20] = 0
    first[:20] = 0
    number = SimpleNamespace(kind="mean", direction="lower", statistic="mean", **WITHOUT_SCALE)
    entries = [
        scored.ScoredRecord("a", None, {"k": Ratios(first, weights)}),
        scored.ScoredRecord("b", None, {"k": Ratios(second, np.ones((60, 1)))}),
    ]
    (one,) = paired.differences(*entries, {"k": [number, number]}, resamples=100, seed=0)
    centre = (first[20:].mean() + second.mean()) / 2
    lost = (first - centre)[20:, 0] - (second - centre)[20:, 0]
    assert one.p_wilcoxon == pytest.approx(stats.wilcoxon(lost, zero_method="pratt").pvalue)


def test_clusters_with_the_same_totals_are_exactly_zero():
    rng = np.random.default_rng(1)
    sizes = rng.integers(3, 14, 60)[:, None].astype(float)
    first = rng.random((60, 1))
    second = first.copy()
    second[:7] += rng.random((7, 1))
    for direction in ("lower", "higher", "one"):
        number = SimpleNamespace(kind="mean", direction=direction)
        lost = paired._Paired(number, Ratios(first, sizes), Ratios(second, sizes)).lost()
        assert np.flatnonzero(lost).tolist() == list(range(7))
        assert difference_of(first, second, sizes, direction=direction).p_wilcoxon == pytest.approx(
            stats.wilcoxon((first - second)[:, 0], zero_method="pratt").pvalue
        )


def test_the_same_hits_are_a_tie_although_the_denominators_differ_elsewhere():
    """F1 = 2 TP / (2 TP + FP + FN): mistakes in one cluster change the denominator of that cluster alone."""
    hits = np.full((50, 1), 6.0)
    first, second = Ratios(hits, hits + 2), Ratios(hits, hits + 2)
    second.denominator[3] += 1
    number = SimpleNamespace(kind="mean", direction="higher")
    assert np.flatnonzero(paired._Paired(number, first, second).lost()).tolist() == [3]


def test_pseudo_values_of_a_whole_set_have_no_signed_rank_test():
    """The area under a curve of two models that differ in one answer: every pseudo-value moves."""
    from counterbench.metrics.statistics.classification import auroc

    rng = np.random.default_rng(2)
    target = np.arange(200) % 2
    score = rng.normal(size=200) + target
    other = score.copy()
    other[5] += 3
    first, second = (auroc(target, one)[0][:, None] for one in (score, other))
    assert (first != second).mean() > 0.4
    ones = np.ones((200, 1))
    assert difference_of(first, second, ones, direction="higher").p_wilcoxon < 0.01  # what would be told
    assert np.isnan(difference_of(first, second, ones, direction="higher", statistic="pseudo").p_wilcoxon)


@pytest.mark.parametrize("kind", ["mean", "skill"])
@pytest.mark.parametrize("direction", ["lower", "higher", "one", "zero", "half"])
def test_the_slope_is_the_derivative_of_the_regret(direction, kind):
    from counterbench.records.estimate import regret

    def lost(ratio):
        return regret(1 - ratio if kind == "skill" else ratio, direction)

    number = SimpleNamespace(kind=kind, direction=direction)
    for ratio in (-0.3, 0.2, 0.7, 1.4):
        expected = (lost(ratio + 1e-6) - lost(ratio - 1e-6)) / 2e-6
        assert paired._slope(number, ratio) == pytest.approx(expected, abs=1e-6)
        assert abs(paired._slope(number, ratio)) == 1
    targets = {"one": 1.0, "zero": 0.0, "half": 0.5}
    if direction in targets:
        best = targets[direction]
        assert paired._slope(number, 1 - best if kind == "skill" else best) == 0


@pytest.mark.parametrize("direction", ["lower", "higher"])
def test_of_a_root_the_slope_has_its_size_and_equal_totals_stay_ties(direction):
    number = SimpleNamespace(kind="root", direction=direction)
    sign = 1 if direction == "lower" else -1
    for ratio in (0.04, 0.7, 4.0):
        assert paired._slope(number, ratio) == pytest.approx(
            sign * (np.sqrt(ratio + 1e-6) - np.sqrt(ratio - 1e-6)) / 2e-6
        )
    rng = np.random.default_rng(4)
    ones = np.ones((60, 1))
    first = rng.random((60, 1))
    second = first.copy()
    second[:9] += 1 + rng.random((9, 1))
    lost = paired._Paired(number, Ratios(first, ones), Ratios(second, ones)).lost()
    assert np.flatnonzero(lost).tolist() == list(range(9))
    one = difference_of(first, second, ones, kind="root", direction=direction)
    influence = sign * sum(
        way * (totals[:, 0] - totals.mean()) / (2 * np.sqrt(totals.mean()))
        for way, totals in ((1, first), (-1, second))
    )
    assert one.effect[0] == pytest.approx(one.advantage / influence.std(ddof=1))


@pytest.mark.parametrize(("direction", "best"), [("one", 1.0), ("zero", 0.0), ("half", 0.5)])
@pytest.mark.parametrize("kind", ["mean", "skill"])
def test_models_on_both_sides_of_a_target_are_compared_by_their_distance_from_it(direction, best, kind):
    """One falls short by 0.1, the other overshoots by as much: equally good, though every cluster differs; then by 0.3."""
    rng = np.random.default_rng(3)
    ones = np.ones((200, 1))
    below, above = (best + shift + 0.05 * rng.normal(size=(200, 1)) for shift in (-0.1, 0.1))
    above += 2 * best - below.mean() - above.mean()  # at the very same distance
    stored = [1 - part if kind == "skill" else part for part in (below, above)]
    tie = difference_of(*stored, ones, kind, direction, resamples=2000)
    assert tie.advantage == pytest.approx((abs(above.mean() - best) - abs(below.mean() - best)), abs=1e-12)
    far = [stored[0], stored[1] - 0.2 if kind == "skill" else stored[1] + 0.2]
    clear = difference_of(*far, ones, kind, direction, resamples=2000)
    assert clear.p_wilcoxon < 1e-6
    assert clear.better == "a"
    # By hand: the first falls short, the second overshoots, so regrets are best - first and second - best.
    lost = (best - below) - (above + 0.2 - best)
    assert clear.advantage == pytest.approx(-lost.mean(), abs=1e-12)
    assert clear.effect[0] == pytest.approx(-lost.mean() / lost.std(ddof=1), rel=1e-9)
    assert clear.p_wilcoxon == pytest.approx(stats.wilcoxon(lost[:, 0]).pvalue, rel=1e-6)
    middle = (best - below) - (above - best)
    assert tie.p_wilcoxon == pytest.approx(stats.wilcoxon(middle[:, 0]).pvalue, rel=1e-6)
    assert tie.p_wilcoxon > 0.05


@pytest.mark.parametrize(
    ("direction", "kind", "sign"), [("lower", "mean", -1), ("higher", "mean", 1), ("higher", "skill", -1)]
)
def test_advantage_and_effect_by_hand(direction, kind, sign):
    """Of a skill the totals of the error are stored: more of them is worse."""
    rng = np.random.default_rng(4)
    first, second = rng.random((80, 1)), 0.1 + rng.random((80, 1))
    one = difference_of(first, second, np.ones((80, 1)), kind, direction, resamples=2000)
    apart = sign * (first - second)
    assert one.advantage == pytest.approx(apart.mean())
    assert one.effect[0] == pytest.approx(apart.mean() / apart.std(ddof=1))
    assert one.effect[1] < one.effect[0] < one.effect[2]
    assert one.value == pytest.approx((first - second).mean() * (-1 if kind == "skill" else 1))


def test_records_that_cover_other_groups_are_lined_up(folders, tmp_path, monkeypatch):
    import pyarrow.parquet

    half = altered(folders["bad"], tmp_path / "half", lambda record: None)
    table = pyarrow.parquet.read_table(half / "samples.parquet")
    keep = table["group"].to_numpy() >= 3030
    pyarrow.parquet.write_table(table.filter(keep), half / "samples.parquet")
    with pytest.raises(RecordError, match="are not those of the record"):
        scored.load([folders["good"], half])
    monkeypatch.setattr(scored, "require_own", lambda *_: None)
    whole, part = scored.load([folders["good"], half])
    key = ("composition", "l1", "", "", 1, "l1")
    assert whole.ratios[key].clusters == part.ratios[key].clusters == 60
    assert (part.ratios[key].denominator[:30] == 0).all()
    full = scored.load([folders["good"], folders["bad"]])[1]
    assert np.array_equal(part.ratios[key].numerator[30:], full.ratios[key].numerator[30:])


def test_missing_or_damaged_scores_are_reported(folders, tmp_path):
    (tmp_path / "record.json").write_text((folders["bad"] / "record.json").read_text())
    with pytest.raises(RecordError, match=r"Neither .*samples\.parquet nor .*totals\.safetensors is there"):
        scored.load([folders["good"], tmp_path])
    (tmp_path / "samples.parquet").write_bytes((folders["bad"] / "samples.parquet").read_bytes()[:500])
    with pytest.raises(RecordError, match="is missing or damaged"):
        scored.load([folders["good"], tmp_path])


def test_totals_are_enough(folders, tmp_path):
    """What lies beside a published record gives the comparison that the scores per sample give."""
    homes = []
    for name in ("good", "bad"):
        homes.append(tmp_path / f"{name}.json")
        homes[-1].write_text((folders[name] / "record.json").read_text())
        (tmp_path / f"{name}.totals.safetensors").write_bytes((folders[name] / "totals.safetensors").read_bytes())
    from_totals = comparison.compare(scored.load(homes), resamples=2000)
    from_samples = comparison.compare(scored.load([folders["good"], folders["bad"]]), resamples=2000)
    assert from_totals.ranks == from_samples.ranks
    for ours, theirs in zip(from_totals.differences, from_samples.differences, strict=True):
        assert ours.key == theirs.key
        assert (ours.value, ours.low, ours.high) == pytest.approx(
            (theirs.value, theirs.low, theirs.high), rel=1e-4, abs=1e-6
        )
    mixed = comparison.compare(scored.load([homes[0], folders["bad"]]), resamples=2000)
    assert mixed.ranks == from_samples.ranks
    path = tmp_path / "bad.totals.safetensors"
    path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(RecordError, match="is damaged"):
        scored.load(homes)


def test_stored_totals_keep_six_digits(tmp_path):
    key = ("truth", "l1", "a", "", 0, "l1")
    sums = np.random.default_rng(0).uniform(1, 1000, (250, 1))
    stored = totals.Totals(np.arange(250), {key: Ratios(sums, sums + 1)}, merged=True)
    totals.write(stored, tmp_path / "t.totals.safetensors")
    (again,) = totals.read(tmp_path / "t.json", merge=True).numbers.values()
    np.testing.assert_allclose(again.numerator, sums, rtol=1e-6)
    np.testing.assert_allclose(again.denominator, sums + 1, rtol=1e-6)


def test_many_clusters_are_put_together_and_keep_their_sums(tmp_path):
    import pyarrow
    import pyarrow.parquet

    count = 1000
    score = np.random.default_rng(0).exponential(size=count)
    columns = {"metric": ["m"] * count, "quantity": ["q"] * count, "intervened": [""] * count, "measured": [""] * count}
    columns |= {"cycles": [0] * count, "space": [""] * count, "group": np.arange(count) * 3}
    columns |= {"score": score, "relative_to": np.ones(count)}
    pyarrow.parquet.write_table(pyarrow.table(columns), tmp_path / "samples.parquet")
    made = totals.of_samples(tmp_path / "samples.parquet", merge=True)
    (key,) = made.numbers
    assert len(made.units) == totals.MOST
    assert made.numbers[key].point()[0] == pytest.approx(score.mean())
    assert set(made.numbers[key].denominator[:, 0]) == {3.0, 4.0}
    totals.write(made, tmp_path / "totals.safetensors")
    (tmp_path / "samples.parquet").unlink()
    again = totals.read(tmp_path / "record.json")
    assert again.numbers[key].point()[0] == pytest.approx(score.mean(), rel=1e-6)
    with pytest.raises(ValueError, match="merged"):
        totals.write(totals.Totals(made.units, made.numbers, False), tmp_path / "x")


def test_paired_intervals_are_those_of_students_paired_test():
    """And longer where differences are skewed, never shorter."""
    rng = np.random.default_rng(0)
    first = rng.exponential(size=(80, 1))
    second = first + 0.2 * rng.normal(size=(80, 1)) - 0.1
    one = difference_of(first, second, np.ones((80, 1)), resamples=10_000)
    exact = stats.ttest_rel(first[:, 0], second[:, 0]).confidence_interval()
    assert [one.low, one.high] == pytest.approx([exact.low, exact.high], abs=0.01)
    assert one.low <= exact.low + 1e-12
    assert one.high >= exact.high - 1e-12


def test_holm_by_hand():
    assert holm(np.array([0.01, 0.04, 0.03, np.nan])).tolist()[:3] == pytest.approx([0.03, 0.06, 0.06])
    assert np.isnan(holm(np.array([0.01, np.nan]))[1])
    assert holm(np.array([0.9, 0.8])).tolist() == [1, 1]


def test_a_correction_for_many_tests_hides_no_clear_difference():
    """Twenty standard errors in each of 500 numbers, with few resamples: counting alone could not tell."""
    data = np.random.default_rng(3).standard_normal((100, 500))
    data += 2 - data.mean(0)
    assert holm(p_values(spread_of(Ratios(data, np.ones_like(data)), 200, 0))).max() < 1e-6


def test_false_alarms_are_as_rare_as_promised():
    """Two models of equal quality: at most one comparison in twenty finds any difference."""
    alarms = 0
    for trial in range(60):
        rng = np.random.default_rng(trial)
        ones = np.ones((25, 40))
        pair = Differences(Ratios(rng.normal(size=(25, 40)), ones), Ratios(rng.normal(size=(25, 40)), ones))
        alarms += bool((holm(p_values(spread_of(pair, 1000, trial))) < 0.05).any())
    assert alarms <= 7


def test_table_and_picture(compared, tmp_path):
    from rich.console import Console

    from counterbench.leaderboard import comparison_report

    console = Console(width=140, record=True, file=io.StringIO())
    console.print(comparison_report.build(compared))
    text = console.export_text()
    assert "good (rank)" in text
    assert "(1)" in text
    rows = [" ".join(line.split()) for line in text.splitlines()]
    assert any(
        row.startswith("l1 after 1 cycle") and "good" in row and "< 0.001 < 0.001 0 (identity)" in row for row in rows
    )
    assert any(row.startswith("c: accuracy") and "0 [0, 0] 1.000 - 1 (identity)" in row for row in rows)
    assert any(row.startswith("c: accuracy") and "1 (1) 1 (1) - 0 [0, 0]" in row for row in rows)  # nobody is better
    comparison_report.draw(compared, tmp_path / "c.png")
    assert (tmp_path / "c.png").stat().st_size > 5000


@pytest.mark.parametrize("room", [60, 80, 120])
def test_the_summary_names_who_is_better(folders, compared, room):
    from rich.console import Console

    from counterbench.leaderboard import comparison_summary

    def told(made):
        console = Console(width=room, record=True, file=io.StringIO())
        console.print(comparison_summary.build(made, room))
        return console.export_text()

    text = told(compared)
    assert all(len(line) <= room for line in text.splitlines())
    assert "good is better than bad" in " ".join(text.split())
    (line,) = (line for line in text.splitlines() if line.startswith("do(a) near truth"))
    good, bad, better = line.removeprefix("do(a) near truth").split()
    assert better == "good"
    assert int(good) > int(bad)
    equal = comparison.compare(scored.load([folders["good"], folders["twin"]]), resamples=500)
    text = told(equal)
    assert "good and twin are as good as each other" in " ".join(text.split())
    (line,) = (line for line in text.splitlines() if line.startswith("do(a) near truth"))
    assert line.split()[-1] == "-"
    three = told(comparison.compare(scored.load([folders[n] for n in ("good", "bad", "identity")]), resamples=500))
    (line,) = (line for line in three.splitlines() if line.startswith("do(a) near truth"))
    assert line.split()[-1] == "good"
    assert "3 models" in three
