"""Recognition and the estimate that stands on it, by hand and at their fixed points."""

import asked
import pytest
import torch

from counterbench.metrics.recognition import Recognition
from counterbench.metrics.statistics.recognition import first_of_each, recognised
from counterbench.records.row_skill import bounded


@pytest.fixture(scope="module")
def dataset(toy):
    return toy.Toy()


@pytest.fixture(scope="module")
def known(dataset):
    return asked.setting(dataset)


def stranger(dataset):
    """The right attributes, and somebody else's noise: rows of one pair share a group, so the next but one is a stranger's."""
    split = dataset.split("test")

    def answer(factual, held, truth):
        other = split.take((factual.index + 2) % len(split))
        swapped = truth["image"] - factual["image"] + other["image"]
        return {**truth, "image": swapped}

    return answer


def test_the_nearest_of_one_image_of_everybody_by_hand():
    east, north = torch.eye(2)
    diagonal = (east + north) / 2**0.5
    vectors, whose = torch.stack([east, north, diagonal]), torch.tensor([7, 7, 3])
    gallery, owner = torch.stack([east, north]), torch.tensor([7, 3])
    assert recognised(vectors, whose, gallery, owner).tolist() == [
        True,
        False,
        True,
    ]  # as near as one's own is near enough
    assert recognised(vectors, whose, gallery, owner, observed=vectors).all()
    assert first_of_each(torch.tensor([5, 2, 5, 2, 9])).tolist() == [0, 1, 4]


def test_the_input_and_the_truth_are_recognised_and_a_stranger_is_not(dataset, known):
    by_answer = {
        name: asked.points("recognition", known, dataset, answer)
        for name, answer in {"input": asked.unchanged, "truth": asked.true, "stranger": stranger(dataset)}.items()
    }
    for variable in asked.NAMES:
        rate, beyond = (("rate", variable, "", 0), ("distance_beyond_truth", variable, "", 0))
        assert by_answer["input"][rate] == by_answer["truth"][rate] == 1
        assert by_answer["input"][beyond] == pytest.approx(0, abs=1e-6)
        assert by_answer["truth"][beyond] == 0
        assert by_answer["stranger"][rate] < 0.1
        assert by_answer["stranger"][beyond] > 0.5


def test_interventions_that_make_somebody_else_are_left_out(dataset):
    cells = Recognition(asked.setting(dataset, changes_individual=("c",))).cells
    assert {cell.intervened for cell in cells} == {"a", "b"}


def test_the_estimate_is_nought_for_the_input_and_one_for_the_truth(dataset, known):
    for answer, wanted in ((asked.unchanged, 0.0), (asked.true, 1.0)):
        found = asked.points("estimate", known, dataset, answer)
        for variable in asked.NAMES:
            assert found["estimated_skill", variable, "", 0] == pytest.approx(wanted, abs=5e-3)
            assert found["recognised_skill", variable, "", 0] == pytest.approx(wanted, abs=5e-3)


def test_the_estimate_by_hand(dataset, known):
    """Half of the change, an image that loses 3 grey levels each time, and everybody recognised."""

    def lossy(factual, held, truth):
        return {**truth, "image": 0.5 * (factual["image"] + truth["image"]) + 3}

    found = asked.points("estimate", known, dataset, lossy)
    change = known.typical_change["c"]
    assert found["loss_of_null", "c", "", 0] == pytest.approx(3, abs=1e-6)
    back = found["loss_there_and_back", "c", "", 0]
    assert back > 3
    expected = found["recognised_skill", "c", "", 0] - back / change
    assert found["estimated_skill", "c", "", 0] == pytest.approx(expected, abs=1e-9)


def test_who_is_not_recognised_counts_at_least_as_doing_nothing(dataset, known):
    swapped = asked.points("estimate", known, dataset, stranger(dataset))
    plain = asked.points("effectiveness", known, dataset, stranger(dataset))
    for variable in asked.NAMES:
        assert swapped["recognised_skill", variable, "", 0] <= 0.1
        assert swapped["estimated_skill", variable, "", 0] < 0.1
        assert float(bounded(torch.tensor([1 - swapped["estimated_skill", variable, "", 0]]).numpy())[0]) < 0.1
        assert plain["skill", variable, variable, 0] > swapped["recognised_skill", variable, "", 0] + 0.1


def test_without_the_way_back_the_null_answer_counts_alone(dataset, known):
    batches = [one for one in asked.answers(dataset, asked.noisy, [torch.arange(40)]) if one.kind != "return"]
    columns = {c.cell.quantity: c for c in asked.computed("estimate", known, batches) if c.cell.intervened == "a"}
    assert "loss_there_and_back" not in columns
    loss, change = columns["loss_of_null"].point(), known.typical_change["a"]
    assert columns["estimated_skill"].point() == pytest.approx(
        columns["recognised_skill"].point() - loss / change, abs=1e-9
    )


def test_why_nothing_is_estimated(dataset):
    bare = asked.setting(dataset, typical_change={"a": 3.0}, changes_individual=("c",), judged=("a",))
    from counterbench.metrics.estimate import EstimatedSkill

    assert EstimatedSkill(bare).skipped == {
        "estimate do(b)": "no judge measures what it changes",
        "estimate do(c)": "it changes who it is",
    }
    unpinned = EstimatedSkill(asked.setting(dataset, typical_change={}))
    assert "typical-change" in unpinned.skipped["estimate do(a)"]
    assert unpinned.cells == []
