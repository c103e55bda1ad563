"""The truth as well as anybody could know it who sees everything but the luck that no image shows."""

import pytest
import torch

from counterbench import datasets, models
from counterbench.causal.chance import SampleNoise
from counterbench.causal.samples import Samples
from counterbench.datasets.celeba import BALD, NO_BEARD
from counterbench.datasets.source import DrawsUnseen
from counterbench.errors import ConfigError
from counterbench.metrics.answers import l1
from counterbench.models.baselines import BASELINES, Oracle, OracleMedian, available

ROWS = torch.arange(24)


@pytest.fixture(scope="module")
def faces():
    return datasets.load("celeba-complex")


@pytest.fixture(scope="module")
def factual(faces):
    return faces.split("test").take(ROWS)


def asked(model, factual, held, seed=0):
    return model.counterfactual(factual, held, SampleNoise(seed, [f"row/{row}" for row in factual.index.tolist()]))


def test_only_sources_that_can_have_one(faces, toy):
    assert isinstance(faces.behind, DrawsUnseen)
    assert available(faces.card, faces.behind) == list(BASELINES)
    plain = [name for name in BASELINES if not name.startswith("oracle")]
    dataset = toy.Toy()
    assert available(dataset.card, dataset.behind) == available(dataset.card) == plain
    assert not Oracle(dataset).can_answer(["a"])
    with pytest.raises(ConfigError, match=r"'oracle' draws what no image shows, and toy/formula cannot; take identity"):
        models.load("oracle", dataset)


def test_what_is_set_to_what_it_was_stays_to_the_last_pixel(faces, factual):
    for model in (Oracle(faces), OracleMedian(faces)):
        back = asked(model, factual, {"young": factual["young"], "male": factual["male"]})
        assert all(torch.equal(back[name], factual[name]) for name in factual)
        assert all(torch.equal(asked(model, factual, {})[name], factual[name]) for name in factual)


def test_what_was_done_before_counts(faces, factual):
    given = Samples(dict(factual), ROWS, done={"male": 1 - factual["male"]})
    back = asked(Oracle(faces), given, {"male": factual["male"]})
    assert torch.equal(back["image"], factual["image"])


def test_without_a_beard_nothing_is_left_to_luck(faces, factual):
    """Whose beard is taken away shows all that is needed: the oracle is the truth."""
    held = {"no_beard": torch.ones(len(ROWS), dtype=torch.long)}
    answer, truth = asked(Oracle(faces), factual, held), faces.truth("test", ROWS, held)
    with_beard = factual["no_beard"] == 0
    assert with_beard.any()
    assert float(l1(answer["image"], truth["image"]).max()) < 0.01
    grown = {"no_beard": torch.zeros(len(ROWS), dtype=torch.long)}
    apart = l1(asked(Oracle(faces), factual, grown)["image"], faces.truth("test", ROWS, grown)["image"])
    assert float(apart[~with_beard].min()) > 0
    assert not apart[with_beard].any()


def test_luck_is_drawn_from_its_law_given_what_it_has_decided(faces, monkeypatch):
    """What follows from do(male): the share of beards and bald heads that the mechanisms give, and what was decided stays decided."""
    count = 4000
    rows = torch.arange(count) % 2000
    source, observed = faces.behind, {n: v[rows] for n, v in faces.attributes("test").items()}
    chance = torch.rand(count, source.unseen, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    male = 1 - observed["male"]
    monkeypatch.setattr("counterbench.datasets.celeba.render", lambda _, traits: torch.zeros(len(traits), 3, 64, 64))
    found, same = (
        source.possible_counterfactual("test", rows, {"male": value}, chance) for value in (male, observed["male"])
    )
    assert all(torch.equal(same[name], observed[name]) for name in faces.card.attributes)
    for name, table in (("no_beard", NO_BEARD), ("bald", BALD)):
        for young in (0, 1):
            for sex in (0, 1):
                those = (observed["young"] == young) & (observed["male"] == sex)
                assert found[name][those].double().mean() == pytest.approx(float(table[young, 1 - sex]), abs=0.06)


def test_the_median_is_nearer_to_the_truth_than_one_draw(faces, factual):
    held = {"male": 1 - factual["male"]}
    truth = faces.truth("test", ROWS, held)

    def away(model, seed):
        return float(l1(asked(model, factual, held, seed)["image"], truth["image"]).mean())

    one, median = (sum(away(model(faces), seed) for seed in range(4)) / 4 for model in (Oracle, OracleMedian))
    assert median < one < float(l1(factual["image"], truth["image"]).mean())


def test_luck_belongs_to_the_row_and_not_to_the_batch(faces, factual):
    held = {"no_beard": 1 - factual["no_beard"]}
    whole = asked(Oracle(faces), factual, held)
    few = faces.split("test").take(ROWS[5:9])
    part = asked(Oracle(faces), few, {name: value[5:9] for name, value in held.items()})
    assert torch.equal(part["image"], whole["image"][5:9])
