"""What attributes should be under an intervention."""

import pytest
import torch

from counterbench.models.targets import Targets

ROWS = torch.arange(20)


def test_what_is_known_is_what_is_set_and_what_follows(toy):
    dataset = toy.Toy()
    value = torch.linspace(-1, 1, 20)
    known = Targets(dataset).known(ROWS, {"a": value})
    assert set(known) == {"a", "b"}  # c is no descendant of a, whatever the dataset says of it
    assert torch.equal(known["a"], value)
    assert torch.equal(known["b"], dataset.true_attributes("test", ROWS, {"a": value})["b"])


def test_nothing_is_known_of_what_nobody_rendered(toy, monkeypatch):
    monkeypatch.setattr(toy.Toy, "true_attributes", lambda self, split, index, interventions: dict(interventions))
    targets = Targets(toy.Toy())
    assert set(targets.known(ROWS, {"a": torch.zeros(20)})) == {"a"}
    assert targets.assumed("a") == ("b",)
    assert targets.assumed("b") == ()


@pytest.fixture
def hidden(toy, monkeypatch):
    """The toy without its truth, and its true mechanisms of the attributes as the reference."""
    dataset = toy.Toy()
    true = dataset.true_attributes("test", ROWS, {"a": torch.linspace(-1, 1, 20)})["b"]
    monkeypatch.setattr(toy.Toy, "true_attributes", lambda self, split, index, interventions: dict(interventions))
    return dataset, true


def test_a_reference_takes_the_place_of_the_truth(hidden, toy):
    dataset, true = hidden
    known = Targets(dataset, toy.exact_scm()).known(ROWS, {"a": torch.linspace(-1, 1, 20)})
    assert torch.allclose(known["b"], true, atol=1e-5)
    assert "c" not in known


def test_a_reference_leaves_what_is_not_changed_as_it_was(hidden, toy):
    """do(a = its factual value): b keeps its very value, to the last bit."""
    dataset, _ = hidden
    factual = dataset.attributes("test")
    known = Targets(dataset, toy.exact_scm()).known(ROWS, {"a": factual["a"][ROWS]})
    assert torch.equal(known["b"], factual["b"][ROWS])
