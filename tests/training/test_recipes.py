import json
import pickle
import re
import shutil
import signal
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from counterbench import models
from counterbench.catalog.recipes import Fit, Recipe, Stage
from counterbench.datasets.split import Split
from counterbench.errors import CheckpointError, ConfigError, DataError, RecordError
from counterbench.models.scm import StructuralCausalModel
from counterbench.plugins import registry
from counterbench.runtime import progress
from counterbench.storage import files
from counterbench.training import judges, loop, recipes, stages
from counterbench.training.hardware import Hardware
from counterbench.training.objectives.base import Circumstances

CPU = Hardware("cpu")
VAE = {"latent": 2, "encoder_channels": [4], "decoder_channels": [4], "hidden": 8}


def recipe(epochs=4, ema=0.5, patience=20):
    fit = {"epochs": epochs, "batch_size": 50, "learning_rate": 0.01, "warmup_steps": 5, "ema_decay": ema}
    fit["patience"] = patience
    return Recipe.model_validate(
        {
            "name": "tiny",
            "title": "Tiny",
            "dataset": "toy",
            "mechanisms": {
                "a": {"family": "spline_flow", "options": {"bins": 0}, "fit": fit},
                "b": {"family": "spline_flow", "fit": fit},
                "c": {"family": "empirical"},
                "image": {"family": "vae", "options": VAE, "fit": fit},
            },
        }
    )


@pytest.fixture(scope="module")
def dataset(toy):
    return toy.Toy()


@pytest.fixture(scope="module")
def trained(dataset, tmp_path_factory):
    return recipes.train(recipe(), dataset, output=tmp_path_factory.mktemp("run") / "tiny", hardware=CPU)


def test_the_folder_holds_what_is_needed_to_trust_and_reuse_it(trained, dataset):
    assert sorted(p.name for p in trained.iterdir()) == ["manifest.json", "weights.safetensors"]
    manifest = json.loads((trained / "manifest.json").read_text())
    assert manifest["data"]["train"] == dataset.split("train").fingerprint
    assert manifest["source"] == "formula"
    assert manifest["seed"] == 0
    assert torch.__version__.startswith(manifest["versions"]["torch"])
    assert manifest["judges_used_in_training"] == []
    assert Recipe.model_validate(manifest["recipe"]) == recipe()
    for name in ("a", "b", "image"):
        assert len(manifest["curves"][name]["validation"]) == 4
    assert manifest["curves"]["c"]["train"] == []


def test_the_folder_is_a_model(trained, dataset):
    contestant = models.load(str(trained), dataset)
    assert isinstance(contestant.model, StructuralCausalModel)
    assert not contestant.model.training
    assert contestant.weights_sha256 == json.loads((trained / "manifest.json").read_text())["weights_sha256"]
    assert contestant.pixel_temperature == 0.1


def test_training_lowers_the_loss(trained):
    curve = json.loads((trained / "manifest.json").read_text())["curves"]["image"]["validation"]
    assert curve[-1] < curve[0]


def test_same_seed_same_weights_whatever_the_global_state(trained, dataset, tmp_path):
    torch.manual_seed(123)
    again = recipes.train(recipe(), dataset, output=tmp_path / "again", hardware=CPU)
    assert (again / "weights.safetensors").read_bytes() == (trained / "weights.safetensors").read_bytes()
    other = recipes.train(recipe(), dataset, output=tmp_path / "other", hardware=CPU, seed=1)
    assert (other / "weights.safetensors").read_bytes() != (trained / "weights.safetensors").read_bytes()


class _Interrupt(loop.Callback):
    """Ctrl-C in the middle of an epoch."""

    def __init__(self, epoch):
        self.epoch = epoch

    def on_train_batch_end(self, trainer, pl_module, *args):
        if trainer.current_epoch == self.epoch and pl_module.objective.name == "image":
            raise KeyboardInterrupt


def test_an_interrupted_run_resumes_to_the_very_same_result(trained, dataset, tmp_path, monkeypatch):
    original = loop._trainer

    def with_interrupt(options, batches, callbacks, folder, hardware):
        return original(options, batches, [*callbacks, _Interrupt(2)], folder, hardware)

    handler = signal.getsignal(signal.SIGINT)
    monkeypatch.setattr(loop, "_trainer", with_interrupt)
    with pytest.raises(KeyboardInterrupt):
        recipes.train(recipe(), dataset, output=tmp_path / "r", hardware=CPU)
    assert signal.getsignal(signal.SIGINT) is handler
    monkeypatch.setattr(loop, "_trainer", original)
    assert not (tmp_path / "r" / "manifest.json").exists()
    with pytest.raises(CheckpointError, match="add --resume"):
        recipes.train(recipe(), dataset, output=tmp_path / "r", hardware=CPU)
    with pytest.raises(CheckpointError, match=r"other options \(seed\)"):
        recipes.train(recipe(), dataset, output=tmp_path / "r", hardware=CPU, seed=5, resume=True)
    resumed = recipes.train(recipe(), dataset, output=tmp_path / "r", hardware=CPU, resume=True)
    assert (resumed / "weights.safetensors").read_bytes() == (trained / "weights.safetensors").read_bytes()
    curves = [
        json.loads((f / "manifest.json").read_text())["curves"]["image"]["validation"] for f in (resumed, trained)
    ]
    assert curves[0] == curves[1]


def test_folders_are_not_overwritten(trained, dataset):
    with pytest.raises(CheckpointError, match="already holds a trained model"):
        recipes.train(recipe(), dataset, output=trained, hardware=CPU)


def test_resume_begins_where_there_is_nothing_and_ends_where_all_is_done(trained, dataset, tmp_path, monkeypatch):
    begun = recipes.train(recipe(), dataset, output=tmp_path / "new", hardware=CPU, resume=True)
    assert (begun / "weights.safetensors").read_bytes() == (trained / "weights.safetensors").read_bytes()
    monkeypatch.setattr(recipes, "MechanismTraining", None)  # nothing is left to be fitted
    before = (begun / "manifest.json").read_bytes()
    assert recipes.train(recipe(), dataset, output=begun, hardware=CPU, resume=True) == begun
    assert (begun / "manifest.json").read_bytes() == before
    for change in ({"seed": 7}, {"limit": 50}, {"epochs": 1}, {"hardware": Hardware("cpu", precision="bf16-mixed")}):
        (option,) = change
        words = rf"already holds a trained model of other options \({option.replace('hardware', 'precision')}\); give the same"
        with pytest.raises(CheckpointError, match=words):
            recipes.train(recipe(), dataset, output=begun, resume=True, **{"hardware": CPU, **change})
    monkeypatch.setitem(dataset.card.__dict__, "grammar", "of other captions")
    with pytest.raises(CheckpointError, match=r"other options \(grammar\)"):
        recipes.train(recipe(), dataset, output=begun, hardware=CPU, resume=True)


@pytest.fixture(scope="module")
def interrupted(dataset, tmp_path_factory):
    """A training that was interrupted in the third epoch of its last mechanism: a, b and c are finished."""
    folder = tmp_path_factory.mktemp("interrupted") / "r"
    original = loop._trainer
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "_trainer", lambda o, n, c, f, h: original(o, n, [*c, _Interrupt(2)], f, h))
        with pytest.raises(KeyboardInterrupt):
            recipes.train(recipe(), dataset, output=folder, hardware=CPU)
    return folder


def cut(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def empty(path):
    path.write_bytes(b"")


def remove(path):
    path.unlink()


def pickled(path):
    path.write_bytes(pickle.dumps({"state_dict": print}))


def of_another_model(path):
    if path.suffix == ".json":
        path.write_text("[1]")
    elif path.suffix == ".safetensors":
        save_file({"w": torch.zeros(2)}, path)
    else:
        state = torch.load(path, weights_only=True)
        torch.save({**state, "state_dict": {"w": torch.zeros(2)}}, path)


def nothing_but_weights(path):
    torch.save(torch.load(path, weights_only=True)["state_dict"], path)


DAMAGE = [
    *(("image/latest.ckpt", how) for how in (cut, empty, pickled, of_another_model, nothing_but_weights)),
    *(("image/best.ckpt", how) for how in (cut, empty, remove, of_another_model)),
    *(("a/weights.safetensors", how) for how in (cut, empty, of_another_model)),
    *(("a/curve.json", how) for how in (cut, empty, of_another_model)),
    *(("plan.json", how) for how in (cut, empty, of_another_model)),
]


@pytest.mark.parametrize(("name", "damage"), DAMAGE)
def test_a_damaged_file_of_an_interrupted_training_is_named_and_locks_nothing(
    trained, interrupted, dataset, tmp_path, name, damage
):
    folder = shutil.copytree(interrupted, tmp_path / "r")
    path = folder / "unfinished" / name
    damage(path)
    with pytest.raises(CheckpointError) as caught:
        recipes.train(recipe(), dataset, output=folder, hardware=CPU, resume=True)
    words = str(caught.value)
    assert words.startswith(f"{path} is damaged (")
    assert f"Remove the folder {path.parent} and run the same command again" in words
    assert "\n" not in words
    if damage is not cut:
        return
    shutil.rmtree(path.parent)
    recipes.train(recipe(), dataset, output=folder, hardware=CPU, resume=True)
    assert (folder / "weights.safetensors").read_bytes() == (trained / "weights.safetensors").read_bytes()


def of_version_0_1_0(path):
    """The same weights, under the names that they had there."""
    state = torch.load(path, weights_only=True)
    weights = {name.removeprefix("parts."): value for name, value in state["state_dict"].items()}
    more = {name.replace("module.", "mechanism.", 1): value for name, value in weights.items()}
    torch.save({**state, "state_dict": {**weights, **more}}, path)


@pytest.mark.parametrize("name", ["latest.ckpt", "best.ckpt"])
def test_a_training_that_an_earlier_version_left_starts_anew(trained, interrupted, dataset, tmp_path, name):
    folder = shutil.copytree(interrupted, tmp_path / "r")
    stage = folder / "unfinished" / "image"
    of_version_0_1_0(stage / name)
    words = (
        f"{stage / name} was left by an earlier version of counterbench, from which this one cannot go on. Remove the"
    )
    with pytest.raises(CheckpointError, match=re.escape(f"{words} folder {stage} and run the same command again")):
        recipes.train(recipe(), dataset, output=folder, hardware=CPU, resume=True)
    shutil.rmtree(stage)
    recipes.train(recipe(), dataset, output=folder, hardware=CPU, resume=True)
    assert (folder / "weights.safetensors").read_bytes() == (trained / "weights.safetensors").read_bytes()


def test_unfinished_work_of_nobody_knows_what_is_not_taken_over(interrupted, dataset, tmp_path):
    folder = shutil.copytree(interrupted, tmp_path / "r")
    (folder / "unfinished" / "plan.json").unlink()
    for resume in (False, True):
        with pytest.raises(
            CheckpointError, match=r"no plan.json that says which training it is of. Remove that folder"
        ):
            recipes.train(recipe(), dataset, output=folder, hardware=CPU, resume=resume)
    assert (folder / "unfinished" / "a" / "weights.safetensors").exists()


def test_a_full_disk_names_the_folder_that_was_chosen(dataset, tmp_path, monkeypatch):
    """A file that may not grow, instead of a disk that is full: both fail in the write."""
    original = Path.write_bytes

    def full(path, data):
        if path.suffix == ".ckpt":
            raise OSError(28, "No space left on device")
        return original(path, data)

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(RecordError, match=f"Cannot write {tmp_path}/r/unfinished/a/.*ckpt: No space left on device"):
        recipes.train(recipe(), dataset, output=tmp_path / "r", hardware=CPU)
    assert not list(tmp_path.rglob("*.ckpt"))


@pytest.mark.parametrize(
    ("split", "count", "words"),
    [
        ("train", 0, "The train split has no samples"),
        ("validation", 0, "The validation split has no samples"),
        ("train", 1, "The train split has 1 sample; training needs at least 2"),
    ],
)
def test_a_split_of_nobody_is_refused(dataset, tmp_path, monkeypatch, split, count, words):
    original = type(dataset).split

    def short(self, name):
        whole = original(self, name)
        if name != split:
            return whole
        return Split(name, {key: value[:count] for key, value in whole.values.items()}, whole.group[:count])

    monkeypatch.setattr(type(dataset), "split", short)
    with pytest.raises(DataError, match=words):
        recipes.train(recipe(), dataset, output=tmp_path / "r", hardware=CPU)
    with pytest.raises(DataError, match=words.replace("train", "judge").replace("judgeing", "training")):
        monkeypatch.setattr(
            type(dataset), "split", lambda self, name: short(self, "train" if name == "judge" else name)
        )
        judges.train_judges([dataset], ["c"], output=tmp_path / "j", hardware=CPU, epochs=1)


@pytest.mark.parametrize("other", [torch.float64, torch.bfloat16])
def test_another_default_type_is_refused(dataset, tmp_path, other):
    """It would train another model under the same name."""
    torch.set_default_dtype(other)
    try:
        with pytest.raises(ConfigError, match=f"default type is {other}; models are trained in torch.float32"):
            recipes.train(recipe(), dataset, output=tmp_path / "r", hardware=CPU)
    finally:
        torch.set_default_dtype(torch.float32)
    assert not (tmp_path / "r").exists()


@pytest.mark.parametrize("limit", [-1, 0, 1])
def test_a_limit_that_leaves_too_little_is_refused(dataset, tmp_path, limit):
    with pytest.raises(ConfigError, match=f"limit is {limit}; a training needs at least 2 samples"):
        recipes.train(recipe(), dataset, output=tmp_path / "r", hardware=CPU, limit=limit)
    assert not (tmp_path / "r").exists()


def test_two_trainings_into_one_folder(dataset, tmp_path):
    with files.claimed(tmp_path / "r"), pytest.raises(RecordError, match="r is in use by another run"):
        recipes.train(recipe(), dataset, output=tmp_path / "r", hardware=CPU)


def test_a_log_file_gets_a_line_per_epoch(dataset, tmp_path, capsys):
    token = progress.shown.set(True)
    try:
        recipes.train(recipe(epochs=2), dataset, output=tmp_path / "r", hardware=CPU)
    finally:
        progress.shown.reset(token)
    captured = capsys.readouterr()
    assert captured.out == ""
    lines = captured.err.splitlines()
    start = lines.index("image")
    for number, line in enumerate(lines[start + 1 : start + 3], 1):
        assert re.fullmatch(rf"  epoch {number} of 2: .*val_loss -?[\d.e+]+.* \(\d+ s(, at most .* left)?\)", line), (
            line
        )


def test_nan_in_the_data_is_found_before_training(dataset, tmp_path, monkeypatch):
    whole = dataset.split("train")
    split = Split("train", {**whole.values, "b": whole.values["b"].clone()}, whole.group)
    split.values["b"][3] = torch.nan
    monkeypatch.setattr(type(dataset), "split", lambda self, name: split)
    with pytest.raises(DataError, match="b: 1 of 400 values of the train split are NaN"):
        recipes.train(recipe(), dataset, output=tmp_path / "nan", hardware=CPU)


def test_a_damaged_manifest_is_named(trained, dataset, tmp_path):
    (tmp_path / "manifest.json").write_text("{")
    with pytest.raises(CheckpointError, match="not a manifest of a trained model"):
        models.load(str(tmp_path), dataset)
    manifest = json.loads((trained / "manifest.json").read_text())
    (tmp_path / "manifest.json").write_text(json.dumps({**manifest, "dataset": "other"}))
    with pytest.raises(CheckpointError, match=r"holds a model of 'other'"):
        models.load(str(tmp_path), dataset)


class _Probe(loop.Callback):
    """Learning rates per step, and the averaged weights at the end of the best epoch."""

    def __init__(self):
        self.rates, self.averages, self.raw = [], [], []

    def on_train_batch_start(self, trainer, *args):
        self.rates.append(trainer.optimizers[0].param_groups[0]["lr"])

    def on_validation_epoch_end(self, trainer, pl_module):
        # The averaging callback comes after this one: the averages are still swapped in.
        averager = next(c for c in trainer.callbacks if isinstance(c, loop.WeightAveraging))
        self.averages.append({k: v.clone() for k, v in pl_module.state_dict().items()})
        self.raw.append({k: v.clone() for k, v in averager._average_model.module.state_dict().items()})


def _fitted(dataset, folder, monkeypatch, fit):
    probe = _Probe()
    original = loop._trainer
    monkeypatch.setattr(loop, "_trainer", lambda o, n, c, f, h: original(o, n, [*c, probe], f, h))
    scm = models.build(recipe(), dataset.graph, dataset.variables)
    job = stages.build(Stage(fit=fit), scm, name="b")
    values = {s: dict(dataset.split(s).values) for s in ("train", "validation")}
    curve = loop.run(job, Circumstances(**values, folder=folder, hardware=CPU, seed=0))
    return loop.Fitting(job, 0), probe, curve


def test_warm_up_is_per_step(dataset, tmp_path, monkeypatch):
    """Defect 12 of the anchor: the first epoch ran at a learning rate of 0, the full one came after 100 epochs."""
    fit = Fit(epochs=3, batch_size=50, learning_rate=0.0008, warmup_steps=7, ema_decay=0.9, weight_decay=0)
    _, probe, _ = _fitted(dataset, tmp_path, monkeypatch, fit)
    assert probe.rates[:9] == pytest.approx([k * 1e-4 for k in (1, 2, 3, 4, 5, 6, 7, 8, 8)])


def test_the_best_averaged_weights_are_kept(dataset, tmp_path, monkeypatch):
    """Defect 13 of the anchor: the best epoch was chosen with averaged weights, but the raw ones were saved."""
    fit = Fit(epochs=5, batch_size=50, learning_rate=0.05, warmup_steps=0, ema_decay=0.9)
    job, probe, curve = _fitted(dataset, tmp_path, monkeypatch, fit)
    best = min(range(5), key=curve.validation.__getitem__)
    expected, raw = probe.averages[best], probe.raw[best]
    found = job.state_dict()
    assert any(not torch.allclose(raw[name], value, atol=1e-4) for name, value in expected.items())
    assert found.keys() == expected.keys()
    for name, value in found.items():
        assert torch.allclose(value, expected[name], atol=1e-6), name


def test_patience_ends_training(dataset, tmp_path, monkeypatch):
    fit = Fit(epochs=50, batch_size=400, learning_rate=1e-9, warmup_steps=0, patience=3, min_delta=1.0, ema_decay=0.5)
    _, _, curve = _fitted(dataset, tmp_path, monkeypatch, fit)
    assert len(curve.validation) == 4


@pytest.mark.parametrize(("rows", "limit", "epochs"), [(100, 200, 4), (200, 200, 2), (400, 200, 1), (100, 3, 3)])
def test_a_budget_of_steps_is_the_same_for_any_number_of_samples(dataset, tmp_path, rows, limit, epochs):
    scm = models.build(recipe(), dataset.graph, dataset.variables)
    job = stages.build(Stage(fit=Fit(epochs=limit, steps=7, batch_size=50)), scm, name="b")  # 2, 4 or 8 an epoch
    values = {name: value[:rows] for name, value in dataset.split("train").values.items()}
    assert len(values["b"]) == rows
    circumstances = Circumstances(train=values, validation=values, folder=tmp_path, hardware=CPU, seed=0)
    assert len(loop.run(job, circumstances).train) == epochs


@pytest.mark.slow
def test_two_devices_train_one_model(dataset, tmp_path):
    """Two processes on the CPU: the folder is claimed and written once."""
    folder = recipes.train(recipe(epochs=2), dataset, output=tmp_path / "two", hardware=Hardware("cpu", 2))
    manifest = json.loads((folder / "manifest.json").read_text())
    assert len(manifest["curves"]["image"]["validation"]) == 2
    assert models.load(str(folder), dataset).training["source"] == "formula"


class _Jobs:
    """What is handed to the loop, without running it."""

    def __init__(self):
        self.jobs, self.data, self.seeds, self.prepared = [], [], [], []

    def run(self, job, circumstances):
        self.jobs.append(job)
        self.data.append((circumstances.train, circumstances.validation))
        self.seeds.append(circumstances.seed)
        return loop.Curve()


@pytest.fixture
def jobs(monkeypatch):
    watched = _Jobs()
    monkeypatch.setattr(loop, "run", watched.run)
    prepare = registry.mechanisms.get("spline_flow").prepare
    monkeypatch.setattr(
        registry.mechanisms.get("spline_flow"),
        "prepare",
        lambda self, value, parents: (
            watched.prepared.append((self.variable.name, value)),
            prepare(self, value, parents),
        ),
    )
    return watched


def test_every_mechanism_learns_from_the_training_split_in_the_order_of_causes(jobs, dataset, tmp_path):
    recipes.train(recipe(), dataset, output=tmp_path / "r", hardware=CPU)
    assert [job.name for job in jobs.jobs] == ["a", "b", "image"]
    assert len(set(jobs.seeds)) == 3
    for job, (train, validation) in zip(jobs.jobs, jobs.data, strict=True):
        assert set(train) == set(validation) == set(job.variables)
        for name, value in train.items():
            assert torch.equal(value, dataset.split("train").values[name])
            assert torch.equal(validation[name], dataset.split("validation").values[name])


def test_a_limit_limits_both_splits(jobs, dataset, tmp_path):
    recipes.train(recipe(), dataset, output=tmp_path / "r", hardware=CPU, limit=30)
    assert {len(value) for pair in jobs.data for split in pair for value in split.values()} == {30}


def test_a_mechanism_looks_at_the_training_data_once_before_its_first_stage(jobs, dataset, tmp_path):
    plan = recipe().model_dump()
    plan["mechanisms"]["b"] = {"family": "spline_flow", "stages": [{}, {}]}
    recipes.train(Recipe.model_validate(plan), dataset, output=tmp_path / "r", hardware=CPU)
    assert [name for name, _ in jobs.prepared] == ["a", "b"]
    values = dataset.split("train").values["b"]
    assert torch.equal(jobs.prepared[1][1], dataset.variables["b"].encode(values))
