"""The parts of a fit: order of the samples, batches, learning rates, averaged weights."""

from types import SimpleNamespace

import pytest
import torch

from counterbench.catalog.recipes import Fit
from counterbench.training import batches, loop
from counterbench.training.feeds.base import stored
from counterbench.training.objectives.base import Objective, Player


class Duel(Objective):
    """Two players, the second at a third of the rate."""

    def players(self):
        first, second = self.module.weight, self.module.bias
        return [Player("first", [first], None), Player("second", [second], None, rate=1 / 3)]


def schedules(**options):
    fitting = loop.Fitting(Duel(torch.nn.Linear(2, 2), Fit(learning_rate=0.3, **options)), 0)
    fitting._trainer = SimpleNamespace(estimated_stepping_batches=100)
    return fitting.configure_optimizers()


def test_every_epoch_has_an_order_of_its_own_that_follows_from_the_seed():
    sampler, again = (batches.EpochShuffle(50, 3) for _ in range(2))
    orders = []
    for epoch in range(3):
        sampler.set_epoch(epoch)
        orders.append(list(sampler))
        assert sorted(orders[-1]) == list(range(50))
    assert orders[0] != orders[1] != orders[2] != orders[0]
    again.set_epoch(2)
    assert list(again) == orders[2]
    assert list(batches.EpochShuffle(50, 4)) != orders[0]


@pytest.mark.parametrize(("seed", "sizes"), [(0, [4, 4]), (None, [4, 4, 2])])
def test_a_last_batch_of_few_samples_is_judged_and_not_trained_on(seed, sizes):
    values = {"v": torch.arange(10.0)}
    assert [len(batch["v"]) for batch in batches.loader(values, 4, seed=seed)] == sizes
    assert [len(batch["v"]) for batch in batches.loader(values, 16, seed=seed)] == [10]


@pytest.mark.parametrize(("devices", "drops"), [(1, True), (2, True), (3, False)])
def test_every_device_has_a_batch(devices, drops):
    """Ten samples are four for each of three devices: a last batch that is the only one is not dropped."""
    assert batches.loader({"v": torch.arange(10.0)}, 4, seed=0, devices=devices).drop_last == drops


def test_learning_rates_rise_to_that_of_the_player_and_stay():
    optimizers, rates = schedules(warmup_steps=4, cosine=False)
    assert [one.defaults["lr"] for one in optimizers] == pytest.approx([0.3, 0.1])
    (factor,) = rates[0].lr_lambdas
    assert [factor(step) for step in range(6)] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1, 1])


def test_cosine_falls_from_the_full_rate_to_nothing():
    _, rates = schedules(warmup_steps=0, cosine=True)
    (factor,) = rates[0].lr_lambdas
    assert [factor(step) for step in (0, 50, 100, 150)] == pytest.approx([1, 0.5, 0, 0])


def test_an_averaged_weight_keeps_the_decay_and_takes_the_rest():
    average = loop._MovingAverage(0.9)
    assert float(average(torch.tensor(1.0), torch.tensor(2.0), 1)) == pytest.approx(1.1)
    held = torch.tensor(1 / 3)
    assert torch.equal(average(held, held, 5), held)


def test_a_limit_keeps_the_first_training_samples(toy):
    split = toy.Toy().split("train")
    limited = stored(split, torch.arange(7))
    assert {len(value) for value in limited.values()} == {7}
    assert torch.equal(limited["a"], split.values["a"][:7])
    assert {len(value) for value in stored(split, torch.arange(len(split))).values()} == {len(split)}
