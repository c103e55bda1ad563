"""What a model holds: wherever its weights are kept, they are found."""

import collections
import functools
import types

import numpy as np
import pytest
import torch
from torch import nn

from counterbench import models
from counterbench.models import reachable
from counterbench.models.reachable import evaluation_mode, modules_of, state_hash

NETWORK = nn.Linear(1, 1)


class Slotted:
    __slots__ = ("network",)

    def __init__(self, network):
        self.network = network


def uses_a_global(values):
    return [NETWORK(value) for value in values]


def closure(network):
    def answer(values):
        return (lambda: network(values))()

    return answer


class Holder:
    def __init__(self, part):
        self.part = part

    def method(self):
        return self.part


class OfTheClass:
    network = nn.Linear(1, 1)


KEPT = {
    "attribute": Holder,
    "dict": lambda network: Holder({"decoder": network}),
    "list in a dict": lambda network: Holder({"all": [None, (network,)]}),
    "deque": lambda network: Holder(collections.deque([network])),
    "another object": lambda network: Holder(Holder(network)),
    "namespace": lambda network: Holder(types.SimpleNamespace(decoder=network)),
    "slot": lambda network: Holder(Slotted(network)),
    "partial": lambda network: functools.partial(max, network),
    "bound method": lambda network: Holder(network).method,
    "closure": closure,
    "default": lambda network: Holder(types.FunctionType(uses_a_global.__code__, globals(), argdefs=(network,))),
}


@pytest.mark.parametrize("kept", KEPT.values(), ids=KEPT)
def test_networks_are_found_wherever_they_are_kept(kept):
    network = nn.Linear(2, 3)
    model = kept(network)
    assert network in modules_of(model)
    before = state_hash(model)
    assert before == state_hash(model)
    assert before[1] == ""
    with torch.no_grad():
        network.weight[0, 0] += 1
    assert state_hash(model)[0] != before[0]


@pytest.mark.parametrize(("holder", "network"), [(uses_a_global, NETWORK), (OfTheClass(), OfTheClass.network)])
def test_global_variables_and_class_attributes_of_its_own_code_count(holder, network):
    assert modules_of(holder) == [network]
    before = state_hash(holder)
    with torch.no_grad():
        network.bias += 1
    assert state_hash(holder)[0] != before[0]


@pytest.mark.parametrize(
    "change",
    [
        lambda part: part["scale"].fill_(2),
        lambda part: part["array"].fill(2),
        lambda part: part.update(number=0.5),
        lambda part: part.update(word="b"),
        lambda part: part["names"].add("c"),
        lambda part: part["chance"].manual_seed(2),
        lambda part: part["numpy"].random(),
    ],
)
def test_numbers_that_are_no_network_count_too(change):
    part = {
        "scale": torch.ones(2),
        "array": np.ones(2),
        "number": 1.0,
        "word": "a",
        "names": {"a", "b"},
        "chance": torch.Generator().manual_seed(1),
        "numpy": np.random.default_rng(0),
    }
    before = state_hash(Holder(part))
    change(part)
    assert state_hash(Holder(part))[0] != before[0]


def test_buffers_that_are_not_saved_count_and_the_mode_does_not():
    network = nn.BatchNorm1d(2)
    network.register_buffer("extra", torch.zeros(1), persistent=False)
    before = state_hash(network)
    network.eval()
    assert state_hash(network) == before
    network.extra += 1
    assert state_hash(network) != before


def test_what_cannot_be_seen_is_told_and_never_equal():
    model = Holder(iter(x for x in range(3)))
    first, second = state_hash(model), state_hash(model)
    assert first[1] == second[1] == "part, a generator"
    assert first[0] != second[0]
    contestant = models.foreign("opaque", model)
    assert contestant.notes == ("nothing is reused: what the model holds cannot be seen (part, a generator)",)
    model.fingerprint = "version 3"
    assert models.foreign("told", model).notes == ()
    assert models.foreign("told", model).weights_sha256 == models.foreign("told", model).weights_sha256


def test_a_library_s_own_code_is_not_followed(toy):
    """Otherwise the hash would depend on what else the process has loaded."""
    scm = toy.exact_scm()
    before = state_hash(scm)
    assert before[1] == ""
    assert state_hash(toy.exact_scm()) == before


def test_cycles_end():
    model = Holder(None)
    model.part = {"self": model}
    assert modules_of(model) == []
    assert state_hash(model)[1] == ""


def test_a_model_too_large_to_be_seen_is_not_taken_for_seen(monkeypatch):
    monkeypatch.setattr(reachable, "_MOST", 5)
    assert state_hash(Holder([[] for _ in range(10)]))[1] != ""


def test_evaluation_mode_is_kept_for_the_block_only():
    model = Holder({"a": nn.Sequential(nn.Dropout(), nn.BatchNorm1d(1).eval())})
    first, second = model.part["a"]
    with evaluation_mode(model) as switched:
        assert switched
        assert [first.training, second.training] == [False, False]
    assert first.training
    assert not second.training
    model.part["a"].eval()
    with evaluation_mode(model) as switched:
        assert not switched
