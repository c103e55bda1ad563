"""A record that cannot be true is found out; a true one is not."""

import json
import os
import re
import shutil
from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
import safetensors.numpy
from click.testing import CliRunner

import counterbench
from counterbench.cli import main
from counterbench.records.plausibility import problems
from counterbench.records.record import Record, read_record, write_record
from counterbench.verification.consistency import scores, validate

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def record(morphomnist):
    made = counterbench.evaluate("retrieve", morphomnist, suite="quick", limit=10, device="cpu")
    return made.record


def changed(record, number=None, **fields):
    """The record with some fields replaced; `number` chooses one of its numbers by key."""
    plain = json.loads(record.model_dump_json())
    target = plain
    if number is not None:
        index = next(i for i, n in enumerate(record.numbers) if n.key == number)
        target = plain["numbers"][index]
    target.update(fields)
    return Record.model_validate(plain)


def test_what_we_publish_can_be():
    paths = sorted((ROOT / "benchmarks" / "records").rglob("*.json"))
    assert len(paths) > 20
    for path in paths:
        verdict = validate(path)
        assert verdict.problems == (), path
        if read_record(path).inputs.source != "mnist":
            assert verdict.notes == verdict.unchecked == (), path  # questions and judges were compared


def test_a_record_of_other_definitions_is_none_of_ours(record, tmp_path):
    inputs = record.inputs.model_copy(update={"edition": 2})
    write_record(record.model_copy(update={"inputs": inputs}), tmp_path / "record.json")
    assert "its numbers are defined as in edition 2; this version has edition 1" in validate(tmp_path).problems


L1 = ("composition", "l1", "", "", 1, "l1")
ACCURACY = ("effectiveness", "accuracy", "digit", "digit", 0, "")
SKILL = ("effectiveness", "skill", "digit", "digit", 0, "")
CLD = ("minimality", "cld_1_1", "digit", "", 0, "posterior")
EFFECT = ("truth", "effect", "thickness", "", 0, "")


def reference(value):
    return {"value": value, "low": None, "high": None, "n": 10}


@pytest.mark.parametrize(
    ("number", "fields", "words"),
    [
        (None, {"images": 4000}, "4000 images were asked about, but there are 2000"),
        (None, {"clusters": 11}, "11 independent units in 10 images"),
        (None, {"questions": {"single": 7}}, "every image is asked the same"),
        (None, {"numbers": []}, "there are no numbers"),
        (L1, {"value": 300.0}, "300 is not between 0 and 255"),
        (L1, {"value": -1.0}, "-1 is not between 0 and 255"),
        (L1, {"n": 11}, "11 samples of 10 images"),
        (L1, {"references": {"identity": reference(0.1)}}, "doing nothing scores 0 by definition, and 0.1 here"),
        (ACCURACY, {"value": 1.2}, "1.2 is not between 0 and 1"),
        (SKILL, {"value": 1.2}, "1.2 is more than 1"),
        (SKILL, {"low": 0.9, "high": 0.2}, "upside down"),
        (L1, {"low": 90.0, "high": 91.0}, "is not in its interval [90, 91]"),
        (None, {"parameters": -5}, "-5 weights"),
        (SKILL, {"low": 0.9, "high": None}, "half an interval"),
        (CLD, {"references": {"identity": reference(1.0)}}, "doing nothing scores 1.313 by definition"),
        (EFFECT, {"references": {"truth": reference(0.5)}}, "the truth scores 1 by definition, and 0.5 here"),
    ],
)
def test_what_cannot_be(record, number, fields, words):
    assert problems(record) == []
    found = problems(changed(record, number, **fields))
    assert any(words in one for one in found), found


def test_a_number_twice_and_one_of_a_metric_that_was_not_asked(record):
    plain = json.loads(record.model_dump_json())
    plain["numbers"].append(plain["numbers"][0])
    plain["numbers"][1]["metric"] = "beauty"
    found = problems(Record.model_validate(plain))
    assert any("is there 2 times" in one for one in found)
    assert any("numbers of beauty" in one for one in found)


def test_questions_judges_and_options_are_compared_with_this_version(record, tmp_path):
    path = tmp_path / "record.json"
    write_record(record, path)
    assert validate(path, data=True).problems == ()
    assert validate(tmp_path, data=True).problems == ()
    plain = json.loads(record.model_dump_json())
    plain["inputs"]["plan"] = "0" * 64
    plain["inputs"]["judges"]["digit"] = ["classifier sha256=me"]
    plain["inputs"]["metrics"]["composition"] = {"distances": ["lpips"]}
    plain["inputs"]["data"]["test"] = "1" * 64
    write_record(Record.model_validate(plain), path)
    found = " ".join(validate(path, data=True).problems)
    for words in (
        "other questions than",
        "other judges of digit",
        "other options of composition",
        "other data of test",
    ):
        assert words in found


@pytest.mark.parametrize(
    ("where", "fields", "words"),
    [
        ("record", {"test_images": 10_000_000}, "10000000 test images, here 2000"),
        (
            "record",
            {"images": 5, "questions": {"null": 5, "single": 15}},
            "5 images were asked about; the plan asks about 10",
        ),
        ("record", {"questions": {"single": 10}}, "other numbers of questions"),
        ("inputs", {"references": 7}, "other references: 7, in suite 'quick'"),
        ("inputs", {"resamples": 3}, "other resamples: 3"),
        ("inputs", {"features": {"posterior": "mine"}}, "other feature space of posterior"),
        ("inputs", {"data": {}}, "other data of test: none"),
        ("number", {"direction": "higher"}, "the direction is 'higher'; the metric says 'lower'"),
        ("number", {"unit": "miles"}, "the unit is 'miles'"),
        ("number", {"quantity": "beauty"}, "no metric of the suite gives such a number"),
        ("record", {"clusters": 9}, "9 independent units, here 10"),
    ],
)
def test_what_this_version_would_not_say(record, tmp_path, where, fields, words):
    plain = json.loads(record.model_dump_json())
    {"record": plain, "inputs": plain["inputs"], "number": plain["numbers"][0]}[where].update(fields)
    path = tmp_path / "record.json"
    write_record(Record.model_validate(plain), path)
    found = validate(path, data=True).problems
    assert any(words in one for one in found), found


@pytest.fixture(scope="module")
def home(morphomnist, tmp_path_factory):
    result = counterbench.evaluate("vae", morphomnist, metrics=["composition", "truth"], limit=60, device="cpu")
    return result.save(tmp_path_factory.mktemp("scored"))


def test_scores_that_are_not_the_records(home, tmp_path):
    assert validate(home).problems == ()
    record = read_record(home / "record.json")
    shutil.copytree(home, tmp_path / "a")
    smaller = [n.model_copy(update={k: getattr(n, k) / 10 for k in ("value", "low", "high")}) for n in record.numbers]
    write_record(record.model_copy(update={"numbers": smaller}), tmp_path / "a" / "record.json")
    assert any("are not those of the record" in one for one in validate(tmp_path / "a").problems)
    narrow = [
        n.model_copy(update={k: n.value + (getattr(n, k) - n.value) / 5 for k in ("low", "high")})
        for n in record.numbers
    ]
    write_record(record.model_copy(update={"numbers": narrow}), tmp_path / "a" / "record.json")
    assert any("times as wide as the scores say" in one for one in validate(tmp_path / "a").problems)
    silent = [n.model_copy(update={"low": None, "high": None}) for n in record.numbers]
    write_record(record.model_copy(update={"numbers": silent}), tmp_path / "a" / "record.json")
    assert any("there is no interval, but the scores give one" in one for one in validate(tmp_path / "a").problems)
    write_record(record, tmp_path / "a" / "record.json")
    (tmp_path / "a" / "samples.parquet").unlink()
    assert validate(tmp_path / "a").problems == ()  # totals are enough
    (tmp_path / "a" / "totals.safetensors").unlink()
    assert "no scores beside it" in validate(tmp_path / "a").notes


def test_what_cannot_be_checked_here_is_said(record, tmp_path):
    plain = json.loads(record.model_dump_json())
    plain["inputs"]["dataset"] = "nowhere"
    path = tmp_path / "record.json"
    write_record(Record.model_validate(plain), path)
    verdict = validate(path)
    assert verdict.problems == ()
    assert "cannot be checked here: Unknown dataset 'nowhere'" in verdict.unchecked[-1]
    plain["inputs"].update(dataset="morphomnist", suite="mine")
    write_record(Record.model_validate(plain), path)
    assert "the suite 'mine' is none of" in validate(path).unchecked[-1]
    done = CliRunner().invoke(main, ["validate", str(path)])
    assert done.exit_code == 0
    assert f"partly   {path}" in done.output  # not: valid


def test_the_command_says_which_and_fails(record, tmp_path):
    good, bad = tmp_path / "good.json", tmp_path / "bad.json"
    write_record(record, good)
    bad.write_text(good.read_text()[:500])
    done = CliRunner().invoke(main, ["validate", str(good), str(bad)])
    assert done.exit_code == 1
    assert f"valid    {good}" in done.output
    assert f"INVALID  {bad}" in done.output
    assert "1 of 2 records are invalid" in done.stderr
    assert CliRunner().invoke(main, ["validate", str(good)]).exit_code == 0


def problems_of_scores(home):
    """What `validate` says of the scores beside a record."""
    wrong, _ = scores(home / "record.json", read_record(home / "record.json"))
    return wrong


def doubled(columns):
    return {name: list(values) * 2 for name, values in columns.items()}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (doubled, "scores [0-9,]+ samples more than once"),
        (
            lambda c: {**c, "row": [float("nan")] * len(c["row"])},
            "the column 'row' holds double; expected whole numbers",
        ),
        (lambda c: {**c, "row": [True] * len(c["row"])}, "the column 'row' holds bool"),
        (lambda c: {**c, "row": [2**62] * len(c["row"])}, "scores rows 4611686018427387904 to .* has 2000"),
        (lambda c: {**c, "row": [-1] * len(c["row"])}, "scores rows -1 to -1"),
        (lambda c: {**c, "group": [None, *c["group"][1:]]}, "the column 'group' lacks values in places"),
        (lambda c: {**c, "score": [None, *c["score"][1:]]}, "the column 'score' lacks values in places"),
        (lambda c: {**c, "score": [float("nan"), *c["score"][1:]]}, "the column 'score' lacks values in places"),
        (lambda c: {**c, "score": ["much"] * len(c["score"])}, "the column 'score' holds string; expected numbers"),
        (lambda c: {**c, "intervened": [None, *c["intervened"][1:]]}, "the column 'intervened' lacks values"),
        (lambda c: {**c, "space": [["l1"]] * len(c["space"])}, "the column 'space' holds list.*; expected words"),
        (lambda c: {**c, "cycles": ["one"] * len(c["cycles"])}, "the column 'cycles' holds string"),
        (lambda c: {name: values for name, values in c.items() if name != "score"}, "it lacks the column 'score'"),
        (lambda c: {name: [] for name in c}, "expected"),
    ],
)
def test_scores_that_are_no_scores(home, tmp_path, change, words):
    shutil.copytree(home, tmp_path / "a")
    path = tmp_path / "a" / "samples.parquet"
    columns = pyarrow.parquet.read_table(path).to_pydict()
    pyarrow.parquet.write_table(pyarrow.table(change(columns)), path)
    found = problems_of_scores(tmp_path / "a")
    assert any(re.search(words, one) for one in found), found
    assert all("\n" not in one for one in found)


@pytest.mark.parametrize("keys", ["[" * 50_000, "[[[]]]", "{}", "null", '[["a", "b"], ["a", "b"]]'])
def test_totals_that_are_no_totals(home, tmp_path, keys):
    shutil.copytree(home, tmp_path / "a")
    (tmp_path / "a" / "samples.parquet").unlink()
    path = tmp_path / "a" / "totals.safetensors"
    table = np.ones((4, len(json.loads(keys)) if keys.startswith('[["') else 1), np.float32)
    safetensors.numpy.save_file({"numerator": table, "denominator": table}, path, {"keys": keys})
    assert any("is damaged" in one for one in problems_of_scores(tmp_path / "a"))


@pytest.mark.parametrize("name", ["samples.parquet", "totals.safetensors"])
def test_pipes_are_no_scores(home, tmp_path, name):
    shutil.copytree(home, tmp_path / "a")
    (tmp_path / "a" / "samples.parquet").unlink()
    (tmp_path / "a" / name).unlink(missing_ok=True)
    os.mkfifo(tmp_path / "a" / name)
    assert any("pipe, device or socket" in one for one in problems_of_scores(tmp_path / "a"))


def test_pipes_and_devices_are_no_records(tmp_path):
    os.mkfifo(tmp_path / "record.json")
    assert any("pipe, device or socket" in one for one in validate(tmp_path).problems)
    assert any("pipe, device or socket" in one for one in validate(Path("/dev/zero")).problems)


def test_one_bad_record_does_not_keep_the_others_from_being_checked(record, tmp_path):
    names = ["negative", "other", "empty", "long", "good"]
    plain = json.loads(record.model_dump_json())
    texts = {
        "negative": json.dumps({**plain, "inputs": {**plain["inputs"], "seed": -1}}),
        "other": '{"name": "package", "version": "1.0"}',
        "empty": "",
        "long": json.dumps(
            {**plain, "inputs": {**plain["inputs"], "dataset": "d" * 300, "model": "\x1b]0;m\x07" * 50}}
        ),
        "good": record.model_dump_json(),
    }
    for name in names:
        (tmp_path / f"{name}.json").write_text(texts[name])
    done = CliRunner().invoke(main, ["validate", *(str(tmp_path / f"{name}.json") for name in names)])
    assert done.exit_code == 1
    told = {name: next(line for line in done.output.splitlines() if line.endswith(f"{name}.json")) for name in names}
    assert [told[name].split()[0] for name in names] == ["INVALID", "INVALID", "INVALID", "partly", "valid"]
    assert "inputs.seed: Input should be greater than or equal to 0" in done.output
    assert "3 of 5 records are invalid" in done.stderr
    assert "\x1b" not in done.output
