"""Damaged records, totals and folders of answers: a clear sentence, never a crash, never a board that lies."""

import csv
import json
import math
import shutil
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import counterbench
from counterbench import evaluation
from counterbench.errors import CounterbenchError
from counterbench.exchange import questions
from counterbench.exchange.scoring import ready
from counterbench.leaderboard import board, website
from counterbench.leaderboard import formats as report
from counterbench.records.record import read_record
from counterbench.verification import consistency

pytestmark = pytest.mark.filterwarnings("ignore::counterbench.errors.RecordWarning")

JUNK = st.sampled_from(
    [
        None,
        True,
        -1,
        0,
        1e308,
        -1e308,
        math.nan,
        math.inf,
        "",
        "nothing",
        "\u202e<script>",
        [],
        {},
        [None],
        {"a": 1},
        10**30,
    ]
)


@pytest.fixture(scope="module")
def stored(toy, tmp_path_factory):
    """Two good records of one board."""
    folder = tmp_path_factory.mktemp("fuzz")
    dataset = toy.Toy()
    for name in ("one", "two"):
        result = counterbench.evaluate(
            toy.ExactModel(),
            dataset,
            suite="quick",
            metrics=["truth", "effectiveness"],
            limit=20,
            name=name,
            device="cpu",
        )
        result.save(folder / name)
    return folder


def places(content, path=()):
    """Every place in a JSON document."""
    yield path
    children = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ()
    for key, child in children:
        yield from places(child, (*path, key))


def changed(content, path, how, junk):
    """The document with one place replaced, removed or doubled."""
    if not path:
        return junk
    copy = json.loads(json.dumps(content))
    parent = copy
    for key in path[:-1]:
        parent = parent[key]
    if how == "replace":
        parent[path[-1]] = junk
    elif how == "remove":
        del parent[path[-1]]
    elif isinstance(parent, list):
        parent.append(parent[path[-1]])
    else:
        parent[f"{path[-1]} again"] = parent[path[-1]]
    return copy


def first_record(folder):
    return sorted(folder.rglob("record.json"))[0]


def require_words(error):
    assert len(str(error)) > 10
    assert "Traceback" not in str(error)


def survives(folder):
    """There is a board, with pages, of what is good; what it says can be told as JSON that is JSON."""
    boards = board.build(board.find(folder), resamples=50)
    assert boards
    website.build(boards, folder / "site")
    text = report.pages(boards)["leaderboard.json"]
    json.loads(text, parse_constant=lambda word: pytest.fail(f"{word} is no JSON"))


@settings(max_examples=30)
@given(data=st.data())
def test_any_change_of_a_record_is_told_or_harmless(stored, data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("changed")
    shutil.copytree(stored, folder, dirs_exist_ok=True)
    path = first_record(folder)
    content = json.loads(path.read_text())
    place = data.draw(st.sampled_from(list(places(content))))
    how, junk = data.draw(st.sampled_from(["replace", "remove", "double"])), data.draw(JUNK)
    path.write_text(json.dumps(changed(content, place, how, junk)))
    survives(folder)
    try:
        verdict = consistency.validate(path)
    except CounterbenchError as error:
        require_words(error)
    else:
        assert all(isinstance(line, str) and line for line in (*verdict.problems, *verdict.notes))
    shutil.rmtree(folder)


@settings(max_examples=30)
@given(data=st.data())
def test_any_damage_to_any_file_is_told_or_harmless(stored, data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("damaged")
    shutil.copytree(stored, folder, dirs_exist_ok=True)
    home = first_record(folder).parent
    path = data.draw(st.sampled_from([home / "record.json", home / "totals.safetensors", home / "samples.parquet"]))
    content = bytearray(path.read_bytes())
    how = data.draw(st.sampled_from(["truncate", "flip", "garbage", "empty", "missing"]))
    at = data.draw(st.integers(0, len(content) - 1))
    if how == "truncate":
        content = content[:at]
    elif how == "flip":
        content[at] ^= 1 << data.draw(st.integers(0, 7))
    elif how == "garbage":
        content[at : at + 64] = data.draw(st.binary(min_size=1, max_size=64))
    elif how == "empty":
        content = b""
    path.write_bytes(content) if how != "missing" else path.unlink()
    survives(folder)
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def letters(toy, tmp_path_factory):
    """An exam with all of its first round answered."""
    folder = tmp_path_factory.mktemp("letters") / "exam"
    exam = evaluation.prepare(toy.Toy(), "quick", metrics=["truth", "effectiveness"], limit=4, device="cpu")
    questions.export(exam, folder)
    with (folder / "round-1" / "questions.csv").open(newline="") as stream:
        for row in csv.DictReader(stream):
            shutil.copy(folder / row["image"], folder / "round-1" / "answers" / f"{row['id']}.npy")
    assert ready(folder, "mine", data_dir=None, device="cpu").coverage[1].counts["usable"] == 16
    shutil.rmtree(folder / "round-2")
    return folder


@settings(max_examples=30)
@given(data=st.data())
def test_any_folder_of_answers_is_scored_or_refused_with_a_reason(letters, data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("answers") / "exam"
    shutil.copytree(letters, folder)
    home = folder / "round-1"
    names = [path.name for path in sorted(home.rglob("*")) if path.is_file()]
    for _ in range(data.draw(st.integers(1, 3))):
        name = data.draw(st.sampled_from([*names, "answers.csv", "surprise.png", "answers"]))
        target = next(iter(sorted(home.rglob(name))), home / "answers" / name)
        how = data.draw(st.sampled_from(["garbage", "folder", "missing", "small", "text", "float", "empty"]))
        spoil(target, how, data)
    try:
        found = ready(folder, "mine", data_dir=None, device="cpu")
    except CounterbenchError as error:
        require_words(error)
    else:
        for coverage in found.coverage.values():
            assert str(coverage)
    shutil.rmtree(folder)


def spoil(target: Path, how: str, data) -> None:
    if target.is_dir():
        shutil.rmtree(target)
    elif target.exists():
        target.unlink()
    if not target.parent.is_dir():  # spoilt before
        return
    if how == "garbage":
        target.write_bytes(data.draw(st.binary(max_size=200)))
    elif how == "folder":
        target.mkdir()
    elif how == "small":
        PIL.Image.fromarray(np.zeros((3, 5), np.uint8)).save(target.with_suffix(".png"))
    elif how == "text":
        target.write_text(data.draw(st.text(max_size=100)), encoding="utf-8", errors="surrogatepass")
    elif how == "float":
        np.save(
            target.with_suffix(".npy"), np.full((1, 8, 8), data.draw(st.sampled_from([np.nan, np.inf, -1.0, 300.0])))
        )
    elif how == "empty":
        target.touch()


def test_a_good_record_is_still_good(stored):
    assert read_record(first_record(stored)).inputs.model == "one"
    assert len(board.build(board.find(stored), resamples=50)[0].rows) == 2
