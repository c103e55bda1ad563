"""A metric is one file: what somebody else brings reaches the boards with whatever it declares."""

import pytest

from counterbench import evaluation, leaderboard
from counterbench.evaluation import results_folder
from counterbench.leaderboard import formats
from counterbench.metrics.base import Cell, Column, SampleMetric
from counterbench.models.model import Contestant
from counterbench.plugins import registry
from counterbench.records.plausibility import problems
from counterbench.records.record import read_record
from counterbench.verification.consistency import validate

GAIN = Cell("gain", "dB", "higher", "a")
PRECISION = Cell("precision", "mm", "lower", "a", bounds=(0.0, 80.0))
SPREAD = Cell("diversity", "nepers", "higher", statistic="set", label="diversity of the set")
CELLS = (GAIN, PRECISION, SPREAD)


class Sharpness(SampleMetric):
    """A signed value in a unit of its own, millimetres under the name of a share, a statistic of more samples than images."""

    title, definition, blind_to = "Sharpness", "Three numbers.", "Much."
    asks = frozenset({"single"})

    def __init__(self, setting):
        super().__init__(setting)
        self.name = "sharpness"

    def make_cells(self):
        return list(CELLS)

    def update(self, answers):
        if answers.kind != "single" or answers.intervened != ("a",):
            return
        level = answers.values["image"].flatten(1).mean(1) / 100
        self.add(GAIN, answers.index, -0.25 - level)
        self.add(PRECISION, answers.index, 2 + level)
        self.add(SPREAD, answers.index, level)

    def compute(self):
        columns = super().compute()
        (one,) = (column for column in columns if column.cell == SPREAD)
        index, value, reference = (part.repeat(5) for part in (one.index, one.value, one.reference))
        return [
            *(column for column in columns if column is not one),
            Column(self.name, SPREAD, index, value, reference=reference),
        ]


@pytest.fixture(scope="module")
def records(toy, tmp_path_factory):
    home = tmp_path_factory.mktemp("boards")
    with registry.metrics.temporarily("sharpness", Sharpness):
        for name, keep in (("good", 0.95), ("bad", 0.6)):
            exam = evaluation.prepare(toy.Toy(), "quick", device="cpu", metrics=["composition", "sharpness"])
            made = evaluation.evaluate(Contestant(name, toy.exact_scm(keep=keep)), exam)
            results_folder.save(made, home / name)
            assert validate(home / name).problems == ()
            assert problems(made.record) == []
            known = {number.quantity: number for number in made.record.numbers}
            assert known["gain"].value < 0
            assert known["precision"].value > 1
            assert known["diversity"].n == 5 * made.record.images
    return home


def test_a_plug_in_metric_reaches_the_boards_and_is_ranked(records):
    (board,) = leaderboard.build(leaderboard.find(records), resamples=500)
    assert board.notes == ()
    assert {row.name for row in board.rows} == {"good", "bad"}
    for row in board.rows:
        ranked = {key[1] for key in row.ranks if key[0] == "sharpness"}
        assert ranked == {"gain", "precision", "diversity"}
        assert row.mean is not None
    text = formats.markdown(board)
    assert "| gain, do(a) ↑ |" in text
    assert "| diversity of the set ↑ |" in text


@pytest.mark.parametrize(("quantity", "value"), [("precision", -1.0), ("precision", 81.0)])
def test_what_a_plug_in_declares_is_kept(records, quantity, value):
    record = read_record(records / "good" / "record.json")
    numbers = [
        number.model_copy(update={"value": value, "low": value, "high": value})
        if number.quantity == quantity
        else number
        for number in record.numbers
    ]
    (wrong,) = problems(record.model_copy(update={"numbers": numbers}))
    assert f"{value:g} is not between 0 and 80" in wrong
