"""What answers are judged against is nobody's claim."""

import pytest

from counterbench import evaluation
from counterbench.models.model import Contestant


def read_off(toy, images):
    """What the toy's judges read, as natural values."""
    a, b, c = toy.read(images).T
    return {"a": a.float(), "b": b.float(), "c": c.round().long().clamp(0, 2)}


class Unchanged:
    """Returns its input; claims what is set and nothing else, or whatever the judges read in its image."""

    def __init__(self, toy, claims):
        self.toy, self.claims = toy, claims

    def counterfactual(self, factual, interventions, generator=None):
        read = read_off(self.toy, factual["image"]) if self.claims else {}
        return {**factual, **read, **interventions}


class Noisy(Unchanged):
    """The true answer with too much of b; its attributes as it knows them, or whatever the judges read in its image."""

    def counterfactual(self, factual, interventions, generator=None):
        answer = self.toy.exact_scm().counterfactual(factual, interventions)
        painted = answer["image"] + (6 * self.toy.patterns()[1].view(1, 1, 8, 8)).float()
        read = read_off(self.toy, painted) if self.claims else {}
        return {**answer, **read, **interventions, "image": painted}


@pytest.fixture(scope="module")
def exam(toy):
    return evaluation.prepare(toy.Toy(), device="cpu", metrics=["effectiveness", "off_target"], limit=40)


def scores(model, exam):
    return {number.key: number.value for number in evaluation.evaluate(Contestant("model", model), exam).record.numbers}


@pytest.mark.parametrize("model", [Unchanged, Noisy])
def test_claiming_what_the_judges_read_gains_nothing(model, toy, exam):
    honest, claiming = (scores(model(toy, claims), exam) for claims in (False, True))
    assert claiming == honest


def test_doing_nothing_is_no_more_than_identity_whatever_it_claims(toy, exam):
    numbers = evaluation.evaluate(Contestant("model", Unchanged(toy, True)), exam).record.numbers
    assert {number.value for number in numbers if number.quantity == "skill"} == {0.0}
    for number in numbers:
        assert number.value == number.references["identity"].value, number.key


def test_what_no_arrow_reaches_is_held_against_its_factual_value(toy, exam):
    """A model that claims another b under do(c), and shows it."""

    class Moves:
        def counterfactual(self, factual, interventions, generator=None):
            shift = 0.5 if "c" in interventions else 0.0
            answer = toy.exact_scm().counterfactual(factual, interventions)
            image = answer["image"] + (12 * shift * toy.patterns()[1].view(1, 1, 8, 8)).float()
            return {**answer, "b": answer["b"] + shift, "image": image}

    found = scores(Moves(), exam)
    assert found["effectiveness", "absolute_error", "c", "b", 0, ""] == pytest.approx(0.5, abs=1e-3)


def test_real_images_are_held_against_their_own_attributes(toy, exam):
    """The toy's judge reads exactly: whatever is asked, real images show what they are."""
    numbers = evaluation.evaluate(Contestant("model", Unchanged(toy, False)), exam).record.numbers
    errors = [number.references["real"].value for number in numbers if number.quantity == "absolute_error"]
    assert len(errors) == 6
    assert max(errors) < 1e-4
