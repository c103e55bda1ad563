"""What a model may offer beyond an answer: it declines, it has noise, it says what decides its answers."""

from counterbench import models
from counterbench.models.model import Declines, Fingerprinted, HasNoise, can_answer


class Plain:
    def counterfactual(self, factual, interventions, generator=None):
        return {**factual, **interventions}


class Choosy(Plain):
    fingerprint = "version 3"

    def can_answer(self, intervened):
        return list(intervened) == ["a"]

    def abduct(self, values, generator=None):
        return {}


class Noisy(Choosy):
    def sample_noise(self, count, generator=None):
        return {}


def test_a_model_is_what_it_offers(toy):
    offered = {
        model: [isinstance(model, protocol) for protocol in (Declines, HasNoise, Fingerprinted)]
        for model in (Plain(), Choosy(), Noisy(), toy.exact_scm())
    }
    assert list(offered.values()) == [
        [False, False, False],
        [True, False, True],  # abduct alone is no access to noise
        [True, True, True],
        [False, True, False],
    ]


def test_a_model_answers_everything_unless_it_declines():
    assert can_answer(Plain(), ["a", "b"])
    assert can_answer(Choosy(), ["a"])
    assert can_answer(Choosy(), []) is False


def test_without_a_fingerprint_what_a_model_holds_is_all_there_is():
    silent = Plain()
    silent.fingerprint = None
    assert models.foreign("m", silent).weights_sha256 == models.foreign("m", silent).weights_sha256
    before = models.foreign("m", Choosy()).weights_sha256
    other = Choosy()
    other.fingerprint = "version 4"
    assert models.foreign("m", other).weights_sha256 != before
