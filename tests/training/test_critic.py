"""The critic of counterfactual fine-tuning: what it reads, and what an error costs."""

import torch

from counterbench.causal.variables import Categorical, Continuous, Image, Ordinal
from counterbench.training.critic import Critic


def test_a_critic_reads_every_kind_of_variable():
    torch.manual_seed(0)
    attributes = [Continuous("p", -1, 1), Categorical("q", ("a", "b", "c")), Ordinal("o", ("x", "y", "z"))]
    critic = Critic(Image("image", 1, 8, 8), attributes, 4).eval()
    images = torch.rand(5, 1, 8, 8) * 2 - 1
    seen = critic.predict(images)
    assert {name: tuple(value.shape) for name, value in seen.items()} == {"p": (5, 1), "q": (5, 3), "o": (5, 2)}
    assert torch.allclose(seen["q"].sum(1), torch.ones(5))
    loss = critic.disagreement(images, {"p": seen["p"], "q": torch.eye(3)[[0, 1, 2, 0, 1]], "o": torch.zeros(5, 2)})
    reference = -seen["q"].log()[range(5), [0, 1, 2, 0, 1]] - (1 - seen["o"]).log().sum(1)
    assert torch.allclose(loss, reference, atol=1e-5)


def test_a_critic_counts_errors_in_units_of_its_own_and_linearly_where_they_are_large():
    torch.manual_seed(0)
    attribute, picture = Continuous("p", -1, 1), Image("x", 1, 4, 4)
    critic = Critic(picture, [attribute], 4).eval()
    generator = torch.Generator().manual_seed(0)
    p = torch.rand(300, generator=generator) - 0.5
    noise = 15 * torch.randn(300, generator=generator)
    values = {"p": p, "x": (128 + 120 * p + noise)[:, None, None, None].expand(-1, 1, 4, 4).contiguous()}
    images = picture.encode(values["x"])
    critic.calibrate(values)
    missed = (critic.predict(images)["p"] - attribute.encode(values["p"])).square().mean().sqrt()
    assert torch.allclose(critic.scale, missed[None])
    seen = critic.predict(images)["p"]
    for errors, cost in ((0.5, 0.125), (4.0, 3.5)):
        loss = critic.disagreement(images, {"p": seen - errors * critic.scale})
        assert torch.allclose(loss, torch.full_like(loss, cost), atol=1e-3)
