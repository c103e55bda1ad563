"""Metrics that compare with what a model was trained on are told which rows those were."""

import pytest

import counterbench
from counterbench import models
from counterbench.evaluation.exam_of_record import exam_of
from counterbench.training import adaptation, recipes
from counterbench.training.hardware import Hardware

FIT = {"epochs": 1, "batch_size": 50}


@pytest.fixture(scope="module")
def dataset(toy):
    return toy.Toy()


@pytest.fixture(scope="module")
def few(dataset, tmp_path_factory):
    from counterbench.catalog.recipes import Recipe

    options = {"latent": 2, "encoder_channels": [4], "decoder_channels": [4], "hidden": 8}
    recipe = Recipe.model_validate(
        {
            "name": "few",
            "title": "Few",
            "dataset": "toy",
            "mechanisms": {
                "a": {"family": "spline_flow", "fit": FIT},
                "b": {"family": "spline_flow", "fit": FIT},
                "c": {"family": "categorical", "fit": FIT},
                "image": {"family": "vae", "options": options, "fit": FIT},
            },
        }
    )
    recipe = adaptation.with_rows(recipe, ["c=one"], 20)
    return recipes.train(recipe, dataset, output=tmp_path_factory.mktemp("few") / "run", hardware=Hardware("cpu"))


def test_the_rows_of_the_manifest_reach_the_metric_and_the_record(few, dataset):
    contestant = models.load(str(few), dataset)
    result = counterbench.evaluate(
        contestant, dataset, suite="audit", metrics=["memorisation", "effectiveness"], limit=20, workers=1
    )
    seen = result.record.inputs.metrics["memorisation"]["seen"]
    assert seen == {"which": contestant.training["rows"]["train"]["which"], "where": {"c": ["one"]}}
    assert result.record.inputs.metrics["effectiveness"] == {}
    # Whoever asks the model of the record again holds it against the same images.
    again = exam_of(result.record, dataset=dataset, device="cpu")
    assert again.metrics["memorisation"]["seen"] == seen


def test_a_model_that_saw_everything_is_held_against_everything(dataset):
    result = counterbench.evaluate("identity", dataset, suite="audit", metrics=["memorisation"], limit=20, workers=1)
    assert result.record.inputs.metrics == {"memorisation": {}}
