"""Copies of training images: hand-made cases, and what each kind of answer scores."""

import pytest
import torch

import counterbench
from counterbench import datasets
from counterbench.audits import copies, extraction
from counterbench.errors import ConfigError
from counterbench.metrics.trained_on import TrainedOn


@pytest.fixture(scope="module")
def digits():
    return datasets.load("morphomnist")


@pytest.fixture(scope="module")
def few(digits):
    return TrainedOn(digits, {"which": "0-199"})


def copied(images, trained_on):
    return float((copies.nearest(images, trained_on.images)[0] <= trained_on.threshold).double().mean())


def test_tile_distance_is_that_of_a_slow_loop():
    generator = torch.Generator().manual_seed(0)
    images, others = (torch.randint(0, 256, (3, 2, 7, 9), generator=generator).float() for _ in range(2))
    rows, columns = torch.arange(7) * 4 // 7, torch.arange(9) * 4 // 9
    for i, image in enumerate(images):
        for j, other in enumerate(others):
            square = (image - other).square()
            tiles = [square[:, rows == r][:, :, columns == c].mean().sqrt() for r in range(4) for c in range(4)]
            found = copies.tile_distance(images, others)[i, j]
            assert float(found) == pytest.approx(float(max(tiles)), rel=1e-5)


def test_volumes_have_tiles_along_three_sides():
    black = torch.zeros(1, 1, 8, 8, 8)
    spot = black.clone()
    spot[0, 0, 0, 0, 0] = 80
    assert float(copies.tile_distance(black, spot)) == pytest.approx(80 / 8**0.5)


def test_a_replay_is_all_copies_and_held_out_images_are_none(few, digits):
    assert copied(few.images.float(), few) == 1
    test = digits.split("test").values["image"][:500].float()
    assert copied(test, few) <= 0.05


def test_near_duplicates_are_found_less_and_less_as_noise_grows(few):
    generator = torch.Generator().manual_seed(0)
    shares = []
    for level in (0, 5, 20, 60, 120):
        noise = level * torch.randn(few.images.shape, generator=generator)
        shares.append(copied((few.images.float() + noise).clamp(0, 255).round(), few))
    assert shares[0] == shares[1] == 1
    assert shares == sorted(shares, reverse=True)
    assert shares[-1] <= 0.05


def test_a_fixed_threshold_would_find_the_innocent_guilty(few, digits):
    """Why the threshold is calibrated: at half of the mean distance between digits, others' digits count as copies."""
    test = digits.split("test").values["image"][:300].float()
    fixed = float(copies.tile_distance(test[:100], few.images).mean()) / 1.5
    distance, _ = copies.nearest(test, few.images)
    assert float((distance <= fixed).double().mean()) > 0.2


def test_extraction_needs_a_group_and_its_middle_on_the_target():
    target = torch.zeros(1, 1, 4, 4)
    near = target + torch.tensor([0.0, 1.0, 2.0]).view(3, 1, 1, 1)
    far = target + 100 * torch.arange(1, 5).view(4, 1, 1, 1)
    assert extraction.is_extracted(torch.cat([near, far]), target[0], threshold=1.5)
    assert not extraction.is_extracted(torch.cat([near[:2], far]), target[0], threshold=1.5)
    assert not extraction.is_extracted(torch.cat([near + 50, far]), target[0], threshold=1.5)


def test_the_distance_in_features_is_0_for_a_replay_and_mifid_punishes_it():
    vectors = torch.randn(20, 5, generator=torch.Generator().manual_seed(0))
    assert float(copies.minimum_cosine_distance(vectors, vectors).abs().max()) < 1e-12
    fresh = float(copies.minimum_cosine_distance(-vectors[:5], vectors).mean())
    assert fresh > 0.05
    assert copies.memorisation_penalised(5.0, 0.0, held_out=fresh) > 1e6
    assert copies.memorisation_penalised(5.0, fresh, held_out=fresh) == 5.0


def test_a_group_is_what_hangs_together():
    images = torch.tensor([0.0, 3.0, 50.0, 6.0, 51.0]).view(5, 1, 1, 1)
    assert extraction.largest_group(images, threshold=3.5).tolist() == [0, 1, 3]


@pytest.fixture(scope="module")
def audited(digits):
    def replay(factual, interventions, generator):
        train = digits.split("train").values["image"][:200].float()
        count = len(factual["image"])
        return {**factual, **interventions, "image": train[torch.arange(count) % 200]}

    return counterbench.evaluate(replay, digits, suite="audit", metrics=["memorisation"], limit=30, workers=1).record


def test_the_floors_and_the_replay(audited):
    numbers = {(n.quantity, n.intervened): n for n in audited.numbers if n.metric == "memorisation"}
    for name in ("thickness", "intensity", "digit"):
        rate = numbers["copied", name]
        assert rate.value == 1
        assert rate.references["identity"].value <= 0.1
        assert rate.references["resample"].value > 0.5  # real training images
        assert numbers["stranger", name].references["identity"].value == 0
        ratio = numbers["neighbour_ratio", name]
        assert ratio.value < 0.95 < ratio.references["identity"].value


def test_rows_that_are_none_are_refused(digits):
    with pytest.raises(ConfigError, match="there is no row"):
        _ = TrainedOn(digits, {"which": "0-999999"}).images
    with pytest.raises(ConfigError, match="is no row; write rows"):
        _ = TrainedOn(digits, {"which": "some"}).images
    with pytest.raises(ConfigError, match="unknown key 'rows'"):
        TrainedOn(digits, {"rows": "1"})


def test_held_out_images_meet_the_same_conditions(digits):
    part = TrainedOn(digits, {"which": "0-9", "where": {"digit": ["7"]}})
    judge = digits.split("judge").values
    own = {row.numpy().tobytes() for row in judge["image"][judge["digit"] == 7]}
    assert all(row.numpy().tobytes() in own for row in part.held_out)
    assert len(part.as_many_held_out) == len(part.as_many) == 10
