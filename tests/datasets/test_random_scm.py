"""Random causal models as datasets: cards made from names, truth in closed form, hidden causes, recipes for any dataset."""

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from counterbench import datasets, models
from counterbench.catalog.cards import Card
from counterbench.catalog.generated import generated
from counterbench.catalog.recipes import Recipe, recipe_paths
from counterbench.catalog.sweeps import Sweep
from counterbench.cli import main
from counterbench.errors import ConfigError, DataError, UnknownNameError
from counterbench.processes.scms import KINDS, RandomSCM
from counterbench.sweeps.jobs import expand

LINEAR = "scm-linear-5-8-0"


def table(dataset, split="train"):
    return {name: value.double().numpy() for name, value in dataset.attributes(split).items()}


def slopes(values, name, causes):
    """Of a least-squares fit of one variable on others."""
    design = np.stack([*(values[cause] for cause in causes), np.ones(len(values[name]))], 1)
    return dict(zip(causes, np.linalg.lstsq(design, values[name], rcond=None)[0], strict=False))


def direct_effect(dataset, cause, name):
    """What the truth says that one unit of a cause adds to its effect, the other causes held."""
    rows = torch.arange(200)
    factual = dataset.split("test").take(rows)
    held = {parent: factual[parent] for parent in dataset.graph.parents(name)}
    moved = dataset.truth("test", rows, {**held, cause: factual[cause] + 1})[name] - factual[name]
    assert float(moved.std()) < 1e-5
    return float(moved.mean())


@pytest.mark.parametrize("kind", KINDS)
def test_a_name_makes_the_card_of_its_model(kind):
    name = f"scm-{kind}-5-6-3"
    card, scm = datasets.card(name), RandomSCM(kind, 5, 6, 3)
    assert set(card.graph.edges) == {(scm.names[a], scm.names[b]) for b in range(5) for a in scm.parents(b)}
    assert not card.image
    assert set(card.sources) == {"formula", "confounded"}
    factual = datasets.load(name).split("test")
    assert {value.dtype for value in factual.values.values()} == {torch.long if kind == "discrete" else torch.float32}
    again = datasets.load(name).split("test")
    assert all(torch.equal(again.values[one], value) for one, value in factual.values.items())
    assert card.fingerprint != datasets.card(f"scm-{kind}-5-6-4").fingerprint


@pytest.mark.parametrize(
    "name", ["scm-anm-5-6", "scm-anm-5-6-3-1", "scm", "scm-anm-5-6-x", "scm-anm-05-6-0", "scm-anm-\uff15-6-0"]
)
def test_other_names_are_no_models(name):
    assert generated(name) is None
    with pytest.raises(UnknownNameError, match="scm-"):
        datasets.card(name)


def test_a_model_of_one_variable_or_of_no_kind_is_refused():
    with pytest.raises(ConfigError, match="5 variables have 10 arrows at most"):
        datasets.card("scm-anm-5-11-0")
    with pytest.raises(ConfigError, match="no kind 'cubic' of random models; give linear, anm"):
        datasets.card("scm-cubic-5-6-3")
    with pytest.raises(ConfigError, match="two variables at least"):
        datasets.card("scm-anm-1-0-0")


def test_without_a_hidden_cause_regression_finds_the_true_effects():
    dataset = datasets.load(LINEAR)
    values = table(dataset)
    for cause, name in dataset.graph.edges:
        assert slopes(values, name, dataset.graph.parents(name))[cause] == pytest.approx(
            direct_effect(dataset, cause, name), abs=0.03
        )


def test_with_one_regression_is_wrong_about_what_it_confounds_and_about_nothing_else():
    plain, dataset = datasets.load(LINEAR), datasets.load(LINEAR, "confounded")
    ((first, second),) = dataset.card.sources["confounded"].hidden.values()
    assert (first, second) in dataset.graph.edges
    values = table(dataset)
    assert set(values) == set(dataset.card.attributes)  # nobody is shown the hidden cause
    for cause, name in dataset.graph.edges:
        true = direct_effect(dataset, cause, name)
        assert true == pytest.approx(direct_effect(plain, cause, name), abs=1e-4)  # the mechanisms are the same
        gap = abs(slopes(values, name, dataset.graph.parents(name))[cause] - true)
        if (cause, name) == (first, second):
            assert gap > 0.2
        elif name != second:
            assert gap < 0.08


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("source", ["formula", "confounded"])
def test_setting_what_was_seen_changes_nothing_and_only_descendants_move(kind, source):
    dataset = datasets.load(f"scm-{kind}-5-8-1", source)
    rows = torch.arange(300)
    factual = dataset.split("test").take(rows)
    for name in dataset.card.attributes:
        same = dataset.truth("test", rows, {name: factual[name]})
        assert all(torch.allclose(same[one].double(), factual[one].double(), atol=1e-5) for one in factual)
        other = dataset.truth("test", rows, {name: factual[name].roll(1)})
        moved = {one for one in factual if not torch.allclose(other[one].double(), factual[one].double(), atol=1e-5)}
        assert moved <= {name, *dataset.graph.descendants([name])}


def test_a_class_that_there_is_not_is_refused():
    dataset = datasets.load("scm-discrete-4-4-0")
    with pytest.raises(DataError, match="whole number from 0 to 2"):
        dataset.truth("test", torch.arange(3), {"x1": torch.tensor([0, 1, 3])})


def test_an_exam_seed_draws_other_samples():
    public, unseen = datasets.load(LINEAR), datasets.load(LINEAR, exam_seed=5)
    assert torch.equal(public.split("train").values["x1"], unseen.split("train").values["x1"])
    assert not torch.equal(public.split("test").values["x1"], unseen.split("test").values["x1"])


def test_a_card_whose_graph_is_not_that_of_its_options_is_refused():
    content = datasets.card(LINEAR).model_dump(mode="json")
    child = next(name for name, entry in content["variables"].items() if entry["parents"])
    content["variables"][child]["parents"] = []
    with pytest.raises(ConfigError, match=f"{child} is caused by"):
        datasets.loading.registry.datasets.get("random_scm")(Card.model_validate(content))
    content["sources"]["formula"]["options"] = {"kind": "anm"}
    with pytest.raises(ConfigError, match="needs the options kind, nodes, edges and seed"):
        datasets.loading.registry.datasets.get("random_scm")(Card.model_validate(content))


def test_a_hidden_cause_must_be_hidden_and_act_on_variables():
    content = datasets.card(LINEAR).model_dump(mode="json")
    for hidden, said in (({"x1": ["x2"]}, "is a variable"), ({"h": ["x9"]}, "acts on 'x9'")):
        content["sources"]["formula"]["hidden"] = hidden
        with pytest.raises(ValueError, match=said):
            Card.model_validate(content)


def test_recipes_for_any_dataset_fit_each():
    for name in ("linear", "spline", "flow-matching"):
        assert ("any", name) in recipe_paths()
        for dataset in ("scm-anm-4-4-0", "scm-discrete-4-4-0", "ellipse"):
            recipe, _ = models.find_recipe(name, datasets.card(dataset))
            assert recipe.dataset == dataset
            assert set(recipe.mechanisms) == set(datasets.card(dataset).attributes)
            assert "every" not in recipe.content()
            assert Recipe.model_validate(recipe.content()).content() == recipe.content()
    _, path = models.find_recipe("spline", datasets.card("ellipse"))
    assert path.parent.name == "ellipse"  # a dataset's own recipe comes first
    for dataset, variable in (("ellipse-point", "vector, such as 'point'"), ("morphomnist", "image, such as 'image'")):
        with pytest.raises(ConfigError, match=f"says nothing of a variable that is {variable}"):
            models.find_recipe("linear", datasets.card(dataset))


def test_what_a_recipe_lists_comes_before_what_it_says_of_a_kind(tmp_path):
    path = tmp_path / "mixed.yaml"
    path.write_text(
        "name: mixed\ntitle: Mixed\ndataset: any\nevery: {continuous: {family: spline_flow}}\n"
        "mechanisms: {x1: {family: spline_flow, options: {bins: 3}}}\n"
    )
    recipe, _ = models.find_recipe(str(path), datasets.card("scm-anm-3-2-0"))
    assert recipe.mechanisms["x1"].options == {"bins": 3}
    assert recipe.mechanisms["x2"].options == {}


def test_a_recipe_says_mechanisms():
    with pytest.raises(ValueError, match="there is no mechanism"):
        Recipe(name="none", title="", dataset="toy")
    with pytest.raises(ValueError, match="needs 'init'"):
        Recipe(name="none", title="", dataset="any", every={"continuous": {"family": "spline_flow", "frozen": True}})
    with pytest.raises(ValueError, match="by kind of variable"):
        Recipe(name="none", title="", dataset="any", mechanisms={"x": {"family": "spline_flow"}})


def test_a_linear_model_of_a_linear_process_answers_as_the_truth(tmp_path):
    name = "scm-linear-2-1-0"
    words = [
        "train",
        "--model",
        "linear",
        "--dataset",
        name,
        "--output",
        str(tmp_path / "m"),
        "--quiet",
    ]
    made = CliRunner().invoke(main, words)
    assert made.exit_code == 0, made.output
    dataset = datasets.load(name)
    model = models.load(str(tmp_path / "m"), dataset).model
    rows = torch.arange(500)
    factual = dataset.split("test").take(rows)
    root = next(name for name in dataset.graph.order if dataset.graph.descendants([name]))
    asked = {root: factual[root].roll(1)}
    answer, truth = model.counterfactual(factual, asked), dataset.truth("test", rows, asked)
    for name in dataset.graph.descendants([root]):
        error = (answer[name] - truth[name]).abs().mean()
        assert error < 0.05 * factual[name].std()  # after 200 steps


def test_sweeps_take_them():
    sweep = Sweep.model_validate(
        {
            "name": "s",
            "models": ["linear"],
            "datasets": ["scm-anm-3-2-0", {"dataset": "scm-discrete-3-2-0", "sources": ["formula", "confounded"]}],
            "suites": ["mechanisms"],
            "seeds": [0],
        }
    )
    commands = [" ".join(job.words) for job in expand(sweep)]
    assert sum(command.startswith("train ") and "scm-discrete-3-2-0" in command for command in commands) == 2
    assert any("evaluate" in command and "--source confounded" in command for command in commands)
