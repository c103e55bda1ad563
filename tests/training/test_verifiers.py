"""Training verifiers: what they learn on a toy, their losses by hand, and what cards say of them."""

import json

import pytest
import torch
import toy
from torch import nn

from counterbench import datasets
from counterbench.datasets.loading import card
from counterbench.recognisers.contrastive import Contrastive
from counterbench.training import verifiers
from counterbench.training.hardware import Hardware
from counterbench.training.recogniser import FIT, RecogniserObjective
from counterbench.training.verifiers import VERIFIERS, PairObjective, figures

CPU = Hardware("cpu")


def patterns(split, seed, count=240):
    """Two noisy images of each of some blurred patterns."""
    generator = torch.Generator().manual_seed(len(split) + seed)
    coarse = torch.rand(count, 1, 4, 4, generator=generator) * 255
    shown = nn.functional.interpolate(coarse, size=16, mode="bilinear")
    first, second = ((shown + 10 * torch.randn(shown.shape, generator=generator)).clamp(0, 255) for _ in range(2))
    return {"first": first, "second": second, "group": torch.arange(count)}


def test_both_are_trained_and_tell_individuals_that_they_have_not_seen(tmp_path, monkeypatch):
    monkeypatch.setattr(verifiers, "joined_pairs", lambda given, split, seed: patterns(split, seed))
    monkeypatch.setattr(verifiers, "pairs_of", lambda given, split, seed: patterns(split, seed))
    reports = verifiers.train_verifiers([toy.Toy()], tmp_path, hardware=CPU, epochs=10)
    assert set(reports) == {"contrastive", "siamese"}
    stored = json.loads((tmp_path / VERIFIERS).read_text())
    assert stored["recognisers"] == json.loads(json.dumps(reports))
    for name, report in reports.items():
        quality = report["quality"]["formula"]
        assert quality["auc"] > 0.8, name
        assert quality["sensitivity"] > quality["false_positives"], name
        assert (tmp_path / report["weights"]).is_file()
    assert not (tmp_path / "unfinished").exists()


def test_contrast_is_cross_entropy_over_everybody_and_passes_over_ones_own_other_pairs():
    score = torch.tensor([[0.9, 0.1, 0.3], [0.2, 0.8, 0.0], [0.4, 0.1, 0.7]])
    ignored = torch.zeros(3, 3, dtype=torch.bool)
    ignored[0, 2] = ignored[2, 0] = True
    losses = RecogniserObjective(nn.Identity(), FIT).of_scores(score, ignored)
    kept = (score / 0.1).exp() * ~ignored
    expected = -0.5 * ((kept.diagonal() / kept.sum(1)).log() + (kept.diagonal() / kept.sum(0)).log())
    assert torch.allclose(losses, expected, atol=1e-5)


def test_pairs_ignore_ones_own_other_pairs_and_a_stranger_who_looks_alike_costs():
    objective = PairObjective(nn.Identity(), FIT)
    score = -torch.tensor([[0.1, 3.0, 0.2], [3.0, 0.1, 3.0], [0.2, 3.0, 0.1]])
    own_twice = torch.zeros(3, 3, dtype=torch.bool)
    own_twice[0, 2] = own_twice[2, 0] = True
    with torch.no_grad():
        alike, passed = objective.of_scores(score, torch.zeros_like(own_twice)), objective.of_scores(score, own_twice)
    assert alike[0] > 2 * passed[0]
    assert float(alike[1]) == pytest.approx(float(passed[1]))
    assert objective.players()[0].parameters[-2:] == list(objective.line.parameters())


def test_figures_of_a_verifier_that_knows_nothing():
    generator = torch.Generator().manual_seed(0)
    own, strangers = torch.randn(400, generator=generator), torch.randn(4000, generator=generator)
    found = figures(own, strangers, slope=0.0, intercept=0.0, threshold=1.645)
    assert found["auc"] == pytest.approx(0.5, abs=0.04)
    assert found["sensitivity"] == pytest.approx(found["false_positives"], abs=0.03)
    assert found["calibration_error"] == pytest.approx(0, abs=1e-6)
    sure = figures(own, strangers, slope=0.0, intercept=5.0, threshold=1.645)
    assert sure["calibration_error"] == pytest.approx(0.4933, abs=1e-3)


@pytest.mark.parametrize("name", ["morphomnist", "adni"])
def test_cards_pin_two_verifiers_that_are_good_on_unseen_individuals(name):
    pinned = card(name)
    for source in pinned.sources:
        entries = [pinned.pinned(pinned.recognisers, verifier, source) for verifier in ("contrastive", "siamese")]
        if source == "adni":  # published files, for which verifiers are trained where they lie
            assert entries == [None, None]
            continue
        assert len({entry.sha256 for entry in entries}) == 2
        for entry in entries:
            quality = entry.quality[source]
            assert quality["auc"] >= 0.95
            assert quality["false_positives"] <= 0.08
            assert quality["calibration_error"] <= 0.05


def test_a_copy_is_surely_the_same_individual():
    digits = datasets.load("morphomnist")
    from counterbench import features, judges

    verifier = features.load("contrastive", digits.card, judges.load(digits.card, digits.source))
    assert isinstance(verifier, Contrastive)
    vectors = verifier.extract(digits.split("test").values["image"][:20])
    assert float(verifier.probability(verifier.score(vectors, vectors).diagonal()).min()) > 0.99
