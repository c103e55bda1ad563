"""A record that cannot be true is found out; a true one is not."""

import json
import shutil

import pytest
from click.testing import CliRunner

import counterbench
from counterbench.cli import main
from counterbench.plausibility import problems
from counterbench.records import Record, read_record, write_record
from counterbench.validation import validate

ROOT = __import__("pathlib").Path(__file__).parents[1]


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
            assert verdict.notes == (), path  # questions and judges were compared


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
        (L1, {"value": 300.0}, "no difference of grey levels between 0 and 255"),
        (L1, {"value": -1.0}, "no difference of grey levels"),
        (L1, {"n": 11}, "11 samples of 10 images"),
        (L1, {"references": {"identity": reference(0.1)}}, "doing nothing scores 0 by definition, and 0.1 here"),
        (ACCURACY, {"value": 1.2}, "no share between 0 and 1"),
        (SKILL, {"value": 1.2}, "more than 1"),
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
    assert "cannot be checked here: Unknown dataset 'nowhere'" in verdict.notes[-1]
    plain["inputs"].update(dataset="morphomnist", suite="mine")
    write_record(Record.model_validate(plain), path)
    assert "the suite 'mine' is none of" in validate(path).notes[-1]


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
