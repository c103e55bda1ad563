import pytest
import torch

from counterbench import datasets, judges
from counterbench.causal.variables import Continuous, Ordinal
from counterbench.errors import ConfigError
from counterbench.judges.brain import Brain, read

SLICE = Ordinal("slice", tuple("0123456789"))
VOLUME = Continuous("brain_volume", 650, 1400, "mL")


@pytest.fixture(scope="module")
def phantom():
    return datasets.load("adni", "phantom")


@pytest.fixture(scope="module")
def sample(phantom):
    return phantom.split("test").take(slice(0, 300))


def test_errors_on_real_images_are_as_the_card_says(phantom, sample):
    panels = judges.load(phantom.card, "phantom")
    for name in ("brain_volume", "ventricular_volume"):
        entries = [entry for entry in phantom.card.judges[name] if "phantom" in entry.sources]
        promised = entries[0].quality["phantom"]["mean_absolute_error"]
        closed, *networks = (
            (member.measure(sample["image"]) - sample[name]).abs().mean() for member in panels[name].members
        )
        assert closed == pytest.approx(promised, rel=0.2)
        assert min(networks) < closed
        assert (panels[name].measure(sample["image"]).value - sample[name]).abs().mean() < closed
    reading = panels["slice"].measure(sample["image"])
    entries = [entry for entry in phantom.card.judges["slice"] if "phantom" in entry.sources]
    for entry, member in zip(entries, reading.members, strict=True):
        right = (member.argmax(1) == sample["slice"]).float().mean()
        assert right == pytest.approx(entry.quality["phantom"]["accuracy"], abs=0.05)


def test_a_judge_follows_an_intervention_and_nothing_else(phantom, sample):
    panels = judges.load(phantom.card, "phantom")
    rows = torch.arange(60)
    larger = phantom.truth("test", rows, {"ventricular_volume": sample["ventricular_volume"][:60] + 40})["image"]
    before, after = ({n: p.measure(x).value for n, p in panels.items()} for x in (sample["image"][:60], larger))
    grown = after["ventricular_volume"] - before["ventricular_volume"]
    assert grown.mean() == pytest.approx(40, rel=0.15)
    assert (after["brain_volume"] - before["brain_volume"]).abs().mean() < 15


def test_each_image_is_judged_alone(sample):
    judge = Brain(VOLUME, "brain_volume")
    whole = judge.measure(sample["image"][:10])
    assert torch.allclose(whole[4:5], judge.measure(sample["image"][4:5]))


@pytest.mark.parametrize(
    "image", [torch.zeros(1, 1, 64, 64), torch.full((1, 1, 64, 64), 255.0), 255 * torch.rand(1, 1, 64, 64)]
)
def test_an_image_that_shows_no_brain_is_finite(image):
    for variable, quantity in ((VOLUME, "brain_volume"), (VOLUME, "ventricular_volume"), (SLICE, "slice")):
        assert Brain(variable, quantity).measure(image).isfinite().all()
    assert read(torch.zeros(1, 1, 64, 64)).brain == 0


def test_an_unknown_quantity_is_an_error():
    with pytest.raises(ConfigError, match="give one of brain_volume"):
        Brain(VOLUME, "weight")
