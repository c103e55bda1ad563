"""Answers as photograph and change: what is put back, and where the change may act."""

import pytest
import torch

from counterbench import datasets, models
from counterbench.catalog.recipes import Recipe
from counterbench.errors import ConfigError
from counterbench.models.answering import Answering, local
from counterbench.models.scm import StructuralCausalModel

LOSSY = 0.4
"""Share of the noise of an image that the toy's mechanism keeps."""


@pytest.fixture(scope="module")
def dataset(toy):
    return toy.Toy()


@pytest.fixture
def factual(dataset):
    return dataset.split("test").take(slice(0, 40))


@pytest.fixture
def held():
    return {"a": torch.full((40,), 1.5)}


def lossy(toy, **options):
    """A model that loses most of what is individual in an image, and makes every change right."""
    scm = toy.exact_scm(keep=LOSSY)
    return Answering(scm.graph, scm.mechanisms.values(), **options) if options else scm


def apart(first, second):
    return float((first - second).abs().mean())


def test_a_right_change_on_the_photograph_is_the_true_counterfactual(toy, dataset, factual, held):
    truth = dataset.truth("test", factual.index, held)["image"]
    plain = lossy(toy).counterfactual(factual, held)
    whole = lossy(toy, residual=1.0).counterfactual(factual, held)
    assert apart(plain["image"], truth) > 1
    assert apart(whole["image"], truth) < 1e-3
    assert torch.equal(whole["b"], plain["b"])


@pytest.mark.parametrize("residual", [0.0, 0.3, 1.0])
def test_a_null_intervention_misses_the_share_that_is_not_put_back(toy, factual, residual):
    missed = apart(lossy(toy).counterfactual(factual, {})["image"], factual["image"])
    answer = lossy(toy, residual=residual).counterfactual(factual, {})["image"]
    assert apart(answer, factual["image"]) == pytest.approx((1 - residual) * missed, abs=1e-3)


def test_shared_abduction_answers_as_a_question_alone(toy, factual, held):
    model = lossy(toy, residual=1.0, local=0.4)
    noise = model.abduct(factual)
    first, null = model.generate(noise, held), model.generate(noise, {})
    for shared, alone in ((first, model.counterfactual(factual, held)), (null, model.counterfactual(factual, {}))):
        assert all(torch.equal(shared[name], alone[name]) for name in alone)
    again = model.generate(noise, held)
    assert torch.equal(again["image"], first["image"])


def test_noise_that_was_drawn_has_no_photograph(toy):
    plain, whole = lossy(toy), lossy(toy, residual=1.0)
    noise = plain.sample_noise(5, torch.Generator().manual_seed(0))
    assert torch.equal(plain.generate(noise)["image"], whole.generate(noise)["image"])


def test_a_local_change_is_kept_where_it_is_large_whatever_its_size():
    change = torch.zeros(3, 1, 16, 16)
    change[:, :, :6, :6] = 40.0
    change[:, :, 10:, 10:] = 4.0
    change[1] *= 0.1
    change[2] = 0
    kept = local(change, 0.4)
    assert torch.allclose(kept[1], 0.1 * kept[0], atol=1e-4)
    assert float(kept[0, 0, :4, :4].min()) > 39
    assert float(kept[0, 0, 12:, 12:].max()) < 0.5
    assert not kept[2].any()
    assert kept.isfinite().all()
    lenient, strict = (local(change, share).abs().sum() for share in (0.05, 0.9))
    assert strict < kept.abs().sum() < lenient <= change.abs().sum()


def test_a_volume_has_neighbourhoods_too():
    change = torch.zeros(1, 1, 8, 8, 8)
    change[..., :4] = 10.0
    change[..., 7] = 0.5
    kept = local(change, 0.4)
    assert float(kept[..., 0].min()) > 9
    assert float(kept[..., 7].max()) < 0.1


RECIPE = {
    "name": "mine",
    "title": "Mine",
    "dataset": "toy",
    "mechanisms": {
        "a": {"family": "toy-linear"},
        "b": {"family": "toy-linear"},
        "c": {"family": "categorical"},
        "image": {"family": "toy-picture"},
    },
}


def test_a_recipe_says_how_its_model_answers(toy, dataset):
    plain, answering = (
        Recipe.model_validate(RECIPE),
        Recipe.model_validate({**RECIPE, "answer": {"residual": 1, "local": 0.4}}),
    )
    assert "answer" not in plain.content()  # what was trained before stays what it was
    assert answering.content()["answer"] == {"residual": 1.0, "local": 0.4}
    assert type(models.build(plain, dataset.graph, dataset.variables)) is StructuralCausalModel
    model = models.build(answering, dataset.graph, dataset.variables)
    assert isinstance(model, Answering)
    assert (model.residual, model.local) == (1.0, 0.4)


@pytest.mark.parametrize("answer", [{"residual": 1.5}, {"local": 0}, {"local": 1}, {"sharpness": 1}])
def test_mistakes_in_a_recipe_are_named(tmp_path, answer):
    import yaml

    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump({**RECIPE, "answer": answer}))
    with pytest.raises(ConfigError, match=rf"answer\.{next(iter(answer))}"):
        models.find_recipe(str(path), datasets.card("morphomnist"))
