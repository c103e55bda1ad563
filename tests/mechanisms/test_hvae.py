import math

import pytest
import torch
from torch.distributions import Normal, kl_divergence

from counterbench.causal.variables import Continuous, Image
from counterbench.errors import ConfigError
from counterbench.networks.likelihood import discretised_gaussian_log_prob
from counterbench.plugins import registry

IMAGE, PARENT = Image("x", 1, 16, 16), Continuous("p", 0, 1)
SMALL = {"levels": [[1, 1, 8], [4, 2, 8], [16, 1, 4]], "latent": 2}


def small(parents=(PARENT,), **options):
    torch.manual_seed(0)
    made = registry.mechanisms.get("hvae")(IMAGE, parents, **{**SMALL, **options})
    with torch.no_grad():  # priors start at nil; a trained one does not
        for weight in made.parameters():
            weight.add_(0.05 * torch.randn(weight.shape))
    return made.double()


@pytest.fixture
def batch():
    generator = torch.Generator().manual_seed(0)
    levels = torch.randint(256, (5, 1, 16, 16), generator=generator)
    return IMAGE.encode(levels).double(), {"p": torch.rand(5, 1, generator=generator).double()}


def seeded():
    return torch.Generator().manual_seed(0)


@pytest.mark.parametrize("conditional", [False, True])
def test_null_intervention_at_temperature_one_returns_the_input_and_at_zero_the_reconstruction(batch, conditional):
    value, parents = batch
    kept, dropped = (small(conditional_prior=conditional, pixel_temperature=t) for t in (1.0, 0.0))
    noise = kept.abduct(value, parents, seeded())
    assert torch.allclose(kept.generate(noise, parents), value, atol=1e-9)
    features, _ = dropped.infer(value, dropped.context(parents, value), seeded())
    reconstruction = dropped.likelihood(features)[0].clamp(-1, 1)
    assert torch.allclose(dropped.generate(noise, parents), reconstruction, atol=1e-9)


def test_null_intervention_keeps_one_minus_temperature_of_the_reconstruction_error(batch):
    """Defect 6 of the anchor: a hierarchical model whose composition was identically nil."""
    value, parents = batch
    hvae = small(pixel_temperature=0.1)
    noise = hvae.abduct(value, parents, seeded())
    mean = hvae.likelihood(hvae.infer(value, hvae.context(parents, value), seeded())[0])[0]
    assert torch.allclose(hvae.generate(noise, parents), (mean + 0.1 * (value - mean)).clamp(-1, 1), atol=1e-9)
    assert (hvae.generate(noise, parents) - value).abs().mean() > 0.01


def test_divergences_are_those_of_torch(batch):
    value, parents = batch
    for hvae in (small(), small(conditional_prior=True)):
        _, layers = hvae.infer(value, hvae.context(parents, value), seeded())
        assert len(layers) == 4
        for layer in layers:
            posterior, prior = (Normal(mean, scale.exp()) for mean, scale in (layer.posterior, layer.prior))
            assert torch.allclose(layer.divergence(), kl_divergence(posterior, prior).flatten(1).sum(1))


def test_noise_is_in_units_of_the_prior_and_gives_the_latents_back(batch):
    value, parents = batch
    hvae = small(conditional_prior=True)
    context = hvae.context(parents, value)
    _, layers = hvae.infer(value, context, seeded())
    noise = hvae._parts(hvae.abduct(value, parents, seeded())["latent"])
    _, again = hvae.decoder.generate(noise, context)
    for first, second in zip(layers, again, strict=True):
        assert torch.allclose(first.latent, second.latent, atol=1e-9)


def test_exogenous_latents_do_not_see_the_parents_and_conditional_ones_do(batch):
    value, parents = batch
    other = {"p": parents["p"] + 1}
    for conditional in (False, True):
        hvae = small(conditional_prior=conditional)
        noise = hvae._parts(hvae.abduct(value, parents, seeded())["latent"])
        latents = [
            hvae._flat([layer.latent for layer in hvae.decoder.generate(noise, hvae.context(p, value))[1]])
            for p in (parents, other)
        ]
        assert torch.allclose(*latents) is not conditional


def test_total_direct_and_indirect_effects(batch):
    """With temperature 1: an effect along one path leaves what the other path made; half of the latents kept lies between."""
    value, parents = batch
    other = {"p": parents["p"] + 1}
    answers = {}
    for effect in ("total", "direct", "indirect"):
        hvae = small(conditional_prior=True, effect=effect, pixel_temperature=0.0)
        noise = hvae.abduct(value, parents, seeded())
        answers[effect] = hvae.generate(noise, other)
        null = hvae.generate(noise, parents)
        assert not torch.allclose(answers[effect], null)
    assert not torch.allclose(answers["total"], answers["direct"])
    assert not torch.allclose(answers["total"], answers["indirect"])
    for kept, expected in ((1.0, "direct"), (0.0, "total")):
        mixed = small(conditional_prior=True, kept=kept, pixel_temperature=0.0)
        assert torch.allclose(
            mixed.generate(mixed.abduct(value, parents, seeded()), other), answers[expected], atol=1e-9
        )
    assert torch.allclose(  # nothing intervened on: every effect is nil
        small(conditional_prior=True, effect="indirect", pixel_temperature=0.0).generate(noise, parents),
        null,
        atol=1e-9,
    )


def test_loss_is_the_negative_elbo_and_free_bits_cost_nothing(batch):
    value, parents = batch
    hvae = small(beta=2.0)
    negative, divergences = hvae.free_energy(value, parents, seeded())
    assert torch.allclose(hvae.loss(value, parents, seeded()), negative + 2 * divergences.sum(1))
    generous = small(free_bits=1e6)
    assert torch.allclose(generous.loss(value, parents, seeded()), negative + 4e6)


def log_ratio(layer):
    """log p(z) - log q(z), (N,)."""
    prior, posterior = (Normal(mean, log_scale.exp()) for mean, log_scale in (layer.prior, layer.posterior))
    return (prior.log_prob(layer.latent) - posterior.log_prob(layer.latent)).flatten(1).sum(1)


def test_the_elbo_lies_below_the_importance_weighted_bound(batch):
    """Burda et al. (2016): the bound rises with the number of samples; a wrong divergence would not obey."""
    value, parents = batch
    hvae = small()
    context = hvae.context(parents, value)
    generator = seeded()
    weights, elbos = [], []
    with torch.no_grad():
        for _ in range(300):
            features, layers = hvae.infer(value, context, generator)
            likelihood = discretised_gaussian_log_prob(value, *hvae.likelihood(features)).flatten(1).sum(1)
            ratio = sum(log_ratio(layer) for layer in layers)
            weights.append(likelihood + ratio)
            elbos.append(likelihood - sum(layer.divergence() for layer in layers))
    logs = torch.stack(weights)
    elbo = torch.stack(elbos).mean(0)
    assert torch.allclose(logs.mean(0), elbo, rtol=0.02)  # the same number, estimated without the closed form
    bounds = [(logs[:count].logsumexp(0) - math.log(count)).mean() for count in (1, 10, 300)]
    assert bounds[2] > bounds[1] - 1
    assert (logs.logsumexp(0) - math.log(300) >= elbo - 1e-6).all()


def test_prior_samples_are_finite_and_of_the_right_shape():
    hvae = small()
    noise = hvae.sample_noise(7, seeded())
    assert noise["latent"].shape == (7, hvae.latent_size) == (7, 2 * (1 + 2 * 16 + 256))
    image = hvae.generate(noise, {"p": torch.rand(7, 1).double()})
    assert image.shape == (7, 1, 16, 16)
    assert image.isfinite().all()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"levels": [[4, 1, 8], [12, 1, 8]]}, "the image's side, 16, is no multiple of 12"),
        ({"levels": [[8, 1, 8], [4, 1, 8], [16, 1, 8]]}, "must rise"),
        ({"levels": [[3, 1, 8], [16, 1, 8]]}, "no multiple"),
        ({"levels": [[16, 8]]}, "resolution, blocks, width"),
        ({"effect": "net"}, "give one of total, direct, indirect"),
        ({"effect": "direct"}, "need conditional_prior"),
        ({"kept": 2.0}, "between 0 and 1"),
        ({"encoder_blocks": [1]}, "1 numbers for 3 levels"),
        ({"beta": [1, 2]}, "one for each of the 3 levels"),
    ],
)
def test_impossible_options_are_refused(options, words):
    with pytest.raises(ConfigError, match=words):
        small(**options)


def test_it_learns_and_its_colours_are_any():
    """A few steps on RGB images lower the loss."""
    torch.manual_seed(0)
    image = Image("x", 3, 8, 8)
    hvae = registry.mechanisms.get("hvae")(image, (PARENT,), levels=[[1, 1, 8], [4, 1, 8], [8, 1, 8]], latent=2)
    parents = {"p": torch.rand(32, 1)}
    value = (2 * torch.round(255 * parents["p"].view(-1, 1, 1, 1).expand(-1, 3, 8, 8)) / 255 - 1).contiguous()
    optimiser = torch.optim.Adam(hvae.parameters(), 1e-2)
    losses = []
    for _ in range(40):
        loss = hvae.loss(value, parents).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(float(loss))
    assert losses[-1] < 0.7 * losses[0]


def test_every_level_may_have_a_weight_of_its_own(batch):
    value, parents = batch
    hvae = small(beta=[1.0, 2.0, 3.0])
    negative, divergences = hvae.free_energy(value, parents, seeded())
    expected = negative + divergences[:, 0] + 2 * divergences[:, 1:3].sum(1) + 3 * divergences[:, 3]
    assert torch.allclose(hvae.loss(value, parents, seeded()), expected)


def test_levels_that_are_not_active_infer_nothing_and_cost_nothing(batch):
    value, parents = batch
    hvae = small()
    _, layers = hvae.infer(value, hvae.context(parents, value), seeded(), active=1)
    assert (layers[0].divergence() > 0).all()
    for layer in layers[1:]:
        assert torch.equal(layer.latent, layer.prior[0])
        assert (layer.divergence() == 0).all()
    hvae.loss(value, parents, seeded(), active=1).sum().backward()
    posteriors = [block.posterior for stage in hvae.decoder.stages for block in stage]
    assert all(p.grad is not None for p in posteriors[0].parameters())
    assert all(p.grad is None for part in posteriors[1:] for p in part.parameters())


def test_a_single_position_knows_what_was_where():
    """Moving a stroke changes the coarsest maps: a mean over positions would not notice."""
    hvae = small()
    images = -torch.ones(2, 1, 16, 16).double()
    images[0, :, :4], images[1, :, 12:] = 1, 1
    coarse = hvae.encoder(images)[1]
    assert not torch.allclose(coarse[0], coarse[1], atol=1e-3)
