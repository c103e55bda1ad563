"""The objective that presses latents into an order."""

import pytest
import torch

from counterbench.catalog.recipes import Fit, Stage
from counterbench.causal.graph import CausalGraph
from counterbench.causal.variables import Continuous, Image
from counterbench.errors import ConfigError
from counterbench.mechanisms.latent_anm import LatentANM
from counterbench.mechanisms.vae import VAE
from counterbench.models.scm import StructuralCausalModel
from counterbench.training import stages
from counterbench.training.objectives.base import Moment

SMALL = {"latent": 3, "encoder_channels": [8], "decoder_channels": [8], "hidden": 16}
X, IMAGE = Continuous("x", 0, 1), Image("image", 1, 8, 8)


def scm_of(mechanism):
    from counterbench.mechanisms.spline_flow import SplineFlow

    return StructuralCausalModel(CausalGraph({"x": [], "image": ["x"]}), [SplineFlow(X, []), mechanism])


def batch(count=64):
    draw = torch.Generator().manual_seed(0)
    x = torch.rand(count, generator=draw)
    picture = 255 * torch.rand(count, 1, 8, 8, generator=draw) * x[:, None, None, None]
    return {"x": x, "image": picture.round()}


def test_the_loss_is_the_likelihood_and_the_weighted_order():
    torch.manual_seed(0)
    mechanism = LatentANM(IMAGE, [X], **SMALL)
    objective = stages.build(Stage(objective="order", options={"weight": 4.0}), scm_of(mechanism), name="image")
    moment = Moment(torch.Generator().manual_seed(3))
    losses = objective.losses(batch(), moment)
    value, parents = objective.encoded(batch())
    plain, order = mechanism.ordered_loss(value, parents, torch.Generator().manual_seed(3))
    assert torch.allclose(losses, plain + 4 * order)
    assert torch.allclose(plain, mechanism.loss(value, parents, torch.Generator().manual_seed(3)))
    assert float(moment.notes["order"]) == pytest.approx(float(order.detach()))


def test_a_few_steps_lower_the_order_term_and_the_rest_does_not_suffer_for_ever():
    torch.manual_seed(0)
    mechanism = LatentANM(IMAGE, [X], **SMALL)
    objective = stages.build(Stage(objective="order", options={"weight": 10.0}), scm_of(mechanism), name="image")
    optimiser = torch.optim.Adam(mechanism.parameters(), 0.01)
    orders, losses = [], []
    for step in range(80):
        moment = Moment(torch.Generator().manual_seed(step))
        loss = objective.losses(batch(), moment).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        orders.append(float(moment.notes["order"]))
        losses.append(float(loss.detach()) - 10 * orders[-1])
    assert sum(orders[-10:]) < 0.5 * sum(orders[:10])
    assert losses[-1] < losses[0]


def test_only_a_mechanism_that_orders_its_latents_takes_it():
    with pytest.raises(ConfigError, match=r"ordered_loss.*latent_anm"):
        stages.build(Stage(objective="order"), scm_of(VAE(IMAGE, [X], **SMALL)), name="image")
    with pytest.raises(ConfigError, match="weight is -1"):
        stages.build(
            Stage(objective="order", options={"weight": -1}, fit=Fit()),
            scm_of(LatentANM(IMAGE, [X], **SMALL)),
            name="image",
        )


def test_an_unconditional_one_hears_no_parents():
    torch.manual_seed(0)
    mechanism = LatentANM(IMAGE, [X], conditional=False, **SMALL).eval()
    value, parents = torch.rand(4, 1, 8, 8), {"x": torch.rand(4, 1)}
    noise = mechanism.abduct(value, parents, torch.Generator().manual_seed(0))
    other = {"x": 1 - parents["x"]}
    assert torch.equal(mechanism.generate(noise, parents), mechanism.generate(noise, other))


def test_an_intervention_on_a_latent_moves_the_image_and_none_on_what_it_is_does_not():
    torch.manual_seed(0)
    mechanism = LatentANM(IMAGE, [X], **SMALL).eval()
    value, parents = torch.rand(4, 1, 8, 8), {"x": torch.rand(4, 1)}
    noise = mechanism.abduct(value, parents, torch.Generator().manual_seed(0))
    same = mechanism.intervene(noise, {0: noise["latent"][:, 0]}, parents)
    moved = mechanism.intervene(noise, {0: noise["latent"][:, 0] + 2}, parents)
    assert torch.allclose(same, mechanism.generate(noise, parents), atol=1e-5)
    assert not torch.allclose(moved, same, atol=1e-4)
