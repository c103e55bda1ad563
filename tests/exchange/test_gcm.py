"""Models of dowhy as models of this package, and the other way round, on the toy process."""

import numpy as np
import pytest
import torch
import toy

from counterbench import datasets
from counterbench.causal.graph import CausalGraph
from counterbench.errors import ConfigError, UnavailableError
from counterbench.exchange import gcm as exchange
from counterbench.models.scm import StructuralCausalModel
from counterbench.plugins import extras

needs_dowhy = pytest.mark.skipif(
    bool(extras.missing_packages("dowhy")), reason="needs pip install 'counterbench[dowhy]'"
)
LINEAR = "scm-linear-3-3-0"


def quantities():
    """The toy's a and b alone."""
    scm = toy.exact_scm()
    return StructuralCausalModel(CausalGraph({"a": [], "b": ["a"]}), [scm.mechanisms["a"], scm.mechanisms["b"]])


def frame(values, names=None):
    import pandas

    return pandas.DataFrame({name: values[name].double().numpy() for name in names or values})


@needs_dowhy
def test_dowhy_answers_with_our_mechanisms_as_we_do():
    from dowhy import gcm

    scm = quantities()
    factual = toy.Toy().split("test").take(torch.arange(50))
    model = exchange.to_gcm(scm)
    for held in ({"a": 1.5}, {"b": -0.5}, {}):
        interventions = {name: torch.full((50,), value) for name, value in held.items()}
        ours = scm.counterfactual({name: factual[name] for name in ("a", "b")}, interventions)
        asked = {name: lambda _, value=value: value for name, value in held.items()}
        theirs = gcm.counterfactual_samples(model, asked, observed_data=frame(factual, ("a", "b")))
        for name in ("a", "b"):
            assert np.allclose(theirs[name], ours[name].numpy(), atol=1e-5)
    truth = toy.Toy().truth("test", torch.arange(50), {"a": torch.full((50,), 1.5)})
    theirs = gcm.counterfactual_samples(model, {"a": lambda _: 1.5}, observed_data=frame(factual, ("a", "b")))
    assert np.allclose(theirs["b"], truth["b"].numpy(), atol=1e-4)


@needs_dowhy
def test_dowhy_draws_from_our_mechanisms():
    from dowhy import gcm

    np.random.seed(0)
    drawn = gcm.draw_samples(exchange.to_gcm(quantities()), 20_000)
    real = toy.Toy().split("train").values
    for name in ("a", "b"):
        assert drawn[name].mean() == pytest.approx(float(real[name].mean()), abs=0.15)
        assert drawn[name].std() == pytest.approx(float(real[name].std()), rel=0.1)
    slope = np.polyfit(drawn["a"], drawn["b"], 1)[0]
    assert slope == pytest.approx(toy.A_TO_B, abs=0.02)


@needs_dowhy
def test_parents_go_over_in_the_order_of_dowhy():
    """dowhy sorts parents by name; a mechanism lists them in the order of the graph."""
    from dowhy import gcm

    z, a, effect = (toy.CARD.build_variables()["a"].__class__(name, -10, 10) for name in ("z", "a", "effect"))
    of_effect = toy.Linear(effect, [z, a], 0.0, 0.1)
    with torch.no_grad():
        of_effect.weights.copy_(torch.tensor([3.0, -1.0]).view_as(of_effect.weights))
    graph = CausalGraph({"z": [], "a": [], "effect": ["z", "a"]})
    roots = [toy.Linear(root, [], 0.0, 0.1) for root in (z, a)]
    scm = StructuralCausalModel(graph, [*roots, of_effect]).requires_grad_(False)
    factual = scm.sample(30, generator=torch.Generator().manual_seed(0))
    ours = scm.counterfactual(factual, {"z": factual["z"] + 1})
    theirs = gcm.counterfactual_samples(exchange.to_gcm(scm), {"z": lambda z: z + 1}, observed_data=frame(factual))
    assert np.allclose(theirs["effect"], ours["effect"].numpy(), atol=1e-4)


@needs_dowhy
def test_a_model_that_dowhy_has_fitted_is_a_model_here():
    import networkx
    from dowhy import gcm

    dataset = datasets.load(LINEAR)
    model = gcm.InvertibleStructuralCausalModel(networkx.DiGraph(dataset.graph.edges))
    for name in dataset.graph:
        parents = dataset.graph.parents(name)
        linear = gcm.AdditiveNoiseModel(gcm.ml.create_linear_regressor())
        model.set_causal_mechanism(name, linear if parents else gcm.EmpiricalDistribution())
    train = dataset.attributes("train")
    gcm.fit(model, frame(train))
    ours = exchange.GCMModel(model, dataset)
    rows = torch.arange(300)
    factual = dataset.split("test").take(rows)
    root = next(name for name in dataset.graph.order if dataset.graph.descendants([name]))
    asked = {root: factual[root].roll(1)}
    answer, truth = ours.counterfactual(factual, asked), dataset.truth("test", rows, asked)
    for name in dataset.graph:
        assert answer[name].dtype == torch.float32
        assert float((answer[name] - truth[name]).abs().mean()) < 0.03 * float(factual[name].std())
    same = ours.counterfactual(factual, {})
    assert all(torch.allclose(same[name], factual[name], atol=1e-5) for name in dataset.graph)


@needs_dowhy
def test_it_is_evaluated_like_any_other(tmp_path):
    import networkx
    from dowhy import gcm

    import counterbench

    dataset = datasets.load("scm-linear-2-1-0")
    model = gcm.InvertibleStructuralCausalModel(networkx.DiGraph(dataset.graph.edges))
    for name in dataset.graph:
        linear = gcm.AdditiveNoiseModel(gcm.ml.create_linear_regressor())
        model.set_causal_mechanism(name, linear if dataset.graph.parents(name) else gcm.EmpiricalDistribution())
    gcm.fit(model, frame(dataset.attributes("train")))
    found = counterbench.evaluate(
        exchange.GCMModel(model, dataset), "scm-linear-2-1-0", suite="mechanisms", limit=100, device="cpu"
    )
    assert found.record.row_skill.value > 0.9


@needs_dowhy
def test_what_cannot_go_over_is_told():
    from dowhy import gcm

    with pytest.raises(ConfigError, match="cannot infer noise"):
        exchange.GCMModel(gcm.ProbabilisticCausalModel(), datasets.load(LINEAR))
    with pytest.raises(ConfigError, match="is over"):
        exchange.GCMModel(gcm.InvertibleStructuralCausalModel(), datasets.load(LINEAR))
    with pytest.raises(ConfigError, match="no quantity"):
        exchange.GCMModel(gcm.InvertibleStructuralCausalModel(), datasets.load("scm-discrete-3-2-0"))
    scm = toy.exact_scm()
    assert sorted(exchange.to_gcm(scm).graph.nodes) == ["a", "b"]  # the image and the class stay behind
    variables = toy.CARD.build_variables()
    by_class = toy.Linear(variables["b"], [variables["c"]], 0.0, 0.1)
    mixed = StructuralCausalModel(CausalGraph({"c": [], "b": ["c"]}), [scm.mechanisms["c"], by_class])
    with pytest.raises(ConfigError, match="caused by c"):
        exchange.to_gcm(mixed)


@needs_dowhy
def test_torchs_default_type_is_left_as_it_was():
    before = torch.get_default_dtype()
    exchange.to_gcm(quantities())
    assert torch.get_default_dtype() == before


def test_without_dowhy_one_sentence_says_how_to_get_it(monkeypatch):
    monkeypatch.setattr(extras, "missing_packages", lambda extra: ("dowhy",))
    with pytest.raises(UnavailableError, match=r"pip install 'counterbench\[dowhy\]'"):
        exchange.to_gcm(toy.exact_scm())
