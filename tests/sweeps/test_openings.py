"""What came out of adapting a model in many ways: by hand."""

import json

import pytest

from counterbench.pictures.openings import draw_openings
from counterbench.sweeps.openings import (
    Opening,
    as_json,
    as_markdown,
    best_rates,
    chosen_by,
    crossovers,
    curves,
    openings,
    openings_of_judges,
)

BETTER = {"row skill": "higher", "copied": "lower"}


def opening(kind, samples, rate, skill, copied):
    return Opening(kind, samples, rate, 100, 2.0, 3, {"row skill": skill, "copied": copied}, BETTER)


WAYS = [
    opening("full", 10, 0.001, 0.10, 0.3),
    opening("full", 10, 0.01, 0.15, 0.5),
    opening("lora", 10, 0.001, 0.20, 0.1),
    opening("full", 100, 0.001, 0.30, 0.2),
    opening("lora", 100, 0.001, 0.25, 0.1),
    opening("full", 1000, 0.001, 0.60, 0.0),
    opening("lora", 1000, 0.001, 0.40, 0.1),
]


def test_of_every_kind_and_number_of_samples_the_best_rate_is_shown():
    best = best_rates(WAYS)
    assert [(one.samples, one.kind, one.rate) for one in best] == [
        (10, "full", 0.01),
        (10, "lora", 0.001),
        (100, "full", 0.001),
        (100, "lora", 0.001),
        (1000, "full", 0.001),
        (1000, "lora", 0.001),
    ]
    assert best_rates(WAYS, "copied")[0].rate == 0.001


def test_full_training_overtakes_where_it_stays_ahead():
    assert crossovers(best_rates(WAYS)) == {"copied": 1000, "row skill": 100}
    back = [*WAYS, opening("sv_diff", 1000, 0.001, 0.7, 0.5)]
    assert crossovers(best_rates(back)) == {"copied": 1000, "row skill": None}
    assert crossovers(best_rates([one for one in WAYS if one.kind == "full"]))["row skill"] is None


def test_the_page_and_the_picture(tmp_path):
    best = best_rates(WAYS)
    page = as_markdown(best, crossovers(best))
    assert "| 10 | full | 100 | 0.01 | 2 | 3 | 0.15 | 0.5 |" in page
    assert "row skill: full training is ahead of all others from 100 samples on" in page
    assert json.loads(as_json(WAYS, crossovers(best)))["crossovers"]["copied"] == 1000
    assert curves(best)["row skill"]["lora"] == [(10, 0.2), (100, 0.25), (1000, 0.4)]
    draw_openings(curves(best), tmp_path / "ways.png")
    assert (tmp_path / "ways.png").read_bytes()[:4] == b"\x89PNG"


@pytest.fixture(scope="module")
def records(toy, tmp_path_factory):
    """Two trainings of one adaptation and the model as it is, evaluated."""
    import counterbench
    from counterbench import models
    from counterbench.training import adaptation, recipes
    from counterbench.training.hardware import Hardware

    dataset, folder = toy.Toy(), tmp_path_factory.mktemp("ways")
    recipes.train(toy.small_recipe(), dataset, output=folder / "base", hardware=Hardware("cpu"), limit=60)
    start = adaptation.with_rows(adaptation.start_recipe(None, str(folder / "base"), dataset), [], 20)
    recipe = adaptation.adapted_recipe(
        start, "image", adaptation.parsed_adapter("oft:block=4"), learning_rate=0.01, steps=2
    )
    made = [folder / "base"]
    for seed in (0, 1):
        made.append(recipes.train(recipe, dataset, output=folder / f"s{seed}", hardware=Hardware("cpu"), seed=seed))
    return [
        counterbench.evaluate(
            models.load(str(path), dataset), dataset, suite="audit", metrics=["effectiveness"], limit=20, workers=1
        ).record
        for path in made
    ]


def test_records_of_adaptations_are_collected_over_their_seeds(records):
    (way,) = openings(records)
    assert (way.kind, way.samples, way.rate, way.seeds) == ("oft:block=4", 20, 0.01, 2)
    assert way.opened == records[1].training["opened"] > 0
    skills = [[n.value for n in r.numbers if n.quantity == "skill" and n.role == "headline"] for r in records[1:]]
    assert way.values["effectiveness: skill"] == pytest.approx(sum(sum(s) / len(s) for s in skills) / 2)
    assert way.better["effectiveness: skill"] == "higher"


def report(limit, errors, kind="bias", rate=0.01):
    """What `train-judges` says of two networks that were trained further."""
    networks = {
        name: {"opened": 5, "quality": {"a": {"formula": {"mean_absolute_error": error, "coverage_90": 0.9}}}}
        for name, error in zip(("plain", "residual"), errors, strict=True)
    }
    adapt = {"kind": kind, "options": {}, "within": None}
    return {
        "adapt": adapt,
        "rows": {"where": {}, "limit": limit},
        "fit": {"learning_rate": rate},
        "trained_further": networks,
    }


def test_judges_that_were_adapted_are_collected_over_networks_and_seeds():
    found = openings_of_judges(
        [(report(10, (3.0, 5.0)), 2.0), (report(10, (1.0, 2.0)), 4.0), (report(50, (1.0, 1.0)), 6.0)]
    )
    assert [(one.kind, one.samples, one.seeds, one.opened, one.seconds) for one in found] == [
        ("bias", 10, 2, 10, 3.0),
        ("bias", 50, 1, 10, 6.0),
    ]
    assert found[0].values == {"a: mean absolute error": pytest.approx(2.75)}  # the median of 4 and 1.5
    assert found[0].better == {"a: mean absolute error": "lower"}
    full = [(report(50, (0.5, 0.5), kind="full"), 1.0), (report(10, (9.0, 9.0), kind="full"), 1.0)]
    found += openings_of_judges(full)
    assert chosen_by(found) == "a: mean absolute error"
    assert crossovers(best_rates(found, chosen_by(found))) == {"a: mean absolute error": 50}
    assert "the learning rate with the best a: mean absolute error" in as_markdown(found, {})
