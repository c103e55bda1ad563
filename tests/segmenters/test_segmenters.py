"""Segmenters: trained from a handful of labels, pinned by a card, and read back."""

import json

import pytest
import torch
from toy import CARD, Toy

from counterbench import segmenters
from counterbench.catalog.cards import Card
from counterbench.contracts.checking import check
from counterbench.errors import ConfigError
from counterbench.metrics.statistics.maps import dice
from counterbench.training.hardware import Hardware
from counterbench.training.segmenters import hausdorff, segmentation_loss, train_segmenter

PARTS = ["ground", "upper", "lower"]


class Parted(Toy):
    """The toy with parts: what its patterns cover; and two scanners."""

    def role(self, name, split, index):
        if name == "domain":
            return index % 2
        mask = torch.zeros(len(index), 8, 8, dtype=torch.uint8)
        mask[:, :4, :6], mask[:, 4:, :6] = 1, 2
        return mask


def parted(**changes):
    content = CARD.model_dump(mode="json", exclude_unset=True)
    content |= {
        "name": "parted",
        "roles": {
            "mask": {"description": "patterns", "sources": ["formula"], "classes": PARTS, "owned": {"a": ["upper"]}},
            "domain": {"description": "scanner", "sources": ["formula"], "classes": ["even", "odd"]},
        },
        **changes,
    }
    return Parted(Card.model_validate(content))


@pytest.mark.parametrize("kind", ["unet", "vmf"])
def test_a_segmenter_is_trained_pinned_and_read_back(kind, tmp_path):
    dataset = parted()
    report = train_segmenter(dataset, kind, tmp_path, hardware=Hardware("cpu"), labels=3, without=["odd"], steps=60)
    assert report["quality"]["formula"]["dice"] > 0.9
    assert {"dice_upper", "dice_lower", "dice_even", "dice_odd"} <= report["quality"]["formula"].keys()
    stored = json.loads((tmp_path / "segmenters.json").read_text())
    assert stored["labels"] == 3
    assert stored["unlabelled"] == (22 if kind == "vmf" else 0)  # 25 images of the judge split are even
    pinned = parted(segmenters=[{**report, "weights": str(tmp_path / report["weights"])}])
    found = segmenters.load(pinned.card, "formula")
    images = pinned.split("test").take(slice(0, 20))["image"]
    agreement = dice(found.segment(images), pinned.role("mask", "test", torch.arange(20)).long(), 3)
    assert float(agreement[:, 1:].mean()) == pytest.approx(report["quality"]["formula"]["dice"], abs=0.05)
    assert {finding.status for finding in check(kind, "segmenter", pinned)} == {"ok"}


def test_what_cannot_be_trained_is_told(tmp_path):
    hardware = Hardware("cpu")
    with pytest.raises(ConfigError, match="carries no masks"):
        train_segmenter(Toy(), "unet", tmp_path, hardware=hardware)
    with pytest.raises(ConfigError, match="no domain 'od'"):
        train_segmenter(parted(), "unet", tmp_path, hardware=hardware, without=["od"])
    with pytest.raises(ConfigError, match="leaves no image"):
        train_segmenter(parted(), "unet", tmp_path, hardware=hardware, without=["odd", "even"])
    with pytest.raises(ConfigError, match="only 25 individuals"):
        train_segmenter(parted(), "unet", tmp_path, hardware=hardware, labels=30)


def test_a_card_whose_parts_nobody_has_named_is_told():
    content = CARD.model_dump(mode="json", exclude_unset=True)
    with pytest.raises(ValueError, match="owned by 'd'"):
        parted(roles={"mask": {"description": "", "sources": [], "classes": PARTS, "owned": {"d": []}}})
    with pytest.raises(ValueError, match="a owns 'uper'"):
        parted(roles={"mask": {"description": "", "sources": [], "classes": PARTS, "owned": {"a": ["uper"]}}})
    card = Card.model_validate({**content, "segmenters": [{"segmenter": "unet"}]})
    with pytest.raises(ConfigError, match="declares no parts"):
        segmenters.load(card, "formula")


def test_who_owns_a_part_decides_numbers_and_words_do_not():
    mask = {"description": "patterns", "sources": ["formula"], "classes": PARTS}
    cards = [
        parted(roles={"mask": {**mask, **more}}).card
        for more in ({}, {"owned": {"a": ["upper"]}}, {"owned": {"a": ["lower"]}})
    ]
    assert len({card.fingerprint for card in cards}) == 3
    assert parted(roles={"mask": {**mask, "description": "other words"}}).card.fingerprint == cards[0].fingerprint
    content = CARD.model_dump(mode="json", exclude_unset=True)
    without = Card.model_validate({**content, "name": "parted"})
    assert without.fingerprint == cards[0].fingerprint


def test_hausdorff_and_loss_by_hand():
    one = torch.zeros(2, 9, 9, dtype=torch.bool)
    one[:, 2:5, 2:5] = True
    other = one.roll(2, 2)
    other[1] = False
    assert hausdorff(one, other).tolist()[0] == 2.0
    assert hausdorff(one, other)[1].isnan()
    masks = torch.tensor([[[0, 1, 1, 0]]])
    even = torch.zeros(1, 2, 1, 4)
    # Cross-entropy log 2; Dice of each part (2 x 1 + 1) / (2 + 2 + 1).
    assert float(segmentation_loss(even, masks)) == pytest.approx(0.693147 + 1 - 3 / 5, abs=1e-5)
