"""Boards read records, and add nothing to them."""

import csv
import io
import json
import os
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from counterbench import evaluation, leaderboard, models
from counterbench.cli import main
from counterbench.errors import RecordError, RecordWarning
from counterbench.evaluation import results_folder
from counterbench.leaderboard import formats as report
from counterbench.leaderboard import website
from counterbench.models.model import Contestant
from counterbench.records.record import read_record, write_record

METRICS = ["composition", "effectiveness", "truth"]


def made(toy, name, keep, home, **more):
    class Model:
        def counterfactual(self, factual, interventions, generator=None):
            return toy.exact_scm(keep=keep).counterfactual(factual, interventions, generator)

    exam = evaluation.prepare(toy.Toy(), "standard", device="cpu", metrics=METRICS, **more)
    done = evaluation.evaluate(Contestant(name, Model(), title=name, pixel_noise="none"), exam)
    results_folder.save(done, home / name)


@pytest.fixture(scope="module")
def records(toy, tmp_path_factory):
    """Three models: a good one, its twin, a bad one; and a baseline."""
    home = tmp_path_factory.mktemp("boards")
    for name, keep in (("good", 0.95), ("twin", 0.95), ("bad_one", 0.6)):
        made(toy, name, keep, home)
    exam = evaluation.prepare(toy.Toy(), "standard", device="cpu", metrics=METRICS)
    results_folder.save(evaluation.evaluate(models.load("identity", exam.dataset), exam), home / "identity")
    return home


@pytest.fixture(scope="module")
def board(records):
    (one,) = leaderboard.build(leaderboard.find(records), resamples=2000)
    return one


def test_a_board_has_the_numbers_of_the_records(board, records):
    assert {row.name for row in board.rows} == {"good", "twin", "bad_one"}  # the baseline is no model
    for row in board.rows:
        record = read_record(records / row.name / "record.json")
        for key in board.columns:
            assert row.number(key) == record.by_key.get(key)
    assert list(board.ends) == ["identity", "noise", "retrieve", "resample", "truth", "real"]
    one = next(iter(board.columns))
    assert (
        board.ends["identity"][one] == read_record(records / "good" / "record.json").by_key[one].references["identity"]
    )


def test_who_cannot_be_told_apart_shares_a_rank(board):
    ranks = {row.name: row.ranks["truth", "l1", "a", "", 0, "l1"] for row in board.rows}
    assert ranks == {"good": 1, "twin": 1, "bad_one": 3}
    assert [line.name for line in board.lines][:4] == ["truth", "good", "twin", "bad_one"]
    values = [line.skill.value for line in board.lines]
    assert values == sorted(values, reverse=True)
    places = {line.name: line.place and line.place.rank for line in board.lines}
    assert (places["good"], places["twin"], places["bad_one"], places["identity"]) == (1, 1, 3, 4)
    assert places["truth"] is None  # its record is not here; where it stands, the models' records say


def test_other_questions_have_no_rank_and_are_marked(records, toy, tmp_path):
    shutil.copytree(records, tmp_path, dirs_exist_ok=True)
    made(toy, "hasty", 0.99, tmp_path, limit=20)
    (board,) = leaderboard.build(leaderboard.find(tmp_path), resamples=500)
    hasty = next(row for row in board.rows if row.name == "hasty")
    assert not hasty.ranks
    assert "partial: 20 of 120 images" in hasty.marks
    assert board.rows[-1] is hasty
    assert "hasty has no rank: it is partial (20 of 120 images)" in board.notes
    assert {row.name for row in board.rows if row.place} == {"good", "twin", "bad_one"}


def test_without_scores_there_are_no_ranks_but_a_board(records, tmp_path):
    for name in ("good", "bad_one"):
        shutil.copy(records / name / "record.json", tmp_path / f"{name}.json")
    (board,) = leaderboard.build(leaderboard.find(tmp_path), resamples=500)
    assert all(not row.ranks for row in board.rows)
    assert any("good has no rank: Neither" in note for note in board.notes)
    for name in ("good", "bad_one"):
        shutil.copy(records / name / "totals.safetensors", tmp_path / f"{name}.totals.safetensors")
    (board,) = leaderboard.build(leaderboard.find(tmp_path), resamples=500)
    assert all(row.ranks for row in board.rows)


def test_partial_records_never_push_whole_ones_aside(records, toy, tmp_path):
    shutil.copytree(records / "good", tmp_path / "good")
    for name in ("hasty", "hastier"):
        made(toy, name, 0.99, tmp_path, limit=20)
    (board,) = leaderboard.build(leaderboard.find(tmp_path), resamples=500)
    assert not any(row.ranks for row in board.rows)
    whole = read_record(records / "good" / "record.json")
    assert {key: end.value for key, end in board.ends["identity"].items() if key[0] == "truth"} == {
        n.key: n.references["identity"].value for n in whole.numbers if n.metric == "truth" and not n.detail
    }
    shutil.rmtree(tmp_path / "good")  # where all are partial, they are compared with each other
    (board,) = leaderboard.build(leaderboard.find(tmp_path), resamples=500)
    assert all(row.ranks for row in board.rows)


def changed(path, **update):
    """A copy of a record beside its scores, with other numbers or inputs."""
    record = read_record(path / "record.json")
    inputs = record.inputs.model_copy(update={k: v for k, v in update.items() if k in type(record.inputs).model_fields})
    own = {k: v for k, v in update.items() if k in type(record).model_fields}
    write_record(record.model_copy(update={**own, "inputs": inputs}), path / "record.json")


def test_one_that_does_not_fit_costs_nobody_else_their_ranks(records, board, tmp_path):
    expected = {row.name: row.ranks for row in board.rows}
    for name, change in (("older", {"edition": 9}), ("bare", {}), ("odd", {})):
        shutil.copytree(records / "good", tmp_path / name)
        changed(tmp_path / name, model=name, **change)
    (tmp_path / "bare" / "samples.parquet").unlink()
    (tmp_path / "bare" / "totals.safetensors").unlink()
    (tmp_path / "odd" / "samples.parquet").unlink()
    poison(tmp_path / "odd" / "totals.safetensors")
    shutil.copytree(records, tmp_path, dirs_exist_ok=True)
    shutil.copytree(records / "good", tmp_path / "again")
    (found,) = leaderboard.build(leaderboard.find(tmp_path), resamples=2000)
    ranks = {row.name: row.ranks for row in found.rows}
    assert {name: ranks.pop(name) for name in ("older", "bare", "odd")} == {"older": {}, "bare": {}, "odd": {}}
    assert ranks == expected
    told = "\n".join(found.notes)
    assert re.search("older has no rank: its numbers are defined otherwise .'edition' differs", told)
    assert "bare has no rank: Neither" in told
    assert re.search("odd has no rank: .* is damaged .some totals are no numbers", told)
    assert re.search("good.* is left out: it is the same evaluation as .*again", told)


def poison(path):
    """Totals that are no numbers: every comparison with them would be a tie."""
    from safetensors import safe_open
    from safetensors.numpy import save_file

    with safe_open(path, framework="numpy") as stored:
        tensors, metadata = {name: stored.get_tensor(name) for name in stored.keys()}, stored.metadata()  # noqa: SIM118
    tensors["numerator"][0] = np.nan
    save_file(tensors, path, metadata)


def test_who_lacks_numbers_costs_nobody_theirs(records, board, tmp_path):
    shutil.copytree(records, tmp_path, dirs_exist_ok=True)
    record = read_record(tmp_path / "twin" / "record.json")
    changed(tmp_path / "twin", numbers=[n for n in record.numbers if n.metric == "truth"])
    (found,) = leaderboard.build(leaderboard.find(tmp_path), resamples=2000)
    rows = {row.name: row for row in found.rows}
    assert rows["twin"].place.rank == 1
    assert rows["good"].ranks.keys() == next(row for row in board.rows if row.name == "good").ranks.keys()


def test_leaked_numbers_have_no_rank(records, tmp_path):
    shutil.copytree(records, tmp_path, dirs_exist_ok=True)
    record = read_record(tmp_path / "good" / "record.json")
    changed(
        tmp_path / "good",
        numbers=[n.model_copy(update={"leaked": n.metric == "effectiveness"}) for n in record.numbers],
    )
    (found,) = leaderboard.build(leaderboard.find(tmp_path), resamples=500)
    rows = {row.name: row for row in found.rows}
    assert not [key for key in rows["good"].ranks if key[0] == "effectiveness"]
    assert [key for key in rows["twin"].ranks if key[0] == "effectiveness"]
    assert [key for key in rows["good"].ranks if key[0] == "truth"]


def test_floors_that_differ_are_told(records, tmp_path):
    shutil.copytree(records, tmp_path, dirs_exist_ok=True)
    record = read_record(tmp_path / "twin" / "record.json")
    numbers = [
        n.model_copy(
            update={
                "references": {
                    **n.references,
                    "retrieve": n.references["retrieve"].model_copy(update={"value": 0.5, "low": 0.4, "high": 0.6}),
                }
            }
        )
        if n.metric == "truth" and n.quantity == "l1"
        else n
        for n in record.numbers
    ]
    changed(tmp_path / "twin", numbers=numbers)
    (found,) = leaderboard.build(leaderboard.find(tmp_path), resamples=500)
    assert any("say different things of the baseline retrieve" in note for note in found.notes)


@pytest.mark.parametrize("name", ["bad_one", "twin"])
@pytest.mark.parametrize("change", [{"direction": "higher"}, {"unit": "miles"}])
def test_a_record_that_means_other_things_by_a_number_is_left_out(records, tmp_path, name, change):
    shutil.copytree(records, tmp_path, dirs_exist_ok=True)
    record = read_record(tmp_path / name / "record.json")
    changed(tmp_path / name, numbers=[n.model_copy(update=change) for n in record.numbers])
    (board,) = leaderboard.build(leaderboard.find(tmp_path), resamples=500)
    assert {row.name for row in board.rows} == {"good", "twin", "bad_one"} - {name}
    assert all(row.ranks for row in board.rows)
    assert any(
        f"{name} is left out: it does not mean the same as the others by composition l1" in n for n in board.notes
    )


def test_what_is_no_record_is_told_and_left_out(records, board, tmp_path):
    """Whatever lies in the folder, the others get their board."""
    shutil.copytree(records, tmp_path / "records")
    home = tmp_path / "records"
    plain = json.loads((home / "good" / "record.json").read_text())
    strange = {
        "package.json": '{"name": "package", "version": "1.0"}',
        "empty/record.json": "",
        "deep/record.json": "[" * 100_000,
        "negative/record.json": json.dumps({**plain, "inputs": {**plain["inputs"], "seed": -1}}),
        "untrue/record.json": json.dumps({**plain, "images": 5000}),
    }
    for name, text in strange.items():
        (home / name).parent.mkdir(exist_ok=True)
        (home / name).write_text(text)
    (home / "pipe").mkdir()
    os.mkfifo(home / "pipe" / "record.json")
    with pytest.warns(RecordWarning) as warned:
        done = CliRunner().invoke(
            main, ["leaderboard", "build", "--records", str(home), "--output", str(tmp_path / "out"), "--no-pictures"]
        )
    assert done.exit_code == 0, done.output
    told = [str(one.message) for one in warned]
    assert all(line.startswith("left out of the boards: ") and "\n" not in line for line in told)
    assert len(told) == 6
    for name in (*strange, "pipe/record.json"):
        assert sum(f"{home / name} " in line or f"{home / name}:" in line for line in told) == 1, name
    (found,) = json.loads((tmp_path / "out" / "leaderboard.json").read_text())["boards"]
    assert {one["name"] for one in found["models"]} == {row.name for row in board.rows}


def test_names_of_any_kind_stay_in_their_folder_and_are_seen(records, tmp_path):
    shutil.copytree(records, tmp_path / "records")
    names = {"good": "m" * 300, "twin": "/", "bad_one": "\x1b]0;title\x07one\ntwo\u202ethree"}
    for folder, name in names.items():
        changed(tmp_path / "records" / folder, model=name)
    changed(tmp_path / "records" / "identity", dataset="d" * 300)
    done = CliRunner().invoke(
        main,
        [
            "leaderboard",
            "build",
            "--records",
            str(tmp_path / "records"),
            "--output",
            str(tmp_path / "out"),
            "--no-pictures",
        ],
    )
    assert done.exit_code == 0, done.output
    assert "(no name)" in done.output
    assert "]0;title one two three" in done.output
    for text in (done.output, (tmp_path / "out" / "toy-formula-standard" / "index.html").read_text()):
        assert not re.search("[\x1b\x07\u202e]", text)
    assert "(no name)" in (tmp_path / "out" / "index.html").read_text()
    with pytest.raises(RecordError, match=r"There is nothing to show: .* is not a record"):
        (tmp_path / "none.json").write_text("{}")
        leaderboard.build([tmp_path / "none.json"])


def test_boards_do_not_say_where_the_records_were(records, tmp_path):
    shutil.copytree(records, tmp_path, dirs_exist_ok=True)
    shutil.copytree(records / "good", tmp_path / "again")
    shutil.copytree(records / "good", tmp_path / "bare")
    changed(tmp_path / "bare", model="bare")
    for name in ("samples.parquet", "totals.safetensors"):
        (tmp_path / "bare" / name).unlink()
    (board,) = leaderboard.build(leaderboard.find(tmp_path), resamples=100)
    assert "good/record.json is left out: it is the same evaluation as again/record.json" in board.notes
    assert any(
        "bare has no rank: Neither samples.parquet nor totals.safetensors is there" in note for note in board.notes
    )
    assert not any(str(tmp_path) in text for text in report.pages([board]).values())


NASTY = "a|b `x` <img src=x> \\input{x} {\\bf $y$\n# and a line"


def test_nobodys_words_are_taken_for_markup(records, tmp_path):
    shutil.copytree(records, tmp_path, dirs_exist_ok=True)
    changed(tmp_path / "twin", model=NASTY, training={"seconds": "abc"}, trained_on=NASTY)
    changed(tmp_path / "bad_one", suite="x/../../escaped")
    record = read_record(tmp_path / "good" / "record.json")
    numbers = [n.model_copy(update={"unit": r"$\frac$"}) if n.metric == "composition" else n for n in record.numbers]
    for name in ("good", "twin"):
        changed(tmp_path / name, numbers=numbers)
    boards = leaderboard.build(leaderboard.find(tmp_path), resamples=100)
    out = tmp_path / "site" / "boards"
    website.build(boards, out)
    assert not list(tmp_path.glob("escaped*"))
    assert all(path.parent.parent in (out, out.parent) or path.parent == out for path in tmp_path.rglob("*.html"))
    board = next(board for board in boards if len(board.rows) > 1)
    text = report.latex(board)
    assert r"\input" not in text
    assert text.replace(r"\{", "").replace(r"\}", "").count("{") == text.replace(r"\{", "").replace(r"\}", "").count(
        "}"
    )
    plain = report.markdown(board)
    assert "<img" not in plain.replace(r"\<img", "")
    assert "\n# and" not in plain
    tables = [line for line in plain.splitlines() if line.startswith("| ")]
    widths = {line.replace(r"\|", "").count("|") for line in tables if "**" not in line and "---" not in line}
    assert len(widths) <= 2  # the summary, and the tables


def test_headings_and_cells_are_words(records, tmp_path):
    """Markdown headings hold no markup, and no spreadsheet computes a cell."""
    shutil.copytree(records, tmp_path, dirs_exist_ok=True)
    formula = '=HYPERLINK("http://x","y")'
    for name in ("good", "twin", "bad_one", "identity"):
        changed(tmp_path / name, dataset="<img src=x onerror=alert(1)>", source=formula, suite="@a\x1b[31m")
    changed(tmp_path / "twin", model=f"/{formula.replace('/', '|')}")
    (board,) = leaderboard.build(leaderboard.find(tmp_path), resamples=100)
    heading = report.markdown(board).splitlines()[0]
    assert heading.startswith(r"# \<img src=x onerror=alert(1)\>")
    lines = list(csv.reader(io.StringIO(report.to_csv([board]))))
    assert not any(cell.startswith(("=", "+", "@")) for line in lines for cell in line)
    assert any(cell == f"'{formula}" for line in lines for cell in line)
    assert any(
        float(cell) < 0 for line in lines for cell in line if re.fullmatch(r"-\d.*", cell)
    )  # numbers stay numbers
    website.build([board], tmp_path / "site")
    for text in (*report.pages([board]).values(), *(page.read_text() for page in (tmp_path / "site").rglob("*.html"))):
        assert "\x1b" not in text


def test_what_floors_win_is_starred(board, records):
    record = read_record(records / "good" / "record.json")
    key = ("composition", "l1", "", "", 10, "l1")
    assert record.by_key[key].references["identity"].value == 0
    row = next(row for row in board.rows if row.name == "good")
    assert report._cell(row, key).startswith(f"{report.show(record.by_key[key].value)}\\* (1)")
    assert "$^*$" in report.latex(board)
    assert any(not report.beaten(number) for number in record.numbers if number.metric == "truth")


def test_latex_says_what_is_partial_and_leaked(records, toy, tmp_path):
    shutil.copytree(records, tmp_path, dirs_exist_ok=True)
    made(toy, "hasty", 0.99, tmp_path, limit=20)
    record = read_record(tmp_path / "good" / "record.json")
    changed(tmp_path / "good", numbers=[n.model_copy(update={"leaked": n.metric == "truth"}) for n in record.numbers])
    (found,) = leaderboard.build(leaderboard.find(tmp_path), resamples=100)
    text = report.latex(found)
    assert r"hasty$^\ddagger$" in text
    assert "partial: 20 of 120 images" in text
    assert text.count(r"$^\dagger$") == 1 + sum(n.metric == "truth" and not n.detail for n in record.numbers)


def test_one_model_needs_no_rank(records, tmp_path):
    shutil.copytree(records / "good", tmp_path / "good")
    (board,) = leaderboard.build(leaderboard.find(tmp_path))
    assert board.ranking.differences == ()
    assert board.rows[0].ranks == {}
    assert board.rows[0].place.rank == 1
    assert "| - | *identity* | 0 " in report.markdown(board)


def test_leaked_numbers_are_marked(records, tmp_path):
    shutil.copytree(records / "good", tmp_path / "good")
    path = tmp_path / "good" / "record.json"
    record = read_record(path)
    numbers = [n.model_copy(update={"leaked": n.metric == "effectiveness"}) for n in record.numbers]
    write_record(record.model_copy(update={"numbers": numbers}), path)
    (board,) = leaderboard.build([path])
    assert any(mark.startswith("leaked") for mark in board.rows[0].marks)
    assert "LEAKED" in report.markdown(board)


def test_csv_and_json_say_the_same(board):
    lines = list(csv.DictReader(io.StringIO(report.to_csv([board]))))
    plain = json.loads(json.dumps(report.to_json([board])))
    numbers = plain["boards"][0]["numbers"]
    assert len(lines) == len(numbers)
    for line, number in zip(lines, numbers, strict=True):
        assert float(line["value"]) == number["value"]
        assert line["model"] == number["model"]
    assert {line["kind"] for line in lines} == {"model", "floor", "ceiling"}
    assert {line["dataset"] for line in lines} == {"toy"}


def test_every_headline_number_is_in_the_markdown(board):
    text = report.markdown(board)
    for row in board.rows:
        for key in board.columns:
            if (number := row.number(key)) is not None:
                assert report._cell(row, key) in text
                assert report.show(number.value) in text
    widths = {line.count("|") for line in text.splitlines() if line.startswith("| l1")}
    assert len(widths) == 1


def test_latex_is_well_formed_and_escaped(board):
    text = report.latex(board)
    assert r"bad\_one" in text
    assert text.count(r"\begin{tabular}") == text.count(r"\end{tabular}") == 1
    body = [line for line in text.splitlines() if line.endswith(r"\\") and not line.startswith(r"\multicolumn")]
    assert len({line.count(" & ") for line in body}) == 1
    assert r"\textbf{" in text
    assert text.count("{") == text.count("}")


def test_records_that_cannot_be_are_refused(records, tmp_path):
    shutil.copytree(records / "good", tmp_path / "good")
    path = tmp_path / "good" / "record.json"
    record = read_record(path)
    write_record(record.model_copy(update={"images": 5000}), path)
    with pytest.raises(RecordError, match="cannot be true: 5000 images"):
        leaderboard.build([path])
    with pytest.raises(RecordError, match="holds no records"):
        leaderboard.find(empty(tmp_path))
    with pytest.raises(RecordError, match="is no folder"):
        leaderboard.find(tmp_path / "nowhere")


def empty(home: Path) -> Path:
    (home / "empty").mkdir()
    return home / "empty"


def test_the_command_writes_everything(records, tmp_path):
    out = tmp_path / "boards"
    done = CliRunner().invoke(main, ["leaderboard", "build", "--records", str(records), "--output", str(out)])
    assert done.exit_code == 0, done.output
    name = "toy-formula-standard"
    texts = {f"{name}.md", f"{name}.tex", "leaderboard.csv", "leaderboard.json"}
    assert {p.name for p in out.iterdir()} == {*texts, "index.html", "static", name}
    assert (out / name / "compare.html").exists()
    first = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    shutil.copytree(records, out / "records")  # boards beside records are no records
    again = CliRunner().invoke(main, ["leaderboard", "build", "--records", str(out), "--output", str(out)])
    assert again.exit_code == 0, again.output
    assert {path: path.read_bytes() for path in first} == first
    done = CliRunner().invoke(main, ["leaderboard", "build", "--records", str(tmp_path / "none")])
    assert done.exit_code == 1
    assert "is no folder" in done.stderr
