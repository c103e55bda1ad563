"""What doing nothing, the truth, and everything in between must score."""

import math

import asked
import pytest
import torch

PERFECT = {
    "skill": 1,
    "truth_skill": 1,
    "change_skill": 1,
    "effect": 1,
    "accuracy": 1,
    "attribute_accuracy": 1,
    "judges_agreement": 1,
}


@pytest.fixture(scope="module")
def dataset(toy):
    return toy.Toy()


@pytest.fixture(scope="module")
def setting(dataset):
    return asked.setting(dataset)


@pytest.mark.parametrize("name", ["composition", "reversibility", "commutativity", "off_target"])
def test_doing_nothing_is_perfect_where_nothing_is_asked_of_a_change(name, dataset, setting):
    found = asked.points(name, setting, dataset, asked.unchanged)
    assert found
    assert set(found.values()) == {0.0}


def test_the_truth_is_perfect(dataset, setting):
    for name in ("composition", "reversibility", "commutativity", "effectiveness", "off_target", "truth"):
        for (quantity, *cell), value in asked.points(name, setting, dataset, asked.true).items():
            assert value == pytest.approx(PERFECT.get(quantity, 0), abs=2e-3), (name, quantity, cell)


def test_effect_and_amplification_of_identity_and_truth(dataset, setting):
    """(0, 0) and (1, 0): the only pair of metrics with the right fixed points."""
    nothing, truth, half = (
        asked.points("truth", setting, dataset, answer) for answer in (asked.unchanged, asked.true, asked.halfway)
    )
    for name in asked.NAMES:
        assert nothing["effect", name, "", 0] == nothing["amplification", name, "", 0] == 0
        assert truth["effect", name, "", 0] == pytest.approx(1, abs=1e-12)
        assert truth["amplification", name, "", 0] == pytest.approx(0, abs=1e-9)
        assert half["effect", name, "", 0] == pytest.approx(0.5, abs=1e-6)


def test_latent_divergence_of_doing_nothing(dataset, setting):
    rows = asked.untied(dataset, 60)
    assert len(rows) > 40
    found = asked.points("minimality", setting, dataset, asked.unchanged, rows=rows)
    for name in asked.NAMES:
        assert found["cld_0.8_0.2", name, "", 0] == pytest.approx(math.log(0.8 + 0.2 * math.e), abs=1e-12)
        assert found["cld_0.8_0.2", name, "", 0] == pytest.approx(0.2954, abs=5e-5)
        assert found["cld_1_1", name, "", 0] == pytest.approx(math.log(1 + math.e), abs=1e-12)
        assert found["cld_1_1", name, "", 0] == pytest.approx(1.3133, abs=5e-5)
        assert found["excess_change", name, "", 0] > 1
    assert asked.points("minimality", setting, dataset, asked.true)["excess_change", "a", "", 0] == 0


def towards(share):
    """An answer that is the truth up to a share, and the factual image for the rest."""
    return lambda given, held, truth: {**truth, "image": (1 - share) * given["image"] + share * truth["image"]}


def with_noise(size):
    """The truth with that much noise, fixed per sample."""
    return lambda given, held, truth: {
        **truth,
        "image": truth["image"] + size * torch.cos(given["image"] * 7.3 + torch.arange(64.0).view(1, 1, 8, 8)),
    }


@pytest.mark.parametrize(
    ("metric", "quantity", "better"),
    [
        ("effectiveness", "absolute_error", "lower"),
        ("effectiveness", "skill", "higher"),
        ("truth", "l1", "lower"),
        ("truth", "effect", "higher"),
    ],
)
def test_more_of_the_true_change_scores_better(metric, quantity, better, dataset, setting):
    curve = [
        asked.points(metric, setting, dataset, towards(share))[
            quantity, "a", "a" if metric == "effectiveness" else "", 0
        ]
        for share in (0.0, 0.25, 0.5, 0.75, 1.0)
    ]
    assert curve == sorted(curve, reverse=better == "lower")
    assert curve[0] != curve[-1]


@pytest.mark.parametrize(
    ("metric", "key"),
    [
        ("composition", ("l1", "", "", 1)),
        ("reversibility", ("l1", "a", "", 0)),
        ("truth", ("l1", "a", "", 0)),
        ("truth", ("amplification", "a", "", 0)),
        ("off_target", ("change", "b", "a", 0)),
        ("recognition", ("distance_beyond_truth", "a", "", 0)),
        ("realism", ("frechet_distance", "a", "", 0)),
    ],
)
def test_more_noise_scores_worse(metric, key, dataset, setting):
    options = {"spaces": ["pixel"]} if metric == "realism" else {}
    curve = [asked.points(metric, setting, dataset, with_noise(size), **options)[key] for size in (8, 32, 128)]
    assert curve == sorted(curve)
    assert curve[2] > curve[0]


def test_brighter_images_are_further_from_the_real_ones(dataset, setting):
    def brighter(size):
        return lambda given, held, truth: {**truth, "image": truth["image"] + size}

    options = {"spaces": ["pixel"], "quantities": ["kid", "coverage"]}
    found = [asked.points("realism", setting, dataset, brighter(size), **options) for size in (0, 20, 60)]
    curves = {name: [points[name, "a", "", 0] for points in found] for name in ("kid", "coverage")}
    assert curves["kid"] == sorted(curves["kid"])
    assert curves["coverage"] == sorted(curves["coverage"], reverse=True)
    assert curves["coverage"][2] < 0.1 < curves["coverage"][0]
