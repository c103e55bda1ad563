import pyro
import pytest
import torch

from counterbench.causal.graph import CausalGraph
from counterbench.causal.variables import Binary
from counterbench.errors import DataError, GraphError, ModelError
from counterbench.models.model import checked_answer
from counterbench.models.scm import StructuralCausalModel
from counterbench.plugins import registry


@pytest.fixture(scope="module")
def dataset(toy):
    return toy.Toy()


@pytest.fixture(scope="module")
def scm(toy):
    return toy.exact_scm()


@pytest.fixture
def factual(dataset):
    return dataset.split("test").take(slice(0, 40))


@pytest.mark.parametrize("intervened", [("a",), ("b",), ("c",), ("a", "b"), ("a", "c")])
def test_counterfactuals_are_the_closed_form(scm, dataset, factual, intervened):
    held = {name: dataset.split("test").take(slice(40, 80))[name] for name in intervened}
    answer = scm.counterfactual(factual, held, torch.Generator().manual_seed(0))
    truth = dataset.truth("test", factual.index, held)
    for name, value in truth.items():
        assert torch.allclose(answer[name].float(), value.float(), atol=2e-4), name


def test_what_is_no_descendant_stays_and_what_is_set_is_set(scm, factual):
    held = {"b": torch.full((40,), 2.0)}
    answer = scm.counterfactual(factual, held, torch.Generator().manual_seed(0))
    assert torch.equal(answer["b"], held["b"])
    assert torch.allclose(answer["a"], factual["a"], atol=1e-5)
    assert torch.equal(answer["c"], factual["c"])


def test_nothing_is_copied_from_the_factual(toy, factual):
    """A mechanism that loses half of its noise shows it, also where no arrow leads from what is set."""

    class Forgetful(toy.Linear):
        def generate(self, noise, parents, reached=frozenset()):
            return super().generate({"e": 0.5 * noise["e"]}, parents, reached)

    variables = toy.CARD.build_variables()
    mechanisms = dict(toy.exact_scm().mechanisms)
    mechanisms["a"] = Forgetful(variables["a"], [], 0.0, 1 / 4)
    forgetful = StructuralCausalModel(toy.CARD.graph, mechanisms.values()).requires_grad_(False)
    for held in ({}, {"c": (factual["c"] + 1) % 3}, {"b": torch.zeros(40)}):
        answer = forgetful.counterfactual(factual, held, torch.Generator().manual_seed(0))
        assert torch.allclose(answer["a"], 0.5 * factual["a"], atol=1e-5), held


def test_an_intervention_may_hold_another_variable_in_each_sample(toy, factual):
    """Row by row the same as asking for each row's own intervention."""
    scm = toy.exact_scm().requires_grad_(False)
    generator = torch.Generator().manual_seed
    encoded = {name: variable.encode(factual[name]) for name, variable in scm.variables.items()}
    on_a = torch.arange(40) % 2 == 0
    held = {"a": encoded["a"].flip(0), "b": encoded["b"].flip(0)}
    noise = scm.abduct_encoded(encoded, generator(0))
    mixed = scm.predict_encoded(noise, held, where={"a": on_a, "b": ~on_a})
    for name, rows in (("a", on_a), ("b", ~on_a)):
        alone = scm.predict_encoded(noise, {name: held[name]})
        natural = scm.generate(noise, {name: factual[name].flip(0)})
        for variable, value in alone.items():
            assert torch.equal(mixed[variable][rows], value[rows])
            assert torch.allclose(scm.variables[variable].decode(value), natural[variable])


def test_a_variable_whose_parents_stay_keeps_its_very_value_where_that_is_asked_for(toy, factual):
    class Forgetful(toy.Linear):
        def generate(self, noise, parents, reached=frozenset()):
            return super().generate({"e": 0.5 * noise["e"]}, parents, reached)

    variables = toy.CARD.build_variables()
    mechanisms = dict(toy.exact_scm().mechanisms)
    mechanisms["a"] = Forgetful(variables["a"], [], 0.0, 1 / 4)
    forgetful = StructuralCausalModel(toy.CARD.graph, mechanisms.values()).requires_grad_(False)
    attributes = {name: forgetful.variables[name].encode(factual[name]) for name in ("a", "b", "c")}
    noise = forgetful.abduct_encoded(attributes, torch.Generator().manual_seed(0))
    assert list(noise) == [name for name in forgetful.graph.order if name != "image"]  # the image is not asked about
    kept = forgetful.predict_encoded(noise, {}, factual=attributes)
    assert all(torch.equal(kept[name], value) for name, value in attributes.items())
    assert not torch.allclose(forgetful.predict_encoded(noise, {})["a"], attributes["a"])
    half = torch.arange(40) < 20
    moved = forgetful.predict_encoded(noise, {"a": attributes["a"].flip(0)}, where={"a": half}, factual=attributes)
    assert torch.equal(moved["b"][~half], attributes["b"][~half])
    assert (moved["b"][half] != attributes["b"][half]).any()
    assert torch.equal(moved["c"], attributes["c"])


def test_null_intervention_and_reversibility(scm, factual):
    generator = torch.Generator().manual_seed(0)
    same = scm.counterfactual(factual, {}, generator)
    there = scm.counterfactual(factual, {"a": factual["a"] + 1}, generator)
    back = scm.counterfactual(there, {"a": factual["a"]}, generator)
    for answer in (same, back):
        assert torch.allclose(answer["image"], factual["image"], atol=1e-3)
        assert torch.allclose(answer["b"], factual["b"], atol=1e-4)


def test_sampling_follows_the_intervention(scm):
    free = scm.sample(4000, generator=torch.Generator().manual_seed(0))
    assert float(free["b"].mean()) == pytest.approx(1.0, abs=0.05)
    held = scm.sample(4000, {"a": torch.full((4000,), 2.0)}, torch.Generator().manual_seed(0))
    assert float(held["b"].mean()) == pytest.approx(2.0, abs=0.05)
    assert float(held["b"].std()) == pytest.approx(0.8, abs=0.03)


def test_every_mechanism_is_told_what_an_intervention_reaches(toy, factual):
    seen = []

    class Watching(toy.Linear):
        def generate(self, noise, parents, reached=frozenset()):
            seen.append(reached)
            return super().generate(noise, parents, reached)

    variables = toy.CARD.build_variables()
    mechanisms = dict(toy.exact_scm().mechanisms)
    mechanisms["b"] = Watching(variables["b"], [variables["a"]])
    StructuralCausalModel(toy.CARD.graph, mechanisms.values()).counterfactual(factual, {"a": factual["a"]})
    assert seen == [{"a", "b", "image"}]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda v: v.pop("b"), "missing: b"),
        (lambda v: v.update(q=v["a"]), "Unknown variable 'q'"),
        (lambda v: v.update(a=v["a"] * torch.nan), "a: 40 of 40 values are NaN"),
        (lambda v: v.update(image=v["image"][:, :, :4]), "image: expected images of shape (N, 1, 8, 8)"),
    ],
)
def test_unusable_factuals(scm, factual, change, words):
    values = dict(factual)
    change(values)
    with pytest.raises((GraphError, DataError)) as caught:
        scm.counterfactual(values, {})
    assert words in str(caught.value)


def test_unknown_intervention(scm, factual):
    with pytest.raises(GraphError, match="Unknown variable 'aa'"):
        scm.counterfactual(factual, {"aa": factual["a"]})


def test_mechanisms_must_fit_the_graph(toy):
    variables = toy.CARD.build_variables()
    flow = registry.mechanisms.get("spline_flow")
    with pytest.raises(GraphError, match="'b' has no mechanism"):
        StructuralCausalModel(CausalGraph({"a": [], "b": ["a"]}), [flow(variables["a"], [])])
    with pytest.raises(GraphError, match=r"expects the parents \(\)"):
        StructuralCausalModel(CausalGraph({"a": [], "b": ["a"]}), [flow(variables["a"], []), flow(variables["b"], [])])
    with pytest.raises(GraphError, match="not in the graph"):
        StructuralCausalModel(CausalGraph({"a": []}), [flow(variables["a"], []), flow(variables["b"], [])])


@pytest.fixture(scope="module")
def small(toy):
    """A model with a Pyro program for every variable."""
    torch.manual_seed(0)
    variables = toy.CARD.build_variables()
    a, b, c, image = variables.values()
    options = {"latent": 2, "encoder_channels": [4], "decoder_channels": [4], "hidden": 8}
    get = registry.mechanisms.get
    made = [
        get("spline_flow")(a, []),
        get("spline_flow")(b, [a]),
        get("categorical")(c, []),
        get("vae")(image, [a, b, c], **options),
    ]
    return StructuralCausalModel(toy.CARD.graph, made).requires_grad_(False)


def test_pyro_do_agrees_with_our_own_interventional_sampling(small):
    count, held = 4000, torch.full((4000,), 2.5)
    pyro.set_rng_seed(0)
    theirs = pyro.poutine.do(small.pyro_program(), {"a": held})(count)
    ours = small.sample(count, {"a": held}, torch.Generator().manual_seed(0))
    assert torch.equal(theirs["a"], held)
    for name in ("b", "image"):
        difference = float((theirs[name].mean() - ours[name].mean()).abs())
        assert difference < 4 * float(ours[name].std()) * (2 / count) ** 0.5, name
    assert float(theirs["b"].std()) == pytest.approx(float(ours["b"].std()), rel=0.05)
    frequencies = [values["c"].bincount(minlength=3) / count for values in (theirs, ours)]
    assert (frequencies[0] - frequencies[1]).abs().max() < 0.04


def test_pyro_condition_gives_the_likelihood(small):
    """log p(a, b, c) of the program = minus our losses, up to the change of units from encoded to natural."""
    values = small.sample(5, generator=torch.Generator().manual_seed(0))
    observed = {name: values[name] for name in ("a", "b", "c")}
    trace = pyro.poutine.trace(pyro.condition(small.pyro_program(), observed)).get_trace(5)
    trace.compute_log_prob()
    losses = small.loss(values)
    half_ranges = {"a": 4.0, "b": 5.0, "c": 1.0}
    for name, half in half_ranges.items():
        expected = -losses[name] - torch.tensor(half).log()
        assert torch.allclose(trace.nodes[name]["log_prob"], expected, atol=1e-4), name


def test_pyro_sites_are_named_after_the_variables(small):
    trace = pyro.poutine.trace(small.pyro_program()).get_trace(3)
    assert {"a", "b", "c", "image", "image_latent"} <= set(trace.nodes)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda v: v.pop("b"), "no tensor for 'b'"),
        (lambda v: v.update(a=v["a"][:3]), "answered 3 values of 'a' for 40 questions"),
        (lambda v: v["image"].fill_(torch.nan), "NaN"),
        (lambda v: v.update(c=v["c"] + 7), "whole numbers 0 to 2"),
        (lambda v: v.update(b=torch.tensor(1.0)), "answered one number of 'b'"),
    ],
)
def test_answers_are_checked(dataset, factual, spoil, words):
    answer = {name: value.clone() for name, value in factual.items()}
    spoil(answer)
    with pytest.raises(ModelError, match=words):
        checked_answer(answer, dataset.variables, {}, 40)


def test_an_answer_must_be_a_mapping(dataset):
    with pytest.raises(ModelError, match="got list"):
        checked_answer([1], dataset.variables, {}, 1)


def test_an_answer_must_show_what_was_set(dataset, factual):
    """Else a model that ignores the question would be effective by its own account."""
    with pytest.raises(ModelError, match=r"asked for do\(a\)"):
        checked_answer(dict(factual), dataset.variables, {"a": factual["a"] + 1}, 40)
    answer = {**factual, "a": factual["a"] + 1, "extra": "anything"}
    assert set(checked_answer(answer, dataset.variables, {"a": factual["a"] + 1}, 40)) == set(dataset.variables)


def test_a_variable_may_be_called_as_something_of_torch(generator):
    """`type`, `values` and `keys` are names of methods; the columns of many tables are called so."""
    names = ("type", "values", "keys", "forward")
    family = registry.mechanisms.get("bernoulli")
    graph = CausalGraph({name: [] for name in names})
    scm = StructuralCausalModel(graph, [family(Binary(name), []) for name in names]).train().eval()
    assert set(scm.sample(3, generator=generator)) == set(names)
    assert {key.split(".")[1] for key in scm.state_dict()} == set(names)
    scm.load_state_dict(scm.state_dict())
