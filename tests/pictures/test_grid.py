"""Grids of answers: what is told of each, and nothing empty."""

import torch

from counterbench.causal.samples import Samples
from counterbench.causal.variables import Binary, Categorical, Continuous
from counterbench.pictures.grid import InterventionColumns, captions_of, grid_figure, span_of

IMAGES = torch.full((2, 1, 4, 4), 100.0)
FACTUAL = Samples({"image": IMAGES}, torch.arange(2))


def words(figure):
    return [text.get_text() for text in figure.axes[0].texts]


def test_a_column_without_truth_is_left_out():
    told = InterventionColumns("do(a)", ["1 to 2", "3 to 4"], IMAGES + 20, IMAGES + 30)
    untold = InterventionColumns("do(b)", ["0 to 1", "1 to 0"], IMAGES - 40, None)
    figure = grid_figure(FACTUAL, "image", [told, untold], title="T")
    heads = [word for word in words(figure) if word in ("factual", "do(a)", "do(b)", "truth", "change")]
    assert heads == ["factual", "do(a)", "truth", "change", "do(b)", "change"]
    assert len(figure.axes[0].images) == 2 * 6
    assert "change from the factual image: blue darker, red brighter, full colour at 40 grey levels" in words(figure)


def test_a_change_is_what_the_intervention_does_and_not_what_the_model_blurs():
    """A model that darkens everything by 30, and brightens by 20 where it is asked to."""
    told = InterventionColumns("do(a)", ["1 to 2", "3 to 4"], IMAGES - 10, IMAGES + 20)
    figure = grid_figure(FACTUAL, "image", [told], title="T", null=IMAGES - 30)
    assert "nothing set" in words(figure)
    assert any(word.startswith("change from 'nothing set', the model's answer") for word in words(figure))
    changes = [image.get_array() for image in figure.axes[0].images[-2:]]
    assert all((change == 20).all() for change in changes)
    exact = grid_figure(FACTUAL, "image", [told], title="T", null=IMAGES.clone())
    assert "nothing set" not in words(exact)
    assert (exact.axes[0].images[-1].get_array() == -10).all()


def test_setting_what_already_is_changes_nothing_in_a_picture(morphomnist, tmp_path, monkeypatch):
    """A model that draws noise answers both questions with the same chance."""
    from counterbench import models
    from counterbench.pictures import gallery

    drawn = {}
    monkeypatch.setattr(
        gallery, "draw_grid", lambda factual, image, columns, **named: drawn.update(named, columns=columns)
    )
    factual = morphomnist.split("test").take(torch.arange(3))
    monkeypatch.setattr(gallery, "parse_value", lambda dataset, name, text, like: like.clone())
    for name in ("vae", "resample"):
        contestant = models.load(name, morphomnist)
        gallery.generate(contestant, morphomnist, {"digit": "0"}, count=3, seed=0, path=tmp_path / "g.png")
        (columns,) = drawn["columns"]
        assert len(columns.answer) == len(factual["image"])
        assert float((columns.answer - drawn["null"]).abs().max()) <= 1e-3


def test_an_evaluation_shows_what_its_model_answers_to_nothing(toy):
    import counterbench
    from counterbench import evaluation
    from counterbench.models.model import Contestant

    class Darker(type(toy.ExactModel())):
        fingerprint = "darker"

        def counterfactual(self, factual, interventions, generator=None):
            answer = super().counterfactual(factual, interventions, generator)
            return {**answer, "image": (answer["image"] - 20).clamp(0, 255)}

    for model, shown in ((Darker(), True), (toy.ExactModel(), False)):
        result = counterbench.evaluate(model, toy.Toy(), suite="quick", limit=20, device="cpu", name="toy")
        heads = words(result.plot())
        assert ("nothing set" in heads) is shown
    # Of answers from files some may be missing, and noise stands for those.
    exam = evaluation.prepare(toy.Toy(), "quick", device="cpu", limit=20)
    coverage = {"rounds": [{"asked": 1, "usable": 1}], "rounds_asked": 1, "left_out": [], "claimed": False}
    for given, there in ((None, True), (coverage, False)):
        answered = evaluation.evaluate(Contestant("toy", Darker(), coverage=given), exam)
        assert all((shown.null is not None) is there for shown in answered.shown.values())


def test_the_scale_is_that_of_the_changes():
    assert span_of([torch.tensor([0.0, 38.0]), torch.tensor([-64.0])]) == 70
    assert span_of([torch.zeros(2, 1, 4, 4)]) == 10
    assert span_of([torch.full((4,), 400.0)]) == 255


def test_labels_say_what_was_and_what_is_set():
    variables = {
        "age": Continuous("age", 0, 100, "years"),
        "kind": Categorical("kind", ("oak", "elm")),
        "ill": Binary("ill"),
    }
    held = {"age": torch.tensor([75.25, 60.0]), "kind": torch.tensor([1, 0])}
    before = {"age": torch.tensor([70.0, 80.0]), "kind": torch.tensor([0, 0])}
    assert captions_of(variables, held, before=before) == ["70 to 75.2 years, oak to elm", "80 to 60 years, oak to oak"]
    assert captions_of(variables, {"ill": torch.tensor([1])}) == ["= 1"]
