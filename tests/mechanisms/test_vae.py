from contextlib import contextmanager

import pytest
import torch
from torch.distributions import Normal, kl_divergence

from counterbench.causal.chance import SampleNoise
from counterbench.causal.graph import CausalGraph
from counterbench.causal.variables import Binary, Continuous, Image
from counterbench.errors import ConfigError
from counterbench.models.scm import StructuralCausalModel
from counterbench.networks.likelihood import discretised_gaussian_log_prob
from counterbench.plugins import registry

IMAGE, PARENT = Image("x", 1, 16, 16), Continuous("p", 0, 1)
SMALL = {"latent": 3, "encoder_channels": [4, 8], "decoder_channels": [8, 4], "hidden": 16}


def small(**options):
    torch.manual_seed(0)
    return registry.mechanisms.get("vae")(IMAGE, (PARENT,), **SMALL, **options)


@pytest.fixture
def batch():
    generator = torch.Generator().manual_seed(0)
    levels = torch.randint(256, (5, 1, 16, 16), generator=generator)
    return IMAGE.encode(levels), {"p": torch.rand(5, 1, generator=generator)}


def test_divergence_is_from_the_standard_normal(batch):
    """Defect 5 of the anchor: the prior's log-scale was 1, i.e. its standard deviation e."""
    vae = small()
    value, parents = batch
    mean, log_scale = vae.infer(value, parents)
    reference = kl_divergence(Normal(mean, log_scale.exp()), Normal(0.0, 1.0)).sum(1)
    assert torch.allclose(vae.free_energy(value, parents)[1][:, 0], reference, atol=1e-5)


def test_prior_samples_are_standard_normal():
    latent = small().sample_noise(4000, torch.Generator().manual_seed(0))["latent"]
    assert float(latent.std()) == pytest.approx(1, abs=0.02)


def test_null_intervention_at_temperature_one_returns_the_input_and_at_zero_the_reconstruction(batch):
    value, parents = batch
    kept, dropped = small(pixel_temperature=1.0), small(pixel_temperature=0.0)
    noise = kept.abduct(value, parents, torch.Generator().manual_seed(0))
    assert torch.allclose(kept.generate(noise, parents), value, atol=1e-5)
    reconstruction = dropped.pixels(noise, parents)[0].clamp(-1, 1)
    assert torch.allclose(dropped.generate(noise, parents), reconstruction, atol=1e-6)


def test_null_intervention_keeps_one_minus_temperature_of_the_reconstruction_error(batch):
    """The closed form behind composition: x1 = rec + T (x - rec)."""
    value, parents = batch
    vae = small(pixel_temperature=0.1)
    noise = vae.abduct(value, parents, torch.Generator().manual_seed(0))
    mean = vae.pixels(noise, parents)[0]
    assert torch.allclose(vae.generate(noise, parents), (mean + 0.1 * (value - mean)).clamp(-1, 1), atol=1e-5)


def test_latent_temperature_zero_is_deterministic(batch):
    value, parents = batch
    vae = small(latent_temperature=0.0)
    first, second = (vae.abduct(value, parents, torch.Generator().manual_seed(s))["latent"] for s in (0, 1))
    assert torch.equal(first, second)


def test_the_free_energy_draws_from_the_whole_posterior_whatever_abduction_does(batch):
    """Training at a temperature of nil would be no evidence lower bound."""
    value, parents = batch
    plain, cold = small(), small(latent_temperature=0.0)
    expected, found = (vae.explain(value, parents, torch.Generator().manual_seed(0)) for vae in (plain, cold))
    assert torch.equal(found[0]["latent"], expected[0]["latent"])
    assert torch.equal(found[1], expected[1])


def test_loss_is_the_negative_elbo(batch):
    value, parents = batch
    vae = small(beta=2.0)
    negative, divergence = vae.free_energy(value, parents, torch.Generator().manual_seed(0))
    assert torch.allclose(vae.loss(value, parents, torch.Generator().manual_seed(0)), negative + 2 * divergence[:, 0])


def test_elbo_stays_below_the_importance_weighted_bound(batch):
    """log p(x) >= IWAE_k >= ELBO (Burda et al. 2016), on a tiny model in double precision."""
    vae, (value, parents) = small().double(), batch
    value, parents = value.double(), {"p": parents["p"].double()}
    mean, log_scale = vae.infer(value, parents)
    generator, weights = torch.Generator().manual_seed(0), []
    for _ in range(300):
        latent = mean + log_scale.exp() * torch.randn(mean.shape, generator=generator, dtype=torch.float64)
        likelihood = discretised_gaussian_log_prob(value, *vae.pixels({"latent": latent}, parents)).flatten(1).sum(1)
        weights.append(
            likelihood
            + Normal(0.0, 1.0).log_prob(latent).sum(1)
            - Normal(mean, log_scale.exp()).log_prob(latent).sum(1)
        )
    stacked = torch.stack(weights)
    bound = stacked.logsumexp(0) - torch.tensor(300.0).log()
    assert (bound >= stacked.mean(0)).all()
    losses = torch.stack([vae.loss(value, parents, generator) for _ in range(300)])
    error = (losses.var(0) / 300 + stacked.var(0) / 300).sqrt()
    assert ((stacked.mean(0) + losses.mean(0)).abs() < 5 * error).all()


@pytest.mark.parametrize("mean", [-1.0, -0.3, 0.0, 0.99, 1.1])
@pytest.mark.parametrize("log_scale", [-6.0, -3.0, 0.0, 1.0])
def test_the_256_grey_levels_have_total_probability_one(mean, log_scale):
    levels = IMAGE.encode(torch.arange(256), torch.float64)
    log_prob = discretised_gaussian_log_prob(levels, torch.full_like(levels, mean), torch.full_like(levels, log_scale))
    assert float(log_prob.exp().sum()) == pytest.approx(1, abs=1e-6)


def test_pixel_probability_is_the_integral_of_the_normal():
    levels = IMAGE.encode(torch.arange(1, 255), torch.float64)
    normal = Normal(torch.tensor(0.1, dtype=torch.float64), torch.tensor(0.3, dtype=torch.float64))
    reference = (normal.cdf(levels + 1 / 255) - normal.cdf(levels - 1 / 255)).log()
    found = discretised_gaussian_log_prob(levels, torch.full_like(levels, 0.1), torch.full_like(levels, 0.3).log())
    assert torch.allclose(found, reference, atol=1e-9)


def test_gradients_stay_finite_at_the_most_hopeless_pixels():
    """The derivative of log-CDFs overflows in single precision far out; the head must never get there."""
    head = small().likelihood
    features = torch.zeros(2, 4, 16, 16)
    for weight in (-1e4, 1e4):
        head.head.bias.data = torch.tensor([weight, -1e4])  # mean at one end, scale at its minimum
        head.zero_grad()
        for level in (-1.0, 1.0):
            loss = -discretised_gaussian_log_prob(torch.full((2, 1, 16, 16), level), *head(features)).sum()
            assert loss.isfinite()
            loss.backward()
        assert all(p.grad.isfinite().all() for p in head.parameters())


@pytest.mark.parametrize("name", ["pixel_temperature", "latent_temperature"])
def test_temperatures_must_be_fractions(name):
    with pytest.raises(ConfigError, match=f"{name} is 1.5; it must lie between 0 and 1"):
        small(**{name: 1.5})


def test_image_sizes_that_do_not_halve_are_refused():
    with pytest.raises(ConfigError, match="12 x 18 is not divisible by 8"):
        registry.mechanisms.get("vae")(Image("x", 3, 12, 18), ())


def test_a_decoder_of_patches_gives_whole_images_and_every_pixel_its_own(batch):
    value, parents = batch
    torch.manual_seed(0)
    options = {**SMALL, "decoder_channels": [8]}
    vae = registry.mechanisms.get("vae")(IMAGE, (PARENT,), **options, patch=2)
    noise = vae.abduct(value, parents, torch.Generator().manual_seed(0))
    mean, log_scale = vae.pixels(noise, parents)
    assert mean.shape == log_scale.shape == value.shape
    inner = mean[0, 0, 4:8, 4:8]
    assert inner[::2, ::2].std() > 0
    assert not torch.allclose(inner[::2, ::2], inner[1::2, 1::2])  # within a patch as well
    with pytest.raises(ConfigError, match="patch is 3, but an image of 16 x 16 does not divide"):
        registry.mechanisms.get("vae")(IMAGE, (PARENT,), **options, patch=3)


def test_far_pixels_keep_digits_and_gradients():
    """Where the mass of a grey level is too small for a float, its logarithm is not."""
    image = torch.tensor([-1.0, 1.0, 0.2, 0.2, -0.5]).double()
    mean = torch.tensor([1.0, -1.0, -1.1, 0.2, -0.5]).double().requires_grad_()
    log_scale = torch.full((5,), -4.0).double().requires_grad_()
    exact = discretised_gaussian_log_prob(image, mean, log_scale)
    coarse = discretised_gaussian_log_prob(image.float(), mean.detach().float(), log_scale.detach().float())
    assert torch.allclose(coarse.double(), exact.detach(), rtol=1e-4)
    z = (image - mean.detach()) / log_scale.detach().exp()
    assert float(exact[0].detach()) == pytest.approx(float(-(z[0] ** 2) / 2), rel=0.01)  # the tail of a normal
    found = torch.autograd.grad(exact.sum(), (mean, log_scale))
    assert all(part.isfinite().all() for part in found)
    assert torch.autograd.gradcheck(lambda m, s: discretised_gaussian_log_prob(image, m, s), (mean, log_scale))


@contextmanager
def decodings(vae):
    """How often the decoder ran inside the block, one entry a time."""
    ran = []
    handle = vae.decoder.register_forward_hook(lambda *_: ran.append(1))
    try:
        yield ran
    finally:
        handle.remove()


@torch.no_grad()
def test_what_abduction_decoded_is_not_decoded_again_and_no_bit_moves(batch):
    vae = small()
    value, parents = batch
    with decodings(vae) as ran:
        noise = vae.abduct(value, parents, torch.Generator().manual_seed(1))
        null = vae.generate(noise, {name: value.clone() for name, value in parents.items()})
        assert len(ran) == 1
        assert torch.equal(null, vae.generate(dict(noise), parents))
        assert len(ran) == 2


@torch.no_grad()
def test_other_parents_other_noise_and_other_models_are_decoded(batch):
    vae, other = small(), small(latent_temperature=0.5)
    with torch.no_grad():
        other.decoder.load_state_dict({k: v + 0.1 for k, v in other.decoder.state_dict().items()})
    value, parents = batch
    changed = {"p": parents["p"] + 1e-6}
    noise = vae.abduct(value, parents)
    assert torch.equal(vae.generate(noise, changed), vae.generate(dict(noise), changed))
    assert torch.equal(other.generate(noise, parents), other.generate(dict(noise), parents))
    noise["latent"][:, 0] += 1
    assert torch.equal(vae.generate(noise, parents), vae.generate(dict(noise), parents))
    with decodings(vae) as ran:
        vae.generate(vae.abduct(value[:2], {"p": parents["p"][:2]}), parents | {"p": parents["p"][:2] + 1})
        assert len(ran) == 2


def test_ten_null_interventions_of_classes_decode_ten_times(batch):
    """Before, twenty times: once in abduction and once more for the answer."""
    smile, image = Binary("smile"), Image("x", 1, 16, 16)
    vae = registry.mechanisms.get("vae")(image, (smile,), **SMALL)
    graph = CausalGraph({"smile": [], "x": ["smile"]})
    scm = StructuralCausalModel(graph, [registry.mechanisms.get("bernoulli")(smile, []), vae]).eval()
    given = {"smile": torch.tensor([0, 1, 1, 0, 1]), "x": image.decode(batch[0])}
    with decodings(vae) as ran, torch.no_grad():
        values = given
        for cycle in range(10):
            values = scm.counterfactual(values, {}, SampleNoise(0, [f"{cycle}/{row}" for row in range(5)]))
        assert len(ran) == 10
        scm.counterfactual(given, {"smile": 1 - given["smile"]}, SampleNoise(0, range(5)))
        assert len(ran) == 12
