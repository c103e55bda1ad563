"""Angles: 359 degrees are 2 from 1 degree, whoever measures it."""

from dataclasses import replace

import pytest
import torch

from counterbench.causal.graph import CausalGraph
from counterbench.causal.samples import Samples
from counterbench.causal.variables import Continuous, Image
from counterbench.judges import Reading
from counterbench.judges.base import Judge
from counterbench.judges.sensitivity import error_of
from counterbench.metrics.answers import Answers, Batch, Instruments, NoiseSample
from counterbench.metrics.base import Setting
from counterbench.plans.question import Question
from counterbench.plugins import registry

COUNT = 20
TURN = Continuous("turn", 0, 360, "degrees", periodic=True)
OTHER = replace(TURN, name="other")
SETTING = Setting(
    CausalGraph({"k": (), "turn": ("k",), "other": (), "image": ("turn", "other")}),
    {"k": Continuous("k", 0, 1), "turn": TURN, "other": OTHER, "image": Image("image", 1, 1, 2)},
    "image",
    ("k",),
    ("turn", "other"),
    cycles=1,
    with_truth=("k",),
    spread={"turn": 100.0, "other": 100.0},
    noise={"k.e": 1},
    assumed={"k": ("turn",)},
)


def values(turn, other):
    """Both angles, and an image that shows them in its two pixels."""
    angles = {"turn": torch.full((COUNT,), float(turn)), "other": torch.full((COUNT,), float(other))}
    return {"k": torch.zeros(COUNT), **angles, "image": torch.stack([*angles.values()], 1).view(-1, 1, 1, 2)}


def answers(question):
    """From 90 and 359 degrees, where 1 and 359 are right, to 359 and 1."""
    angles = Instruments(
        lambda images: {name: Reading(images[None, :, 0, 0, at]) for at, name in enumerate(("turn", "other"))}
    )
    still = {"k.e": torch.randn(COUNT, 1, generator=torch.Generator().manual_seed(0))}
    batch = Batch(
        Samples(values(1 if question.kind == "null" else 90, 359), question.rows),
        "image",
        instruments=angles,
        noise=lambda: NoiseSample(still, still),
    )
    return Answers(batch, question, values(359, 1), targets=values(1, 359), truth=values(1, 359))


@pytest.mark.parametrize(
    ("metric", "quantity", "measured", "expected"),
    [
        ("truth", "attribute_error", "turn", 2),
        ("truth", "attribute_error", "other", 2),
        ("effectiveness", "absolute_error", "turn", 2),
        ("effectiveness", "attribute_error", "turn", 2),
        ("effectiveness", "skill", "turn", 1 - 2 / 89),
        ("off_target", "change", "other", 2 / 100),
        ("percentage_error", "percentage_error", "turn", 200),
        ("abduction", "round_trip_error", "turn", 2),
    ],
)
def test_the_shorter_way_round_counts(metric, quantity, measured, expected):
    rows = torch.arange(COUNT)
    question = Question("null", rows, cycle=1) if metric == "abduction" else Question("single", rows, "k", rows / COUNT)
    computed = registry.metrics.get(metric)(SETTING)
    computed.update(answers(question))
    found = {(column.cell.quantity, column.cell.measured): column.point() for column in computed.compute()}
    assert found[quantity, measured] == pytest.approx(expected)


def test_the_sensitivity_card_of_a_judge_of_angles():
    class Brightest(Judge):
        fingerprint = "brightest"

        def _measure(self, images):
            return images.amax((1, 2, 3)).double() + 119

    assert error_of(Brightest(TURN), torch.full((3, 1, 4, 4), 240.0), torch.ones(3)).tolist() == [2, 2, 2]
