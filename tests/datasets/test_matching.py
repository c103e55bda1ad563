import numpy as np
import pytest
import torch

from counterbench.datasets.matching import Matcher


@pytest.fixture(scope="module")
def dataset(toy):
    return toy.Toy()


def test_nearest_are_the_nearest_of_the_same_class(dataset):
    train = dataset.reference().values
    wanted = {name: value[:25] for name, value in dataset.attributes("test").items()}
    found = Matcher(dataset).nearest(wanted, 4)
    spread = {name: float(np.std(train[name].numpy())) for name in ("a", "b")}
    for i in range(25):
        same = (train["c"] == wanted["c"][i]).nonzero()[:, 0]
        distance = sum(((train[name][same] - wanted[name][i]) / spread[name]).square() for name in ("a", "b"))
        of_found = distance[(found[i][:, None] == same).nonzero()[:, 1]]
        assert torch.equal(of_found, distance.sort().values[:4])  # of two as near, either may be taken


def test_classes_alone_reach_every_image_that_has_them(dataset, monkeypatch):
    """Two faces with glasses are as good as sixteen."""
    matcher = Matcher(dataset)
    matcher.quantities, matcher.classes = [], ["c"]
    images = dataset.reference()
    wanted = {"c": torch.tensor([0, 1, 2]).repeat(2000)}
    drawn = torch.rand(6000, generator=torch.Generator().manual_seed(0))
    rows = matcher.random(wanted, drawn)
    assert torch.equal(images.values["c"][rows], wanted["c"])
    assert set(rows.tolist()) == set(range(len(images)))
    factual = dataset.split("test").take(slice(0, 30))
    found = matcher.most_alike({"c": factual["c"]}, factual["image"])
    flat = images.values["image"].flatten(1)
    for i in range(30):
        same = (images.values["c"] == factual["c"][i]).nonzero()[:, 0]
        distance = (flat[same] - factual["image"][i].flatten()).square().sum(1)
        assert found[i] == same[distance.argmin()]


def test_a_class_with_few_images_repeats_the_last_and_an_unheard_of_one_takes_any(dataset, monkeypatch):
    matcher = Matcher(dataset)
    train = {name: value.clone() for name, value in dataset.attributes("train").items()}
    train["c"][:] = 0
    train["c"][:3] = 1
    monkeypatch.setattr(dataset, "attributes", lambda name: train)
    wanted = {"a": torch.zeros(2), "b": torch.zeros(2), "c": torch.tensor([1, 2])}
    found = matcher.nearest(wanted, 5)
    assert set(found[0].tolist()) == {0, 1, 2}
    assert found[0, 2] == found[0, 3] == found[0, 4]
    assert len(set(found[1].tolist())) == 5


def test_an_image_that_nothing_causes_matches_any_real_one(dataset):
    matcher = Matcher(dataset)
    matcher.quantities, matcher.classes = [], []
    images = dataset.split("test").take(slice(0, 5))["image"]
    assert matcher.random({}, torch.tensor([0.0, 0.999999])).tolist() == [
        0,
        len(dataset.reference_rows(matcher.count)) - 1,
    ]
    known = dataset.reference(matcher.count).values["image"].float()
    expected = torch.cdist(images.flatten(1).float(), known.flatten(1)).argmin(1)
    assert torch.equal(matcher.most_alike({}, images), expected)
