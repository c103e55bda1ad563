"""The loop itself, on a module of one number: which weights are averaged and kept, which chance a step has, what a rate is."""

import math
from types import SimpleNamespace

import pytest
import torch

from counterbench.catalog.recipes import Fit
from counterbench.errors import ConfigError, ModelError
from counterbench.training import batches, loop
from counterbench.training.hardware import Hardware
from counterbench.training.objectives.base import Circumstances, Objective, Player

CPU = Hardware("cpu")
DATA = {"x": torch.arange(8.0)}


class Line(Objective):
    """Moves one number; the loss of each validation is written down beforehand."""

    def __init__(self, fit, script=()):
        torch.manual_seed(0)
        super().__init__(torch.nn.Linear(1, 1, bias=False), fit)
        self.script, self.steps, self.held, self.weights = script, [], [], []

    def losses(self, batch, moment):
        (self.steps if moment.training else self.held).append(moment.generator.initial_seed())
        if not moment.training:
            self.weights.append(self.module.weight.item())
            if self.script:
                return torch.full((len(batch["x"]),), self.script[moment.epoch])
        return (self.module(batch["x"][:, None])[:, 0] - batch["x"] - 50).square()


class Watch(loop.Callback):
    """The moving weight after each step, the rates before it, the size of the gradient."""

    def __init__(self):
        self.weights, self.rates, self.slopes = [], [], []

    def on_train_batch_start(self, trainer, fitting, *args):
        self.rates.append([optimizer.param_groups[0]["lr"] for optimizer in trainer.optimizers])

    def on_train_batch_end(self, trainer, fitting, *args):
        weight = fitting.objective.module.weight
        self.weights.append(weight.item())
        self.slopes.append(weight.grad.norm().item())


@pytest.fixture
def run(tmp_path, monkeypatch):
    original = loop._trainer

    def fit(job, seed=0):
        watch = Watch()
        monkeypatch.setattr(loop, "_trainer", lambda o, n, c, f, h: original(o, n, [watch, *c], f, h))
        circumstances = Circumstances(train=DATA, validation=DATA, folder=tmp_path / "fit", hardware=CPU, seed=seed)
        curve = loop.run(job, circumstances)
        return watch, curve

    return fit


def options(**changed):
    plain = {"epochs": 3, "batch_size": 4, "learning_rate": 0.1, "warmup_steps": 0, "weight_decay": 0}
    return Fit(**{**plain, **changed})


def test_the_moving_average_by_hand(run):
    """w' = decay w' + (1 - decay) w after every step, from the first step's weights on; it is what validation sees."""
    job = Line(options(ema_decay=0.9))
    watch, _ = run(job)
    average, averages = watch.weights[0], []
    for step, weight in enumerate(watch.weights[1:], 2):
        average = 0.9 * average + 0.1 * weight
        if step % 2 == 0:
            averages.append(average)
    assert job.weights[::2] == pytest.approx(averages, rel=1e-5)


@pytest.mark.parametrize("decay", [0.0, 0.9])
@pytest.mark.parametrize(("selects", "script", "kept"), [(True, (3.0, 1.0, 2.0), 1), (False, (3.0, 1.0, 2.0), 2)])
def test_the_epoch_with_the_lowest_loss_is_kept_or_the_last_one(run, selects, script, kept, decay):
    job = Line(options(ema_decay=decay), script)
    job.selects = selects
    _, curve = run(job)
    assert curve.validation == list(script)
    assert len(curve.train) == 3
    weights = job.weights[::2]  # a validation is two batches
    assert job.module.weight.item() == weights[kept]
    assert len(set(weights)) == 3


def test_every_step_has_its_own_chance_and_every_validation_the_same(run):
    job, other = Line(options()), Line(options())
    run(job)
    assert len(set(job.steps)) == len(job.steps) == 6
    assert len(set(job.held)) == 2  # batches
    assert job.held[:2] == job.held[2:4] == job.held[4:]
    run(other, seed=1)
    assert not set(job.steps) & set(other.steps)


def test_the_rate_falls_along_a_cosine_to_nothing(run):
    watch, _ = run(Line(options(cosine=True)))
    expected = [0.1 * 0.5 * (1 + math.cos(math.pi * step / 6)) for step in range(6)]
    assert [rate for (rate,) in watch.rates] == pytest.approx(expected)


def test_gradients_are_clipped(run):
    free, _ = run(Line(options()))
    held, _ = run(Line(options(gradient_clip=0.5)))
    assert min(free.slopes) > 10
    assert held.slopes == pytest.approx([0.5] * 6, rel=1e-4)


def test_players_have_rates_of_their_own_and_move_nobody_else(run):
    class Two(Line):
        def __init__(self, fit):
            super().__init__(fit)
            self.opponent = torch.nn.Linear(1, 1, bias=False)
            self.other = self.opponent.weight
            self.other.data.zero_()

        def parts(self):
            return {**super().parts(), "opponent": self.opponent}

        def players(self):
            weights = list(self.module.parameters())
            first = Player("first", weights, lambda b, m: self.losses(b, m) + 0 * self.other.sum())
            return [first, Player("second", [self.other], self._against, 3.0)]

        def _against(self, batch, moment):
            return -self.other.sum() * batch["x"] + 0 * self.module.weight.sum()

    job = Two(options(epochs=1, betas=(0.5, 0.6), weight_decay=0.03))
    watch, curve = run(job)
    assert watch.rates[0] == pytest.approx([0.1, 0.3])
    assert job.other.item() > 0.5  # two steps of 0.3 upwards
    assert set(curve.parts) == {"second_loss"}
    fitting = loop.Fitting(job, 0)
    fitting._trainer = SimpleNamespace(estimated_stepping_batches=2)
    (first, _), _ = fitting.configure_optimizers()
    assert (first.defaults["betas"], first.defaults["weight_decay"]) == ((0.5, 0.6), 0.03)


def test_weights_that_would_not_travel_are_refused():
    """They would be missing in checkpoints, and stay on the CPU."""

    class Forgetful(Line):
        def players(self):
            return [*super().players(), Player("other", [torch.nn.Parameter(torch.zeros(()))], self.losses)]

    with pytest.raises(
        ConfigError, match="The player 'other' of Forgetful moves weights that are in none of its parts"
    ):
        loop.Fitting(Forgetful(options()), 0)


def test_an_objective_is_a_plain_class():
    objective = Line(options())
    assert not isinstance(objective, torch.nn.Module)
    assert set(loop.Fitting(objective, 0).state_dict()) == {"parts.module.weight"}


def test_a_loss_that_is_no_number_ends_the_training(run):
    class Broken(Line):
        def losses(self, batch, moment):
            return super().losses(batch, moment) * (torch.nan if moment.epoch else 1)

    with pytest.raises(ModelError, match="The loss became nan in epoch 1; try a smaller learning rate"):
        run(Broken(options()))


def test_weights_that_are_no_numbers_are_not_kept(run):
    class Breaks(Line):
        def after_step(self):
            if len(self.steps) == 6:  # the last one
                self.module.weight.data.fill_(torch.nan)

    job = Breaks(options())
    job.selects = False
    with pytest.raises(ModelError, match=r"Training ended with 'module.weight' holding NaN"):
        run(job)


def test_batches_are_of_one_size_and_in_another_order_every_epoch():
    values = {"x": torch.arange(11)}
    shuffled = batches.loader(values, 4, seed=3)
    orders = []
    for epoch in (0, 1, 0):
        shuffled.sampler.set_epoch(epoch)
        orders.append([batch["x"].tolist() for batch in shuffled])
    assert [len(batch) for batch in orders[0]] == [4, 4]  # a last one of three would weigh as much
    assert orders[0] == orders[2] != orders[1]
    assert len({row for batch in orders[0] for row in batch}) == 8
    held = batches.loader(values, 4, seed=None)
    assert torch.equal(torch.cat([batch["x"] for batch in held]), values["x"])
    assert [len(batch["x"]) for batch in batches.loader(values, 20, seed=3)] == [11]
