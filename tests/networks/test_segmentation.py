"""Kernels of von Mises and Fisher, and the networks around them."""

import pytest
import torch
from torch.nn import functional

from counterbench.networks.segmentation import Compositional, Kernels, SegmentationUNet, fit_mixture


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_mixture_finds_planted_directions(seed):
    """Twelve directions in 32 numbers, 60 noisy features of each: at least eleven are found to a cosine of .98."""
    generator = torch.Generator().manual_seed(seed)
    planted = functional.normalize(torch.randn(12, 32, generator=generator), dim=1)
    features = planted.repeat_interleave(60, 0) + 0.08 * torch.randn(720, 32, generator=generator)
    lengths = 0.5 + torch.rand(720, 1, generator=generator)  # no length counts
    found = fit_mixture(features * lengths, 12, generator=generator)
    assert torch.allclose(found.norm(dim=1), torch.ones(12), atol=1e-5)
    assert int(((planted @ found.T).amax(1) > 0.98).sum()) >= 11


def test_likelihoods_are_shares_and_follow_the_nearest_kernel():
    kernels = Kernels(12, size=8)
    features = torch.randn(3, 8, 5, 5)
    shares = kernels(features)
    assert torch.allclose(shares.sum(1), torch.ones(3, 5, 5), atol=1e-5)
    assert torch.equal(shares.argmax(1), kernels.cosines(features).argmax(1))
    assert torch.allclose(shares, kernels(7 * features), atol=1e-5)
    # Far from every kernel all are as likely, and nothing is divided by zero.
    away = -functional.normalize(kernels.directions.detach(), dim=1).sum(0).view(1, 8, 1, 1)
    assert kernels(away).isfinite().all()


def test_a_feature_on_a_kernel_is_recomposed_from_it():
    kernels = Kernels(4, size=16, kappa=200.0)
    on = functional.normalize(kernels.directions.detach(), dim=1)[:, :, None, None]
    assert torch.allclose(kernels.recomposed(kernels(on)), on, atol=0.05)


@pytest.mark.parametrize("dimensions", [2, 3])
def test_networks_keep_the_sides_odd_ones_too(dimensions):
    images = torch.randn(2, 1, *[9, 11, 8][:dimensions])
    for network in (
        SegmentationUNet(1, 3, widths=(4, 8), dimensions=dimensions),
        Compositional(1, 3, widths=(4, 8), size=8, dimensions=dimensions),
    ):
        assert network(images).shape == (2, 3, *images.shape[2:])
    _, recomposed, nearest = network.explained(images)
    assert recomposed.shape == images.shape
    assert nearest.shape == (2,)
    assert (nearest >= 0).all()
