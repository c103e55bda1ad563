"""A missing answer is never better than any that was given, whatever the number."""

import math
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from counterbench import evaluation
from counterbench.evaluation.missing import penalised
from counterbench.metrics.base import Cell, Column
from counterbench.records.record import regret

CELLS = [
    Cell("l1", "grey levels", "lower", "a"),
    Cell("absolute_error", "", "lower", "a", "b"),
    Cell("accuracy", "", "higher", "a", "c"),
    Cell("skill", "", "higher", "a", "b", kind="skill"),
    Cell("change", "std", "lower", "a", "c"),
    Cell("mean_change", "std", "lower", "a"),
    Cell("amplification", "grey levels (L2)", "lower", "a"),
    Cell("cld_0.8_0.2", "", "lower", "a", space="posterior"),
    Cell("distance_ratio", "of strangers", "lower", "a", space="judge"),
    Cell("effect", "", "one", "a"),
    Cell("excess_change", "grey levels", "zero", "a"),
    Cell("somebodys_own", "", "lower", "a"),
]
VALUES = st.lists(st.floats(-5, 400), min_size=2, max_size=12)


@pytest.fixture(scope="module")
def metric(toy):
    exam = evaluation.prepare(toy.Toy(), "quick", device="cpu")
    return SimpleNamespace(setting=exam.setting())


def column(cell, values, name="some"):
    value = torch.tensor(values, dtype=torch.float64)
    if cell.direction in ("lower", "higher") and cell.quantity != "effect":
        value = value.abs()
    if cell.direction == "higher" and cell.kind != "skill":
        value = value / 405
    return Column(name, cell, torch.arange(len(values)), value, torch.full_like(value, 2.0))


@pytest.mark.parametrize("cell", CELLS, ids=lambda cell: cell.quantity)
@given(values=VALUES, seed=st.integers(0, 2**16))
def test_dropping_an_answer_never_improves_the_number(metric, cell, values, seed):
    whole = column(cell, values)
    if cell.quantity == "l1":
        whole.value = whole.value.clamp(max=255)
    dropped = torch.randperm(len(values), generator=torch.Generator().manual_seed(seed))[: 1 + seed % len(values)]
    part = penalised(whole, dropped, metric)
    kept = ~torch.isin(whole.index, dropped)
    assert torch.equal(part.value[kept], whole.value[kept])
    if not kept.any():
        return
    answered = Column("some", cell, whole.index[kept], whole.value[kept], whole.reference[kept])
    assert regret(part.point(), cell.direction) >= regret(answered.point(), cell.direction) - 1e-9


def test_what_is_answered_is_not_touched_and_bounds_are_those_of_the_data(metric):
    whole = column(CELLS[0], [1.0, 2.0])
    assert penalised(whole, torch.tensor([7]), metric) is whole
    assert penalised(whole, torch.tensor([1]), metric).value.tolist() == [1.0, 510.0]  # 255, and this reference is 2
    cld = penalised(column(CELLS[7], [0.1, 0.2]), torch.tensor([0]), metric)
    assert cld.value[0] == pytest.approx(2 * (1 + math.log(1.0)))
    assert penalised(column(CELLS[2], [400.0, 400.0]), torch.tensor([0]), metric).value[0] == 0


def test_bounds_are_those_of_images_and_ranges(metric):
    """64 pixels of 255; a range from -4 to 6."""
    amplification = penalised(column(CELLS[6], [1.0, 2.0]), torch.tensor([0]), metric)
    assert amplification.value[0] == pytest.approx(2 * 255 * 8)
    error = penalised(column(CELLS[1], [1.0, 2.0]), torch.tensor([0]), metric)
    assert error.value[0] == pytest.approx(2 * 10)


def test_statistics_of_whole_sets_are_left_as_they_were_judged(metric):
    for name, cell in (
        ("realism", Cell("kid", "", "lower", "a")),
        ("effectiveness", Cell("auroc", "", "higher", "a", "c")),
    ):
        whole = column(cell, [0.1, 0.2], name)
        assert penalised(whole, torch.tensor([0]), metric) is whole
