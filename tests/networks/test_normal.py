import pytest
import torch
from torch.distributions import Normal, kl_divergence

from counterbench.networks.normal import normal_divergence


@pytest.fixture
def numbers():
    return [torch.randn(5, 7, generator=torch.Generator().manual_seed(i), dtype=torch.float64) for i in range(4)]


def test_the_divergence_is_that_of_torch(numbers):
    mean, log_scale, other_mean, other_log_scale = numbers
    posterior, prior = Normal(mean, log_scale.exp()), Normal(other_mean, other_log_scale.exp())
    torch.testing.assert_close(
        normal_divergence(mean, log_scale, other_mean=other_mean, other_log_scale=other_log_scale),
        kl_divergence(posterior, prior).sum(1),
    )
    torch.testing.assert_close(normal_divergence(mean, log_scale), kl_divergence(posterior, Normal(0.0, 1.0)).sum(1))


def test_from_the_standard_normal_it_has_the_bits_of_the_short_formula(numbers):
    """Value and gradients, in single precision: what trained weights depend on to the last bit."""

    def results(formula):
        inputs = [number.float().requires_grad_() for number in numbers[:2]]
        divergence = formula(*inputs)
        return divergence, *torch.autograd.grad(divergence.square().sum(), inputs)

    def short(mean, log_scale):
        return (0.5 * (mean.square() + (2 * log_scale).exp() - 1) - log_scale).sum(1)

    for own, expected in zip(results(normal_divergence), results(short), strict=True):
        assert torch.equal(own, expected)
