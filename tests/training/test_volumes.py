"""Every family and objective of images is trained on volumes, and the model answers."""

import pytest

import counterbench
from counterbench import models
from counterbench.catalog.recipes import Recipe
from counterbench.training import recipes
from counterbench.training.hardware import Hardware

FIT = {"epochs": 1, "batch_size": 32}
CODES = {"latent": 4, "encoder_channels": [4, 8], "decoder_channels": [8, 4], "hidden": 16}
FIELD = {"width": 8, "channels": [4, 8], "attention": [1], "heads": 2, "steps": 2}
FAMILIES = {
    "vae": (
        {"options": CODES},
        [
            {"objective": "likelihood", "fit": FIT},
            {"objective": "counterfactual", "options": {"critic_width": 4, "critic_epochs": 1}, "fit": FIT},
        ],
    ),
    "hvae": ({"options": {"levels": [[1, 1, 8], [8, 1, 8]], "latent": 2}}, [{"objective": "likelihood", "fit": FIT}]),
    "gan": ({"options": CODES}, [{"objective": "adversarial", "fit": FIT}, {"objective": "encoder", "fit": FIT}]),
    "flow_matching": ({"options": {**FIELD, "semantic": 2}}, [{"objective": "matching", "fit": FIT}]),
}


@pytest.mark.parametrize("family", FAMILIES)
def test_a_family_is_trained_on_volumes_and_answers(family, toy, tmp_path):
    solid = toy.SolidToy()
    options, stages = FAMILIES[family]
    recipe = Recipe.model_validate(
        {
            "name": family,
            "title": family,
            "dataset": "toy-solid",
            "mechanisms": {
                "a": {"family": "spline_flow", "fit": FIT},
                "b": {"family": "spline_flow", "fit": FIT},
                "c": {"family": "categorical", "fit": FIT},
                "image": {"family": family, **options, "stages": stages},
            },
        }
    )
    folder = recipes.train(recipe, solid, output=tmp_path / family, hardware=Hardware("cpu"))
    contestant = models.load(str(folder), solid)
    result = counterbench.evaluate(
        contestant, solid, suite="quick", metrics=["composition", "truth"], limit=4, device="cpu"
    )
    assert len(result.record.numbers) > 3
    assert all(number.value is not None for number in result.record.numbers)
