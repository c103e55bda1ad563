"""Localisation and parts: who changes the right place, and who changes another one besides."""

from dataclasses import replace

import asked
import pytest
import torch
from toy import Toy

from counterbench.metrics.localisation import in_boxes
from counterbench.metrics.statistics.maps import auc, contrast, dice, overlap, pointing
from counterbench.plugins import registry

ROWS = torch.arange(80)


@pytest.fixture(scope="module")
def dataset():
    return Toy()


def numbers(dataset, name, answer, cause="a"):
    """quantity -> (value, measured "" and space "") under one intervention."""
    columns = asked.computed(name, asked.setting(dataset), asked.answers(dataset, answer, [ROWS]))
    return {
        c.cell.quantity: c.point()
        for c in columns
        if c.cell.intervened in (cause, "")
        and not c.cell.space
        and (not c.cell.measured or (name == "effectiveness" and c.cell.measured == cause))
    }


def everywhere(given, held, truth):
    """Half of the true change, and a pattern over the whole image that is as large."""
    place = torch.arange(64.0).view(1, 1, 8, 8)
    return {**truth, "image": 0.5 * (given["image"] + truth["image"]) + 8 * torch.sin(2.7 * place)}


def test_truth_a_good_model_one_that_changes_everything_and_doing_nothing_are_in_this_order(dataset):
    found = [
        numbers(dataset, "localisation", answer) for answer in (asked.true, asked.noisy, everywhere, asked.unchanged)
    ]
    for quantity in ("auc", "overlap"):
        values = [one[quantity] for one in found]
        assert values == sorted(values, reverse=True), quantity
        assert values[0] > values[2] + 0.1
        assert values[2] > values[3] + 0.05
    assert found[0]["auc"] == 1
    assert found[-1] == {"auc": 0.5, "contrast": 0.0, "overlap": 0.0, "pointing": 0.0}


def test_a_leak_is_caught_by_parts_and_not_by_effectiveness(dataset):
    """One column brighter, the next one darker by as much: the judge reads the same, and the part beside has changed."""

    def leaking(given, held, truth):
        image = truth["image"].clone()
        image[..., 0] += 9
        image[..., 1] -= 9
        return {**truth, "image": image}

    for quantity in ("skill", "absolute_error"):
        honest, leaky = (numbers(dataset, "effectiveness", one)[quantity] for one in (asked.true, leaking))
        assert leaky == pytest.approx(honest, abs=1e-6)
    honest, leaky = (numbers(dataset, "parts", one) for one in (asked.true, leaking))
    assert leaky["outside_change"] > honest["outside_change"] + 1
    assert leaky["outside_share"] > honest["outside_share"] + 0.03


def test_parts_of_somebody_else_lie_elsewhere(dataset):
    def shuffled(given, held, truth):
        return {**truth, "image": truth["image"].roll(1, 0).flip(2)}

    honest, strange = (numbers(dataset, "parts", one)["equivariance"] for one in (asked.true, shuffled))
    assert honest == 1
    assert strange < 0.7


def test_where_nothing_may_move_parts_are_held_against_the_observed_ones(dataset):
    """do(b) owns nothing here: an answer that keeps all parts is right even where the truth moves them."""
    kept, true = (numbers(dataset, "parts", one, "b")["equivariance"] for one in (asked.unchanged, asked.true))
    assert kept == 1
    assert true < 1


def test_without_masks_nothing_is_said_and_the_reason_is(dataset):
    bare = asked.setting(dataset, parts=(), boxed=(), captioned=False, with_truth=())
    for name, words in (
        ("parts", "no masks of parts"),
        ("grounding", "no boxes, or no captions"),
        ("localisation", "no true"),
    ):
        metric = registry.metrics.get(name)(bare)
        assert metric.cells == []
        assert words in metric.skipped[name]


def test_a_model_that_reads_no_captions_has_no_number(dataset):
    metric = registry.metrics.get("grounding")(asked.setting(dataset))
    for one in asked.answers(dataset, asked.true, [ROWS]):
        one.batch.grounding = None
        metric.update(one)
    assert metric.compute() == []


def test_the_rule_of_the_suite_reaches_the_model(dataset):
    """Which phrases, and which rule: what the model is told."""
    told = []

    def looking(phrases, rule):
        told.append((list(phrases), rule))
        return torch.rand(len(phrases), 8, 8)

    metric = registry.metrics.get("grounding")(asked.setting(dataset), steps=7, reads="heard")
    for one in asked.answers(dataset, asked.true, [ROWS[:6]]):
        if one.kind == "null":
            one.batch.grounding = replace(one.batch.grounding, trained=looking)
        metric.update(one)
    ((phrases, rule),) = told
    assert phrases == ["x", "xx"] * 3
    assert (rule["steps"], rule["reads"], rule["window"]) == (7, "heard", (0.4, 0.6))


# Maps by hand


def test_scores_at_the_edges():
    region = torch.tensor([[True, True, False, False]] * 3 + [[False] * 4, [True] * 4])
    maps = torch.tensor([[2.0, 2, 0, 0], [0.0, 0, 2, 2], [5.0, 5, 5, 5], [1.0, 2, 3, 4], [1.0, 2, 3, 4]])
    assert auc(maps, region)[:3].tolist() == [1, 0, 0.5]
    assert contrast(maps, region)[:3].tolist() == [10, -10, 0]
    assert overlap(maps, region)[:3].tolist() == [1, 0, 0]
    assert pointing(maps, region)[:3].tolist() == [1, 0, 0]
    for score in (auc, contrast):
        assert score(maps, region)[3:].isnan().all()
    for score in (overlap, pointing):
        assert score(maps, region)[3].isnan()


def test_a_constant_map_has_no_contrast_however_its_mean_is_rounded():
    region = (torch.arange(64) % 5 == 0).expand(3, 64)
    for value in (1 / 3, 0.1, 255 / 7):
        assert contrast(torch.full((3, 64), value, dtype=torch.float64), region).tolist() == [0, 0, 0]


def test_without_owners_nothing_is_outside_and_without_truth_an_answer_owns_what_it_made(dataset):
    bare = registry.metrics.get("parts")(asked.setting(dataset, owned={}))
    assert not [cell for cell in bare.cells if cell.quantity.startswith("outside")]
    assert "does not say which parts" in bare.skipped["parts (outside)"]
    found = []
    for known in (True, False):
        metric = registry.metrics.get("parts")(asked.setting(dataset))
        for one in asked.answers(dataset, asked.true, [ROWS]):
            if not known:
                one.batch.regions.true_mask = lambda question: None
                one = replace(one, truth=None)
            metric.update(one)
        found.append(
            {c.cell.quantity: c.point() for c in metric.compute() if c.cell.intervened == "a"}["outside_change"]
        )
    assert found[1] == pytest.approx(found[0])  # the parts of a true answer are those of the truth


def test_a_map_may_be_scaled_and_shifted(dataset):
    maps, region = torch.rand(5, 64, generator=torch.Generator().manual_seed(0)), torch.arange(64).expand(5, 64) < 20
    for score in (auc, contrast, overlap, pointing):
        assert torch.allclose(score(maps, region), score(7 * maps + 3, region), atol=1e-6)
    assert torch.allclose(contrast(-maps, region), -contrast(maps, region))


def test_boxes_hold_the_pixels_that_they_were_made_of():
    inside = in_boxes(torch.tensor([[1.0, 2.0, 3.0, 4.0], [float("nan")] * 4]), (5, 6))
    assert inside[0].nonzero().tolist() == [[2, 1], [2, 2], [3, 1], [3, 2]]
    assert not inside[1].any()
    assert in_boxes(torch.tensor([[0.0, 0.0, 1.0, 1.0]]), (2, 3, 3)).sum() == 2  # of a volume all depths


def test_dice_of_a_part_that_nobody_has_is_left_out():
    assert dice(torch.zeros(1, 4), torch.zeros(1, 4), 2)[0].tolist()[0] == 1
    assert dice(torch.zeros(1, 4), torch.zeros(1, 4), 2)[0, 1].isnan()
