import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from counterbench.processes import phantom

COUNT = 30


def scene(count=COUNT, seed=0):
    generator = torch.Generator().manual_seed(seed)
    attributes = {
        "brain_volume": 1000 + 100 * torch.randn(count, generator=generator),
        "ventricular_volume": (3.55 + 0.4 * torch.randn(count, generator=generator)).exp(),
        "slice": torch.randint(10, (count,), generator=generator),
    }
    traits = torch.rand(count, len(phantom.TRAITS), generator=generator)
    shot = torch.rand(count, len(phantom.SHOT), generator=generator)
    return attributes, traits, shot, torch.randint(3, (count,), generator=generator), torch.arange(count) % 2


def held(attributes, **values):
    count = len(attributes["slice"])
    return {**attributes, **{name: torch.full((count,), value) for name, value in values.items()}}


def area(attributes, traits, shot, lesion, part, side=192):
    """Of a part, in squared coordinates of the picture."""
    label = phantom.parts(attributes, traits, shot=shot, lesion=lesion, side=side)
    names = list(phantom.PARTS)
    chosen = label == names.index(part) if part != "head" else label > 0
    return chosen.float().sum((1, 2)) * (2 / side) ** 2


def test_the_same_numbers_give_the_same_pixels_alone_or_together():
    attributes, traits, shot, scanner, lesion = scene()
    drawn = {"shot": shot, "scanner": scanner, "lesion": lesion}
    whole = phantom.render(attributes, traits, **drawn)
    assert whole.shape == (COUNT, 1, 64, 64)
    assert torch.equal(whole, phantom.render(attributes, traits, **drawn))
    row = {k: v[3:4] for k, v in drawn.items()}
    alone = phantom.render({k: v[3:4] for k, v in attributes.items()}, traits[3:4], **row)
    assert torch.equal(alone[0], whole[3])


def test_area_of_the_brain_is_what_its_volume_says():
    attributes, traits, shot, _, lesion = scene()
    expected = (attributes["brain_volume"].double() / phantom.MEAN_BRAIN).pow(2 / 3)
    expected *= (
        math.pi
        * phantom.HALF_WIDTH
        * phantom.HALF_LENGTH
        * phantom.section(phantom.heights(attributes["slice"])).square()
    )
    assert torch.allclose(area(attributes, traits, shot, lesion, "head").double(), expected, rtol=0.01)


@given(st.floats(8, 120), st.integers(0, 9), st.integers(0, 1000))
def test_area_of_the_ventricles_is_what_their_volume_says(volume, position, seed):
    attributes, traits, shot, _, lesion = scene(8, seed)
    attributes = held(attributes, ventricular_volume=volume, slice=position)
    expected = phantom.VENTRICLE_AREA * (volume / phantom.MEAN_VENTRICLES) ** (2 / 3)
    found = area(attributes, traits, shot, torch.zeros_like(lesion), "ventricles", 256)
    assert torch.allclose(found, torch.full((8,), expected), rtol=0.06)


def test_ventricles_touch_nothing_outside_the_brain_and_volume_leaves_the_scanner_alone():
    attributes, traits, shot, scanner, lesion = scene()
    small, large = (
        phantom.render(
            held(attributes, ventricular_volume=v), traits, shot=shot, scanner=scanner, lesion=lesion
        ).float()
        for v in (10.0, 100.0)
    )
    outside = phantom.parts(attributes, traits, shot=shot, lesion=lesion) == 0
    assert torch.equal(small[:, 0][outside], large[:, 0][outside])
    assert (small - large).abs().amax((1, 2, 3)).min() > 40


def test_parts_are_where_they_should_be():
    attributes, traits, shot, _, lesion = scene()
    label = phantom.parts(attributes, traits, shot=shot, lesion=lesion)
    assert label.dtype == torch.uint8
    assert label.max() == 3
    assert ((label == 3).flatten(1).any(1) == lesion.bool()).all()
    assert (label[:, 0] == 0).all()
    boxes = phantom.lesion_boxes(attributes, traits, shot=shot, lesion=lesion)
    assert boxes[lesion == 0].isnan().all()
    for row in lesion.nonzero()[:, 0].tolist():
        left, top, right, bottom = boxes[row].long().tolist()
        inside = label[row, top:bottom, left:right] == 3
        assert inside.sum() == (label[row] == 3).sum()
        assert inside.any(0).all()
        assert inside.any(1).all()


def test_a_scanner_changes_contrast_and_noise_but_no_anatomy():
    attributes, traits, shot, scanner, lesion = scene()
    pictures = [
        phantom.render(attributes, traits, shot=shot, scanner=torch.full_like(scanner, which), lesion=lesion).float()
        for which in range(3)
    ]
    air = phantom.parts(attributes, traits, shot=shot, lesion=lesion)[:, None] == 0
    noise = [float(picture[air].mean()) for picture in pictures]
    assert noise == sorted(noise)
    levels = [float(picture[~air].mean()) for picture in pictures]
    assert len({round(level / 5) for level in levels}) == 3


@pytest.mark.parametrize("side", [64, 192])
def test_sizes(side):
    attributes, traits, shot, scanner, lesion = scene(4)
    picture = phantom.render(attributes, traits, shot=shot, scanner=scanner, lesion=lesion, side=side)
    assert picture.shape == (4, 1, side, side)
