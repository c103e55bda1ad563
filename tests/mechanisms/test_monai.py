"""Mechanisms from MONAI's networks and bundles: volumes, attention, latents, codes, what is refused, and life without MONAI."""

import json
import pickle

import pytest
import torch
from awake import awake
from bundled import KL, SCHEDULER, UNET, VQ, bundled

from counterbench.catalog.recipes import Fit
from counterbench.causal.graph import CausalGraph
from counterbench.causal.samples import Samples
from counterbench.causal.variables import Binary, Categorical, Continuous, Image
from counterbench.contracts.base import NotAskedError
from counterbench.contracts.mechanisms import CHECKS, MechanismCase
from counterbench.errors import CheckpointError, ConfigError
from counterbench.mechanisms import capabilities
from counterbench.mechanisms.monai_bundle import MonaiBundle
from counterbench.mechanisms.monai_diffusion import MonaiDiffusion
from counterbench.mechanisms.monai_latent_diffusion import MonaiLatentDiffusion
from counterbench.mechanisms.monai_vqvae import MonaiVQVAE
from counterbench.metrics.answers import Answers, Batch
from counterbench.metrics.base import Setting
from counterbench.models.scm import StructuralCausalModel
from counterbench.networks.paths import Scheduled
from counterbench.plans.question import Question
from counterbench.plugins import registry
from counterbench.training.hardware import Hardware
from counterbench.training.objectives.autoencoding import Autoencoding
from counterbench.training.objectives.base import Circumstances, Moment
from counterbench.training.objectives.likelihood import Likelihood
from counterbench.training.objectives.matching import Matching

P, C = Continuous("p", 0, 2), Categorical("c", ("r", "s", "t"))
PICTURE, VOLUME = Image("image", 1, 16, 16), Image("image", 1, 8, 8, 8)
FIELD = {"channels": [8, 8], "attention_levels": [False, True], "norm_num_groups": 4, "num_head_channels": 4}
FIRST = {"channels": [8, 8], "attention_levels": [False, False], "norm_num_groups": 4, "latent_channels": 2}
CODES = {"channels": [8, 8], "num_res_channels": 8, "num_embeddings": 16, "embedding_dim": 4}
FAMILIES = {
    MonaiDiffusion: {**FIELD, "width": 8},
    MonaiLatentDiffusion: {"autoencoder": FIRST, "unet": FIELD, "width": 8},
    MonaiVQVAE: CODES,
}


@pytest.fixture(autouse=True)
def seeded():
    for package in ("monai", "einops"):
        pytest.importorskip(package, reason="pip install 'counterbench[monai]'")
    torch.manual_seed(0)


def case_of(mechanism, image):
    generator = torch.Generator().manual_seed(3)
    value = image.encode(255 * torch.rand(4, *image.shape, generator=generator))
    parents = {"p": torch.rand(4, 1, generator=generator), "c": torch.eye(3)[[0, 1, 2, 0]]}
    return MechanismCase(mechanism, value, parents)


@pytest.mark.parametrize("promise", CHECKS, ids=lambda promise: promise.__name__)
@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.__name__)
def test_volumes_keep_the_promises_of_images(family, promise):
    try:
        promise(case_of(family(VOLUME, [P, C], **FAMILIES[family]), VOLUME))
    except NotAskedError as why:
        pytest.skip(str(why))


@pytest.mark.parametrize("asks", ["denoiser", "autoencoder"])
def test_a_bundle_may_be_of_volumes(asks, tmp_path):
    path = bundled(tmp_path, VOLUME, [P, C], asks=asks)
    case = case_of(MonaiBundle(VOLUME, [P, C], path=str(path), asks=asks, steps=2), VOLUME)
    again = case.mechanism.generate(case.abduct(), case.parents)
    assert again.shape == case.value.shape
    assert case.mechanism.invertible == (asks == "denoiser")


@pytest.mark.parametrize("image", [PICTURE, VOLUME], ids=["picture", "volume"])
@pytest.mark.parametrize("family", [MonaiDiffusion, MonaiLatentDiffusion])
def test_cross_attention_says_where_it_looks_for_each_parent(family, image):
    mechanism = family(image, [P, C], **FAMILIES[family])
    assert isinstance(mechanism, capabilities.Attends)
    assert mechanism.token_names == ["p", "c"]
    state = torch.randn(2, *mechanism.state_shape())
    parents = {"p": torch.rand(2, 1), "c": torch.eye(3)[:2]}
    maps = mechanism.attention(state, torch.rand(2), parents)
    assert len(maps) == 4
    for seen in maps.values():
        assert seen.shape == (2, 2, 2, *(side // 2 for side in mechanism.state_shape()[1:]))
        assert torch.allclose(seen.sum(2), torch.ones(()))
    layers = [part for part in mechanism.network.modules() if type(part).__name__ == "CrossAttentionBlock"]
    assert not any(layer.save_attn or layer.att_mat.numel() for layer in layers)  # nothing stays behind


def test_attention_by_a_fused_kernel_is_refused_in_one_sentence():
    mechanism = MonaiDiffusion(PICTURE, [], **FAMILIES[MonaiDiffusion], use_flash_attention=True)
    with pytest.raises(ConfigError, match="leave it out to see where it looks"):
        mechanism.attention(torch.zeros(1, 1, 16, 16), torch.zeros(1), {})


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.__name__)
def test_blocks_hold_every_parameter_once(family):
    mechanism = family(PICTURE, [P, C], **FAMILIES[family])
    held = [id(weight) for block in mechanism.blocks().values() for weight in block.parameters()]
    assert sorted(held) == sorted(id(weight) for weight in mechanism.parameters())


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.__name__)
def test_parents_change_the_answer(family):
    mechanism = awake(family(PICTURE, [P, C], **FAMILIES[family]))
    case = case_of(mechanism, PICTURE)
    with torch.no_grad():
        noise = case.abduct()
        null = mechanism.generate(noise, case.parents)
        other = mechanism.generate(noise, {**case.parents, "c": case.parents["c"].roll(1, 1)})
    assert torch.allclose(null, case.value, atol=1e-4)
    assert float((other - null).abs().max()) > 1e-3


def test_without_exactness_a_reconstruction_remains():
    for family in (MonaiVQVAE, MonaiLatentDiffusion):
        mechanism = family(PICTURE, [P, C], **FAMILIES[family], exact=False)
        case = case_of(mechanism, PICTURE)
        assert "residual" not in case.abduct()
        assert not mechanism.invertible
        assert mechanism.pixel_temperature == 0
        assert float((mechanism.generate(case.abduct(), case.parents) - case.value).abs().max()) > 0.1


def test_latents_are_measured_before_the_field_is_trained(tmp_path):
    scm = model(MonaiLatentDiffusion)
    mechanism = scm.mechanisms["image"]
    images = 255 * torch.rand(40, 1, 16, 16)
    values = {"image": images, "smile": torch.randint(2, (40,))}
    objective = Matching(scm, "image", Fit())
    objective.prepare(Circumstances(train=values, validation=values, folder=tmp_path, hardware=Hardware("cpu"), seed=0))
    latents = mechanism.standardised(PICTURE.encode(images))
    assert float(latents.std()) == pytest.approx(1, abs=1e-3)
    assert not any(weight.requires_grad for weight in mechanism.autoencoder_parameters())
    objective.losses(values, Moment(torch.Generator().manual_seed(0))).sum().backward()
    assert all(weight.grad is None for weight in mechanism.autoencoder_parameters())


@pytest.mark.parametrize("family", [MonaiVQVAE, MonaiLatentDiffusion])
def test_the_first_stage_moves_the_autoencoder_alone(family, tmp_path):
    scm = model(family)
    objective = Autoencoding(scm, "image", Fit())
    values = {"image": 255 * torch.rand(4, 1, 16, 16), "smile": torch.tensor([0, 1, 0, 1])}
    objective.prepare(None)
    loss = objective.losses(values, Moment(torch.Generator().manual_seed(0)))
    assert loss.shape == (4,)
    loss.sum().backward()
    moved = {id(weight) for weight in scm.mechanisms["image"].autoencoder_parameters()}
    assert all(w.grad is None for w in scm.mechanisms["image"].parameters() if id(w) not in moved)


@pytest.mark.parametrize(
    ("family", "stages"),
    [
        (MonaiDiffusion, "matching"),
        (MonaiLatentDiffusion, "autoencoding, then matching"),
        (MonaiVQVAE, "autoencoding"),
    ],
)
def test_without_a_likelihood_the_stages_to_give_are_named(family, stages):
    with pytest.raises(ConfigError, match=f"has no likelihood; give it stages: {stages}\\."):
        Likelihood(model(family), "image", Fit())


def model(family):
    smile = registry.mechanisms.get("bernoulli")(Binary("smile"), [])
    image = family(PICTURE, [Binary("smile")], **FAMILIES[family])
    return StructuralCausalModel(CausalGraph({"smile": [], "image": ["smile"]}), [smile, image])


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.__name__)
def test_a_causal_model_of_volumes_answers_and_is_judged(family):
    """Trained for a few steps, asked for nothing and for something else, and scored."""
    smile = registry.mechanisms.get("bernoulli")(Binary("smile"), [])
    graph = CausalGraph({"smile": [], "image": ["smile"]})
    scm = StructuralCausalModel(graph, [smile, family(VOLUME, [Binary("smile")], **FAMILIES[family])])
    values = {"smile": torch.tensor([0, 1, 0, 1]), "image": (255 * torch.rand(4, 1, 8, 8, 8)).round()}
    mechanism = scm.mechanisms["image"]
    optimiser = torch.optim.Adam(mechanism.parameters(), lr=1e-3)
    for step in range(3):
        encoded = VOLUME.encode(values["image"]), {"smile": values["smile"][:, None].float()}
        optimiser.zero_grad()
        mechanism.loss(*encoded, torch.Generator().manual_seed(step)).sum().backward()
        optimiser.step()
    variables = {"smile": Binary("smile"), "image": VOLUME}
    setting = Setting(graph, variables, "image", ("smile",), (), cycles=1, with_truth=())
    factual = Samples(values, torch.arange(4))
    batch = Batch(factual, "image")
    with torch.no_grad():
        null = scm.eval().counterfactual(factual, {}, torch.Generator().manual_seed(0))
        other = scm.counterfactual(factual, {"smile": 1 - values["smile"]}, torch.Generator().manual_seed(0))
    assert other["image"].shape == values["image"].shape
    for name, expected in (("composition", 0.0), ("ms_ssim", 1.0)):
        metric = registry.metrics.get(name)(setting)
        metric.update(Answers(batch, Question("null", batch.index, cycle=1), null))
        assert metric.compute()[0].point() == pytest.approx(expected, abs=0.05)


def test_codes_are_drawn_as_often_as_training_used_them():
    mechanism = MonaiVQVAE(PICTURE, [], **CODES)
    generator = torch.Generator().manual_seed(0)
    assert len(mechanism.sample_noise(50, generator)["codes"].unique()) == 16  # before any training: uniformly
    used = mechanism.network.quantizer.quantizer.ema_cluster_size
    used.copy_(torch.tensor([0.0, 3.0, 0.0, 1.0] + [0.0] * 12))
    codes = mechanism.sample_noise(50, generator)["codes"]
    assert codes.unique().tolist() == [1, 3]
    assert float((codes == 1).double().mean()) == pytest.approx(0.75, abs=0.05)


def test_codes_follow_the_encoder_in_training_alone():
    mechanism = MonaiVQVAE(PICTURE, [], **CODES)
    case = case_of(mechanism, PICTURE)
    before = mechanism.codebook.clone()
    mechanism.eval().loss(case.value, {})
    assert torch.equal(mechanism.codebook, before)
    mechanism.train().loss(case.value, {})
    assert not torch.equal(mechanism.codebook, before)


@pytest.mark.parametrize(
    ("family", "options", "words"),
    [
        (MonaiDiffusion, {"channels": [8] * 6, "attention_levels": [True] * 6}, "divisible by 32; these are 16 x 16"),
        (MonaiDiffusion, {"norm_num_groups": 3}, "MONAI's DiffusionModelUNet refuses these options"),
        (MonaiLatentDiffusion, {"autoencoder": {**FIRST, "latents": 3}}, "unexpected keyword argument 'latents'"),
        (MonaiLatentDiffusion, {"unet": {**FIELD, "in_channels": 3}}, "follows from the variable; leave it out"),
        (MonaiVQVAE, {"upsample_parameters": [[2, 4, 1, 1, 0], [1, 3, 1, 1, 0]]}, "let upsample_parameters undo"),
    ],
)
def test_options_that_do_not_fit_are_one_sentence(family, options, words):
    with pytest.raises(ConfigError, match=words):
        family(PICTURE, [], **{**FAMILIES[family], **options})


# --- bundles ----------------------------------------------------------------------------------------------------------


def test_the_path_of_a_schedule_is_that_of_the_scheduler():
    from monai.networks.schedulers import DDPMScheduler

    scheduler = DDPMScheduler(num_train_timesteps=100, schedule="scaled_linear_beta")
    path = Scheduled(scheduler.alphas_cumprod)
    value, noise = torch.randn(5, 1, 4, 4), torch.randn(5, 1, 4, 4)
    steps = torch.tensor([0, 1, 50, 98, 99])
    expected = scheduler.add_noise(value, noise, steps)
    assert torch.allclose(path.at(value, noise, 1 - steps / 99), expected, atol=1e-4)
    time, step = torch.rand(5, dtype=torch.float64) * 0.98 + 0.01, 1e-7
    value, noise = value.double(), noise.double()
    slope = (path.at(value, noise, time + step) - path.at(value, noise, time - step)) / (2 * step)
    assert torch.allclose(path.velocity(value, noise, time), slope, atol=1e-3)


@pytest.mark.parametrize("form", ["epsilon", "v_prediction", "sample"])
def test_whatever_a_denoiser_predicts_is_a_velocity(form, tmp_path):
    path = bundled(tmp_path, PICTURE, scheduler={**SCHEDULER, "prediction_type": form})
    inner = MonaiBundle(PICTURE, [], path=str(path)).double().inner
    value, noise, time = torch.rand(3, 1, 16, 16).double(), torch.randn(3, 1, 16, 16).double(), torch.rand(3).double()
    state = inner.path.at(value, noise, time)
    found = inner.as_velocity(inner.target(value, noise, time), state, time)
    assert torch.allclose(found, inner.path.velocity(value, noise, time), atol=1e-6)


def test_a_rectified_flow_moves_along_lines(tmp_path):
    from monai.networks.schedulers import RFlowScheduler

    path = bundled(tmp_path, PICTURE, scheduler={"_target_": "monai.networks.schedulers.RFlowScheduler"})
    inner = MonaiBundle(PICTURE, [], path=str(path)).inner
    value, noise, steps = torch.rand(3, 1, 4, 4), torch.randn(3, 1, 4, 4), torch.tensor([0.0, 300.0, 1000.0])
    noisy = RFlowScheduler().add_noise(value, noise, steps)
    assert torch.allclose(inner.path.at(value, noise, 1 - steps / 1000), noisy, atol=1e-6)
    assert torch.equal(inner.target(value, noise, steps / 1000), value - noise)


@pytest.mark.parametrize("weights", ["model.pt", "model.safetensors"])
def test_a_denoiser_answers_with_the_weights_of_its_bundle(weights, tmp_path):
    path = bundled(tmp_path, PICTURE, [P, C], weights=weights)
    case = case_of(MonaiBundle(PICTURE, [P, C], path=str(path)), PICTURE)
    noise = case.abduct()
    assert torch.allclose(case.mechanism.generate(noise, case.parents), case.value, atol=1e-4)
    other = {**case.parents, "c": case.parents["c"].roll(1, 1)}
    assert float((case.mechanism.generate(noise, other) - case.value).abs().max()) > 1e-4
    assert not any(weight.requires_grad for weight in case.mechanism.parameters())
    assert "conv_in" in case.mechanism.blocks()


def test_a_scripted_denoiser_is_asked_as_well(tmp_path):
    from monai.networks.nets import DiffusionModelUNet

    class Plain(torch.nn.Module):
        def forward(self, x: torch.Tensor, timesteps: torch.Tensor) -> torch.Tensor:
            return 0.1 * x

    path = bundled(tmp_path, PICTURE, weights="none")
    torch.jit.script(Plain()).save(str(path / "models" / "model.ts"))
    case = case_of(MonaiBundle(PICTURE, [], path=str(path)), PICTURE)
    assert torch.allclose(case.mechanism.generate(case.abduct(), {}), case.value, atol=1e-4)
    assert DiffusionModelUNet is not None


@pytest.mark.parametrize("autoencoder", [KL, VQ], ids=["kl", "vq"])
def test_an_autoencoder_answers_with_its_reconstruction_whatever_is_set(autoencoder, tmp_path):
    path = bundled(tmp_path, PICTURE, asks="autoencoder", autoencoder=autoencoder)
    case = case_of(MonaiBundle(PICTURE, [P, C], path=str(path), asks="autoencoder"), PICTURE)
    noise = case.abduct()
    null = case.mechanism.generate(noise, case.parents)
    other = {**case.parents, "c": case.parents["c"].roll(1, 1)}
    assert torch.equal(null, case.mechanism.generate(noise, other))
    inner = case.mechanism.inner
    whole = (
        inner.network.reconstruct((case.value + 1) / 2) if autoencoder is KL else inner.network((case.value + 1) / 2)[0]
    )
    assert torch.allclose((null + 1) / 2, whole.clamp(0, 1), atol=1e-5)
    assert case.mechanism.generate(case.mechanism.sample_noise(2), {}).shape == (2, 1, 16, 16)


def test_quantities_may_be_told_from_nought_to_one(tmp_path):
    path = bundled(tmp_path, PICTURE, [P, C])
    inner = MonaiBundle(PICTURE, [P, C], path=str(path), context="unit").inner
    told = inner.tokens([torch.tensor([[-1.0], [0.0]]), torch.eye(3)[:2]], torch.ones(2, 2))
    assert told.tolist() == [[[0.0, 1.0, 0.0, 0.0]], [[0.5, 0.0, 1.0, 0.0]]]


class Boom:
    def __reduce__(self):
        return print, ("this must not be run",)


EVIL = {
    "expression": ({"network_def": {**UNET, "spatial_dims": "$__import__('os').getpid()"}}, "that would be run"),
    "referred": ({"dimensions": "$1 + 1"}, "that would be run"),
    "macro": ({"network_def": "%other.json::network"}, "that would be run"),
    "elsewhere": ({"network_def": {"_target_": "os.system", "command": "true"}}, "only classes of monai.networks"),
    "through": ({"network_def": {"_target_": "torch.nn.modules.module.torch.hub.load"}}, "only classes of monai.net"),
    "function": ({"network_def": {"_target_": "monai.networks.utils.convert_to_torchscript"}}, "only classes of monai"),
    "imported": ({"network_def": {"_target_": "monai.networks.nets.unet.Path"}}, "only classes of monai.networks"),
    "superseded": ({"network_def": {"_target_": "generative.networks.nets.AutoencoderKL"}}, "only classes of monai"),
    "debugger": ({"network_def": {**UNET, "_mode_": "debug"}}, "only _target_ and the options"),
    "fetching": ({"network_def": {**UNET, "pretrained": True}}, "only _target_ and the options"),
    "nothing": ({"network_def": {**UNET, "spatial_dims": "@nowhere"}}, "which it does not have"),
    "options": ({"network_def": {**UNET, "spatial_dims": 2}}, "cannot be made"),
    "schedule": ({"scheduler": {"_target_": "torch.nn.Identity"}}, "the scheduler is a Identity"),
}


@pytest.mark.parametrize("name", EVIL)
def test_a_bundle_cannot_run_code(name, tmp_path):
    config, words = EVIL[name]
    path = bundled(tmp_path, PICTURE)
    file = path / "configs" / "inference.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **config}))
    with pytest.raises(ConfigError, match=words) as caught:
        MonaiBundle(PICTURE, [], path=str(path))
    assert "\n" not in str(caught.value)


def test_weights_are_tensors_and_nothing_else(tmp_path, capsys):
    path = bundled(tmp_path, PICTURE)
    weights = path / "models" / "model.pt"
    torch.save({"network": Boom()}, weights)
    with pytest.raises(CheckpointError, match="holds more than tensors"):
        MonaiBundle(PICTURE, [], path=str(path))
    weights.write_bytes(pickle.dumps(Boom()))
    with pytest.raises(CheckpointError):
        MonaiBundle(PICTURE, [], path=str(path))
    torch.save({"other": torch.zeros(1)}, weights)
    with pytest.raises(CheckpointError, match="does not hold the weights of this network"):
        MonaiBundle(PICTURE, [], path=str(path))
    weights.unlink()
    with pytest.raises(CheckpointError, match="holds no weights"):
        MonaiBundle(PICTURE, [], path=str(path))
    assert "must not be run" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"asks": "oracle"}, "give denoiser or autoencoder"),
        ({"context": "loud"}, "give signed or unit"),
        ({"intensity": (1.0, 0.0)}, "first number must be below"),
        ({"network": "net"}, "has no 'net'"),
        ({"asks": "autoencoder"}, "takes an AutoencoderKL or a VQVAE"),
    ],
)
def test_what_a_bundle_is_not_asked_for(options, words, tmp_path):
    path = bundled(tmp_path, PICTURE)
    with pytest.raises(ConfigError, match=words):
        MonaiBundle(PICTURE, [], **{"path": str(path), **options})


def test_a_network_for_other_images_or_parents_is_refused(tmp_path):
    path = bundled(tmp_path, PICTURE, [P, C])
    with pytest.raises(ConfigError, match="does not work as a denoiser for this image and its parents"):
        MonaiBundle(PICTURE, [P], path=str(path))
    with pytest.raises(ConfigError, match="does not work as a denoiser"):
        MonaiBundle(VOLUME, [P, C], path=str(path))
