"""The judge that reads presence off the area of a part."""

import pytest
import torch

from counterbench import datasets, judges
from counterbench.causal.variables import Binary
from counterbench.errors import ConfigError
from counterbench.judges.part import PartJudge
from counterbench.networks.segmentation import SegmentationUNet
from counterbench.storage.weights import save_weights


@pytest.fixture
def weights(tmp_path):
    """A network that calls every pixel brighter than the middle part 1."""
    network = SegmentationUNet(1, 2, widths=(4, 4))
    torch.manual_seed(0)
    save_weights(network, tmp_path / "unet.safetensors")
    return tmp_path / "unet.safetensors"


def test_it_follows_the_area_of_its_part(weights):
    judge = PartJudge(Binary("lesion"), part=1, parts=2, slope=2.0, intercept=-1.0, widths=(4, 4), weights=weights)
    images = 255 * torch.rand(5, 1, 8, 8)
    area = judge.look(images)[:, 1]
    shares = judge.network(images / 127.5 - 1).softmax(1)[:, 1].flatten(1).sum(1)
    assert torch.allclose(area, shares, atol=1e-4)
    reading = judge.measure(images)
    assert torch.allclose(reading[:, 1], torch.sigmoid(2 * (1 + area).log() - 1), atol=1e-5)
    assert torch.allclose(reading.sum(1), torch.ones(5))


def test_a_part_that_there_is_not_is_told(weights):
    with pytest.raises(ConfigError, match="reads part 2 of 2; give 1 to 1"):
        PartJudge(Binary("lesion"), part=2, parts=2, widths=(4, 4), weights=weights)


def test_the_pinned_one_sees_a_lesion_come_and_go():
    dataset, rows = datasets.load("adni-lesions"), torch.arange(60)
    panel = judges.load(dataset.card, "template")["lesion"]
    for there in (0, 1):
        asked = {"lesion": torch.full((60,), there)}
        values = dataset.true_attributes("test", rows, asked)
        reading = panel.measure(dataset.behind.render("test", rows, values)).value
        assert float((reading.argmax(1) == there).double().mean()) > 0.9
