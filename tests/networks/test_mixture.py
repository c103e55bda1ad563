"""The ordered mixture against automatic differentiation, and as a causal model of its latents."""

import pytest
import torch

from counterbench.networks.mixture import OrderedMixture


@pytest.fixture
def mixture():
    made = OrderedMixture(4, components=5, seed=1).double()
    with torch.no_grad():
        for number, parameter in enumerate(made.parameters()):
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(number)))
    return made


@pytest.fixture
def latents():
    return 1.5 * torch.randn(40, 4, generator=torch.Generator().manual_seed(9), dtype=torch.float64)


@pytest.mark.parametrize("count", [1, 2, 4])
def test_density_and_curvature_are_those_of_torch(mixture, latents, count):
    component = torch.distributions.Normal(mixture.means[:, :count], mixture.log_scales[:, :count].exp())
    law = torch.distributions.MixtureSameFamily(
        torch.distributions.Categorical(logits=mixture.logits), torch.distributions.Independent(component, 1)
    )
    first = latents[:, :count]
    assert torch.allclose(mixture.log_prob(first), law.log_prob(first))
    hessian = torch.stack([torch.autograd.functional.hessian(lambda z: law.log_prob(z), one) for one in first])
    assert torch.allclose(mixture.curvature(first), hessian.diagonal(dim1=1, dim2=2), atol=1e-8)


def test_the_order_loss_is_that_of_the_formula(mixture, latents):
    total = 0.0
    for i in range(4):
        varied = [mixture.curvature(latents[:, : i + 1])[:, j].var(unbiased=False) + 1e-4 for j in range(i + 1)]
        total -= torch.log((1 / varied[i]) / sum(1 / one for one in varied))
    assert torch.allclose(mixture.order_loss(latents), total)


def test_a_mixture_of_one_component_bends_nowhere():
    gaussian, latents = OrderedMixture(3, components=1), torch.randn(50, 3)
    assert gaussian.curvature(latents).detach().var(0).max() < 1e-10
    # All variances are at the floor, so every latent has an equal share: log 1 + log 2 + log 3.
    assert gaussian.order_loss(latents).item() == pytest.approx(torch.tensor(6.0).log().item(), rel=1e-3)


def test_pressing_makes_the_last_latent_a_leaf(mixture, latents):
    before = mixture.leaf_share(latents)
    optimiser = torch.optim.Adam(mixture.parameters(), 0.02)
    for _ in range(300):
        optimiser.zero_grad()
        mixture.order_loss(latents).backward()
        optimiser.step()
    assert before > 0.05
    assert mixture.leaf_share(latents) < 0.01


def test_what_is_set_moves_later_latents_by_their_expectation(mixture, latents):
    value = latents[:, 1] + 1
    moved = mixture.intervened(latents, {1: value})
    assert torch.equal(moved[:, 0], latents[:, 0])
    assert torch.equal(moved[:, 1], value)
    for i in (2, 3):
        before, after = mixture.expected(latents, i), mixture.expected(moved, i)
        assert torch.allclose(latents[:, i] - before, moved[:, i] - after)
        assert float((moved[:, i] - latents[:, i]).abs().max()) > 1e-3
    both = mixture.intervened(latents, {1: value, 3: latents[:, 3]})
    assert torch.equal(both[:, 3], latents[:, 3])
    assert torch.equal(mixture.intervened(latents, {3: value})[:, :3], latents[:, :3])


def test_the_expectation_is_that_of_draws(mixture):
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(200_000, 4, generator=generator, dtype=torch.float64)
    drawn = mixture.drawn(torch.rand(200_000, generator=generator), noise)
    near = drawn[(drawn[:, 0] - 0.5).abs() < 0.05]
    guessed = mixture.expected(torch.tensor([[0.5]], dtype=torch.float64), 1)
    assert near[:, 1].mean().item() == pytest.approx(guessed.item(), abs=0.05)


@pytest.mark.parametrize("number", [-1, 4])
def test_a_latent_that_there_is_not_is_refused(mixture, latents, number):
    with pytest.raises(ValueError, match="numbered from 0 to 3"):
        mixture.intervened(latents, {number: latents[:, 0]})


@pytest.mark.parametrize(("latent", "components"), [(1, 3), (3, 0)])
def test_what_is_no_mixture_is_refused(latent, components):
    with pytest.raises(ValueError, match="two latents and one component"):
        OrderedMixture(latent, components=components)
