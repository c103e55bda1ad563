"""What trainings are fed: real rows, repeats of them, and what a teacher makes; nothing real reaches a student."""

import json

import pytest
import torch

from counterbench import datasets, models
from counterbench.catalog.recipes import FeedEntry, InitEntry, Recipe
from counterbench.errors import CheckpointError, ConfigError, CounterbenchError
from counterbench.evaluation.exam import prepare
from counterbench.models.behind import behind_of, everybody_behind
from counterbench.storage.tensors import read_tensors
from counterbench.training import feeding, recipes
from counterbench.training.adaptation import start_recipe
from counterbench.training.feeds.base import FeedContext
from counterbench.training.feeds.filtered import Filtered
from counterbench.training.feeds.repeated import Repeated
from counterbench.training.feeds.synthetic import Synthetic
from counterbench.training.filtering import IndividualFilter

ROWS = {"train": torch.arange(40), "validation": torch.arange(10)}


@pytest.fixture(scope="module")
def digits():
    return datasets.load("morphomnist")


@pytest.fixture(scope="module")
def context(digits):
    return FeedContext(digits, ROWS, seed=3)


def bare_recipe(name="tiny", feed=None):
    """A recipe that trains in a second."""
    recipe, _ = models.find_recipe("vae", datasets.card("morphomnist"))
    content = recipe.content()
    small = {"latent": 2, "encoder_channels": [4, 4], "decoder_channels": [4, 4], "hidden": 8}
    content["mechanisms"]["image"]["options"] |= small
    for entry in content["mechanisms"].values():
        for fit in (entry["fit"], *(stage["fit"] for stage in entry["stages"])):
            if fit is not None:
                fit["epochs"] = 1
    return Recipe.model_validate({**content, "name": name, "feed": feed})


def test_repeats_are_rows_more_often(context, digits):
    fed = Repeated(context, times=3, where={"digit": ["1", "2"]}).feed()
    digit = digits.attributes("train")["digit"][:40]
    counts = fed.rows["train"].bincount(minlength=40)
    assert torch.equal(counts, torch.where((digit == 1) | (digit == 2), 3, 1))
    assert torch.equal(fed.train["image"], digits.split("train").values["image"][fed.rows["train"]])
    assert torch.equal(fed.rows["validation"], ROWS["validation"])


def test_samples_come_with_the_attributes_that_they_were_made_for(context, digits):
    feed = Synthetic(context, model="vae", count=24)
    fed = feed.feed()
    assert set(fed.train) == set(digits.variables)
    assert len(fed.train["image"]) == 24
    assert len(fed.validation["image"]) == 3
    assert fed.train["image"].dtype == torch.uint8
    again = Synthetic(context, model="vae", count=24).feed()
    assert all(torch.equal(fed.train[name], again.train[name]) for name in fed.train)
    # Judges of thickness see what the samples were made for: attributes and images belong together.
    from counterbench import judges

    read = judges.load(digits.card, digits.source)["thickness"].measure(fed.train["image"].float()).value
    assert float(torch.corrcoef(torch.stack([read.float(), fed.train["thickness"].float()]))[0, 1]) > 0.8
    other = Synthetic(FeedContext(digits, ROWS, seed=4), model="vae", count=24).feed()
    assert not torch.equal(fed.train["image"], other.train["image"])


def test_answers_keep_what_was_not_set_and_follow_from_what_was(context, digits):
    fed = Synthetic(context, model="vae", count=30, makes="answers").feed()
    known = {tuple(one) for one in torch.stack([v.double() for v in digits.attributes("train").values()], 1).tolist()}
    made = torch.stack([fed.train[name].double() for name in digits.attributes("train")], 1).tolist()
    assert sum(tuple(one) in known for one in made) <= 3  # another value of one attribute each


def test_a_filter_removes_planted_copies_and_nothing_else(context, digits, monkeypatch):
    """A teacher whose samples are training images in every other row, and images of others elsewhere."""
    train, others = (digits.split(name).values for name in ("train", "test"))

    def made(self, split, count):
        return {
            name: torch.stack([train[name][:count], others[name][:count]], 1).flatten(0, 1)[:count]
            for name in self.context.dataset.variables
        }

    monkeypatch.setattr(Synthetic, "_made", made)
    for verifier in ("contrastive", "siamese", "pixels"):
        feed = Filtered(context, model="vae", count=80, verifier=verifier, false_positives=0.01)
        feed.filter = IndividualFilter(digits, verifier, seen={"which": "0-99"}, false_positives=0.01)
        fed = feed.feed()
        left = {image.numpy().tobytes() for part in (fed.train, fed.validation) for image in part["image"]}
        assert not left & {image.numpy().tobytes() for image in train["image"][:80]}
        kept = sum(image.numpy().tobytes() in left for image in others["image"][:40])
        assert kept >= 36
        report = fed.about["filter"]
        assert report["train"] == {"made": 80, "removed": 80 - len(fed.train["image"])}
        assert report["audit"]["sensitivity"]["0"] == 1
        assert fed.about["filtered_by"] == [verifier]


def test_a_student_sees_nothing_real_and_its_record_knows_what_is_behind(digits, tmp_path):
    other = recipes.train(bare_recipe("other"), digits, output=tmp_path / "other", limit=30)
    teacher = recipes.train(bare_recipe("teacher"), digits, output=tmp_path / "teacher", limit=32)
    feed = feeding.parsed_feed("filtered:count=40,verifier=contrastive", str(tmp_path / "teacher"))
    folder = recipes.train(bare_recipe("student", feed.model_dump()), digits, output=tmp_path / "student")
    manifest = json.loads((folder / "manifest.json").read_text())
    assert "data" not in manifest
    assert "rows" not in manifest
    assert manifest["feed"]["behind"] == {"which": "0-31", "where": {}}
    stored, _ = read_tensors(folder / feeding.MADE)
    real = {image.numpy().tobytes() for split in digits.splits for image in digits.split(split).values["image"]}
    for split in ("train", "validation"):
        assert not real & {image.numpy().tobytes() for image in stored[f"{split}/image"]}
    contestant = models.load(str(folder), digits)
    told = prepare(digits, "privacy", limit=4).knowing(contestant).metrics
    seen = {"which": "0-31", "where": {}, "filtered_by": ["contrastive"]}
    assert told["reidentification"]["seen"] == told["memorisation"]["seen"] == seen
    # A student of the student is still watched for the same people.
    feed = feeding.parsed_feed("filtered:count=20,verifier=siamese,false_positives=0.001", str(folder))
    context = FeedContext(digits, ROWS)
    grandchild = feeding.feed_of(bare_recipe("grandchild", feed.model_dump()), context)
    assert grandchild.behind.seen == {"which": "0-31", "where": {}}
    assert grandchild.feed().about["filtered_by"] == ["contrastive", "siamese"]
    # The same student of a teacher that was trained anew is another training.
    student = bare_recipe("student", feeding.parsed_feed("synthetic:count=9", str(other)).model_dump())
    recipes.train(student, digits, output=tmp_path / "again")
    (other / "manifest.json").write_bytes((teacher / "manifest.json").read_bytes())
    (other / "weights.safetensors").write_bytes((teacher / "weights.safetensors").read_bytes())
    with pytest.raises(CheckpointError, match=r"other options \(made_by\)"):
        recipes.train(student, digits, output=tmp_path / "again", resume=True)


def test_an_interrupted_student_goes_on_with_the_same_samples(context, tmp_path, monkeypatch):
    feed = Synthetic(context, model="vae", count=16)
    first = feeding.kept_feed(feed, tmp_path, of={"seed": 0})
    monkeypatch.setattr(Synthetic, "feed", lambda self: pytest.fail("made again"))
    again = feeding.kept_feed(feed, tmp_path, of={"seed": 0})
    for part, other in ((first.train, again.train), (first.validation, again.validation)):
        assert part.keys() == other.keys()
        assert all(torch.equal(part[name], other[name]) for name in part)
    assert again.about == dict(first.about)


@pytest.mark.parametrize(
    ("feed", "message"),
    [
        ("synthetic:count=1,model=vae", "a training needs at least 2"),
        ("repeated:times=1", "give 2 or more"),
        ("repeated:times=2,where={digit: [x]}", "digit"),
        ("filtered:model=vae,verifier=embedding", "does not verify individuals"),
        ("filtered:model=vae,false_positives=2", "a share between 0 and 1"),
        ("synthetic", "A student needs a teacher"),
        ("synthetisch", "Unknown feed"),
    ],
)
def test_mistakes_are_told(context, feed, message):
    with pytest.raises(CounterbenchError, match=message):
        feeding.feed_of(bare_recipe("tiny", feeding.parsed_feed(feed, None).model_dump()), context).feed()


def test_rows_and_subgroups_do_not_go_with_what_is_made(context):
    made = FeedEntry(kind="synthetic", options={"model": "vae"})
    recipe = bare_recipe("tiny", made.model_dump())
    with pytest.raises(ConfigError, match="choose real rows"):
        feeding.feed_of(recipe, context, limit=5)
    content = recipe.content()
    content["mechanisms"]["image"] |= {
        "fit": None,
        "stages": [{"objective": "likelihood", "weighting": {"kind": "group_dro", "by": "digit"}}],
    }
    with pytest.raises(ConfigError, match="no subgroups to weight"):
        feeding.feed_of(Recipe.model_validate(content), context)


def test_a_recipe_without_a_feed_says_what_it_always_said():
    assert "feed" not in bare_recipe().content()


def test_samples_of_another_plan_are_made_anew(context, tmp_path):
    first = feeding.kept_feed(Synthetic(context, model="vae", count=16), tmp_path, of={"count": 16})
    other = feeding.kept_feed(Synthetic(context, model="vae", count=20), tmp_path, of={"count": 20})
    assert len(first.train["image"]) == 16
    assert len(other.train["image"]) == 20


@pytest.mark.parametrize("name", ["identity", "resample", "retrieve", "truth"])
def test_baselines_show_real_images_and_teach_nobody(context, name):
    with pytest.raises(ConfigError, match="learns from a trained model"):
        Synthetic(context, model=name, makes="answers")


def test_a_student_does_not_start_from_weights_that_saw_real_images(context):
    recipe = bare_recipe("tiny", {"kind": "synthetic", "options": {"model": "vae"}})
    started = recipe.model_copy(update={"init": InitEntry(model="vae")})
    with pytest.raises(ConfigError, match="starts from random weights"):
        feeding.feed_of(started, context)


def test_where_a_teacher_lies_makes_no_other_recipe(digits, tmp_path):
    """So that students of several seeds, each of a teacher of its own, are trainings of one recipe."""
    recorded = []
    for seed in (0, 1):
        teacher = tmp_path / f"teacher-seed{seed}"
        recipes.train(bare_recipe("teacher"), digits, output=teacher, limit=24, seed=seed)
        feed = feeding.parsed_feed("synthetic:count=20", str(teacher))
        student = recipes.train(
            bare_recipe("student", feed.model_dump()), digits, output=tmp_path / f"student-seed{seed}", seed=seed
        )
        recorded.append(models.load(str(student), digits))
    assert recorded[0].recipe == recorded[1].recipe
    assert recorded[0].training["feed"]["teacher_sha256"] != recorded[1].training["feed"]["teacher_sha256"]
    assert start_recipe(None, str(tmp_path / "student-seed0"), digits).feed is None


def test_a_filter_knows_whoever_is_behind_the_start_of_a_teacher():
    rows = {"where": {}, "train": {"count": 2, "which": "7-8"}}
    start = {"seen": {"which": "0-2", "where": {}}, "filtered_by": ["siamese"]}
    assert everybody_behind({"rows": rows, "init_behind": start}).seen == {"which": "0-2 7-8", "where": {}}
    assert everybody_behind({"rows": rows, "init_behind": start}).filtered_by == ("siamese",)
    assert behind_of({"rows": rows, "init_behind": start}).seen == {"which": "7-8", "where": {}}
    assert everybody_behind({"rows": rows, "init_behind": {"seen": None, "filtered_by": []}}).seen is None


def test_a_filter_compares_with_everybody(digits):
    assert len(IndividualFilter(digits, "pixels").trained_on.rows) == len(digits.split("train"))
