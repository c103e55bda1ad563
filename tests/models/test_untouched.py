"""Copies of a model that have seen nothing: what they share, what they do not, and who cannot be copied."""

import copy
import threading

import pytest
import torch
from torch import nn

from counterbench.api import Wrapped
from counterbench.models.untouched import Untouched

SEEN: list = []
LATER = "SEEN_LATER"


class Learning:
    """Holds a network and whatever it saw."""

    def __init__(self, dataset=None):
        self.network, self.seen, self.dataset, self.lock = nn.Linear(1, 1), {}, dataset, threading.Lock()

    def counterfactual(self, factual, interventions, generator=None):
        self.seen[len(self.seen)] = factual
        self.network.bias.data += 1
        return factual


def test_a_copy_has_seen_nothing_and_shares_the_data_alone(toy):
    model = Learning(toy.Toy())
    untouched, bias = Untouched(model), model.network.bias.detach().clone()
    for seen in range(3):
        model.counterfactual({}, {})
        one = untouched.copy()
        assert (one.seen, len(model.seen)) == ({}, seen + 1)
        assert torch.equal(one.network.bias, bias)
        assert one.dataset is model.dataset
        one.counterfactual({}, {})
        assert untouched.problem == ""


def test_a_bound_method_is_copied_with_its_object():
    model = Learning()
    untouched = Untouched(Wrapped(model.counterfactual), code=model.counterfactual)
    model.counterfactual({}, {})
    assert untouched.copy().answer.__self__.seen == {}
    assert untouched.problem == ""


def uses_a_global(factual, interventions, generator=None):
    SEEN.append(len(SEEN))
    return factual


def makes_a_global(factual, interventions, generator=None):
    global SEEN_LATER
    SEEN_LATER = factual
    return factual


def in_closure():
    seen = []

    def answer(factual, interventions, generator=None):
        seen.append(factual["x"])
        return factual

    return answer


def in_default(factual, interventions, generator=None, seen=[]):  # noqa: B006
    seen.append(1)
    return factual


def in_keyword_default(factual, interventions, generator=None, *, seen=[]):  # noqa: B006
    seen.append(1)
    return factual


def on_itself(factual, interventions, generator=None):
    on_itself.seen = factual
    return factual


def in_a_network():
    network = nn.Linear(1, 1)

    def answer(factual, interventions, generator=None):
        network.weight.data += 1
        return factual

    return answer


@pytest.mark.parametrize(
    ("answer", "place"),
    [
        (uses_a_global, "SEEN"),
        (makes_a_global, LATER),
        (in_closure(), "seen"),
        (in_default, "defaults"),
        (in_keyword_default, "keyword defaults"),
        (in_a_network(), "network"),
        (on_itself, "seen"),
    ],
)
def test_what_code_holds_beside_a_model_is_watched(answer, place):
    untouched = Untouched(Wrapped(answer), code=answer)
    assert untouched.problem == ""
    answer({"x": 1}, {})
    assert untouched.problem == (
        f"what its code holds beside it changed while it was asked ('{place}'), which no copy has for itself"
    )


def test_a_memory_in_a_class_is_watched():
    class Shared(Learning):
        kept = {}

        def counterfactual(self, factual, interventions, generator=None):
            type(self).kept = {"x": 1}
            return factual

    model = Shared()
    untouched = Untouched(model)
    model.counterfactual({}, {})
    assert "Shared.kept" in untouched.problem


def test_who_cannot_be_copied_says_why():
    class Refusing(Learning):
        def __deepcopy__(self, memo):
            raise RuntimeError("mine " * 100)

    for model, why in ((Refusing(), "RuntimeError: 'mine mine"), (Wrapped(one for one in ()), 'TypeError: "cannot')):
        problem = Untouched(model).problem
        assert problem.startswith(f"it cannot be copied ({why}")
        assert len(problem) < 140


def test_a_copy_of_a_causal_model_answers_the_same_to_the_last_bit(toy):
    scm = toy.exact_scm(keep=0.3)
    given = toy.Toy().split("test").take(slice(0, 5))
    values = {name: given[name] for name in given}
    twin = Untouched(scm).copy()
    for name, value in scm.counterfactual(values, {}).items():
        assert torch.equal(value, twin.counterfactual(copy.copy(values), {})[name])
