"""The fields: shapes in two and three dimensions, what they depend on, and attention that can be looked at."""

import pytest
import torch
from awake import awake

from counterbench.errors import ConfigError
from counterbench.networks.attention import CrossAttention, Tokens
from counterbench.networks.residual import ResidualMLP
from counterbench.networks.spatial import from_patches
from counterbench.networks.unet import UNet

SMALL = {"condition": 8, "channels": [8, 16], "attention": [0, 1], "heads": 2}


@pytest.mark.parametrize(
    ("shape", "patch"),
    [((1, 8, 8), 1), ((3, 8, 16), 2), ((1, 8, 12), 2), ((2, 16, 16), 4), ((1, 8, 8, 8), 2), ((1, 4, 8, 12), 2)],
)
def test_a_field_has_the_shape_of_its_image(shape, patch):
    network = awake(UNet(shape, patch=patch, **SMALL))
    image = torch.randn(2, *shape)
    field = network(image, torch.tensor([0.1, 0.9]), torch.randn(2, 3, 8))
    assert field.shape == image.shape
    assert field.isfinite().all()


def test_an_untrained_field_is_zero():
    assert not UNet((1, 8, 8), **SMALL)(torch.randn(2, 1, 8, 8), torch.rand(2), torch.randn(2, 3, 8)).any()


@pytest.mark.parametrize("make", [lambda: UNet((1, 8, 8), **SMALL), lambda: ResidualMLP(5, 8, hidden=16)])
def test_a_field_depends_on_image_time_and_every_token_and_on_no_other_sample(make):
    network = awake(make())
    image = torch.randn(3, 1, 8, 8) if isinstance(network, UNet) else torch.randn(3, 5)
    time, tokens = torch.rand(3), torch.randn(3, 2, 8)
    field = network(image, time, tokens)
    others = [network(image + 0.1, time, tokens), network(image, time + 0.1, tokens)]
    for token in range(2):
        moved = tokens.clone()
        moved[:, token] += 1
        others.append(network(image, time, moved))
    assert all(float((other - field).abs().max()) > 1e-4 for other in others)
    assert torch.allclose(network(image[1:2], time[1:2], tokens[1:2]), field[1:2], atol=1e-5)


def test_patches_are_laid_side_by_side():
    image = torch.arange(2 * 3 * 4 * 6.0).reshape(2, 3, 4, 6)
    patches = torch.nn.functional.pixel_unshuffle(image, 2)
    assert torch.equal(from_patches(patches, 2), image)


def test_a_field_learns_which_token_matters_where():
    """The left half has to show the first token, the right half the second."""
    torch.manual_seed(0)
    network = UNet((1, 8, 8), 8, channels=[16], patch=2, attention=[0], heads=2)
    optimizer = torch.optim.Adam(network.parameters(), 0.01)
    sides = torch.ones(32, 1, 8, 8)
    sides[..., :4] = -1
    for _ in range(200):
        tokens = torch.randn(32, 2, 8)
        tokens[:, :, 1:] = torch.eye(8)[:2, 1:]  # which of the two it is
        tokens[:, 0, 2:] = 1
        goal = torch.zeros(32, 1, 8, 8)
        goal[..., :4] = tokens[:, 0, :1, None, None]
        goal[..., 4:] = tokens[:, 1, :1, None, None]
        loss = (network(sides, torch.zeros(32), tokens) - goal).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert float(loss.detach()) < 0.2  # 1 for a field that knows nothing


def test_attention_can_be_watched_and_sums_to_one():
    layer = awake(CrossAttention(8, 4, heads=2))
    maps, tokens = torch.randn(2, 8, 4, 4), torch.randn(2, 3, 4)
    plain = layer(maps, tokens)
    with layer.watched() as seen, layer.watched() as twice:
        assert torch.allclose(layer(maps, tokens), plain, atol=1e-6)
    assert seen[0].shape == (2, 2, 3, 4, 4)
    assert torch.allclose(seen[0].sum(2), torch.ones(()), atol=1e-6)
    assert torch.equal(seen[0], twice[0])
    layer(maps, tokens)
    assert len(seen) == 1


def test_watched_weights_are_those_that_act():
    layer = awake(CrossAttention(4, 4, heads=1))
    maps, tokens = torch.randn(1, 4, 2, 2), torch.randn(1, 3, 4)
    with layer.watched() as seen:
        answer = layer(maps, tokens)
    heard = torch.einsum("ntab,ntc->ncab", seen[0][:, 0], layer.value(tokens))
    by_hand = maps + layer.out(heard.flatten(2).transpose(1, 2)).transpose(1, 2).view_as(maps)
    assert torch.allclose(answer, by_hand, atol=1e-5)


def test_a_condition_that_is_not_told_cannot_be_heard():
    tokens = Tokens([1, 2], width=4)
    told = torch.tensor([[True, False]])
    first = tokens([torch.zeros(1, 1), torch.zeros(1, 2)], told)
    second = tokens([torch.zeros(1, 1), torch.ones(1, 2)], told)
    assert torch.equal(first, second)
    assert not torch.equal(first, tokens([torch.ones(1, 1), torch.zeros(1, 2)], told))
    assert Tokens([], 4)([], told[:, :0]).shape == (1, 1, 4)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"patch": 3}, "divisible by 6; these are 8 x 8"),
        ({"attention": [2]}, "attention names level 2; there are levels 0 .finest. to 1"),
        ({"heads": 3}, "3 heads do not divide 8 channels"),
    ],
)
def test_mistakes_are_named(options, words):
    with pytest.raises(ConfigError, match=words):
        UNet((1, 8, 8), **{**SMALL, **options})
