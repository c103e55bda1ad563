import json
import os

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from counterbench import plans
from counterbench.catalog.suites import Suite
from counterbench.causal.variables import Binary, Categorical, Continuous
from counterbench.errors import ConfigError, DataError
from counterbench.plans import drawing

SUITE = Suite(name="s", title="S", metrics=("composition",))


@pytest.fixture(scope="module")
def dataset(toy):
    return toy.Toy()


def tenth(values, train):
    edges = np.linspace(train.min(), train.max(), 11)[1:-1]
    return np.searchsorted(edges, values, side="right")


@given(st.integers(0, 1000), st.integers(20, 300))
def test_continuous_values_are_training_values_from_another_tenth(seed, count):
    rng = np.random.default_rng(seed)
    train = torch.from_numpy(rng.gamma(3, 1, count)).float()
    factual = torch.from_numpy(rng.gamma(3, 1, 50)).float()
    drawn = drawing.other_value(Continuous("v", 0, 9), factual, train, rng)
    assert set(drawn.tolist()) <= set(train.tolist())
    assert (tenth(drawn.numpy(), train.numpy()) != tenth(factual.numpy(), train.numpy())).all()


def test_continuous_values_are_uniform_over_the_training_values_allowed():
    """Not over unique values, nor over bin means used as edges (defect 21 of the anchor)."""
    train = torch.cat([torch.full((300,), 0.05), torch.full((100,), 5.0), torch.linspace(0, 10, 11)])
    factual = torch.full((20_000,), 9.99)
    drawn = drawing.other_value(Continuous("v", 0, 10), factual, train, np.random.default_rng(0))
    allowed = train[torch.from_numpy(tenth(train.numpy(), train.numpy()) != 9)]
    expected = float((allowed < 1).float().mean())
    assert float((drawn < 1).float().mean()) == pytest.approx(expected, abs=0.01)


def test_classes_are_uniform_over_the_others():
    factual = torch.zeros(30_000, dtype=torch.long) + 3
    drawn = drawing.other_value(Categorical("v", tuple("abcde")), factual, factual, np.random.default_rng(0))
    frequencies = drawn.bincount(minlength=5) / len(drawn)
    assert frequencies[3] == 0
    assert frequencies[[0, 1, 2, 4]].tolist() == pytest.approx([0.25] * 4, abs=0.01)


def test_binary_is_the_other_value():
    factual = torch.tensor([0, 1, 1])
    assert drawing.other_value(Binary("v"), factual, factual, np.random.default_rng(0)).tolist() == [1, 0, 0]


def test_a_variable_that_never_varies_is_reported():
    with pytest.raises(DataError, match="one of 10 parts"):
        drawing.other_value(Continuous("v", 0, 1), torch.ones(2), torch.ones(5), np.random.default_rng(0))


def test_same_seed_same_plan_and_no_global_state(dataset):
    """Defect 38 of the anchor: four unseeded generators."""
    np.random.seed(1)
    first = plans.draw(dataset, SUITE, 0)
    np.random.seed(2)
    torch.manual_seed(9)
    second = plans.draw(dataset, SUITE, 0)
    assert first.hash == second.hash
    assert first.hash != plans.draw(dataset, SUITE, 1).hash


def test_a_limited_plan_asks_the_same_questions_about_fewer_images(dataset):
    whole, part = plans.draw(dataset, SUITE, 0), plans.draw(dataset, SUITE, 0, limit=7)
    assert len(part.index) == 7
    for name, values in part.single.items():
        assert torch.equal(values, whole.single[name][:7])
    assert len(part) == 7 * 4
    assert len(list(part.lines())) == 7 * 4


def test_every_intervenable_variable_is_asked_about_every_image(dataset):
    plan = plans.draw(dataset, SUITE, 0)
    assert set(plan.single) == {"a", "b", "c"}
    assert all(len(values) == 120 for values in plan.single.values())


FULL = SUITE.model_copy(update={"undo": True, "pairs": True})


def test_what_is_set_is_taken_back_and_unrelated_variables_are_set_in_pairs(dataset):
    plan = plans.draw(dataset, FULL, 0, limit=5)
    assert plan.pairs == (("a", "c"), ("b", "c"))  # a causes b: their order matters
    test = dataset.attributes("test")
    for name in ("a", "b", "c"):
        assert torch.equal(plan.undo[name], test[name][:5])
    assert plan.counts == {"null": 5, "single": 15, "return": 15, "pair": 10}
    questions = list(plan.lines())
    assert len(questions) == len(plan) == 45
    back = next(q for q in questions if q.kind == "return" and q.variable == "c" and q.row == 3)
    assert back.then == "c"
    assert back.value == float(plan.single["c"][3])
    assert back.then_value == float(test["c"][3])
    pair = next(q for q in questions if q.kind == "pair" and q.row == 2 and q.then == "c" and q.variable == "b")
    assert (pair.value, pair.then_value) == (float(plan.single["b"][2]), float(plan.single["c"][2]))


def test_more_kinds_of_question_change_no_value(dataset):
    simple, full = plans.draw(dataset, SUITE, 0), plans.draw(dataset, FULL, 0)
    assert all(torch.equal(full.single[name], values) for name, values in simple.single.items())
    assert simple.hash != full.hash


def test_a_suite_may_ask_about_the_first_images_only(dataset):
    short = SUITE.model_copy(update={"limit": 11})
    assert plans.draw(dataset, short, 0).index.tolist() == list(range(11))
    assert len(plans.draw(dataset, short, 0, limit=4).index) == 4


def test_a_suite_may_ask_about_some_of_the_images_only_and_asks_what_the_whole_one_asks(dataset):
    whole = plans.draw(dataset, SUITE.model_copy(update={"undo": True}), 0)
    part = plans.draw(dataset, SUITE.model_copy(update={"undo": True, "where": {"c": ("one",)}}), 0, limit=7)
    test = dataset.attributes("test")
    rows = (test["c"] == 1).nonzero()[:7, 0]
    assert torch.equal(part.index, rows)
    assert part.single.keys() == {"a", "b", "c"}
    for name, values in part.single.items():
        assert torch.equal(values, whole.single[name][rows])
        assert torch.equal(part.undo[name], test[name][rows])


def test_each_variable_is_drawn_with_chance_of_its_own(dataset, monkeypatch):
    """Two variables with the same values get different ones to set."""
    same = torch.arange(120.0) % 50
    alike = {"a": same, "b": same, "c": dataset.attributes("test")["c"]}
    monkeypatch.setattr(dataset, "attributes", lambda split: alike)
    drawn = plans.draw(dataset, SUITE, 0).single
    assert (drawn["a"] == drawn["b"]).float().mean() < 0.2


def test_values_to_set_come_from_training(dataset):
    train = set(dataset.attributes("train")["a"].tolist())
    assert set(plans.draw(dataset, SUITE, 0).single["a"].tolist()) <= train


def test_a_cause_and_its_effect_are_no_pair_in_either_order(dataset):
    assert drawing.unrelated(dataset.graph, ("a", "b", "c")) == (("a", "c"), ("b", "c"))
    assert drawing.unrelated(dataset.graph, ("c", "b", "a")) == (("c", "b"), ("c", "a"))


def test_the_published_law_draws_distinct_test_values_from_another_ninth():
    rng = np.random.default_rng(0)
    test = torch.tensor([0.0] * 500 + [5.0, 6.0, 9.0])
    drawn = drawing.other_value(Continuous("v", 0, 9), torch.zeros(9000), test, rng, law="published")
    assert set(drawn.tolist()) == {5.0, 6.0, 9.0}
    frequencies = [float((drawn == value).float().mean()) for value in (5.0, 6.0, 9.0)]
    assert frequencies == pytest.approx([1 / 3] * 3, abs=0.02)
    back = drawing.other_value(Continuous("v", 0, 9), torch.full((900,), 9.0), test, rng, law="published")
    assert set(back.tolist()) == {0.0, 5.0, 6.0}  # 0 counts once, though it is there 500 times
    assert float((back == 0).float().mean()) == pytest.approx(1 / 3, abs=0.06)


@pytest.mark.parametrize("ending", ["parquet", "csv", "json"])
def test_a_plan_survives_the_disk(dataset, tmp_path, ending):
    plan = plans.draw(dataset, FULL, 0, limit=9)
    plans.save(plan, tmp_path / f"p.{ending}")
    loaded = plans.load(tmp_path / f"p.{ending}", dataset)
    assert loaded.hash == plan.hash
    assert loaded.pairs == plan.pairs


def test_plans_of_something_else_are_refused(dataset, tmp_path):
    plan = plans.draw(dataset, SUITE, 0, limit=9)
    for change, words in [
        ({"index": torch.arange(500, 509)}, "does not have"),
        ({"single": {"z": plan.single["a"]}}, "sets 'z'"),
    ]:
        given = {"index": plan.index, "cycles": 1, "single": plan.single, "undo": {}, **change}
        plans.save(plans.Plan(**given), tmp_path / "p.parquet")
        with pytest.raises(DataError, match=words):
            plans.load(tmp_path / "p.parquet", dataset)
    (tmp_path / "q.parquet").write_text("no")
    with pytest.raises(DataError, match="is not a plan"):
        plans.load(tmp_path / "q.parquet", dataset)
    (tmp_path / "q.json").write_text("[{}]")
    with pytest.raises(DataError, match="is not a plan"):
        plans.load(tmp_path / "q.json", dataset)
    with pytest.raises(ConfigError, match=r"must end with \.parquet"):
        plans.save(plan, tmp_path / "p.txt")


def test_a_second_step_needs_its_first(dataset, tmp_path):
    plans.save(plans.draw(dataset, FULL, 0, limit=4), tmp_path / "p.csv")
    lines = (tmp_path / "p.csv").read_text().splitlines()
    (tmp_path / "q.csv").write_text("\n".join(line for line in lines if not line.startswith("single")))
    with pytest.raises(DataError, match="without the single one"):
        plans.load(tmp_path / "q.csv", dataset)
    with pytest.raises(DataError, match="leaves no question"):
        plans.draw(dataset, SUITE, 0, limit=0)


def test_incomplete_and_inconsistent_plans_are_refused(dataset, tmp_path):
    plans.save(plans.draw(dataset, FULL, 0, limit=4), tmp_path / "p.csv")
    lines = (tmp_path / "p.csv").read_text().splitlines()
    (tmp_path / "q.csv").write_text("\n".join(line for line in lines if not line.startswith("single,2,b")))
    with pytest.raises(DataError, match="incomplete"):
        plans.load(tmp_path / "q.csv", dataset)
    changed = [line.replace(line.split(",")[3], "0.125") if line.startswith("return,1,a") else line for line in lines]
    (tmp_path / "q.csv").write_text("\n".join(changed))
    with pytest.raises(DataError, match="not a consistent plan"):
        plans.load(tmp_path / "q.csv", dataset)


def test_the_order_of_the_rows_in_a_file_is_of_no_matter(dataset, tmp_path):
    plan = plans.draw(dataset, FULL, 0, limit=9)
    plans.save(plan, tmp_path / "p.csv")
    head, *lines = (tmp_path / "p.csv").read_text().splitlines()
    order = np.random.default_rng(0).permutation(len(lines))
    (tmp_path / "q.csv").write_text("\n".join([head, *(lines[i] for i in order)]))
    loaded = plans.load(tmp_path / "q.csv", dataset)
    assert torch.equal(loaded.index, plan.index)
    assert all(torch.equal(loaded.single[name], value) for name, value in plan.single.items())


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ([], "holds no question"),
        (["single,0,a,99,,"], "cannot be: a=99 is outside its range"),
        (["single,0,a,nan,,"], "cannot be: a"),
        (["single,0,c,1.5,,"], "cannot be: c: 1 of 1 values are not classes"),
        (["double,0,a,0.5,,"], "of the kind 'double'; there are null, single"),
    ],
)
def test_a_damaged_file_is_told_what_is_wrong(dataset, tmp_path, lines, words):
    (tmp_path / "p.csv").write_text("\n".join(["kind,row,variable,value,then,then_value", *lines]))
    with pytest.raises(DataError, match=words):
        plans.load(tmp_path / "p.csv", dataset)
    with pytest.raises(DataError, match="There is no plan"):
        plans.load(tmp_path / "none.csv", dataset)


def test_questions_can_be_written_by_hand(dataset, tmp_path):
    """Decimals that single precision does not hold are legal."""
    (tmp_path / "p.csv").write_text("kind,row,variable,value,then,then_value\nsingle,3,a,1.1,,\nsingle,1,a,0.3,,")
    plan = plans.load(tmp_path / "p.csv", dataset)
    assert plan.index.tolist() == [1, 3]
    assert plan.single["a"].tolist() == pytest.approx([0.3, 1.1])


def test_a_plan_saved_again_by_a_spreadsheet_is_the_same(dataset, tmp_path):
    """With a byte order mark, and rows written as 3.0."""
    plan = plans.draw(dataset, FULL, 0, limit=4)
    for ending in ("csv", "json"):
        plans.save(plan, tmp_path / f"p.{ending}")
        text = (tmp_path / f"p.{ending}").read_text()
        (tmp_path / f"q.{ending}").write_text(text, encoding="utf-8-sig")
        assert plans.load(tmp_path / f"q.{ending}", dataset).hash == plan.hash
    (tmp_path / "q.csv").write_text((tmp_path / "p.csv").read_text().replace("null,3,", "null,3.0,"))
    assert plans.load(tmp_path / "q.csv", dataset).hash == plan.hash


@pytest.mark.parametrize(
    ("kind", "change", "words"),
    [
        ("null", {"value": 1e6}, "question 1: the value of a null question is 1000000.0; expected .* 1 to 50"),
        ("null", {"value": -3}, "a null question is -3; expected a whole number of repetitions"),
        ("null", {"value": 2.5}, "a null question is 2.5; expected a whole number"),
        ("null", {"value": None}, "a null question is None"),
        ("null", {"value": "NaN"}, "a null question is 'NaN'"),
        ("single", {"row": 0.9}, "question 9: row is 0.9; expected a whole number"),
        ("single", {"row": "Infinity"}, "row is 'Infinity'; expected a whole number"),
        ("single", {"row": True}, "row is True"),
        ("single", {"row": [1] * 100}, r"row is \[1, 1.*\.\.\.\]; expected"),
        ("single", {"variable": []}, "it names 0 variables; a single question names 1"),
        ("single", {"variable": ["a"]}, r"variable is \['a'\]; expected a word"),
        ("single", {"variable": 2**63}, "variable is 9223372036854775808; expected a word"),
        ("single", {"kind": {"a": 1}}, "kind is {'a': 1}; expected a word"),
        ("single", {"value": "much"}, "sets a value that cannot be: a"),
        ("single", {"value": 10**400}, "sets a value that cannot be: a"),
        ("return", {"then": 7}, "then is 7; expected a word"),
        ("return", {"then": ""}, "it names 1 variables; a return question names 2"),
        ("single", {"variable": "z" * 10_000}, "sets 'zzz"),
    ],
)
def test_plans_that_cannot_be_are_told_what_is_wrong_with_which_question(dataset, tmp_path, kind, change, words):
    plans.save(plans.draw(dataset, FULL, 0, limit=8), tmp_path / "p.json")
    questions = json.loads((tmp_path / "p.json").read_text())
    next(question for question in questions if question["kind"] == kind).update(change)
    (tmp_path / "p.json").write_text(json.dumps(questions))
    with pytest.raises(DataError, match=words) as caught:
        plans.load(tmp_path / "p.json", dataset)
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("p.json", b"[" * 100_000, "is not a plan"),
        ("p.json", b"{}", "it holds a dict instead of a list"),
        ("p.json", b"[1]", "a question is no table row"),
        ("p.json", b'[{"kind": "single"}]', "a question lacks row"),
        ("p.csv", b"kind;row;variable;value;then;then_value\n", "holds no question"),
        ("p.csv", b"kind;row\nsingle;0\n", "a question lacks kind"),
        ("p.csv", "kind".encode("utf-16"), "is not a plan"),
        ("p.csv", b'kind,row\n"' + b"x" * 200_000, "is not a plan"),
    ],
)
def test_files_that_hold_no_plan(dataset, tmp_path, name, content, words):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=words):
        plans.load(tmp_path / name, dataset)


@pytest.mark.parametrize("ending", ["csv", "json", "parquet"])
def test_a_pipe_is_no_plan(dataset, tmp_path, ending):
    os.mkfifo(tmp_path / f"p.{ending}")
    with pytest.raises(DataError, match="it is a pipe, device or socket"):
        plans.load(tmp_path / f"p.{ending}", dataset)
