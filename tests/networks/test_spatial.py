"""Networks on volumes: shapes, that every axis is read, and layers that are the same in two dimensions and in three."""

from itertools import permutations

import pytest
import torch
from torch import nn

from counterbench.errors import ConfigError
from counterbench.networks import spatial
from counterbench.networks.adversarial import Discriminator
from counterbench.networks.autoencoder import Autoencoder
from counterbench.networks.classifiers import ARCHITECTURES
from counterbench.networks.convolutional import Decoder, Encoder
from counterbench.networks.hierarchical import HierarchicalDecoder, HierarchicalEncoder, check_levels
from counterbench.networks.likelihood import DiscretisedGaussian

SHAPE = (1, 16, 16, 16)
LEVELS = [(2, 1, 8), (8, 1, 8)]


class Hierarchy(nn.Module):
    """The coarsest maps of the hierarchical encoder."""

    def __init__(self):
        super().__init__()
        self.encoder = HierarchicalEncoder(1, LEVELS, patch=2, dimensions=3)

    def forward(self, images):
        return self.encoder(images)[2].flatten(1)


READERS = {
    "encoder": lambda: Reads(
        Encoder(SHAPE, 0, [4, 8], 6), lambda volumes: [volumes, volumes.new_empty(len(volumes), 0)]
    ),
    "discriminator": lambda: Reads(
        Discriminator(SHAPE, 2, context=0, channels=[4, 8], hidden=8),
        lambda volumes: [volumes, torch.zeros(len(volumes), 2), volumes.new_empty(len(volumes), 0)],
    ),
    "hierarchy": Hierarchy,
    **{name: (lambda family=family: family(1, 5, dimensions=3).eval()) for name, family in ARCHITECTURES.items()},
}


class Reads(nn.Module):
    """A network with what it is given beside the volume."""

    def __init__(self, network, given):
        super().__init__()
        self.network, self.given = network, given

    def forward(self, volumes):
        return self.network(*self.given(volumes))


@pytest.mark.parametrize("name", READERS)
def test_whoever_reads_a_volume_reads_all_of_it_along_all_three_axes(name):
    torch.manual_seed(0)
    network = READERS[name]()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm3d):  # a quarter of the maps would never be above zero otherwise
            nn.init.constant_(module.bias, 1.0)
    volume = torch.randn(1, *SHAPE, requires_grad=True)
    said = network(volume)
    (slope,) = torch.autograd.grad(said.square().sum(), volume)
    # No slice along any axis is without influence.
    for axis in (2, 3, 4):
        others = tuple(one for one in range(5) if one != axis)
        assert (slope.abs().amax(others) > 0).all(), axis
    # And none of the axes can be taken for another one.
    with torch.no_grad():
        for order in list(permutations((2, 3, 4)))[1:]:
            assert not torch.allclose(network(volume.permute(0, 1, *order)), said, atol=1e-6), order


@pytest.mark.parametrize("shape", [(1, 8, 16, 24), (3, 16, 8, 8)])
@pytest.mark.parametrize("patch", [1, 2])
def test_a_decoder_makes_volumes_of_any_sides(shape, patch):
    encoder, decoder = Encoder(shape, 2, [4, 8], 10), Decoder(shape, 5, [8, 8], 10, patch=patch)
    assert encoder(torch.zeros(3, *shape), torch.zeros(3, 2)).shape == (3, 10)
    maps = decoder(torch.zeros(3, 3), torch.zeros(3, 2))
    assert maps.shape == (3, decoder.maps, *shape[1:])
    mean, log_scale = DiscretisedGaussian(decoder.maps, shape[0], dimensions=3)(maps)
    assert mean.shape == log_scale.shape == (3, *shape)


def test_a_latent_of_the_hierarchy_has_a_side_per_axis():
    decoder = HierarchicalDecoder(LEVELS, 2, context=3, conditional=False, patch=2, dimensions=3)
    assert decoder.shapes == [(2, 2, 2, 2), (2, 8, 8, 8)]
    assert decoder.size == 2 * 8 + 2 * 512
    noise = [torch.randn(2, *shape) for shape in decoder.shapes]
    features, _ = decoder.generate(noise, torch.zeros(2, 3))
    assert features.shape == (2, decoder.features, 16, 16, 16)


def test_what_does_not_fit_is_refused_in_the_words_of_volumes():
    with pytest.raises(ConfigError, match="8 x 8 x 12 is not divisible by 8"):
        Encoder((1, 8, 8, 12), 0, [4, 4, 4], 8)
    with pytest.raises(ConfigError, match="8 x 8 x 9 does not divide into such cubes"):
        Decoder((1, 8, 8, 9), 4, [4], 8, patch=2)
    with pytest.raises(ConfigError, match="cubic maps needs cubic volumes, got 8 x 8 x 16"):
        check_levels([[8, 1, 4]], (1, 8, 8, 16))


def test_an_autoencoder_of_volumes_has_a_bound_per_volume():
    network = Autoencoder(SHAPE, 3, channels=[4, 8], hidden=8)
    assert network.loss(torch.rand(2, *SHAPE), torch.randn(2, 3)).shape == (2,)


@pytest.mark.parametrize("dimensions", [1, 2, 3])
def test_layers_keep_and_change_sides_alike_in_any_dimension(dimensions):
    maps = torch.randn(2, 4, *[8] * dimensions)
    assert spatial.convolution(dimensions, 4, 3, 3)(maps).shape == (2, 3, *[8] * dimensions)
    halved = spatial.convolution(dimensions, 4, 3, 3, stride=2)(maps)
    assert halved.shape == (2, 3, *[4] * dimensions)
    assert spatial.transposed_convolution(dimensions, 3, 4, 4, stride=2)(halved).shape == maps.shape
    assert spatial.average_pool(dimensions, 2)(maps).shape == spatial.maximum_pool(dimensions, 2)(maps).shape
    assert torch.allclose(spatial.pooled_to(dimensions, 1)(maps).flatten(1), maps.flatten(2).mean(2), atol=1e-6)
    assert torch.equal(spatial.everywhere(torch.ones(2, 4), maps) + 0 * maps, torch.ones_like(maps))


@pytest.mark.parametrize("patch", [2, 3])
def test_patches_of_pictures_are_laid_as_a_pixel_shuffle_lays_them(patch):
    maps = torch.randn(2, 2 * patch**2, 3, 4)
    assert torch.equal(spatial.FromPatches(patch)(maps), spatial.from_patches(maps, patch))
