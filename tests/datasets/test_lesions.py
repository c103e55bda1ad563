"""Datasets with lesions: mechanisms, truth, masks, boxes and captions belong together."""

import pytest
import torch

from counterbench import datasets
from counterbench.datasets import adni_lesions, morphomnist_lesions

ROWS = torch.arange(40)


@pytest.fixture(scope="module", params=["morphomnist-lesions", "adni-lesions"])
def lesioned(request):
    dataset = datasets.load(request.param)
    draws = dataset.behind.draws("test")
    factual = {name: value[ROWS] for name, value in draws.attributes.items()}
    return dataset, factual, dataset.behind.render("test", ROWS, factual)


def answered(dataset, interventions):
    values = dataset.true_attributes("test", ROWS, interventions)
    return values, dataset.behind.render("test", ROWS, values), dataset.masks("test", ROWS, interventions)


def test_setting_a_cause_to_its_own_value_changes_nothing(lesioned):
    dataset, factual, images = lesioned
    for name in dataset.card.attributes:
        values, again, _ = answered(dataset, {name: factual[name]})
        assert all(torch.allclose(values[key].double(), factual[key].double(), atol=1e-4) for key in values), name
        same = values.keys() and all(torch.equal(values[key], factual[key]) for key in values)
        assert not same or torch.equal(again, images), name


def test_a_lesion_that_is_taken_away_leaves_everything_else(lesioned):
    """What changes lies in or next to the mask; where there was none, nothing changes at all."""
    dataset, factual, images = lesioned
    _, without, _ = answered(dataset, {"lesion": torch.zeros_like(factual["lesion"])})
    moved = (images.int() - without.int()).abs()[:, 0]
    had = factual["lesion"] != 0
    assert had.any()
    assert not had.all()
    assert (moved[~had] == 0).all()
    assert (moved[had].flatten(1).amax(1) > 10).float().mean() > 0.8
    lesion = dataset.card.parts.index("lesion")
    mask = (dataset.role("mask", "test", ROWS) == lesion)[:, None].float()
    near = torch.nn.functional.max_pool2d(mask, 5, 1, 2)[:, 0] > 0
    seen = had & (mask.flatten(1).sum(1) > 0)
    outside = (moved * ~near)[seen].sum() / moved[seen].sum()
    assert outside < 0.1


def test_masks_boxes_labels_and_captions_tell_the_same(lesioned):
    dataset, factual, _ = lesioned
    mask, boxes, label, captions = (dataset.role(name, "test", ROWS) for name in ("mask", "boxes", "label", "caption"))
    had = factual["lesion"] != 0
    assert torch.equal(label == 1, had)
    lesion = mask == dataset.card.parts.index("lesion")
    assert not lesion[~had].any()
    boxed = ~boxes.isnan().any(1)
    assert torch.equal(boxed, lesion.flatten(1).any(1))
    for row in boxed.nonzero()[:, 0].tolist():
        left, top, right, bottom = boxes[row].long().tolist()
        assert lesion[row].sum() == lesion[row, top:bottom, left:right].sum()
    grammar = dataset.card.grammar
    words = {
        word for wording in grammar.words["lesion"] if wording.value not in ("0", "none") for word in wording.words
    }
    for row, caption in enumerate(captions):
        if not had[row]:
            assert not words & set(caption.split())
    assert len(set(captions)) > 10


def test_the_true_mask_of_an_answer_is_that_of_its_image(lesioned):
    dataset, factual, _ = lesioned
    everywhere = torch.ones_like(factual["lesion"])
    _, _, mask = answered(dataset, {"lesion": everywhere})
    lesion = (mask == dataset.card.parts.index("lesion")).flatten(1).sum(1)
    assert (lesion > 0).float().mean() > 0.7
    assert (dataset.masks("test", ROWS, {"lesion": 0 * everywhere}) != dataset.card.parts.index("lesion")).all()


def test_sides_are_sides_of_the_picture(lesioned):
    dataset, factual, _ = lesioned
    interventions = {
        "lesion": torch.ones_like(factual["lesion"]),
        "size": torch.full_like(factual["size"], 4.0 if dataset.card.name.startswith("morpho") else 9.0),
    }
    across = []
    for side in (0, 1):
        mask = dataset.masks("test", ROWS, {**interventions, "side": torch.full_like(factual["side"], side)})
        lesion = (mask == dataset.card.parts.index("lesion")).double()
        across.append((lesion * torch.arange(lesion.shape[2])).flatten(1).sum(1) / lesion.flatten(1).sum(1))
    both = ~(across[0].isnan() | across[1].isnan())
    assert (across[0] <= across[1] + 1)[both].all()
    assert (across[0] < across[1] - 3)[both].float().mean() > 0.3


def test_who_is_older_has_more_and_larger_lesions():
    age = torch.full((4000,), 60.0)
    luck, noise = torch.rand(4000, generator=torch.Generator().manual_seed(0)), torch.zeros(4000)
    young, old = (adni_lesions.lesion_of(value, luck).double() for value in (age, age + 30))
    assert float(young.mean()) == pytest.approx(1 / (1 + 2.718281828 ** -(0.4 - 0.08 * 14)), abs=0.02)
    assert (young <= old).all()
    assert (adni_lesions.size_of(age, noise) < adni_lesions.size_of(age + 30, noise)).all()


def test_thin_strokes_break_and_thick_ones_swell():
    luck = torch.rand(4000, generator=torch.Generator().manual_seed(0))
    thin, thick = (morphomnist_lesions.lesion_of(torch.full((4000,), value), luck) for value in (1.0, 4.0))
    for kinds, most in ((thin, 2), (thick, 1)):
        assert float((kinds != 0).double().mean()) == pytest.approx(0.6, abs=0.03)
        assert kinds.bincount(minlength=3)[1:].argmax() + 1 == most


def test_interventions_own_parts_and_so_do_their_descendants():
    card = datasets.load("adni-lesions").card
    assert card.parts_of(["lesion"]) == ("lesion",)
    assert set(card.parts_of(["age"])) == set(card.parts)
    assert card.parts_of(["side"]) == ("lesion",)
