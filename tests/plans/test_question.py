"""One question: everything else derives from it."""

import pytest
import torch

from counterbench.plans.plan import Plan
from counterbench.plans.question import all_of

ROWS = torch.tensor([4, 7, 9])


@pytest.fixture
def plan():
    values = {"age": torch.tensor([1.0, 2.0, 3.0]), "sex": torch.tensor([0, 1, 0])}
    back = {"age": torch.tensor([5.0, 6.0, 7.0])}
    return Plan(ROWS, 2, values, back, (("age", "sex"),))


def test_every_question_stands_after_the_one_that_it_follows_from(plan):
    names = [question.name for question in plan.questions]
    assert names == ["null/1", "null/2", "single/age", "single/sex", "return/age", "pair/age/sex", "pair/sex/age"]
    for position, question in enumerate(plan.questions):
        for other in (question.follows, question.swaps):
            assert other is None or other.name in names[:position]


def test_what_is_set_and_what_it_begins_with(plan):
    asked = {question.name: question for question in plan.questions}
    assert asked["null/2"].held == {}
    assert asked["null/2"].follows is asked["null/1"]
    assert torch.equal(asked["return/age"].held["age"], plan.undo["age"])
    assert torch.equal(asked["return/age"].follows.held["age"], plan.single["age"])
    first, second = asked["pair/age/sex"], asked["pair/sex/age"]
    assert (first.variable, first.follows.name, first.swaps) == ("sex", "single/age", None)
    assert (second.variable, second.follows.name, second.swaps) == ("age", "single/sex", first)
    assert [question.intervened for question in (first, second, asked["return/age"], asked["null/1"])] == [
        ("age", "sex"),
        ("sex", "age"),
        ("age",),
        (),
    ]


def test_rounds_streams_and_files(plan):
    assert [[question.name for question in all_of(plan.questions, number)] for number in (1, 2, 3)] == [
        ["null/1", "single/age", "single/sex"],
        ["null/2", "return/age", "pair/age/sex", "pair/sex/age"],
        [],
    ]
    pair = plan.questions[-1]
    assert pair.streams() == ["row/4", "row/7", "row/9"]
    assert pair.file(7) == "pair.sex.age.000007"
    assert all(question.streams() == pair.streams() for question in plan.questions)


def test_a_part_of_a_question_is_the_same_question_about_fewer_images(plan):
    whole = plan.questions[-1]
    part = whole.at(torch.tensor([2, 0]))
    assert part.rows.tolist() == [9, 4]
    assert part.values.tolist() == whole.values[[2, 0]].tolist()
    assert part.follows.values.tolist() == whole.follows.values[[2, 0]].tolist()
    assert part.swaps.rows.tolist() == [9, 4]
    assert part.name == whole.name
