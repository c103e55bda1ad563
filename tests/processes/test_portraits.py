import pytest
import torch

from counterbench.processes.portraits import ATTRIBUTES, TRAITS, render

COUNT = 40


def someone(count=COUNT, seed=0):
    generator = torch.Generator().manual_seed(seed)
    attributes = {name: (torch.rand(count, generator=generator) < 0.5).long() for name in ATTRIBUTES}
    return attributes, torch.rand(count, len(TRAITS), generator=generator)


def changed(attributes, traits, name, side=64):
    """(picture without, with), float."""
    return [
        render({**attributes, name: torch.full((len(traits),), value)}, traits, side=side).float() for value in (0, 1)
    ]


def test_the_same_numbers_give_the_same_pixels_alone_or_together():
    attributes, traits = someone()
    whole = render(attributes, traits)
    assert whole.shape == (COUNT, 3, 64, 64)
    assert whole.dtype == torch.uint8
    assert torch.equal(whole, render(attributes, traits))
    for row in (0, 7):
        assert torch.equal(
            render({k: v[row : row + 1] for k, v in attributes.items()}, traits[row : row + 1])[0], whole[row]
        )


@pytest.mark.parametrize("name", ATTRIBUTES)
def test_every_attribute_shows_on_everybody(name):
    without, with_ = changed(*someone(), name)
    assert ((without - with_).abs().amax((1, 2, 3)) > 15).all()


@pytest.mark.parametrize(
    ("name", "rows"),
    [
        ("smiling", (0.0, 0.12)),
        ("eyeglasses", (0.0, 0.12)),
        ("eyeglasses", (0.75, 1.0)),
        ("no_beard", (0.0, 0.3)),
        ("bald", (0.8, 1.0)),
    ],
)
def test_an_attribute_leaves_far_parts_alone(name, rows):
    """A smile or glasses do not reach the top of the picture, a beard not the forehead, baldness not the shoulders of short hair."""
    attributes, traits = someone()
    if name == "bald":
        attributes["male"] = torch.ones(COUNT, dtype=torch.long)  # long hair falls that far
    without, with_ = changed(attributes, traits, name)
    first, last = (round(64 * edge) for edge in rows)
    assert torch.equal(without[:, :, first:last], with_[:, :, first:last])


def test_background_follows_from_nothing_but_who_it_is():
    """The corners of the picture show the background, whatever the attributes (short hair)."""
    attributes, traits = someone()
    attributes["male"] = torch.ones(COUNT, dtype=torch.long)
    for name in ATTRIBUTES:
        if name != "male":
            without, with_ = changed(attributes, traits, name)
            for corner in (without[:, :, :6, :6] - with_[:, :, :6, :6], without[:, :, :6, -6:] - with_[:, :, :6, -6:]):
                assert not corner.any()


def test_people_differ():
    attributes, traits = someone(200)
    flat = render(attributes, traits).float().flatten(1)
    distances = torch.cdist(flat, flat, p=1) / flat.shape[1]
    distances.fill_diagonal_(torch.inf)
    assert distances.min() > 8  # grey levels on average


def test_a_larger_picture_shows_the_same_face():
    """Without the grain, which is one pixel wide at any size."""
    attributes, traits = someone()
    small, large = render(attributes, traits, side=64).float(), render(attributes, traits, side=128).float()
    pooled = torch.nn.functional.avg_pool2d(large, 2)
    assert (torch.nn.functional.avg_pool2d(small - pooled, 4)).abs().mean() < 6
