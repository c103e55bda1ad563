"""The reference SCM: fitted on the training split, pinned by a card, and what answers are held against where no truth is known."""

import json

import numpy as np
import pytest
import torch
import toy as toy_module

from counterbench import evaluation, models
from counterbench.catalog.cards import Card
from counterbench.catalog.recipes import Fit, MechanismEntry
from counterbench.datasets.dataset import Dataset, Split
from counterbench.errors import CheckpointError, ConfigError
from counterbench.models.building import load_reference
from counterbench.models.model import Contestant
from counterbench.models.targets import Targets
from counterbench.plugins import registry
from counterbench.training import reference
from counterbench.training.hardware import Hardware

FIT = Fit(epochs=12, batch_size=32, learning_rate=0.03, weight_decay=0, warmup_steps=10, cosine=True)


class ShakyReader(toy_module.ToyReader):
    """Reads a and b with an error of 0.3, which follows from the noise of the image and is the same under every intervention."""

    @property
    def fingerprint(self):
        return "shaky"

    def _measure(self, images):
        exact = super()._measure(images)
        if self.variable.kind != "continuous":
            return exact
        stripes = torch.tensor([1.0, -1.0], dtype=torch.float64).repeat(32)  # orthogonal to all that a, b and c paint
        return exact + 0.3 * (images.flatten(1).double() @ stripes) / 32


class HiddenToy(toy_module.Toy):
    """The toy with its truth hidden from everybody who asks."""

    def knows_truth(self, intervened):
        return not intervened

    def true_attributes(self, split, index, interventions):
        return dict(interventions)


@pytest.fixture(scope="module", autouse=True)
def shaky():
    with registry.judges.temporarily("toy-shaky", ShakyReader):
        yield


def fitted(dataset, folder, monkeypatch):
    """What a card says of the reference SCM that is fitted to a linear dataset."""
    families = {"continuous": "toy-linear", "binary": "bernoulli"}
    mechanisms = {
        name: MechanismEntry(family=families.get(variable.kind, "categorical"), fit=FIT)
        for name, variable in dataset.variables.items()
        if name != dataset.card.image
    }
    monkeypatch.setattr(reference, "mechanisms_of", lambda card: mechanisms)
    return reference.fit_reference([dataset], folder, hardware=Hardware("cpu"))


def pinned(card, entry, folder):
    """A card with a reference SCM beside it."""
    declared = card.model_dump(exclude={"path"}) | {"reference_scm": entry}
    return Card.model_validate(declared).model_copy(update={"path": folder / "card.yaml"})


@pytest.fixture(scope="module")
def card(tmp_path_factory):
    """The toy with shaky judges and a fitted reference SCM."""
    folder = tmp_path_factory.mktemp("reference")
    judges = {name: [{"judge": "toy-shaky"}] for name in ("a", "b", "c")}
    bare = Card.model_validate(toy_module.CARD.model_dump(exclude={"path"}) | {"judges": judges})
    with pytest.MonkeyPatch.context() as patch:
        return pinned(bare, fitted(HiddenToy(bare), folder, patch), folder)


def prepared(card):
    return evaluation.prepare(HiddenToy(card), device="cpu", metrics=["effectiveness"])


def numbers(model, exam):
    record = evaluation.evaluate(Contestant("model", model), exam).record
    return {number.key: number for number in record.numbers}, record


class Nothing:
    """Returns its input, and claims that nothing followed."""

    def counterfactual(self, factual, interventions, generator=None):
        return {**factual, **interventions}


SKILL = "effectiveness", "skill", "a", "b", 0, ""
ERROR = "effectiveness", "absolute_error", "a", "b", 0, ""


def test_with_its_truth_hidden_the_truth_is_at_the_ceiling_and_doing_nothing_below(card):
    exam = prepared(card)
    perfect, record = numbers(toy_module.ExactModel(), exam)
    idle, _ = numbers(Nothing(), exam)
    skill, error = perfect[SKILL], perfect[ERROR]
    assert skill.low <= skill.ceiling.value <= skill.high
    assert error.low <= error.ceiling.value <= error.high
    assert idle[SKILL].value == 0
    assert idle[SKILL].high < skill.low
    assert idle[ERROR].low > error.high
    assert not any("targets" in what for what in record.skipped)
    assert any(note.startswith("targets of b under do(a) are those of the reference SCM") for note in record.notes)


def test_what_the_model_claims_is_judged_apart(card):
    """A claim that nothing follows is as far from the reference as its effect is long; it does not enter the skill."""
    exam = prepared(card)
    claimed, _ = numbers(Nothing(), exam)
    known, _ = numbers(toy_module.ExactModel(), exam)
    key = "effectiveness", "attribute_error", "a", "b", 0, ""
    moved = (exam.plan.single["a"] - exam.dataset.split("test").values["a"]).abs().mean()
    assert claimed[key].value == pytest.approx(0.5 * float(moved), rel=0.1)
    assert known[key].value < 0.1 * claimed[key].value
    assert claimed[key].detail
    assert "real" not in claimed[key].references


def test_without_a_reference_the_record_says_what_is_not_known(card):
    """It prefers doing nothing to the truth, which is why it says so."""
    exam = prepared(card.model_copy(update={"reference_scm": {}}))
    _, record = numbers(toy_module.ExactModel(), exam)
    assert record.skipped["targets of b under do(a)"] == (
        "they are factual values: there is no truth and no reference SCM; counterbench train-judges fits one"
    )
    assert set(record.inputs.judges) == {"a", "b", "c"}
    assert not any("targets" in note for note in record.notes)


def test_where_the_truth_is_known_the_reference_says_nothing(card):
    dataset = toy_module.Toy(card)
    rows, held = torch.arange(30), {"a": torch.zeros(30)}
    assert torch.equal(
        Targets(dataset, load_reference(card, "formula")).known(rows, held)["b"],
        dataset.true_attributes("test", rows, held)["b"],
    )
    assert Targets(dataset).assumed("a") == ()


def test_records_held_against_another_reference_are_not_compared(card):
    exam = prepared(card)
    hashes = exam.inputs(Contestant("model", Nothing())).judges["(reference SCM)"]
    entry = card.reference_scm["formula"]
    other = entry.model_copy(update={"sha256": "0" * 64})
    changed = card.model_copy(update={"reference_scm": {"formula": other}})
    with pytest.raises(CheckpointError, match="it was altered or cut short"):
        prepared(changed)
    assert models.building.reference_fingerprint(other) not in hashes
    assert hashes == [models.building.reference_fingerprint(entry)]


def test_baselines_know_the_same_targets(card):
    exam = prepared(card)
    dataset, held = exam.dataset, {"a": torch.full((10,), 1.5)}
    factual = dataset.split("test").take(torch.arange(10))
    for name in ("identity", "retrieve", "resample"):
        answer = models.load(name, dataset).model.counterfactual(factual, held, torch.Generator().manual_seed(0))
        assert torch.equal(answer["b"], exam.targets.known(factual.index, held)["b"])
        assert not torch.equal(answer["b"], factual["b"])


def test_every_row_has_one_stream_of_chance(tmp_path, monkeypatch):
    """Two attributes of two classes: what a row's targets are depends on neither its batch nor what else was asked."""
    variables = {
        "p": {"kind": "binary"},
        "q": {"kind": "binary", "parents": ["p"]},
    }
    source = {"mine": {"description": "mine", "licence": "none", "embedded": True}}
    plain = Card.model_validate(
        {
            "name": "coins",
            "title": "Coins",
            "description": "coins",
            "reader": "coins",
            "variables": variables,
            "default_source": "mine",
            "sources": source,
        }
    )

    class Coins(Dataset):
        def split(self, name):
            generator = torch.Generator().manual_seed(self.splits.index(name))
            p = torch.rand(300, generator=generator) < 0.5
            q = torch.rand(300, generator=generator) < torch.where(p, 0.7, 0.4)
            return Split(name, {"p": p.long(), "q": q.long()}, torch.arange(300))

        def true_attributes(self, split, index, interventions):
            return dict(interventions)

    entry = fitted(Coins(plain), tmp_path, monkeypatch)
    dataset = Coins(pinned(plain, entry, tmp_path))
    targets = Targets(dataset, load_reference(dataset.card, "mine"))
    ones, rows = torch.ones(300, dtype=torch.long), torch.arange(300)
    whole = targets.known(rows, {"p": ones})["q"]
    assert torch.equal(whole[100:], targets.known(rows[100:], {"p": ones[100:]})["q"])
    assert (whole != dataset.attributes("test")["q"]).sum() > 20
    stays = dataset.attributes("test")["p"] == 1
    assert torch.equal(whole[stays], dataset.attributes("test")["q"][stays])


CONFOUNDED = Card.model_validate(
    {
        "name": "confounded",
        "title": "Confounded",
        "description": "z causes x and y, x causes y",
        "reader": "confounded",
        "variables": {
            "z": {"kind": "continuous", "range": [-4, 4]},
            "x": {"kind": "continuous", "range": [-6, 6], "parents": ["z"]},
            "y": {"kind": "continuous", "range": [-9, 9], "parents": ["z", "x"]},
        },
        "default_source": "mine",
        "sources": {"mine": {"description": "mine", "licence": "none", "embedded": True}},
    }
)


class Confounded(Dataset):
    """Linear and Gaussian: x = z + e, y = 0.5 x - 2 z + e."""

    def split(self, name):
        rng = np.random.default_rng(self.splits.index(name))
        z, e, f = rng.normal(size=(3, 600))
        x = z + 0.6 * e
        y = 0.5 * x - 2 * z + 0.5 * f
        values = {"z": z, "x": x, "y": y}
        return Split(name, {k: torch.from_numpy(v).float() for k, v in values.items()}, torch.arange(600))

    def true_attributes(self, split, index, interventions):
        return dict(interventions)


def test_its_mean_is_that_of_the_adjustment_formula(tmp_path, monkeypatch):
    """E[y | do(x = v)] = sum over z of E[y | x = v, z] P(z), from the training split by least squares; E[y | x = v] is another."""
    entry = fitted(Confounded(CONFOUNDED), tmp_path, monkeypatch)
    card = pinned(CONFOUNDED, entry, tmp_path)
    dataset = Confounded(card)
    values = {name: value.double().numpy() for name, value in dataset.attributes("train").items()}
    ones = np.ones(600)
    adjusted, *_ = np.linalg.lstsq(np.stack([values["x"], values["z"], ones], 1), values["y"], rcond=None)
    naive, *_ = np.linalg.lstsq(np.stack([values["x"], ones], 1), values["y"], rcond=None)
    targets = Targets(dataset, load_reference(card, "mine"), split="train")
    for v in (-1.0, 0.5, 2.0):
        mean = targets.known(torch.arange(600), {"x": torch.full((600,), v)})["y"].double().mean()
        assert float(mean) == pytest.approx(adjusted @ [v, values["z"].mean(), 1], abs=0.05)
        assert abs(float(mean) - naive @ [v, 1]) > 0.4


def test_what_is_written_is_what_a_card_says(tmp_path):
    entry = reference.fit_reference([HiddenToy(toy_module.CARD)], tmp_path, hardware=Hardware("cpu"), epochs=1)
    assert json.loads((tmp_path / "reference.json").read_text())["reference_scm"] == entry
    assert [path.name for path in tmp_path.iterdir() if path.suffix == ".safetensors"] == [
        "reference-formula.safetensors"
    ]
    families = {name: one["family"] for name, one in entry["formula"]["mechanisms"].items()}
    assert families == {"a": "spline_flow", "b": "spline_flow", "c": "categorical"}
    assert load_reference(pinned(toy_module.CARD, entry, tmp_path), "formula") is not None
    assert load_reference(toy_module.CARD, "formula") is None


def test_train_judges_fits_it_too(tmp_path):
    from click.testing import CliRunner

    from counterbench.cli import main

    options = ["--dataset", "toy", "--variable", "c", "--epochs", "1", "--device", "cpu", "--quiet"]
    done = CliRunner().invoke(main, ["train-judges", *options, "--output", str(tmp_path / "j")])
    assert done.exit_code == 0, done.output
    assert {path.name for path in (tmp_path / "j").iterdir()} >= {
        "judges.json",
        "reference.json",
        "reference-formula.safetensors",
    }


def test_attributes_are_modelled_as_the_recipes_do():
    from counterbench import datasets

    mechanisms = reference.mechanisms_of(datasets.card("adni"))
    assert list(mechanisms) == list(datasets.card("adni").attributes)
    assert mechanisms["age"].options == {"bins": 8, "bounded": True}


def test_an_attribute_that_the_image_causes_has_no_reference():
    declared = toy_module.CARD.model_dump(exclude={"path"})
    declared["variables"]["d"] = {"kind": "binary", "parents": ["image"]}
    card = Card.model_validate(declared)
    with pytest.raises(ConfigError, match="'d' is caused by the image"):
        models.building.reference_recipe(card, {})


def test_a_card_may_not_speak_of_a_source_that_is_not_there():
    entry = {"mechanisms": {}, "weights": "w.safetensors", "sha256": "0" * 64}
    with pytest.raises(ValueError, match="reference SCM: no source 'other' here"):
        Card.model_validate(toy_module.CARD.model_dump(exclude={"path"}) | {"reference_scm": {"other": entry}})
