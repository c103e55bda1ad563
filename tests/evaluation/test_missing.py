"""A missing answer is never better than any that was given, whatever the number."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from counterbench import evaluation
from counterbench.evaluation.missing import penalised
from counterbench.metrics.base import Cell, Column
from counterbench.metrics.minimality import Minimality
from counterbench.plugins import registry
from counterbench.records.estimate import regret

OWN = Cell("somebodys_own", "", "lower", "a")
SIGNED = Cell("gain", "dB", "higher", "a")
QUANTITIES = (
    "l1",
    "absolute_error",
    "accuracy",
    "skill",
    "change",
    "mean_change",
    "amplification",
    "truth_skill",
    "change_skill",
    "effect_error",
    "cld_0.8_0.2",
    "rate",
    "distance_beyond_truth",
    "effect",
    "excess_change",
    "percentage_error",
    "somebodys_own",
    "gain",
)
VALUES = st.lists(st.floats(-5, 400), min_size=2, max_size=12)


@pytest.fixture(scope="module")
def cells(toy):
    """One cell of every quantity, as the metrics declare it."""
    names = ["effectiveness", "off_target", "truth", "minimality", "percentage_error"]
    exam = evaluation.prepare(toy.Toy(), "quick", device="cpu", metrics=names)
    preserved = registry.metrics.get("recognition")(exam.setting(), recogniser="toy-residual")
    known = [cell for metric in (*exam.make_metrics(), preserved) for cell in metric.cells]
    cld = Minimality(exam.setting())._cld("a", (0.8, 0.2))
    first = {cell.quantity: cell for cell in reversed([*known, cld, OWN, SIGNED])}
    return {**first, "absolute_error": next(c for c in known if (c.quantity, c.measured) == ("absolute_error", "b"))}


def column(cell, values, name="some"):
    value = torch.tensor(values, dtype=torch.float64)
    if cell.direction in ("lower", "higher") and cell.quantity not in ("effect", "gain"):
        value = value.abs()
    if cell.quantity == "accuracy":
        value = value / 405
    return Column(name, cell, torch.arange(len(values)), value, reference=torch.full_like(value, 2.0))


@pytest.mark.parametrize("quantity", QUANTITIES)
@given(values=VALUES, seed=st.integers(0, 2**16))
def test_dropping_an_answer_never_improves_the_number(cells, quantity, values, seed):
    cell = cells[quantity]
    whole = column(cell, values)
    if quantity == "l1":
        whole.value = whole.value.clamp(max=255)
    dropped = torch.randperm(len(values), generator=torch.Generator().manual_seed(seed))[: 1 + seed % len(values)]
    part = penalised(whole, dropped)
    kept = ~torch.isin(whole.index, dropped)
    assert torch.equal(part.value[kept], whole.value[kept])
    if not kept.any():
        return
    answered = Column("some", cell, whole.index[kept], whole.value[kept], reference=whole.reference[kept])
    assert regret(part.point(), cell.direction) >= regret(answered.point(), cell.direction) - 1e-9


def test_what_is_answered_is_not_touched_and_bounds_are_those_of_the_data(cells):
    whole = column(cells["l1"], [1.0, 2.0])
    assert penalised(whole, torch.tensor([7])) is whole
    assert penalised(whole, torch.tensor([1])).value.tolist() == [1.0, 510.0]  # 255, and this reference is 2
    cld = penalised(column(cells["cld_0.8_0.2"], [0.1, 0.2]), torch.tensor([0]))
    assert cld.value[0] == pytest.approx(2 * (1 + math.log(1.0)))
    assert penalised(column(cells["accuracy"], [400.0, 400.0]), torch.tensor([0])).value[0] == 0


def test_bounds_are_those_of_images_and_ranges(cells):
    """64 pixels of 255; a range from -4 to 6."""
    amplification = penalised(column(cells["amplification"], [1.0, 2.0]), torch.tensor([0]))
    assert amplification.value[0] == 255**2  # of the square, whatever the true change
    for quantity in ("effect", "effect_error"):
        penalty = (
            penalised(column(cells[quantity], [1.0, 2.0]), torch.tensor([0])).value[0] - (quantity == "effect") * 2
        )
        assert abs(penalty) == 2 * 255
    for quantity, worst in (("truth_skill", 255), ("change_skill", 510)):
        assert penalised(column(cells[quantity], [1.0, 2.0]), torch.tensor([0])).value[0] == worst
    error = penalised(column(cells["absolute_error"], [1.0, 2.0]), torch.tensor([0]))
    assert error.value[0] == pytest.approx(2 * 10)


@pytest.mark.parametrize(
    ("declared", "worst"),
    [
        ({"direction": "lower"}, 1.0),
        ({"direction": "lower", "bounds": (0.0, 90.0)}, 90.0),
        ({"direction": "lower", "bounds": (0.0, 90.0), "worst": 60.0}, 60.0),
        ({"direction": "higher"}, 0.0),
        ({"direction": "higher", "bounds": (-1.0, 1.0)}, -1.0),
        ({"direction": "higher", "bounds": (None, 1.0), "kind": "skill"}, 1.0),
        ({"direction": "zero"}, 2.0),
        ({"direction": "half", "worst": 0.5}, 0.5),
    ],
)
def test_a_metric_says_what_the_worst_answer_is(declared, worst):
    assert Cell("own", "mm", **declared).worst_of_sample == worst


@pytest.mark.parametrize("statistic", ["set", "pseudo"])
def test_statistics_of_whole_sets_are_left_as_they_were_judged(statistic):
    """Also one that somebody else brings, whatever it is called."""
    whole = column(Cell("my_distance_of_sets", "", "lower", "a", statistic=statistic), [0.1, 0.2])
    assert penalised(whole, torch.tensor([0])) is whole
