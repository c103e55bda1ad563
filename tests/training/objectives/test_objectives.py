"""Objectives: games on problems whose answer is known, and what fine-tuning may and may not do."""

import inspect
import json
import re

import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import load_file

from counterbench import models
from counterbench.catalog.recipes import Recipe, Stage
from counterbench.causal.graph import CausalGraph
from counterbench.causal.variables import Continuous, Image
from counterbench.errors import ConfigError, UnknownNameError
from counterbench.mechanisms.gan import GAN
from counterbench.models.scm import StructuralCausalModel
from counterbench.plugins import registry
from counterbench.plugins.factory import options_of
from counterbench.training import loop, recipes, stages
from counterbench.training.hardware import Hardware
from counterbench.training.objectives.base import Circumstances, Moment

CPU = Hardware("cpu")


def seeded(seed):
    """A moment of training with chance of its own."""
    return Moment(torch.Generator().manual_seed(seed))


SHAPE = {"encoder_channels": [4], "decoder_channels": [4], "hidden": 8}


def recipe(image, **more):
    plain = {"family": "spline_flow", "options": {"bins": 0}, "fit": {"epochs": 3, "learning_rate": 0.02}}
    entries = {"a": plain, "b": plain, "c": {"family": "categorical", "fit": {"epochs": 1}}, "image": image, **more}
    return Recipe.model_validate({"name": "staged", "title": "Staged", "dataset": "toy", "mechanisms": entries})


GAME = {
    "family": "gan",
    "options": {"latent": 2, **SHAPE},
    "stages": [
        {"objective": "adversarial", "fit": {"epochs": 3, "batch_size": 50, "betas": [0.5, 0.99], "ema_decay": 0.99}},
        {"objective": "encoder", "fit": {"epochs": 3, "batch_size": 50, "learning_rate": 0.01}},
    ],
}


@pytest.mark.parametrize("name", registry.objectives.builtins())
def test_every_option_has_a_default_and_is_documented(name):
    family = registry.objectives.get(name)
    for option, default in options_of(family, 3).items():
        assert default is not inspect.Parameter.empty, option
        assert re.search(rf"^\s+(\w+, )*{option}(, \w+)*:", family.__doc__, re.MULTILINE), option


@pytest.mark.parametrize("name", registry.objectives.builtins())
def test_whatever_an_objective_computes_with_is_among_its_parts(toy, name):
    """What is not would stay on the CPU, and be missing in checkpoints."""
    families = {
        "adversarial": "gan",
        "encoder": "gan",
        "matching": "flow_matching",
        "autoencoding": "monai_vqvae",
        "order": "latent_anm",
    }
    family = families.get(name, "vae")
    if missing := registry.mechanisms.lacks(family):
        pytest.skip(missing)
    field = {"width": 8, "channels": [8], "attention": [0], "heads": 2}
    options = {"flow_matching": field, "monai_vqvae": {"channels": [4, 4], "num_res_channels": 4}}
    entry = {"family": family, "options": options.get(family, {"latent": 2, **SHAPE})}
    scm = models.build(recipe(entry), toy.Toy().graph, toy.Toy().variables)
    objective = stages.build(Stage(objective=name), scm, name="image")
    own = {id(module) for module in torch.nn.ModuleDict(objective.parts()).modules()}
    for value in vars(objective).values():
        assert not isinstance(value, torch.Tensor)
        if isinstance(value, torch.nn.Module):
            assert id(value) in own


@pytest.mark.parametrize(
    ("image", "error", "words"),
    [
        (
            {"family": "vae", "stages": [{"objective": "adversarial"}]},
            ConfigError,
            "'vae' of 'image' cannot be trained by",
        ),
        ({"family": "vae", "stages": [{"objective": "adversary"}]}, UnknownNameError, "adversarial"),
        ({"family": "gan", "stages": [{"objective": "counterfactual"}]}, ConfigError, "no method 'explain'"),
        ({"family": "vae", "stages": [{"objective": "likelihood", "options": {"slack": 1}}]}, ConfigError, "no option"),
        (
            {"family": "vae", "stages": [{"objective": "counterfactual", "options": {"targets": "firm"}}]},
            ConfigError,
            "give hard or soft",
        ),
        (
            {"family": "vae", "stages": [{"objective": "counterfactual", "options": {"intervened": ["d"]}}]},
            ConfigError,
            "the attributes are: a, b, c",
        ),
    ],
)
def test_a_slip_in_a_stage_is_found_before_anything_is_written(toy, tmp_path, image, error, words):
    with pytest.raises(error, match=words):
        recipes.train(recipe(image), toy.Toy(), output=tmp_path / "run", hardware=CPU)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("family", "objective", "words"),
    [
        ("vae", "adversarial", "the capability Adversarial. Families that have it: gan."),
        (
            "vae",
            "encoder",
            "'cycles' or 'encoder_parameters', so it lacks the capability Cycles. Families that have it: gan.",
        ),
        (
            "gan",
            "counterfactual",
            "no method 'explain', so it lacks the capability Explains. Families that have it: hvae, latent_anm, vae.",
        ),
    ],
)
def test_a_mechanism_that_cannot_be_trained_so_is_told_which_families_can(toy, family, objective, words):
    scm = models.build(
        recipe({"family": family, "options": {"latent": 2, **SHAPE}}), toy.Toy().graph, toy.Toy().variables
    )
    with pytest.raises(ConfigError, match=re.escape(words)):
        stages.build(Stage(objective=objective), scm, name="image")


def test_fit_and_stages_exclude_each_other():
    with pytest.raises(ValidationError, match="not both"):
        recipe({"family": "vae", "fit": {}, "stages": [{}]})


@pytest.mark.parametrize(
    ("family", "stage", "words"),
    [
        ("gan", {}, "has no likelihood; give it stages: adversarial, then encoder"),
        ("vae", {"options": {"levels": 1}}, "has none; leave the option out"),
        ("hvae", {"options": {"levels": 9}}, "levels is 9, but the mechanism of 'image' has 2"),
        ("gan", {"objective": "adversarial", "options": {"penalty_every": 0}}, "give at least 1"),
        ("vae", {"objective": "counterfactual", "options": {"critic_epochs": 0}}, "greater than or equal to 1"),
        ("vae", {"objective": "counterfactual", "options": {"damping": -1}}, "must not be negative"),
    ],
)
def test_impossible_stages_are_refused(toy, tmp_path, family, stage, words):
    options = {"levels": [[1, 1, 4], [8, 1, 4]]} if family == "hvae" else SHAPE
    with pytest.raises(ConfigError, match=words):
        recipes.train(
            recipe({"family": family, "options": options, "stages": [stage]}),
            toy.Toy(),
            output=tmp_path / "r",
            hardware=CPU,
        )


def test_numbers_that_yaml_reads_as_words_are_numbers(toy):
    job = fine_tuning(toy, slack="2e-2", damping="1e2")
    assert (job.slack, job.damping) == (0.02, 100.0)


def test_stages_have_curves_and_leave_no_opponent_behind(toy, tmp_path):
    folder = recipes.train(recipe(GAME), toy.Toy(), output=tmp_path / "run", hardware=CPU)
    curves = json.loads((folder / "manifest.json").read_text())["curves"]
    assert [name for name in curves if name.startswith("image")] == ["image: 1 adversarial", "image: 2 encoder"]
    game = curves["image: 1 adversarial"]
    assert {len(game["train"]), len(game["validation"]), len(game["parts"]["discriminator_loss"])} == {3}
    assert game["objective"] == "adversarial"
    contestant = models.load(str(folder), toy.Toy())
    assert not any("discriminator" in name for name in contestant.model.state_dict())
    assert contestant.pixel_temperature is None


class _Interrupt(loop.Callback):
    def __init__(self, objective, epoch):
        self.objective, self.epoch = objective, epoch

    def on_train_batch_end(self, trainer, pl_module, *args):
        if type(pl_module.objective).__name__ == self.objective and trainer.current_epoch == self.epoch:
            raise KeyboardInterrupt


FINE = {
    "family": "vae",
    "options": {"latent": 2, **SHAPE},
    "stages": [
        {"fit": {"epochs": 3, "batch_size": 50, "learning_rate": 0.01}},
        {
            "objective": "counterfactual",
            "options": {"critic_epochs": 2, "critic_width": 4},
            "fit": {"epochs": 3, "batch_size": 50, "ema_decay": 0.99},
        },
    ],
}


@pytest.mark.parametrize(
    ("image", "objective"), [(GAME, "AdversarialGame"), (GAME, "EncoderRefinement"), (FINE, "CounterfactualFineTuning")]
)
def test_every_stage_resumes_to_the_very_same_result(toy, tmp_path, monkeypatch, image, objective):
    whole = recipes.train(recipe(image), toy.Toy(), output=tmp_path / "whole", hardware=CPU)
    original = loop._trainer
    stop = _Interrupt(objective, 1)
    monkeypatch.setattr(loop, "_trainer", lambda o, n, c, f, h: original(o, n, [*c, stop], f, h))
    with pytest.raises(KeyboardInterrupt):
        recipes.train(recipe(image), toy.Toy(), output=tmp_path / "broken", hardware=CPU)
    monkeypatch.setattr(loop, "_trainer", original)
    resumed = recipes.train(recipe(image), toy.Toy(), output=tmp_path / "broken", hardware=CPU, resume=True)
    assert (resumed / "weights.safetensors").read_bytes() == (whole / "weights.safetensors").read_bytes()

    def curves(folder):
        manifest = json.loads((folder / "manifest.json").read_text())
        assert manifest["judges_used_in_training"] == manifest_of(whole)["judges_used_in_training"]
        return [{k: v for k, v in curve.items() if k != "seconds"} for curve in manifest["curves"].values()]

    assert curves(resumed) == curves(whole)


def manifest_of(folder):
    return json.loads((folder / "manifest.json").read_text())


# Games on a problem whose answer is known.

P = Continuous("p", -1, 1)
PICTURE = Image("x", 1, 4, 4)


def gaussian(count=4000, seed=0):
    """x = 60 p + 128 + 15 e on all pixels alike: every density is a normal."""
    generator = torch.Generator().manual_seed(seed)
    p = (torch.randint(2, (count,), generator=generator) * 2 - 1).double() * 0.5
    x = (128 + 60 * p + 15 * torch.randn(count, generator=generator, dtype=torch.float64))[:, None, None, None]
    return {"p": p.float(), "x": x.expand(-1, 1, 4, 4).float().contiguous()}


def of_p(seed=0):
    torch.manual_seed(seed)
    graph = CausalGraph({"p": (), "x": ("p",)})
    options = {"latent": 1, "encoder_channels": [8], "decoder_channels": [8], "hidden": 32}
    return StructuralCausalModel(
        graph, [registry.mechanisms.get("spline_flow")(P, [], bins=0), GAN(PICTURE, [P], **options)]
    )


def circumstances(train, validation, folder):
    return Circumstances(train=train, validation=validation, folder=folder, hardware=CPU, seed=0)


def run_stage(scm, stage, folder, train, validation):
    job = stages.build(Stage.model_validate(stage), scm, name="x")
    return job, loop.run(job, circumstances(train, validation, folder))


@pytest.fixture(scope="module")
def game(tmp_path_factory):
    scm = of_p()
    fit = {
        "epochs": 30,
        "batch_size": 100,
        "learning_rate": 0.001,
        "weight_decay": 0,
        "betas": [0.5, 0.99],
        "ema_decay": 0.99,
    }
    stage = {"objective": "adversarial", "options": {"discriminator_rate": 2, "penalty": 0.1}, "fit": fit}
    job, curve = run_stage(scm, stage, tmp_path_factory.mktemp("game"), gaussian(), gaussian(200, 1))
    return scm, job, curve


@pytest.mark.slow
def test_the_game_converges_to_the_distribution(game):
    """Mean and standard deviation of generated images, given the parent, are those of the data; the opponent is left guessing.
    Over two seeds and both values the means were off by 0.0 to 1.5, the standard deviations were 11.4 to 14.0."""
    scm, _, curve = game
    with torch.no_grad():
        for p in (-0.5, 0.5):
            made = scm.sample(2000, {"p": torch.full((2000,), p)}, torch.Generator().manual_seed(3))["x"]
            assert float(made.mean()) == pytest.approx(128 + 60 * p, abs=4)
            assert float(made.mean((1, 2, 3)).std()) == pytest.approx(15, rel=0.4)
    assert curve.parts["discriminator_loss"][-1] == pytest.approx(2 * torch.tensor(2.0).log().item(), rel=0.1)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_refining_the_encoder_holds_the_generator_and_mends_reconstructions(game, tmp_path, seed):
    """From an encoder that knows nothing. Over seven seeds (two lengths) the loss fell to 5 to 10 % of its first epoch's, and
    the error of reconstructions to 32 to 36 % of what it was."""
    mechanism = game[0].mechanisms["x"]
    kept = {name: value.clone() for name, value in mechanism.state_dict().items()}
    mechanism.encoder.load_state_dict(of_p(100 + seed).mechanisms["x"].encoder.state_dict())
    before = {name: value.clone() for name, value in mechanism.state_dict().items()}
    values = gaussian(500, 5)

    def error():
        with torch.no_grad():
            again = game[0].counterfactual(values, {}, None)["x"]
        return float((again - values["x"]).abs().mean())

    worse = error()
    fit = {"epochs": 4, "batch_size": 100, "learning_rate": 0.003, "weight_decay": 0, "ema_decay": 0.9}
    stage = {"objective": "encoder", "fit": {**fit, "warmup_steps": 0}}
    _, curve = run_stage(game[0], stage, tmp_path, gaussian(2000), gaussian(200, 1))
    assert min(curve.validation) < 0.5 * curve.validation[0]
    assert error() < 0.7 * worse
    for name, value in mechanism.state_dict().items():
        if not name.startswith("encoder."):
            assert torch.equal(value, before[name]), name
    mechanism.load_state_dict(kept)


# Counterfactual fine-tuning.


def fine_tuning(toy, **options):
    torch.manual_seed(0)
    scm = models.build(
        recipe({"family": "vae", "options": {"latent": 2, **SHAPE}}), toy.Toy().graph, toy.Toy().variables
    )
    exact = toy.exact_scm()
    mechanisms = [exact.mechanisms[name] for name in ("a", "b", "c")]
    scm = StructuralCausalModel(scm.graph, [*mechanisms, scm.mechanisms["image"]])
    return stages.build(Stage(objective="counterfactual", options=options), scm, name="image")


def test_interventions_differ_per_sample_and_follow_the_graph(toy):
    """Defect 19 of the anchor: one attribute for the whole batch, and descendants left as they were."""
    job = fine_tuning(toy)
    values = toy.Toy().split("train").values
    encoded = {name: variable.encode(values[name]) for name, variable in job.variables.items()}
    before = {name: value.clone() for name, value in encoded.items()}
    asked, chosen = job._question(encoded, torch.Generator().manual_seed(0))
    assert set(chosen.tolist()) == {0, 1, 2}
    on_a, on_b, on_c = (chosen == number for number in range(3))
    natural = {name: job.variables[name].decode(value) for name, value in asked.items()}
    assert (natural["a"][on_a] != values["a"][on_a]).float().mean() > 0.9
    shift = toy.A_TO_B * (natural["a"] - values["a"])
    assert torch.allclose(natural["b"][on_a], (values["b"] + shift)[on_a], atol=1e-4)
    for held, name in ((on_b | on_c, "a"), (on_c, "b"), (on_a | on_b, "c")):
        assert torch.equal(asked[name][held], encoded[name][held])
    for name, value in encoded.items():
        assert torch.equal(value, before[name])  # nothing is changed in place


def test_what_is_held_stays_as_it_is_to_the_last_bit(toy, tmp_path):
    """The flows and the critic ride along in fine-tuning; neither a step nor the averaging of weights may touch them."""
    plain = {"family": "vae", "options": {"latent": 2, **SHAPE}}
    before = recipes.train(
        recipe({**plain, "stages": FINE["stages"][:1]}), toy.Toy(), output=tmp_path / "before", hardware=CPU
    )
    after = recipes.train(
        recipe({**plain, "stages": FINE["stages"]}), toy.Toy(), output=tmp_path / "after", hardware=CPU
    )
    first, second = (load_file(folder / "weights.safetensors") for folder in (before, after))
    held = [name for name in first if ".image." not in name]
    assert held
    assert all(torch.equal(first[name], second[name]) for name in held)
    assert any(not torch.equal(first[name], second[name]) for name in first if ".image." in name)


def test_soft_targets_are_what_the_critic_sees_where_nothing_was_asked(toy):
    job = fine_tuning(toy, targets="soft", intervened=["c"])
    job.critic.eval()
    values = toy.Toy().split("validation").values
    encoded = {name: variable.encode(values[name]) for name, variable in job.variables.items()}
    asked, chosen = job._question(encoded, torch.Generator().manual_seed(0))
    wanted = job._targets(encoded, asked, chosen)
    seen = job.critic.predict(encoded["image"])
    assert torch.allclose(wanted["a"], seen["a"])
    assert torch.equal(wanted["c"], asked["c"])


@pytest.fixture(scope="module")
def tuned(toy, tmp_path_factory):
    """The same little VAE before and after fine-tuning, by seed: [(folder before, folder after)]."""
    root = tmp_path_factory.mktemp("tuned")
    # A capacious latent that hears little of the parents: what fine-tuning is for.
    image = {"family": "vae", "options": {"latent": 8, "encoder_channels": [8], "decoder_channels": [8], "hidden": 32}}
    first = {"fit": {"epochs": 12, "batch_size": 50, "learning_rate": 0.01, "cosine": True}}
    second = {
        "objective": "counterfactual",
        "options": {"critic_epochs": 40, "critic_width": 8},
        "fit": {"epochs": 30, "batch_size": 50, "learning_rate": 0.01},
    }

    def trained(name, stages, seed):
        return recipes.train(
            recipe({**image, "stages": stages}), toy.Toy(), output=root / f"{name}-{seed}", hardware=CPU, seed=seed
        )

    return [(trained("before", [first], seed), trained("after", [first, second], seed)) for seed in range(2)]


def mistakes(toy, folder):
    """(mean absolute error of a under do(a), share of wrong classes under do(c)) of the model in a folder."""
    model = models.load(str(folder), toy.Toy()).model
    values = toy.Toy().split("test").values
    wanted = {name: values[name].roll(1) for name in ("a", "c")}
    with torch.no_grad():
        seen = {
            name: toy.read(
                model.counterfactual(values, {name: wanted[name]}, torch.Generator().manual_seed(0))["image"]
            )
            for name in wanted
        }
    error = (seen["a"][:, 0] - wanted["a"]).abs().mean()
    return float(error), float((seen["c"][:, 2].round().clamp(0, 2) != wanted["c"]).double().mean())


def numbers(toy, folder):
    from counterbench import evaluation

    exam = evaluation.prepare(toy.Toy(), "quick", device="cpu", metrics=["effectiveness"], limit=20)
    return evaluation.evaluate(models.load(str(folder), exam.dataset), exam).record.numbers


def test_fine_tuning_raises_effectiveness_within_its_constraint(toy, tuned, monkeypatch, tmp_path):
    """Over six seeds, and of what it was before: the loss on held-out images fell to 1 to 56 %, the share of wrong classes under
    do(c) to 0 to 44 %, the error of a under do(a) to 50 to 109 % (mean 71 %, standard deviation 22 %); of the room below the bound
    0.05 to 0.35 nats per pixel were left in the epoch that is kept. Later epochs may run away: they are not kept."""
    monkeypatch.setenv("COUNTERBENCH_CACHE", str(tmp_path))
    shares = []
    for before, after in tuned:
        curve = manifest_of(after)["curves"]["image: 2 counterfactual"]
        kept = curve["validation"].index(min(curve["validation"]))
        assert curve["validation"][kept] < 0.8 * curve["validation"][0]
        assert curve["parts"]["critic"][kept] < 0.8 * curve["parts"]["critic"][0]
        assert curve["parts"]["room"][kept] > -0.05  # nats per pixel, over the epoch as it went
        assert min(curve["parts"]["lambda"]) >= 0
        shares.append([now / earlier for now, earlier in zip(mistakes(toy, after), mistakes(toy, before), strict=True)])
        assert manifest_of(before)["judges_used_in_training"] == []
        assert manifest_of(after)["judges_used_in_training"][0].startswith("sha256=")
    of_a, of_c = (sum(column) / len(tuned) for column in zip(*shares, strict=True))
    assert of_a < 1.2  # the mean of two seeds: three standard deviations above what is expected
    assert of_c < 0.8
    assert not any(number.leaked for number in numbers(toy, tuned[0][1]))  # the critic is no judge


def test_reconstruction_adds_the_error_of_reconstructed_images():
    values, losses = gaussian(6), []
    for weight in (0.0, 10.0):
        stage = Stage(objective="adversarial", options={"reconstruction": weight})
        job = stages.build(stage, of_p(), name="x")
        with torch.random.fork_rng():
            torch.manual_seed(0)
            job.discriminator = job.mechanism.make_discriminator()
        losses.append(job._generator_loss(values, seeded(0)))
    again = job.mechanism.generate(*_noise_of(job, values))
    missed = (again - job.encoded(values)[0]).abs().flatten(1).mean(1)
    assert torch.allclose(losses[1] - losses[0], 10 * missed, atol=1e-5)


def _noise_of(job, values):
    value, parents = job.encoded(values)
    return job.mechanism.abduct(value, parents), parents


def test_the_penalty_is_the_squared_slope_at_real_pairs():
    """Against finite differences along the gradient's own direction."""
    job = stages.build(Stage(objective="adversarial"), of_p().double(), name="x")
    job.discriminator.double()
    values = {name: value.double() for name, value in gaussian(3).items()}
    value, parents = job.encoded(values)
    value = value.double()
    context = job.mechanism.context(parents, value)
    latent = job.mechanism.encode(value, context).detach()

    def verdict(moved):
        image, z = moved[:, :16].view(-1, 1, 4, 4), moved[:, 16:]
        return job.discriminator(image, z, context).sum()

    point = torch.cat([value.flatten(1), latent], 1)
    slope = torch.autograd.functional.jacobian(verdict, point)
    step = 1e-6 * torch.randn(point.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    assert float(verdict(point + step) - verdict(point - step)) == pytest.approx(
        float(2 * (slope * step).sum()), rel=1e-3
    )
    assert torch.allclose(job._steepness(value, latent, context), slope.square().sum(1))


# What the objectives minimise, against the formula.


def the_constrained_loss(job, values, seed=5):
    """(how unhappy the critic is, room below the bound in nats per pixel, the loss), (N,) each, in one draw."""
    with torch.no_grad():
        unhappy, energy = job._answers(values, seeded(seed).generator)
        loss = job.losses(values, seeded(seed))
    return unhappy, (job.constraint.bound - energy) / 64, loss


@pytest.mark.parametrize("energy_allowed", [-1e4, 1e4])
def test_the_constraint_costs_where_the_bound_is_broken(toy, energy_allowed):
    """unhappy + (lambda + damping * excess) * excess where the bound is broken; unhappy - lambda * room where it is kept."""
    job = fine_tuning(toy, bound=energy_allowed, damping=7.0)
    job.constraint.multiplier.data.fill_(3.0)
    unhappy, room, loss = the_constrained_loss(job, toy.Toy().split("validation").values)
    mean = room.mean()
    assert (mean < 0) == (energy_allowed < 0)
    excess = torch.relu(-mean)
    assert torch.allclose(loss, unhappy - (3.0 + 7.0 * excess) * room, rtol=1e-5)
    (slope,) = torch.autograd.grad(job._multiplier_loss({}, None), job.constraint.multiplier)
    assert torch.allclose(slope, mean)  # descent makes the multiplier rise where the bound is broken


def test_the_multiplier_is_never_negative(toy):
    job = fine_tuning(toy)
    job.constraint.multiplier.data.fill_(-2.0)
    job.after_step()
    assert float(job.constraint.multiplier) == 0


def test_only_the_image_mechanism_is_fine_tuned_and_the_bound_is_what_it_was_and_some_slack(toy, tmp_path):
    job = fine_tuning(toy, slack=0.25, critic_epochs=1, critic_width=4)
    for mechanism in job.scm.mechanisms.values():
        mechanism.requires_grad_(True)
    values = [dict(toy.Toy().split(name).values) for name in ("train", "validation")]
    job.prepare(circumstances(*values, tmp_path))
    weights = dict(torch.nn.ModuleDict(job.parts()).named_parameters())
    moving = {name for name, weight in weights.items() if weight.requires_grad}
    assert moving == {"constraint.multiplier", *(name for name in weights if ".image." in name)}
    assert not job.critic.training
    assert float(job.constraint.bound) == pytest.approx(1.25 * job._energy_now(values[0], seed=0), rel=1e-6)
    assert float(job.constraint.held_out_bound) == pytest.approx(1.25 * job._energy_now(values[1], seed=0), rel=1e-6)
    assert float(job.constraint.bound) != float(job.constraint.held_out_bound)
    own, others = (player.parameters for player in job.players())
    assert {id(weight) for weight in own} == {id(weight) for weight in job.mechanism.parameters()}
    assert len(others) == 1


@pytest.mark.parametrize(("rooms", "excess"), [((-4.0, -2.0), 1.0), ((5.0, -2.0), 0.0)])
def test_an_epoch_is_as_good_as_its_answers_if_it_keeps_the_bound_over_the_whole_held_out_set(toy, rooms, excess):
    job = fine_tuning(toy, damping=10.0)
    job._validated = [(6.0, rooms[0], 2), (3.0, rooms[1], 4)]
    assert job.after_validation() == pytest.approx(9 / 6 + 10 * excess)
    assert job._validated == []


def test_soft_targets_of_what_follows_from_the_intervention_are_what_follows(toy):
    job = fine_tuning(toy, targets="soft")
    job.critic.eval()
    values = toy.Toy().split("validation").values
    encoded = {name: variable.encode(values[name]) for name, variable in job.variables.items()}
    asked, chosen = job._question(encoded, torch.Generator().manual_seed(0))
    wanted, seen = job._targets(encoded, asked, chosen), job.critic.predict(encoded["image"])
    on_a = (chosen == 0) & (asked["a"] != encoded["a"]).all(1)
    assert on_a.any()
    for name in ("a", "b"):
        assert torch.equal(wanted[name][on_a], asked[name][on_a])
    assert torch.equal(wanted["c"][on_a], seen["c"][on_a])
    assert torch.equal(wanted["b"][chosen == 2], seen["b"][chosen == 2])


def test_the_opponent_pays_for_steepness_every_few_batches_and_learns_at_its_own_rate(tmp_path):
    stage = {"objective": "adversarial", "options": {"penalty": 3.0, "penalty_every": 2, "discriminator_rate": 2.0}}
    scm = of_p()
    job = stages.build(Stage.model_validate({**stage, "fit": {"epochs": 1, "batch_size": 50}}), scm, name="x")
    plain = stages.build(Stage.model_validate({**stage, "options": {"penalty": 0.0}}), scm, name="x")
    plain.discriminator.load_state_dict(job.discriminator.state_dict())
    values = gaussian(200)
    value, parents = job.encoded(values)
    context = job.mechanism.context(parents, value)
    steepness = job._steepness(value, job.mechanism.encode(value, context), context)
    paid = job._discriminator_loss(values, seeded(0)) - plain._discriminator_loss(values, seeded(0))
    assert torch.allclose(paid, 0.5 * 3.0 * 2 * steepness, atol=1e-5)
    assert [(player.name, player.rate) for player in job.players()] == [("generator", 1.0), ("discriminator", 2.0)]
    loss, steepness, steps, calls = job._discriminator_loss, job._steepness, [], []
    job._discriminator_loss = lambda batch, moment: (steps.append(moment.step), loss(batch, moment))[1]
    job._steepness = lambda *pair: (calls.append(steps[-1]), steepness(*pair))[1]
    loop.run(job, circumstances(values, values, tmp_path))
    assert steps == [0, 1, 2, 3]
    assert calls == [0, 2]


def test_a_game_keeps_its_last_epoch_whatever_reconstructions_say(tmp_path):
    job = stages.build(
        Stage.model_validate({"objective": "adversarial", "fit": {"epochs": 3, "batch_size": 100, "patience": 1}}),
        of_p(),
        name="x",
    )
    job.validate = lambda batch, moment: torch.full((len(batch["x"]),), float(moment.epoch))
    curve = loop.run(job, circumstances(gaussian(200), gaussian(100, 1), tmp_path))
    assert curve.validation == [0.0, 1.0, 2.0]
    best, latest = (
        torch.load(tmp_path / f"{name}.ckpt", weights_only=True)["state_dict"] for name in ("best", "latest")
    )
    found = loop.Fitting(job, 0).state_dict()
    assert all(torch.equal(found[name], value) for name, value in latest.items())
    assert any(not torch.equal(found[name], value) for name, value in best.items())


def test_the_cyclic_cost_weighs_latents():
    values, scm = gaussian(6), of_p()
    light, heavy = (
        stages.build(Stage(objective="encoder", options={"latent_weight": weight}), scm, name="x")
        for weight in (1.0, 4.0)
    )
    images, latents = light.mechanism.cycles(*light.encoded(values), seeded(0).generator)
    assert torch.allclose(light.losses(values, seeded(0)), images + latents)
    assert torch.allclose(heavy.losses(values, seeded(0)), images + 4 * latents)


def test_levels_that_wait_cost_nothing(toy):
    entry = {"family": "hvae", "options": {"levels": [[1, 1, 4], [8, 1, 4]]}}
    scm = models.build(recipe(entry), toy.Toy().graph, toy.Toy().variables)
    values = {name: value[:5] for name, value in toy.Toy().split("train").values.items()}
    coarse, whole = (stages.build(Stage(options=options), scm, name="image") for options in ({"levels": 1}, {}))
    mechanism, encoded = scm.mechanisms["image"], coarse.encoded(values)
    assert torch.equal(coarse.losses(values, seeded(0)), mechanism.loss(*encoded, seeded(0).generator, active=1))
    assert torch.equal(whole.losses(values, seeded(0)), mechanism.loss(*encoded, seeded(0).generator))
    assert not torch.equal(coarse.losses(values, seeded(0)), whole.losses(values, seeded(0)))


def test_a_stage_after_the_encoder_trains_the_generator_again(toy, tmp_path, monkeypatch):
    moving = []

    def run(job, circumstances):
        if job.name == "image":
            moving.append(
                {name.partition(".")[0] for name, weight in job.mechanism.named_parameters() if weight.requires_grad}
            )
        return loop.Curve()

    monkeypatch.setattr(loop, "run", run)
    stages = [*GAME["stages"], GAME["stages"][0]]
    recipes.train(recipe({**GAME, "stages": stages}), toy.Toy(), output=tmp_path / "run", hardware=CPU)
    assert moving == [{"encoder", "generator", "paint"}, {"encoder"}, {"encoder", "generator", "paint"}]


def test_the_opponent_calls_real_pairs_real_and_the_others_make_it_fail():
    """softplus(-D(x, E(x))) + softplus(D(G(z), z)), and the same with signs turned."""
    job = stages.build(Stage(objective="adversarial", options={"penalty": 0.0}), of_p(), name="x")
    values = gaussian(6)
    value, parents = job.encoded(values)
    context = job.mechanism.context(parents, value)
    latent = torch.randn(6, 1, generator=seeded(0).generator)
    real = job.discriminator(value, job.mechanism.encode(value, context), context)
    generated = job.discriminator(job.mechanism.decode(latent, context), latent, context)
    softplus = torch.nn.functional.softplus
    assert torch.allclose(job._discriminator_loss(values, seeded(0)), softplus(-real) + softplus(generated), atol=1e-5)
    assert torch.allclose(job._generator_loss(values, seeded(0)), softplus(real) + softplus(-generated), atol=1e-5)
