"""What is said of trained judges, and the card that has them."""

import json

import pytest
import torch
import yaml

from counterbench import datasets
from counterbench.catalog.cards import Card
from counterbench.errors import ConfigError
from counterbench.training import judged


def entry(source="formula", **quality):
    return {"judge": "regressor", "weights": "a.safetensors", "quality": {source: quality}}


def test_a_judge_that_is_no_better_than_the_median_is_doubted(toy):
    dataset = toy.Toy()
    train, test = (dataset.attributes(split)["a"].double() for split in ("train", "test"))
    guess = float((test - train.median()).abs().mean())
    worse = [entry(mean_absolute_error=guess * share) for share in (0.1, 0.95, 1.2)]  # the middle one counts
    (said,) = judged.doubts({"a": worse}, [dataset])
    assert said.startswith(f"a: its judges are off by {0.95 * guess:.3g}")
    better = [entry(mean_absolute_error=guess * share) for share in (0.1, 0.3, 1.2)]
    assert judged.doubts({"a": better}, [dataset]) == []


def test_a_judge_of_classes_that_guesses_is_doubted(toy):
    dataset = toy.Toy()
    (said,) = judged.doubts({"c": [entry(balanced_accuracy=0.4)]}, [dataset])
    assert "right in 40% of the cases of a class, and a guess in 33%" in said
    assert judged.doubts({"c": [entry(balanced_accuracy=0.9)]}, [dataset]) == []


def test_classes_that_nobody_has_seen_are_told(toy, monkeypatch):
    dataset = toy.Toy()
    real = dataset.attributes

    def attributes(split):
        values = dict(real(split))
        if split == "judge":
            values["c"] = torch.zeros_like(values["c"])
        return values

    monkeypatch.setattr(dataset, "attributes", attributes)
    (said,) = judged.doubts({"c": [entry(balanced_accuracy=0.9)]}, [dataset])
    assert said == "c: the judge split of formula holds one class alone; its judges know no other."


def test_the_card_extends_that_of_the_dataset_and_finds_the_weights(card, tmp_path):
    made = tmp_path / "made"
    made.mkdir()
    (made / "size.safetensors").write_bytes(b"weights")
    listed = [
        {
            "judge": "regressor",
            "weights": "size.safetensors",
            "sha256": "0" * 64,
            "sources": ["mine"],
            "options": {},
            "quality": {},
        }
    ]
    (made / "judges.json").write_text(json.dumps({"judges": {"size": listed}, "seed": 1}))
    path = card.parent / "squares-judged.yaml"
    plain = datasets.card(str(card))
    judged.write_card(path, plain, made)
    assert yaml.safe_load(path.read_text())["extends"] == card.stem
    read = datasets.card(str(path))
    assert isinstance(read, Card)
    assert read.name == "squares-judged"
    assert read.weights_of(read.judges["size"][0]).read_bytes() == b"weights"
    assert read.variables == plain.variables


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("card.yaml", "is there already"),
        ("t.csv", "a card is a .yaml file"),
        ("my judged.yaml", "cannot be a name"),
        ("../elsewhere.yaml", "it must lie beside it"),
    ],
)
def test_where_a_card_cannot_be_is_told_before_training(card, name, said):
    with pytest.raises(ConfigError, match=said):
        judged.require_place(card.parent / name, datasets.card(str(card)))


def test_a_card_of_the_catalogue_is_extended_by_its_name_from_anywhere(tmp_path):
    assert judged.require_place(tmp_path / "mine.yaml", datasets.card("adni")) == "adni"
