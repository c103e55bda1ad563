"""Numbers of subgroups, as tables and on pages."""

import io
from pathlib import Path

import pytest
from rich.console import Console

from counterbench.leaderboard import board, formats, pages, worst
from counterbench.records import subgroups_table
from counterbench.records.plausibility import problems
from counterbench.records.record import Record, read_record, to_json
from counterbench.records.subgroups import BySubgroup, PickedValue, SubgroupEstimate, Subgroups

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def record():
    return read_record(ROOT / "benchmarks" / "records" / "adni-template" / "standard" / "vae.json")


def divided(record, names=("reference", "soft", "noisy"), why=""):
    number = next(one for one in record.numbers if one.metric == "truth" and one.role == "headline")
    values = [
        SubgroupEstimate(
            value=number.value, low=number.low, high=number.high, n=5, references={"identity": 7.25, "truth": 0.0}
        )
        for _ in names
    ]
    told = {name: getattr(number, name) for name in ("metric", "quantity", "intervened", "measured", "cycles", "space")}
    about = BySubgroup(
        **told,
        direction=number.direction,
        values=[None, *values[1:]] if why else values,
        why={names[0]: why} if why else {},
        worst_name=names[-1],
        worst=PickedValue(value=3.25, low=1.5, high=4.75),
        best_name=names[1],
        gap=PickedValue(value=0.25, low=0.0, high=0.5),
    )
    skill = about.model_copy(update=dict.fromkeys(told, "") | {"cycles": 0, "direction": "higher"})
    sizes = [record.images // len(names)] * len(names)
    sizes[0] += record.images - sum(sizes)
    return Subgroups(
        by="domain", names=list(names), images=sizes, clusters=[10] * len(names), row_skill=skill, numbers=[about]
    )


def shown(record, given, width):
    console = Console(width=width, file=io.StringIO(), record=True)
    console.print(subgroups_table.build(record, given, width=width))
    return console.export_text()


@pytest.mark.parametrize("width", [60, 80, 120, 200])
def test_the_table_fits_and_names_the_worst(record, width):
    text = shown(record, divided(record), width)
    assert max(map(len, text.splitlines())) <= width
    assert "noisy" in text
    assert "3.25" in text
    assert "row skill" in text
    assert ("7.25" in text) == (width >= 80)
    assert "#0" not in text
    assert ("wider terminal" in text) == (width < 200)


def test_a_dash_has_its_reason(record):
    text = shown(record, divided(record, why="fewer than 10 independent units bear on it"), 200)
    assert "-: fewer than 10 independent units bear on it (reference)" in text


def test_a_record_with_subgroups_is_read_again_and_checked(record):
    whole = record.model_copy(update={"subgroups": [divided(record)]})
    assert Record.model_validate_json(to_json(whole)) == whole
    assert problems(whole) == problems(record)
    short = divided(record).model_copy(update={"images": [1, 2, 3]})
    assert any("6 images together" in one for one in problems(record.model_copy(update={"subgroups": [short]})))
    twice = divided(record, names=("soft", "soft", "noisy"))
    assert any("3 subgroups" in one for one in problems(record.model_copy(update={"subgroups": [twice]})))


def test_boards_and_pages_name_the_worst(record, tmp_path):
    whole = record.model_copy(update={"subgroups": [divided(record)]})
    table = worst.of_record(whole)[0]
    assert table["rows"][0]["label"] == "row skill"
    assert table["rows"][1]["which"] == "noisy"
    assert worst.of_record(record) == []
    (path := tmp_path / "vae.json").write_text(to_json(whole))
    (tmp_path / "vae.totals.safetensors").write_bytes(
        (ROOT / "benchmarks/records/adni-template/standard/vae.totals.safetensors").read_bytes()
    )
    (made,) = board.build(board.find(tmp_path))
    assert path.is_file()
    assert "## Worst subgroup by domain" in formats.markdown(made)
    assert pages.board(made)["worst"][0]["rows"][0]["which"] == "noisy"


def test_numbers_that_are_the_same_everywhere_are_left_out(record):
    given = divided(record)
    same = given.numbers[0].model_copy(update={"worst_name": "", "best_name": ""})
    text = shown(record, given.model_copy(update={"numbers": [same]}), 120)
    assert "truth do(" not in text
    assert "left out, shown with --detail: 1 that are the same in all subgroups" in text
