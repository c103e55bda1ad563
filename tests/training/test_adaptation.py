"""Training a trained model further: what is opened, on which rows, what is kept, and how it comes back."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file

from counterbench import models
from counterbench.catalog.recipes import AdaptEntry, Recipe, read_recipe
from counterbench.errors import CheckpointError, ConfigError, UnknownNameError
from counterbench.training import adaptation, loop, recipes
from counterbench.training.hardware import Hardware

CPU = Hardware("cpu")
FIT = {"epochs": 1, "batch_size": 50, "learning_rate": 0.01, "warmup_steps": 2}
CODED = {"latent": 2, "encoder_channels": [4], "decoder_channels": [4], "hidden": 8}
FIELD = {"width": 8, "channels": [4, 8], "attention": [1], "heads": 2, "steps": 2}
FAMILIES = {
    "vae": (CODED, [{"objective": "likelihood", "fit": FIT}]),
    "hvae": (
        {"levels": [[1, 1, 8], [8, 1, 8]], "latent": 2},
        [{"objective": "likelihood", "options": {"levels": 1}, "fit": FIT}, {"objective": "likelihood", "fit": FIT}],
    ),
    "gan": (CODED, [{"objective": "adversarial", "fit": FIT}, {"objective": "encoder", "fit": FIT}]),
    "flow_matching": (FIELD, [{"objective": "matching", "fit": FIT}]),
    "diffusion": (FIELD, [{"objective": "matching", "fit": FIT}]),
}


@pytest.fixture(scope="module")
def dataset(toy):
    return toy.Toy()


def trained(family, dataset, folder):
    options, stages = FAMILIES[family]
    recipe = Recipe.model_validate(
        {
            "name": "base",
            "title": "Base",
            "dataset": "toy",
            "mechanisms": {
                "a": {"family": "spline_flow", "options": {"bins": 0}, "fit": FIT},
                "b": {"family": "spline_flow", "fit": FIT},
                "c": {"family": "empirical"},
                "image": {"family": family, "options": options, "stages": stages},
            },
        }
    )
    return recipes.train(recipe, dataset, output=folder, hardware=CPU, limit=100)


@pytest.fixture(scope="module")
def bases(dataset, tmp_path_factory):
    folder = tmp_path_factory.mktemp("bases")
    return {family: trained(family, dataset, folder / family) for family in FAMILIES}


@pytest.fixture(scope="module")
def base(bases):
    return bases["vae"]


def further(base, dataset, output, adapt="bias", where=("c=one",), limit=20, **options):
    recipe = adaptation.with_rows(adaptation.start_recipe(None, str(base), dataset), where, limit)
    if adapt:
        recipe = adaptation.adapted_recipe(
            recipe, "image", adaptation.parsed_adapter(adapt), **{"learning_rate": 0.02, "steps": 6, **options}
        )
    return recipes.train(recipe, dataset, output=output, hardware=CPU)


def answers(folder, dataset):
    samples = dataset.split("test").take(slice(0, 4))
    model = models.load(str(folder), dataset).model
    return model.counterfactual(samples, {"a": samples["a"] + 1}, torch.Generator().manual_seed(0))["image"]


@pytest.mark.parametrize(
    ("family", "adapt"),
    [
        *(("vae", adapt) for adapt in ("norm_bias", "bottleneck:width=2", "lora:rank=2", "full")),
        ("hvae", "sv_diff"),
        ("gan", "bias"),
        ("flow_matching", "lora:rank=2"),
        ("diffusion", "bottleneck:width=2"),
    ],
)
def test_every_family_is_adapted_kept_as_a_difference_and_merged(family, adapt, bases, dataset, tmp_path):
    if adapt.startswith("lora"):
        pytest.importorskip("peft")
    start = shutil.copytree(bases[family], tmp_path / "base")
    folder = further(start, dataset, tmp_path / "adapted", adapt, steps=2)
    assert sorted(path.name for path in folder.iterdir()) == ["difference.safetensors", "manifest.json"]
    manifest = json.loads((folder / "manifest.json").read_text())
    weights = json.loads((start / "manifest.json").read_text())["weights_sha256"]
    assert manifest["recipe"]["init"] == {"model": str(start), "sha256": weights}
    changed = load_file(folder / "difference.safetensors")
    assert {name.split("/")[0] for name in changed} == {"image"}
    if adapt != "full":
        assert not any("base_layer" in name for name in changed)
    after = answers(folder, dataset)
    assert not torch.equal(after, answers(start, dataset))
    if adapt.startswith("bottleneck"):
        with pytest.raises(ConfigError, match="not linear, so it cannot be merged"):
            adaptation.merge(folder, dataset, tmp_path / "plain")
        return
    plain = adaptation.merge(folder, dataset, tmp_path / "plain")
    assert torch.allclose(answers(plain, dataset), after, atol=1e-3)
    # Merged weights are a model of their own: the base may go.
    (start / "weights.safetensors").unlink()
    assert torch.allclose(answers(plain, dataset), after, atol=1e-3)
    with pytest.raises(CheckpointError):
        models.load(str(folder), dataset)


def test_the_manifest_says_which_rows_were_seen(base, dataset, tmp_path, monkeypatch):
    seen = {}
    original = loop.run

    def watching(objective, circumstances):
        seen.update(train=circumstances.train, validation=circumstances.validation)
        return original(objective, circumstances)

    monkeypatch.setattr(loop, "run", watching)
    folder = further(base, dataset, tmp_path / "adapted", where=("c=one", "a=-9:0.2"), limit=7)
    said = json.loads((folder / "manifest.json").read_text())["rows"]
    train = dataset.split("train")
    rows = ((train.values["c"] == 1) & (train.values["a"] <= 0.2)).nonzero()[:7, 0]
    assert said["train"]["count"] == 7
    assert said["train"]["which"].replace("-", " ").split()[0] == str(int(rows[0]))
    assert torch.equal(seen["train"]["image"], train.values["image"][rows])
    training = models.load(str(folder), dataset).training
    assert training["rows"] == said
    biases = [name for name in load_file(folder / "difference.safetensors") if name.endswith("bias")]
    assert training["opened"] == sum(load_file(folder / "difference.safetensors")[name].numel() for name in biases)


def test_only_the_image_is_trained_and_the_others_keep_their_weights(base, dataset, tmp_path):
    folder = further(base, dataset, tmp_path / "adapted")
    before, after = (models.load(str(path), dataset).model.state_dict() for path in (base, folder))
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed
    assert all(name.startswith("mechanisms.image.") and name.endswith("bias") for name in changed)


def test_without_an_adapter_everything_is_trained_further(base, dataset, tmp_path):
    folder = further(base, dataset, tmp_path / "further", adapt=None)
    names = load_file(folder / "difference.safetensors")
    assert {name.split("/")[0] for name in names} >= {"a", "b", "image"}
    assert not torch.equal(answers(folder, dataset), answers(base, dataset))


def test_an_adapted_model_is_adapted_once_more(base, dataset, tmp_path):
    first = further(base, dataset, tmp_path / "first", "sv_diff")
    second = further(first, dataset, tmp_path / "second", "bias")
    assert not torch.equal(answers(first, dataset), answers(second, dataset))
    beside = further(base, dataset, tmp_path / "beside", "bottleneck")
    with pytest.raises(CheckpointError, match="must be merged first"):
        further(beside, dataset, tmp_path / "third", "bias")


def test_an_interrupted_adaptation_goes_on_to_the_very_same_result(base, dataset, tmp_path, monkeypatch):
    pytest.importorskip("peft")
    whole = further(base, dataset, tmp_path / "whole", "lora:rank=2")

    class Interrupt(loop.Callback):
        def on_train_batch_end(self, trainer, pl_module, *args):
            if trainer.current_epoch == 3:
                raise KeyboardInterrupt

    original = loop._trainer
    monkeypatch.setattr(loop, "_trainer", lambda o, b, callbacks, f, h: original(o, b, [*callbacks, Interrupt()], f, h))
    with pytest.raises(KeyboardInterrupt):
        further(base, dataset, tmp_path / "again", "lora:rank=2")
    monkeypatch.setattr(loop, "_trainer", original)
    recipe = Recipe.model_validate(json.loads((whole / "manifest.json").read_text())["recipe"])
    recipes.train(recipe, dataset, output=tmp_path / "again", hardware=CPU, resume=True)
    name = "difference.safetensors"
    assert (tmp_path / "again" / name).read_bytes() == (whole / name).read_bytes()


def test_a_base_that_was_trained_anew_is_refused(base, dataset, tmp_path):
    folder = further(base, dataset, tmp_path / "adapted")
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["recipe"]["init"]["sha256"] = "0" * 64
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(CheckpointError, match="they were trained anew"):
        models.load(str(folder), dataset)


def test_a_base_of_another_architecture_is_refused(base, dataset, tmp_path):
    recipe = adaptation.start_recipe(None, str(base), dataset)
    image = recipe.mechanisms["image"].model_copy(update={"options": {**CODED, "latent": 3}})
    recipe = recipe.model_copy(update={"mechanisms": {**recipe.mechanisms, "image": image}})
    with pytest.raises(CheckpointError, match="of another architecture than the recipe 'base': they differ in"):
        recipes.train(recipe, dataset, output=tmp_path / "out", hardware=CPU)


def test_mistakes_are_one_sentence_and_leave_no_folder(base, dataset, tmp_path):
    for words, where, message in [
        ("attention", ("c=one",), "finds nothing to open here: the network has no attention"),
        ("lira", ("c=one",), "Did you mean 'lora'"),
        ("bias:rank=2", ("c=one",), "has no option 'rank'"),
        ("bias", ("c=9",), "there is no such value"),
        ("bias", ("d=1",), "cannot be chosen by 'd'"),
        ("bias", ("a=90:99",), "No sample of toy/formula, split 'train', has a=90:99"),
        ("bias", ("c",), "write name=value"),
        ("bias", ("c=one", "c=zero"), "given twice"),
        ("bias", ("a=thick",), "give a number, or a range"),
    ]:
        with pytest.raises((ConfigError, UnknownNameError), match=message):
            further(base, dataset, tmp_path / "out", words, where)
        assert not (tmp_path / "out").exists()
    with pytest.raises(ConfigError, match="Name a recipe with --model"):
        adaptation.start_recipe(None, None, dataset)
    with pytest.raises(CheckpointError, match="nothing to merge"):
        adaptation.merge(base, dataset, tmp_path / "plain")


def test_a_recipe_that_starts_from_nothing_adapts_nothing():
    content = {
        "name": "x",
        "title": "x",
        "dataset": "toy",
        "mechanisms": {"image": {"family": "vae", "stages": [{"adapt": "lora"}]}},
    }
    with pytest.raises(ValueError, match="needs 'init'"):
        Recipe.model_validate(content)
    recipe = Recipe.model_validate({**content, "init": {"model": "vae"}})
    assert recipe.mechanisms["image"].stages[0].adapt == AdaptEntry(kind="lora")
    assert Recipe.model_validate(recipe.content()) == recipe
    with pytest.raises(ValueError, match="frozen mechanism is not trained"):
        Recipe.model_validate(
            {**content, "init": {"model": "vae"}, "mechanisms": {"image": {"family": "vae", "frozen": True, "fit": {}}}}
        )


def test_what_a_recipe_does_not_say_is_not_in_its_content():
    content = Recipe.model_validate(
        {"name": "x", "title": "x", "dataset": "toy", "mechanisms": {"image": {"family": "vae", "stages": [{}]}}}
    ).content()
    assert not {"init", "rows", "answer"} & content.keys()
    assert "frozen" not in content["mechanisms"]["image"]
    assert "adapt" not in content["mechanisms"]["image"]["stages"][0]


def test_how_many_numbers_each_adapter_opens(base, dataset):
    everything, numbers, blocks = adaptation.opened_by_adapters(
        adaptation.start_recipe(None, str(base), dataset), dataset
    )
    assert numbers["full"] == everything == sum(blocks.values())
    assert 0 < numbers["sv_diff"] < numbers["bias"] < everything
    assert "no attention" in numbers["attention"]


def test_a_recipe_file_says_where_it_starts_relative_to_itself(base, dataset, tmp_path):
    shutil.copytree(base, tmp_path / "base")
    content = json.loads((base / "manifest.json").read_text())["recipe"] | {
        "init": {"model": "base"},
        "rows": {"limit": 20},
    }
    (tmp_path / "further.yaml").write_text(json.dumps(content))
    recipe = read_recipe(tmp_path / "further.yaml")
    folder = recipes.train(recipe, dataset, output=tmp_path / "out", hardware=CPU)
    assert json.loads((folder / "manifest.json").read_text())["recipe"]["init"]["model"] == str(tmp_path / "base")


def test_the_last_epoch_is_kept_where_that_is_asked_for(base, dataset, tmp_path):
    """A rate so large that validation gets worse: the best epoch is an early one."""
    kept = {}
    for keep in ("best", "last"):
        folder = further(base, dataset, tmp_path / keep, "full", learning_rate=0.5, steps=12, keep=keep)
        manifest = json.loads((folder / "manifest.json").read_text())
        losses = manifest["curves"]["image"]["validation"]
        kept[keep] = load_file(folder / "difference.safetensors")
        assert ("keep" in str(manifest["recipe"])) == (keep == "last")
        assert len(losses) == 12
        assert losses.index(min(losses)) < 11
    assert any(not torch.equal(value, kept["last"][name]) for name, value in kept["best"].items())
