import pytest
import torch

from counterbench.networks.classifiers import ARCHITECTURES
from counterbench.networks.convolutional import Decoder, Encoder


@pytest.mark.parametrize("shape", [(1, 16, 16), (3, 24, 32)])
def test_shapes(shape):
    encoder, decoder = Encoder(shape, 2, [4, 8], 10), Decoder(shape, 5, [8, 4], 10)
    features = encoder(torch.zeros(3, *shape), torch.zeros(3, 2))
    assert features.shape == (3, 10)
    assert decoder(torch.zeros(3, 3), torch.zeros(3, 2)).shape == (3, 4, *shape[1:])


def test_every_encoder_feature_is_used():
    """Defect 20 of the anchor: a strided 1x1 convolution dropped three quarters of the features."""
    torch.manual_seed(0)
    encoder = Encoder((1, 32, 32), 1, [4, 8, 8], 16)
    image = torch.randn(1, 1, 32, 32, requires_grad=True)
    maps = encoder.convolutions(image)
    maps.retain_grad()
    encoder.project(maps.flatten(1)).sum().backward()
    assert (maps.grad != 0).all()


@pytest.mark.parametrize("name", ARCHITECTURES)
@pytest.mark.parametrize("channels", [1, 3])
def test_classifiers(name, channels):
    network = ARCHITECTURES[name](channels, 7).eval()
    assert network(torch.zeros(2, channels, 32, 32)).shape == (2, 7)
    assert network(torch.zeros(2, channels, 64, 64)).shape == (2, 7)
