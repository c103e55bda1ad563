"""Gumbel-max mechanisms: the posterior must be exact (defect 4 of the anchor: observed classes flipped under no intervention)."""

import pytest
import torch
from scipy import stats

from counterbench.causal.variables import Binary, Categorical, Continuous
from counterbench.mechanisms.categorical import truncated_gumbels
from counterbench.plugins import registry

RARE = [(2.0, -2.0), (0.0, -3.9), (-2.0, -2.0), (30.0, -30.0), (0.0, -90.0, 5.0), (4.0, 4.0 + 1e-7)]


@pytest.mark.parametrize("logits", RARE)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_observed_class_never_flips(logits, dtype):
    count = 20_000
    for observed in range(len(logits)):
        table = torch.tensor(logits, dtype=dtype).expand(count, -1)
        noise = truncated_gumbels(table, torch.full((count,), observed), torch.Generator().manual_seed(observed))
        assert noise.isfinite().all()
        assert ((table + noise).argmax(1) == observed).all()


def test_posterior_over_observations_is_the_prior():
    """Abducting from the mechanism's own samples gives back Gumbel noise: sum over x of p(x) p(g | x) = p(g)."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.tensor([1.5, -1.0, 0.3], dtype=torch.float64).log_softmax(0).expand(20_000, -1)
    observed = torch.multinomial(logits[0].exp(), 20_000, replacement=True, generator=generator)
    noise = truncated_gumbels(logits, observed, generator)
    for k in range(3):
        assert stats.kstest(noise[:, k].numpy(), "gumbel_r").pvalue > 0.005
    correlation = torch.corrcoef(noise.T)
    assert (correlation - torch.eye(3)).abs().max() < 0.03


def test_posterior_agrees_with_rejection_sampling():
    generator = torch.Generator().manual_seed(1)
    logits = torch.tensor([0.5, -0.5, -1.0], dtype=torch.float64)
    prior = -(-torch.rand(200_000, 3, generator=generator, dtype=torch.float64).log()).log()
    accepted = prior[(logits + prior).argmax(1) == 2]
    drawn = truncated_gumbels(logits.expand(len(accepted), -1), torch.full((len(accepted),), 2), generator)
    for k in range(3):
        assert stats.ks_2samp(accepted[:, k].numpy(), drawn[:, k].numpy()).pvalue > 0.005


def test_unnormalised_logits_make_no_difference():
    logits = torch.tensor([[0.2, -1.0, 3.0]], dtype=torch.float64)
    for observed in range(3):
        plain, lifted = (
            truncated_gumbels(logits + shift, torch.tensor([observed]), torch.Generator().manual_seed(0))
            for shift in (0.0, 7.0)
        )
        assert torch.allclose(plain, lifted)


def test_counterfactual_class_frequencies_are_stable():
    """Gumbel-max counterfactuals never move to a class whose odds fell (Oberst & Sontag 2019, counterfactual stability)."""
    before = torch.tensor([0.5, 0.0, 0.0]).log_softmax(0).expand(5000, -1)
    after = torch.tensor([1.5, 0.0, -1.0]).log_softmax(0).expand(5000, -1)
    noise = truncated_gumbels(before, torch.zeros(5000, dtype=torch.long), torch.Generator().manual_seed(0))
    assert ((after + noise).argmax(1) == 0).all()


@pytest.mark.parametrize("logit", [-40.0, -6.0, 0.0, 3.0, 40.0])
@pytest.mark.parametrize("observed", [0.0, 1.0])
def test_bernoulli_observed_value_never_flips(logit, observed):
    mechanism = registry.mechanisms.get("bernoulli")(Binary("v"), ())
    mechanism.free_logit.data.fill_(logit)
    value = torch.full((20_000, 1), observed)
    noise = mechanism.abduct(value, {}, torch.Generator().manual_seed(0))
    assert noise["logistic"].isfinite().all()
    assert torch.equal(mechanism.generate(noise, {}), value)


def test_bernoulli_posterior_over_observations_is_the_prior():
    mechanism = registry.mechanisms.get("bernoulli")(Binary("v"), ()).double()
    mechanism.free_logit.data.fill_(-1.2)
    generator = torch.Generator().manual_seed(0)
    value = mechanism.generate(mechanism.sample_noise(20_000, generator), {})
    assert float(value.detach().mean()) == pytest.approx(1 / (1 + 2.718281828**1.2), abs=0.01)
    noise = mechanism.abduct(value, {}, generator)["logistic"].detach()
    assert stats.kstest(noise[:, 0].numpy(), "logistic").pvalue > 0.005


def test_categorical_learns_conditional_frequencies():
    parent, child = Continuous("p", -1, 1), Categorical("v", ("a", "b"))
    torch.manual_seed(0)
    mechanism = registry.mechanisms.get("categorical")(child, (parent,))
    generator = torch.Generator().manual_seed(0)
    p = torch.where(torch.rand(4000, 1, generator=generator) < 0.5, -1.0, 1.0)
    labels = (torch.rand(4000, generator=generator) < torch.where(p[:, 0] > 0, 0.9, 0.2)).long()
    optimizer = torch.optim.Adam(mechanism.parameters(), 0.02)
    for _ in range(150):
        optimizer.zero_grad()
        mechanism.loss(child.encode(labels), {"p": p}).mean().backward()
        optimizer.step()
    probabilities = mechanism.logits({"p": torch.tensor([[-1.0], [1.0]])}, torch.empty(2, 0)).exp()[:, 1]
    assert probabilities.tolist() == pytest.approx([0.2, 0.9], abs=0.03)


def test_empirical_draws_training_values_only():
    from counterbench.errors import ConfigError, ModelError

    variable = Continuous("v", 0, 1)
    mechanism = registry.mechanisms.get("empirical")(variable, (), capacity=10)
    with pytest.raises(ModelError, match="has seen no data yet"):
        mechanism.sample_noise(3)
    data = torch.tensor([[0.1], [0.2], [0.7]])
    mechanism.prepare(data, {})
    drawn = mechanism.generate(mechanism.sample_noise(500, torch.Generator().manual_seed(0)), {})
    assert sorted({round(x, 5) for x in drawn[:, 0].tolist()}) == [0.1, 0.2, 0.7]
    with pytest.raises(ConfigError, match="without causes"):
        registry.mechanisms.get("empirical")(variable, (Continuous("p", 0, 1),))


@pytest.mark.parametrize(("capacity", "kept"), [(2, 2), (3, 3), (9, 3)])
def test_empirical_keeps_as_many_of_the_first_values_as_it_can(capacity, kept):
    mechanism = registry.mechanisms.get("empirical")(Continuous("v", 0, 1), (), capacity=capacity)
    data = torch.tensor([[0.1], [0.2], [0.7]])
    mechanism.prepare(data, {})
    drawn = mechanism.generate(mechanism.sample_noise(500, torch.Generator().manual_seed(0)), {})
    assert torch.equal(drawn.unique(), data[:kept, 0])
