"""Optimal transport in a batch: short paths, and noise that knows nothing of the parents."""

import pytest
import torch

from counterbench.training.coupling import coupled


@pytest.fixture
def batch():
    generator = torch.Generator().manual_seed(0)
    parent = torch.randint(3, (120, 1), generator=generator).float()
    value = 4 * parent + torch.randn(120, 2, generator=generator)
    return value, torch.randn(120, 2, generator=generator), parent


def cost(value, noise):
    return float((value - noise).square().sum())


def test_it_is_a_permutation_inside_equal_parents_that_shortens_paths(batch):
    value, noise, parent = batch
    order = coupled(value, noise, [parent], [])
    assert order.sort().values.tolist() == list(range(120))
    assert torch.equal(parent[order], parent)
    # What the parents explain of the values no pairing can shorten.
    within = value - 4 * parent
    assert cost(within, noise[order]) < 0.5 * cost(within, noise)


def test_it_is_the_best_permutation():
    value, noise = torch.tensor([[0.0], [1.0], [2.0]]), torch.tensor([[2.1], [0.2], [0.9]])
    assert coupled(value, noise, [], []).tolist() == [1, 2, 0]


def dependence(noise, parent):
    """Squared correlation of the first number of the noise with the parent."""
    return float(torch.corrcoef(torch.stack([noise[:, 0], parent[:, 0]]))[0, 1] ** 2)


def test_noise_stays_independent_of_parents_which_it_would_not_over_the_whole_batch(batch):
    value, noise, parent = batch
    naive = noise[coupled(value, noise, [], [])]
    assert dependence(naive, parent) > 0.3
    assert dependence(noise[coupled(value, noise, [parent], [])], parent) < 0.05
    assert dependence(noise[coupled(value, noise, [], [parent], weight=1e4)], parent) < 0.05


def test_the_weight_of_continuous_parents_trades_short_paths_for_independence(batch):
    value, noise, parent = batch
    near = parent + 0.01 * torch.randn(parent.shape, generator=torch.Generator().manual_seed(1))
    loose, tight = (noise[coupled(value, noise, [], [near], weight=weight)] for weight in (0.01, 100.0))
    assert cost(value, loose) < cost(value, tight)
    assert dependence(loose, parent) > dependence(tight, parent)
