"""The answer in ten lines: positions on scales, remarks, and that it fits."""

import pytest
import toy

from counterbench import evaluation
from counterbench.models.baselines import BASELINES
from counterbench.models.model import Contestant
from counterbench.records import summary, table
from counterbench.records.record import Number, read_record
from counterbench.records.summary import bar, position


@pytest.fixture(scope="module")
def exam():
    return evaluation.prepare(toy.Toy(), "quick", device="cpu", limit=60)


@pytest.fixture(scope="module")
def truth(exam):
    contestant = Contestant("exact", toy.ExactModel(), title="Exact", pixel_temperature=0.5)
    return evaluation.evaluate(contestant, exam).record


@pytest.fixture(scope="module")
def nothing(exam):
    contestant = Contestant("identity", BASELINES["identity"](toy.Toy(), references=100), title="Nothing")
    return evaluation.evaluate(contestant, exam).record


def shares(record, column):
    return {
        number.intervened: position(number, column.start)
        for number in record.numbers
        if column.chosen(number) and " + " not in number.intervened and number.intervened
    }


def test_the_truth_is_at_the_end_of_every_scale_and_doing_nothing_at_its_beginning(truth, nothing):
    effect, target, rest, _ = summary.COLUMNS
    for column in (effect, target):
        assert all(share == pytest.approx(1, abs=0.02) for share in shares(truth, column).values())
        assert all(share == pytest.approx(0, abs=1e-6) for share in shares(nothing, column).values())
        assert shares(truth, column)
    assert all(share == 1 for share in shares(nothing, rest).values() if share is not None)


def test_a_position_is_a_share_of_the_way(truth):
    number = next(n for n in truth.numbers if n.quantity == "effect_error")
    ends = {"identity": number.references["identity"], "truth": number.references["truth"]}
    halfway = (ends["identity"].value + number.ceiling.value) / 2
    assert position(number.model_copy(update={"value": halfway})) == pytest.approx(0.5)
    assert position(number.model_copy(update={"references": {}})) is None
    kept = next(n for n in truth.numbers if n.preserves and n.direction == "lower" and "resample" in n.references)
    worst = kept.references["resample"].value
    assert position(kept.model_copy(update={"value": worst})) == pytest.approx(0)
    assert position(kept.model_copy(update={"value": 0.0})) == 1


@pytest.mark.parametrize("width", [40, 60, 80, 120])
@pytest.mark.parametrize("symbols", [True, False])
def test_it_fits(truth, width, symbols):
    import io

    from rich.console import Console

    console = Console(width=width, file=io.StringIO(), record=True, highlight=False)
    console.print(summary.build(truth, width=width, symbols=symbols))
    lines = console.export_text().splitlines()
    assert max(map(len, lines)) <= width
    assert len(lines) <= (14 if width >= 80 else 24)
    text = "\n".join(lines)
    assert all(f"do({name})" in text for name in ("a", "b", "c"))
    assert "row skill 1 " in text
    assert symbols or text.isascii()


def test_the_long_table_comes_before_it_and_says_what_it_leaves_out(truth):
    short, long = summary.as_text(truth), summary.as_text(truth, True)
    assert long.endswith(short.splitlines()[-1])
    assert len(long.splitlines()) > 5 * len(short.splitlines())
    silent = [number for number in truth.numbers if table.says_nothing(number)]
    assert silent
    assert f"{len(silent)} numbers are left out" in long
    assert "<pre" in summary.as_html(truth)


def test_a_number_says_nothing_only_where_all_rows_share_it(truth):
    number = next(n for n in truth.numbers if n.quantity == "peak_memory")
    assert table.says_nothing(number) == all(end.value == number.value for end in number.references.values())
    assert not table.says_nothing(number.model_copy(update={"value": number.value + 1}))
    error = Number.model_validate(
        {**number.model_dump(), "references": {}, "role": "diagnosis", "value": 0, "low": 0, "high": 0}
    )
    assert table.says_nothing(error)
    assert not table.says_nothing(error.model_copy(update={"high": 0.1}))


def test_doubts_come_first_and_are_counted(truth):
    many = truth.model_copy(update={"flags": [f"flag {number}" for number in range(9)]})
    text = summary.as_text(many)
    assert text.count("\n! ") == 4
    assert "more remarks with --detail" in text


def test_every_published_record_has_one():
    from pathlib import Path

    files = sorted((Path(__file__).parents[2] / "benchmarks" / "records").rglob("*.json"))
    assert len(files) > 30
    for file in files:
        record = read_record(file)
        lines = summary.as_text(record).splitlines()
        assert max(map(len, lines)) <= summary.WIDTH, file
        assert len(lines) <= 24, file


def test_bars():
    assert bar(0.5, 10) == "■■■■■·····"
    assert bar(float("inf"), 4) == "■■■■"
