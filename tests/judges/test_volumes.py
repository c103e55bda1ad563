"""Judges of volumes: networks with their pins, what is not for volumes, perturbations and augmentation along every axis."""

import json

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from counterbench import features, judges
from counterbench.catalog.cards import Card, JudgeEntry
from counterbench.causal.variables import Categorical, Continuous
from counterbench.errors import ConfigError
from counterbench.judges.network import build, reduction
from counterbench.judges.sensitivity import PERTURBATIONS, blurred, sensitivity, shift
from counterbench.networks.classifiers import ARCHITECTURES
from counterbench.plugins import registry
from counterbench.training.augmentation import augmented
from counterbench.training.features import train_posterior
from counterbench.training.hardware import Hardware
from counterbench.training.judges import train_judges
from counterbench.training.recogniser import train_recogniser

KIND = Categorical("kind", ("a", "b", "c"))


def volumes(count=6):
    return (255 * torch.rand(count, 1, 16, 16, 16, generator=torch.Generator().manual_seed(0))).round()


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_pinned_network_judges_each_volume_alone_with_its_normalisation_folded(architecture, tmp_path):
    torch.manual_seed(0)
    network = build(architecture, 1, 3, pool=2, dimensions=3)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm3d):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
    path = tmp_path / "w.safetensors"
    save_file({key: value.contiguous() for key, value in network.state_dict().items()}, path)
    judge = registry.judges.get("classifier")(KIND, architecture, pool=2, dimensions=3, weights=path)
    assert not any(isinstance(module, nn.BatchNorm3d) for module in judge.network.modules())
    images = volumes()
    whole = judge.measure(images)
    with torch.no_grad():
        assert torch.allclose(whole, network.eval()(images / 127.5 - 1).softmax(1), atol=1e-5)
    assert torch.allclose(torch.cat([judge.measure(one) for one in images.split(1)]), whole, atol=1e-6)


def test_a_judge_of_pictures_refuses_volumes_in_one_sentence(toy):
    entry = {"judge": "thickness"}
    card = toy.SOLID_CARD.model_copy(update={"judges": {"a": [registry_entry(entry)]}})
    with pytest.raises(
        ConfigError, match=r"judge 'thickness' cannot look at the volumes of 'toy-solid'; it looks at pictures\."
    ):
        judges.load(card, "formula")


def registry_entry(entry):
    return JudgeEntry.model_validate(entry)


def test_the_intensity_of_a_volume_is_that_of_its_voxels():
    judge = registry.judges.get("intensity")(Continuous("intensity", 0, 255), [1.0] + [0.0] * 14)
    images = volumes()
    assert torch.equal(judge.measure(images), judge.measure(images.view(6, 1, 16, 256)))


def test_a_blur_or_shift_acts_along_every_axis():
    images = volumes(2)
    for order in ((0, 1, 3, 4, 2), (0, 1, 4, 2, 3)):
        turned = images.permute(order)
        width = torch.tensor([0.5, 1.0])
        assert torch.allclose(blurred(turned, width), blurred(images, width).permute(order), atol=1e-3)
        assert torch.allclose(shift(turned, 0.5), shift(images, 0.5).permute(order), atol=1e-3)
    for axis in (2, 3, 4):
        impulse = torch.zeros(1, 1, 9, 9, 9)
        impulse[0, 0, 4, 4, 4] = 1
        assert blurred(impulse, torch.ones(1)).sum(tuple({2, 3, 4} - {axis})).flatten().nonzero().numel() == 5


def test_every_perturbation_and_attack_takes_volumes(tmp_path):
    torch.manual_seed(0)
    path = tmp_path / "w.safetensors"
    save_file({k: v.contiguous() for k, v in build("plain", 1, 3, dimensions=3).state_dict().items()}, path)
    judge = registry.judges.get("classifier")(KIND, "plain", dimensions=3, weights=path)
    found = sensitivity(judge, volumes(3), torch.tensor([0, 1, 2]))
    assert set(PERTURBATIONS) < set(found)


@pytest.mark.parametrize("keeps_size", [False, True])
def test_augmented_volumes_are_whole_grey_levels_and_move_along_every_axis(keeps_size, monkeypatch):
    changed = augmented(volumes(), torch.Generator().manual_seed(1), keeps_size=keeps_size)
    assert changed.images.shape == (6, 1, 16, 16, 16)
    assert torch.equal(changed.images, changed.images.round().clamp(0, 255))
    monkeypatch.setattr("counterbench.training.augmentation.OFTEN", 0.0)
    ramp = torch.linspace(0, 200, 16)
    for axis in (2, 3, 4):
        images = ramp.view(*[-1 if one == axis else 1 for one in range(5)]).expand(32, 1, 16, 16, 16)
        moved = augmented(images, torch.Generator().manual_seed(1), keeps_size=keeps_size)
        centre = (moved.images[:, 0, 7:9, 7:9, 7:9].mean((1, 2, 3)) - 100 * moved.gain).abs()
        assert float(centre.mean()) > 2


@pytest.mark.slow
def test_judges_a_recogniser_and_a_posterior_of_volumes_are_trained_and_read_back(toy, tmp_path, monkeypatch):
    monkeypatch.setattr("counterbench.training.judges.SENSITIVITY_IMAGES", 3)
    solid = toy.SolidToy()
    report = train_judges([solid], ["c", "a"], output=tmp_path, hardware=Hardware("cpu"), epochs=1)
    assert set(report) == set(ARCHITECTURES)
    train_recogniser([solid], tmp_path, hardware=Hardware("cpu"), epochs=1)
    train_posterior([solid], tmp_path, hardware=Hardware("cpu"), epochs=1)
    declared = {
        **json.loads((tmp_path / "judges.json").read_text()),
        **json.loads((tmp_path / "recogniser.json").read_text()),
        **json.loads((tmp_path / "posterior.json").read_text()),
    }
    card = Card.model_validate(
        {
            **toy.SOLID_CARD.model_dump(exclude_unset=True),
            "path": str(tmp_path / "card.yaml"),
            **{key: declared[key] for key in ("judges", "recognisers", "features")},
        }
    )
    images = solid.split("test").take(slice(0, 5))["image"]
    panels = judges.load(card, "formula")
    assert judges.measure_all(panels, images)["a"].members.shape == (4, 5)  # a histogram, and three networks
    for name in ("judge", "embedding", "posterior"):
        vectors = features.load(name, card, panels).extract(images)
        assert len(vectors) == 5
        assert vectors.isfinite().all()


def test_volumes_of_96_are_reduced_by_a_stride():
    assert reduction(96) == {"stride": 2, "pool": 1}
