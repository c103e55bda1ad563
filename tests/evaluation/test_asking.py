"""Questions give nothing away, and answers carry nothing but what an image file could hold."""

import pytest
import torch

from counterbench import evaluation
from counterbench.causal.variables import Continuous, Image
from counterbench.models.model import Contestant, checked_answer


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("COUNTERBENCH_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def exam(toy):
    names = ["composition", "reversibility", "commutativity", "truth"]
    suite = evaluation.prepare(toy.Toy(), "standard", device="cpu").suite.model_copy(update={"resamples": 20})
    return evaluation.prepare(toy.Toy(), suite, device="cpu", metrics=names, limit=24)


def values(model, exam, **options):
    """Every number of a model by its key."""
    record = evaluation.evaluate(Contestant("m", model), exam, **options).record
    return {key: number.value for key, number in record.by_key.items()}


class Lossy:
    """The toy's causal model with half of the pixels' noise."""

    def __init__(self, toy):
        self.scm = toy.exact_scm(keep=0.5)

    def counterfactual(self, factual, interventions, generator=None):
        return self.scm.counterfactual(factual, interventions, generator)


class Steganographer(Lossy):
    """Hides the photograph in the decimals of its answers, and returns it when it finds one there."""

    def counterfactual(self, factual, interventions, generator=None):
        image = factual["image"].double()
        hidden = ((image - image.round()) * 1000).round() + 128
        coded = (image != image.round()).flatten(1).any(1)[:, None, None, None]
        original = torch.where(coded, hidden, image)
        answer = super().counterfactual(factual, interventions, generator)
        shown = torch.where(coded, original, answer["image"].double().round())
        return {**answer, "image": shown + (original - 128) / 1000}


def test_what_is_hidden_in_decimals_does_not_pay(toy, exam):
    """It would be off by nothing from the second null intervention on, and after a return."""
    assert values(Steganographer(toy), exam) == values(Lossy(toy), exam)


def test_answers_are_whole_grey_levels():
    variables = {"image": Image("image", 1, 1, 4), "age": Continuous("age", 0, 9)}
    image = torch.tensor([-3.0, 0.6, 255.4, 300.0]).view(1, 1, 1, 4)
    answer = checked_answer({"image": image, "age": torch.tensor([4.25])}, variables, {}, 1)
    assert answer["image"].flatten().tolist() == [0, 1, 255, 255]
    assert answer["age"].tolist() == [4.25]
    assert answer.ends == (-3, 300)
    assert answer.outside.tolist() == [0.5]


def test_pixels_out_of_range_are_told(toy, exam):
    class Bright(Lossy):
        def counterfactual(self, factual, interventions, generator=None):
            answer = super().counterfactual(factual, interventions, generator)
            answer["image"][:, :, 0] = 260.0
            return answer

    told = "12.50% of the pixels of its answers were out of range and have been clamped to 0 or 255"
    assert told in evaluation.evaluate(Contestant("m", Bright(toy)), exam).record.notes
    assert "out of range" not in " ".join(evaluation.evaluate(Contestant("n", Lossy(toy)), exam).record.notes)
