import hashlib
import json
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest

from counterbench import evaluation
from counterbench.errors import RecordError
from counterbench.models.model import Contestant
from counterbench.records.record import json_schema, read_record, to_json, write_record
from counterbench.storage.files import without_folders

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def record(toy):
    exam = evaluation.prepare(toy.Toy(), "quick", device="cpu", limit=60)
    return evaluation.evaluate(Contestant("exact", toy.ExactModel()), exam).record


def test_the_published_schema_is_the_one_in_force():
    pytest.importorskip("pydantic", minversion="2.11")  # earlier ones do not say that any keys are allowed
    assert (ROOT / "benchmarks" / "record.schema.json").read_text() == json_schema()


def test_records_obey_their_schema_and_survive_a_round_trip(record, tmp_path):
    jsonschema.validate(json.loads(to_json(record)), json.loads(json_schema()))
    write_record(record, tmp_path / "r.json")
    assert read_record(tmp_path / "r.json") == record


def test_every_number_has_interval_n_floor_and_direction(record):
    for number in record.numbers:
        if number.metric == "cost":  # of seconds, resampling samples says nothing
            assert number.low is None
            continue
        assert number.n == 60
        assert number.low is not None
        assert number.low <= number.value + 1e-9 <= number.high + 2e-9
        assert number.floor is not None
        assert number.ceiling is not None


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda text: text[: len(text) // 2], "the file: Invalid JSON"),
        (lambda text: text.replace('"title"', '"titel"'), "title: Field required"),
        (lambda text: text.replace('"schema_version": 5', '"schema_version": 99'), "schema_version"),
        (lambda text: "[]", "the file"),
    ],
)
def test_damaged_records(record, tmp_path, spoil, words):
    path = tmp_path / "r.json"
    path.write_text(spoil(to_json(record)))
    with pytest.raises(RecordError) as caught:
        read_record(path)
    assert words in str(caught.value)


def test_missing_record(tmp_path):
    with pytest.raises(RecordError, match="No such file"):
        read_record(tmp_path / "none.json")


def test_fields_that_came_later_leave_the_hash_of_older_records_as_it_was(record):
    """The SHA-256 of a record's inputs stands in groups and folders' names."""
    older = {
        k: v for k, v in record.inputs.model_dump(mode="json").items() if k not in ("exam_seed", "answers", "edition")
    }
    canonical = json.dumps(older, sort_keys=True, separators=(",", ":"))
    assert record.inputs.hash == hashlib.sha256(canonical.encode()).hexdigest()
    for later in ({"edition": 2}, {"exam_seed": 7}, {"answers": "x"}):
        assert record.inputs.model_copy(update=later).hash != record.inputs.hash


def test_inputs_decide_the_hash(record):
    other = record.inputs.model_copy(update={"seed": 1})
    assert other.hash != record.inputs.hash
    assert record.inputs.model_copy().hash == record.inputs.hash


def test_reading_records_needs_no_torch():
    code = "import sys, counterbench.records.record, counterbench.records.table; print('torch' in sys.modules)"
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
        == "False"
    )


@pytest.mark.parametrize("version", [1, 4])
def test_records_of_older_schemas_are_to_be_made_again(record, tmp_path, version):
    plain = {**json.loads(to_json(record)), "schema_version": version}
    del plain["row_skill"]
    (tmp_path / "old.json").write_text(json.dumps(plain))
    with pytest.raises(RecordError, match=f"is a record of schema {version}, .* make it again with this version"):
        read_record(tmp_path / "old.json")


def test_nothing_is_read_from_notes(record):
    """They may be worded anew at any time."""
    worded = record.model_copy(
        update={"notes": ["answers from files", "trained on the moon", "rounds 2 to 3", "left out: a"]}
    )
    assert (worded.origin, worded.left_out, worded.partial) == (record.origin, [], record.partial)


def test_a_record_names_no_folder_of_the_machine(toy, tmp_path, monkeypatch):
    """Neither where weights were looked for, nor what a dataset says of its files."""
    monkeypatch.setenv("COUNTERBENCH_WEIGHTS", str(tmp_path / "private" / "weights"))
    dataset = toy.Toy()
    monkeypatch.setattr(toy.Toy, "notes", [f"read from {tmp_path}/private/list.csv"])
    exam = evaluation.prepare(dataset, "paper", device="cpu", limit=10)
    made = evaluation.evaluate(Contestant("exact", toy.ExactModel()), exam).record
    assert any("weights" in why for why in made.skipped.values())
    assert "read from list.csv" in made.notes
    assert str(tmp_path) not in to_json(made)


def test_what_we_publish_names_no_folder():
    for path in sorted((ROOT / "benchmarks" / "records").rglob("*.json")):
        record = read_record(path)
        for text in (*record.notes, *record.skipped.values(), record.inputs.model, *record.versions.values()):
            assert without_folders(text) == text, path
