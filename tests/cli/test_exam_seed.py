"""An exam about test individuals that are in no public split, from the questions to the board."""

import csv
import json
import shutil

import pytest
from click.testing import CliRunner

from counterbench.cli import main

ELLIPSE = ("--dataset", "ellipse", "--suite", "mechanisms", "--limit", 300)


def invoke(*words):
    return CliRunner().invoke(main, [str(word) for word in words], catch_exceptions=False)


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return invoke


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """Records about the public points and those of two exam seeds."""
    folder = tmp_path_factory.mktemp("results")
    for model, *words in (
        ["spline"],
        ["spline", "--exam-seed", 3],
        ["spline", "--exam-seed", 4],
        ["identity", "--exam-seed", 3],
    ):
        result = invoke("evaluate", "--model", model, *ELLIPSE, *words, "--device", "cpu", "-q", "--output", folder)
        assert result.exit_code == 0, result.output
    return folder


@pytest.fixture
def evaluated(results, tmp_path):
    """(model, exam seed) -> the folder of its evaluation, in `results`."""
    records = {}
    for path in sorted(shutil.copytree(results, tmp_path / "results").rglob("record.json")):
        inputs = json.loads(path.read_text())["inputs"]
        records[inputs["model"], inputs["exam_seed"]] = path.parent
    return records


def test_the_seed_stands_in_the_record_and_whoever_reads_it_takes_the_same_exam(run, evaluated):
    assert set(evaluated) == {("spline", None), ("spline", 3), ("spline", 4), ("identity", 3)}
    record = json.loads((evaluated["spline", 3] / "record.json").read_text())
    assert any("drawn with the exam seed 3" in note for note in record["notes"])
    result = run("validate", "--data", evaluated["spline", 3])
    assert "other" not in result.output
    result = run("verify", evaluated["spline", 3], "--device", "cpu", "-q")
    assert result.exit_code == 0, result.output
    shown = run("plan", "show", *ELLIPSE, "--exam-seed", 3, "-q").output
    assert "seed 0, exam seed 3:" in shown
    assert record["inputs"]["plan"] in shown
    again = run("evaluate", "--model", "spline", *ELLIPSE, "--exam-seed", 3, "--device", "cpu", "-q")
    assert "was made before; showing it" in again.stderr
    assert "exam seed 3" in again.stdout
    assert "exam seed" not in run("evaluate", "--model", "spline", *ELLIPSE, "--device", "cpu", "-q").stdout


def test_a_record_that_lies_about_its_seed_is_found_out(run, evaluated):
    path = evaluated["spline", 3] / "record.json"
    path.write_text(
        path.read_text().replace('"exam_seed": 3', '"exam_seed": 5').replace('"exam_seed":3', '"exam_seed":5')
    )
    result = run("validate", path)
    assert result.exit_code == 1
    assert "other questions" in result.output


def test_boards_compare_equal_seeds_alone(run, evaluated, tmp_path):
    result = run("compare", evaluated["spline", 3], evaluated["spline", 4])
    assert result.exit_code == 1
    assert "the field 'exam_seed' differs (3 against 4)" in result.stderr
    assert run("compare", evaluated["spline", 3], evaluated["identity", 3], "--json").exit_code == 0
    assert run("leaderboard", "build", "--no-pictures", "-q").exit_code == 0
    page = (tmp_path / "leaderboard" / "ellipse-formula-mechanisms-exam-3.md").read_text()
    assert page.startswith("# ellipse / formula, suite mechanisms, exam seed 3\n")
    assert "the test individuals are in no public split: the exam seed 3 draws them" in page
    public = (tmp_path / "leaderboard" / "ellipse-formula-mechanisms.md").read_text()
    assert "exam seed" not in public
    boards = json.loads((tmp_path / "leaderboard" / "leaderboard.json").read_text())["boards"]
    assert [board.get("exam_seed") for board in boards] == [None, 3, 4]
    with (tmp_path / "leaderboard" / "leaderboard.csv").open() as stream:
        assert {row["suite"] for row in csv.DictReader(stream)} == {
            "mechanisms",
            "mechanisms, exam seed 3",
            "mechanisms, exam seed 4",
        }


def test_a_folder_of_questions_knows_its_seed(run, tmp_path):
    words = ("--suite", "quick", "--limit", 3, "-q")
    result = run("plan", "export", *words, "--exam-seed", 3, "--output", "exam")
    assert result.exit_code == 0, result.output
    exam = json.loads((tmp_path / "exam" / "exam.json").read_text())
    assert exam["exam_seed"] == 3
    assert run("plan", "export", *words, "--output", "public").exit_code == 0
    first, other = ((tmp_path / name / "factual" / "000000.png").read_bytes() for name in ("exam", "public"))
    assert first != other
    with (tmp_path / "exam" / "round-1" / "questions.csv").open() as stream:
        for row in csv.DictReader(stream):
            image = (tmp_path / "exam" / row["image"]).read_bytes()
            (tmp_path / "exam" / "round-1" / "answers" / f"{row['id']}.png").write_bytes(image)
    result = run("score", "exam", "--device", "cpu", "--json", "-q")
    assert json.loads(result.stdout)["inputs"]["exam_seed"] == 3


def test_published_files_are_refused_in_a_sentence(run):
    result = run("evaluate", "--model", "identity", "--source", "mnist", "--exam-seed", 1, "-q")
    assert result.exit_code == 1
    assert result.stderr.startswith("counterbench: The exam seed 1 asks for new individuals")
    assert len(result.stderr.strip().splitlines()) == 1


def test_samples_of_an_exam_can_be_looked_at(run, tmp_path):
    assert run("data", "draw", "--dataset", "ellipse", "--exam-seed", 3, "-q").exit_code == 1
    result = run("data", "prepare", "--dataset", "ellipse", "--split", "test", "--exam-seed", 3, "-q")
    assert "drawn with the exam seed 3" in result.stderr
    public = run("data", "prepare", "--dataset", "ellipse", "--split", "test", "-q")
    assert result.stdout != public.stdout
