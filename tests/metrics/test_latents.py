"""Latents against attributes, against each other, and against their order."""

import asked
import numpy as np
import pytest
import torch
import toy

from counterbench.metrics.statistics.latents import (
    linear_errors,
    matched_correlation,
    order_divergence,
    rank_dependence,
)
from counterbench.plugins import registry


def draws(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_a_matching_is_one_to_one():
    attributes = draws(400, 2)
    # The first latent is the best guess of both; only one may have it.
    latents = torch.stack([attributes.sum(1), attributes[:, 1] + 3 * draws(400, seed=1)], 1)
    rho = np.abs(np.corrcoef(latents.T, attributes.T)[:2, 2:])
    expected = max(rho[0, 0] + rho[1, 1], rho[0, 1] + rho[1, 0]) / 2
    assert float(matched_correlation(latents, attributes).mean()) == pytest.approx(expected)
    assert float(matched_correlation(latents[:, :1], attributes).mean()) == pytest.approx(rho[0].max() / 2)


@pytest.mark.parametrize("statistic", [lambda z: matched_correlation(z[:, :2], z[:, 2:]), rank_dependence])
def test_pseudo_values_spread_as_the_statistic_does(statistic):
    """The variance of their mean is that of the statistic over samples that are drawn anew."""
    mixing = torch.tensor([[1.0, 0.5, 0.8, 0.2], [0, 1, 0.3, -0.9], [0, 0, 1, 0], [0, 0, 0, 1]], dtype=torch.float64)
    values = [statistic(draws(300, 4, seed=seed) @ mixing) for seed in range(200)]
    spread = float(torch.stack([value.mean() for value in values]).std())
    guessed = float(torch.stack([value.std() / 300**0.5 for value in values]).mean())
    assert guessed == pytest.approx(spread, rel=0.25)


def test_a_linear_reader_has_not_seen_the_sample():
    latents, noise = draws(200, 40), draws(200, seed=1)
    error, blind = linear_errors(latents, noise)
    assert float(error.sum()) > float(
        blind.sum()
    )  # 40 latents of nothing fit 160 samples well, and the others not at all


def test_order_divergence_of_a_chain_and_of_the_chain_reversed():
    noise = draws(800, 3)
    first = noise[:, 0]
    second = torch.sin(2 * first) + 0.4 * noise[:, 1]
    third = second**2 + 0.4 * noise[:, 2]
    chain = torch.stack([first, second, third], 1)
    assert order_divergence(chain) == 0
    assert order_divergence(chain.flip(1)) == 1
    assert order_divergence(noise) == 0  # nothing hangs on anything


def test_a_model_without_latents_has_no_number():
    dataset = toy.Toy()
    for noise, said in (({}, "no noise called 'image.latent'"), ({"image.latent": 200}, "200 latents")):
        metric = registry.metrics.get("latents")(asked.setting(dataset, noise=noise))
        assert not metric.cells
        assert said in metric.skipped["latents"]


def test_latents_that_are_not_finite_are_told():
    dataset = toy.Toy()
    metric = registry.metrics.get("latents")(asked.setting(dataset))
    for answers in asked.answers(dataset, asked.true, [torch.arange(40)]):
        if answers.kind == "null" and answers.cycles == 1:
            answers.batch.noise.abducted["image.latent"][0, 0] = torch.nan
        metric.update(answers)
    assert metric.compute() == []
    assert "NaN" in metric.skipped["latents"]
