import json
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest

from counterbench import evaluation
from counterbench.errors import RecordError
from counterbench.models import Contestant
from counterbench.records import json_schema, read_record, to_json, write_record

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def record(toy):
    exam = evaluation.prepare(toy.Toy(), "quick", device="cpu", limit=20)
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
        assert number.n == 20
        assert number.low is not None
        assert number.low <= number.value + 1e-9 <= number.high + 2e-9
        assert number.floor is not None
        assert number.ceiling is not None


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda text: text[: len(text) // 2], "the file: Invalid JSON"),
        (lambda text: text.replace('"title"', '"titel"'), "title: Field required"),
        (lambda text: text.replace('"schema_version": 2', '"schema_version": 99'), "schema_version"),
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


def test_inputs_decide_the_hash(record):
    other = record.inputs.model_copy(update={"seed": 1})
    assert other.hash != record.inputs.hash
    assert record.inputs.model_copy().hash == record.inputs.hash


def test_reading_records_needs_no_torch():
    code = "import sys, counterbench.records, counterbench.report.table; print('torch' in sys.modules)"
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
        == "False"
    )
