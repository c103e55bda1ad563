"""Curves against the size of an intervention."""

import pytest

from counterbench import evaluation
from counterbench.leaderboard import charts
from counterbench.leaderboard.dose_figure import dose_figure
from counterbench.models.model import Contestant


@pytest.fixture(scope="module")
def record(toy):
    exam = evaluation.prepare(toy.Toy(), device="cpu", metrics=["dose_response", "cost"])
    return evaluation.evaluate(Contestant("exact", toy.ExactModel()), exam).record


def test_a_column_per_variable_and_a_curve_per_model_and_side(record):
    figure = dose_figure({"exact": record, "again": record})
    axes = figure.axes
    assert [axis.get_title() for axis in axes[:2]] == ["do(a)", "do(b)"]
    assert [axis.get_ylabel() for axis in axes[::2]] == ["effect", "effect error"]
    (legend,) = figure.legends
    words = {text.get_text() for text in legend.get_texts()}
    assert {"exact, in support", "again, in support", "exact, out of support"} <= words
    curve = next(one for one in axes[0].containers if one.get_label() == "exact, in support")
    sizes, effects = curve.lines[0].get_data()
    assert list(sizes) == sorted(sizes)
    assert effects == pytest.approx([1.0] * len(sizes))


def test_without_such_numbers_there_is_no_figure(record):
    others = [number for number in record.numbers if number.metric == "cost"]
    assert dose_figure({"m": record.model_copy(update={"numbers": others})}) is None


def test_pages_get_it_in_their_own_colours(record):
    drawn = charts.doses({"exact": record})
    assert drawn.startswith("<svg")
    assert drawn == charts.doses({"exact": record})
    assert "currentColor" in drawn
    assert "do(a)" in drawn
    others = [number for number in record.numbers if number.metric != "dose_response"]
    assert charts.doses({"m": record.model_copy(update={"numbers": others})}) == ""
