"""Tests of independence for numbers and classes, and graphs that data can refute or cannot."""

import json
import math

import numpy as np
import pytest
from click.testing import CliRunner

from counterbench.causal.graph import CausalGraph
from counterbench.cli import main
from counterbench.discovery.independence import Independence
from counterbench.discovery.refuting import among, implied, refute, report, sentences
from counterbench.discovery.table import Observations
from counterbench.errors import ConfigError
from counterbench.pictures.refuted import refutation_figure
from counterbench.processes.scms import KINDS, RandomSCM

CHAIN = CausalGraph({"a": [], "b": ["a"], "c": ["b"]})


def table_of(kind, *, nodes=5, edges=6, count=1000, seed=0):
    scm = RandomSCM(kind, nodes, edges, seed)
    values = scm.values(scm.draw_noise(count, np.random.default_rng([seed, 5])))
    kinds = dict.fromkeys(scm.names, "categorical" if kind == "discrete" else "continuous")
    graph = CausalGraph({name: [scm.names[p] for p in scm.parents(k)] for k, name in enumerate(scm.names)})
    return Observations(kinds, np.stack(list(values.values()), 1), graph, "random")


def chain_table(count=1500, seed=0):
    rng = np.random.default_rng(seed)
    a = rng.standard_normal(count)
    b = np.tanh(a) + 0.5 * rng.standard_normal(count)
    c = b**2 + 0.5 * rng.standard_normal(count)
    return Observations(dict.fromkeys("abc", "continuous"), np.stack([a, b, c], 1), CHAIN, "chain")


def told_of(independence, claim):
    first, second, given = claim
    return independence.test(first, second, given=given)


@pytest.mark.parametrize("kind", KINDS)
def test_true_independences_fail_as_seldom_as_the_level_says(kind):
    found = []
    for seed in range(8):
        table = table_of(kind, seed=seed)
        independence = Independence(table)
        found += [told_of(independence, claim).p < 0.05 for claim in implied(table.truth)]
    assert len(found) > 30
    assert np.mean(found) < 0.15


@pytest.mark.parametrize("seed", range(5))
def test_dependences_are_seen_that_no_correlation_shows(seed):
    rng = np.random.default_rng(seed)
    level = rng.standard_normal(800)
    square = level**2 + 0.5 * rng.standard_normal(800)
    classes = (square > 1).astype(float)
    table = Observations(
        {"level": "continuous", "square": "continuous", "class": "binary"}, np.stack([level, square, classes], 1)
    )
    independence = Independence(table)
    assert abs(np.corrcoef(level, square)[0, 1]) < 0.2
    assert independence.test("level", "square").p < 1e-6
    assert independence.test("class", "level").p < 1e-6
    assert independence.test("level", "square") is independence.test("square", "level")


def test_a_regression_that_conditions_sees_products_of_causes():
    rng = np.random.default_rng(0)
    first, second = rng.standard_normal((2, 1500))
    both = [first * second + 0.5 * rng.standard_normal(1500) for _ in range(2)]
    table = Observations(dict.fromkeys("xyuv", "continuous"), np.stack([first, second, *both], 1))
    independence = Independence(table)
    assert independence.test("u", "v").p < 1e-6
    assert independence.test("u", "v", given=["x", "y"]).p > 0.001


def test_the_interval_of_a_correlation_holds_it():
    hits = 0
    for seed in range(100):
        rng = np.random.default_rng(seed)
        values = rng.multivariate_normal([0, 0], [[1, 0.4], [0.4, 1]], 300)
        verdict = Independence(Observations(dict.fromkeys("ab", "continuous"), values)).test("a", "b")
        hits += verdict.low <= 0.4 <= verdict.high
    assert hits >= 95


@pytest.mark.parametrize("count", [200, 2000])
def test_rare_classes_do_not_look_dependent(count):
    shares = np.array([0.7, 0.1, 0.05, 0.04, 0.03, 0.03, 0.02, 0.01, 0.01, 0.01])
    failing = []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        columns = [rng.choice(10, count, p=shares / shares.sum()) for _ in range(2)]
        table = Observations(
            {"a": "ordinal", "b": "ordinal", "x": "continuous"}, np.stack([*columns, rng.standard_normal(count)], 1)
        )
        independence = Independence(table)
        failing += [independence.test("a", "b").p < 0.05, independence.test("a", "x").p < 0.05]
    assert np.mean(failing) < 0.15


def test_a_common_cause_that_the_table_lacks_refutes_nothing():
    rng = np.random.default_rng(0)
    cause = rng.standard_normal(1500)
    a, b = (cause + 0.5 * rng.standard_normal(1500) for _ in range(2))
    d = b + 0.5 * rng.standard_normal(1500)
    table = Observations(dict.fromkeys("abd", "continuous"), np.stack([a, b, d], 1))
    whole = CausalGraph({"c": [], "a": ["c"], "b": ["c"], "d": ["b"]})
    found = refute(table, whole)
    assert [{claim.first, claim.second} for claim in found.independences] == [{"a", "d"}]
    assert not any(claim.violated for claim in found.claims)


@pytest.mark.parametrize(
    ("first", "second", "given", "expected"),
    [
        ("a", "c", [], False),
        ("a", "c", ["b"], True),
        ("a", "d", ["b"], True),
        ("e", "a", [], True),
        ("e", "a", ["d"], False),
        ("e", "b", ["c"], True),
    ],
)
def test_d_separation(first, second, given, expected):
    graph = CausalGraph({"a": [], "b": ["a"], "c": ["b"], "e": [], "d": ["c", "e"]})
    assert graph.separates(first, second, given=given) is expected
    assert graph.separates(second, first, given=given) is expected


def test_a_variable_that_never_changes_is_told():
    table = Observations(dict.fromkeys("ab", "continuous"), np.stack([np.zeros(60), np.arange(60.0)], 1), None, "t")
    with pytest.raises(ConfigError, match="a is the same in all 60 samples"):
        refute(table, CausalGraph({"a": [], "b": ["a"]}))


def test_what_a_graph_implies_is_the_local_markov_condition():
    assert implied(CausalGraph({"a": [], "b": ["a"], "c": ["a", "b"]})) == []
    fork = implied(CausalGraph({"a": [], "b": ["a"], "c": ["a"]}))
    assert [(set(claim[:2]), claim[2]) for claim in fork] == [({"b", "c"}, ("a",))]
    collider = implied(CausalGraph({"a": [], "b": [], "c": ["a", "b"]}))
    assert [(set(claim[:2]), claim[2]) for claim in collider] == [({"a", "b"}, ())]


def test_a_right_graph_stands_and_wrong_ones_fall():
    table = chain_table()
    right = refute(table, CHAIN)
    assert right.share == 0
    assert not any(claim.violated for claim in right.claims)
    missing = refute(table, CausalGraph({"a": [], "b": [], "c": ["b"]}))
    assert any(claim.violated for claim in missing.independences)
    turned = refute(table, CausalGraph({"a": ["c"], "b": ["a"], "c": []}))
    assert turned.share == 1
    extra = refute(table, CausalGraph({"a": [], "b": ["a"], "c": ["a", "b"]}))
    assert [(claim.first, claim.second) for claim in extra.arrows if claim.violated] == [("a", "c")]
    assert math.isnan(extra.share)
    assert "no sample can refute it" in sentences(extra)[0]


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in (1, 2))])
def test_shuffled_names_are_the_yardstick(seed):
    table = table_of("anm", nodes=6, edges=6, count=2000, seed=seed)
    found = refute(table, table.truth, permutations=60, seed=seed)
    share, low, high = found.as_good()
    assert low <= share <= high
    assert share <= 0.2
    assert len(found.shuffled) == 60
    assert refute(table, table.truth, permutations=60, seed=seed).shuffled == found.shuffled
    all_others = refute(chain_table(), CHAIN)
    assert len(all_others.shuffled) == 4  # of the five others that there are, the chain turned round implies the same
    assert all_others.exhaustive
    assert all_others.as_good() == (0, 0, 0)
    assert "tells the graph from chance" in " ".join(sentences(all_others))


def test_a_hidden_cause_refutes_a_graph_that_does_not_know_it():
    failing = []
    for seed in (0, 1, 2, 3, 4):
        scm = RandomSCM("anm", 5, 5, seed, hidden=1)
        noise = scm.draw_noise(3000, np.random.default_rng(seed))
        table = Observations(
            dict.fromkeys(scm.names, "continuous"), np.stack(list(scm.values(noise).values()), 1), None, "hidden"
        )
        graph = CausalGraph({name: [scm.names[p] for p in scm.parents(k)] for k, name in enumerate(scm.names)})
        failing.append(sum(claim.violated for claim in refute(table, graph, permutations=0).independences))
    assert sum(failing) >= 2  # where the two ends have causes of their own, it shows


def test_a_graph_over_other_names_is_refused():
    with pytest.raises(ConfigError, match="says nothing of 'c'"):
        refute(chain_table(), CausalGraph({"a": [], "b": ["a"]}))
    with pytest.raises(ConfigError, match="says nothing of 'c'"):
        among(CausalGraph({"a": [], "b": ["a"]}), chain_table())
    assert among(CausalGraph({"a": [], "h": ["a"], "b": ["h"], "c": ["b"]}), chain_table()).edges == CHAIN.edges


def test_the_command_tests_a_card_and_a_file(tmp_path):
    run = CliRunner().invoke
    words = ["refute", "--dataset", "scm-linear-4-4-0", "--output", str(tmp_path / "a"), "--quiet"]
    first = run(main, words)
    assert first.exit_code == 0, first.output
    assert "independences" in first.output
    told = json.loads((tmp_path / "a" / "refutation.json").read_text())
    assert {claim["kind"] for claim in told["claims"]} == {"independence", "arrow"}
    assert (tmp_path / "a" / "refutation.png").stat().st_size > 1000
    table = chain_table()
    rows = "\n".join(",".join(f"{value:.5f}" for value in row) for row in table.values)
    (tmp_path / "t.csv").write_text(f"a,b,c\n{rows}\n")
    (tmp_path / "g.yaml").write_text("graph: {a: [], b: [a], c: [b]}\n")
    words = ["refute", "--csv", str(tmp_path / "t.csv"), "--output", str(tmp_path / "b"), "--quiet", "--json"]
    assert run(main, words).exit_code != 0
    assert "give a graph file that there is, or empty" in run(main, [*words, "--graph", "full"]).stderr
    second = run(main, [*words, "--graph", str(tmp_path / "g.yaml")])
    assert json.loads(second.stdout)["share_failing"] == 0


def test_pictures_are_drawn_of_graphs_with_and_without_implied_independences():
    for graph in (CHAIN, CausalGraph({"a": [], "b": ["a"], "c": ["a", "b"]})):
        found = refute(chain_table(300), graph)
        assert len(refutation_figure(found).axes) == 2
        assert json.dumps(report(found))
