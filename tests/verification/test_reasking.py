"""Asking again: true claims stand, false ones do not."""

import json
import shutil
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from click.testing import CliRunner

import counterbench
from counterbench.cli import main
from counterbench.errors import RecordError
from counterbench.metrics.base import Column
from counterbench.metrics.cells import Cell
from counterbench.records.record import Number, Record, read_record, write_record
from counterbench.verification import consistency, reasking
from counterbench.verification.reasking import verify


@pytest.fixture(scope="module")
def home(morphomnist, tmp_path_factory):
    """The record of a shipped model, with its scores."""
    result = counterbench.evaluate(
        "vae", morphomnist, metrics=["composition", "effectiveness", "truth", "off_target"], limit=60, device="cpu"
    )
    return result.save(tmp_path_factory.mktemp("verify"))


def test_scores_per_sample_are_found_again(home):
    found = verify(home, 20, device="cpu")
    assert found.exact
    assert found.problems == ()
    assert found.disagreements == []
    assert len(found.checks) > 20


def test_without_scores_a_claim_must_lie_within_the_samples_error(home, tmp_path):
    shutil.copy(home / "record.json", tmp_path)
    found = verify(tmp_path, 30, device="cpu")
    assert not found.exact
    assert found.disagreements == []


def test_a_false_claim_is_found(home, tmp_path):
    plain = json.loads((home / "record.json").read_text())
    for number in plain["numbers"]:
        if number["metric"] == "composition":
            number.update({part: number[part] / 3 for part in ("value", "low", "high")})
    write_record(Record.model_validate(plain), tmp_path / "record.json")
    found = verify(tmp_path, 30, device="cpu")
    assert {check.number.metric for check in found.disagreements} == {"composition"}
    done = CliRunner().invoke(main, ["verify", str(tmp_path), "--count", "30", "--device", "cpu", "-q"])
    assert done.exit_code == 1
    assert "DIFFERS  composition: l1 after 1 cycle" in done.output
    assert "could not be verified" in done.stderr


class Tiring:
    """Answers a little darker every time it is asked."""

    def __init__(self, model):
        self.model, self.asked = model, 0

    def counterfactual(self, factual, interventions, generator=None):
        self.asked += 1
        answer = dict(self.model.counterfactual(factual, interventions, generator))
        return {**answer, "image": answer["image"] - self.asked}


def test_a_record_that_keeps_silent_about_what_asking_again_finds(home, monkeypatch):
    load = reasking.models.load

    def tiring(*words, **options):
        contestant = load(*words, **options)
        return replace(contestant, model=Tiring(contestant.model))

    monkeypatch.setattr(reasking.models, "load", tiring)
    found = verify(home, 20, device="cpu")
    assert any(problem.startswith("the record does not say that answers depend on") for problem in found.problems)


def falsified(home, tmp_path, change):
    """The record with its scores beside it, and something changed in it."""
    shutil.copytree(home, tmp_path / "false")
    plain = json.loads((home / "record.json").read_text())
    change(plain)
    write_record(Record.model_validate(plain), tmp_path / "false" / "record.json")
    return verify(tmp_path / "false", 20, device="cpu")


def smaller(plain):
    for number in plain["numbers"]:
        number.update({part: number[part] / 10 for part in ("value", "low", "high") if number[part] is not None})


def without_truth(plain):
    plain["numbers"] = [number for number in plain["numbers"] if number["metric"] != "truth"]


def worse_floors(plain):
    for number in plain["numbers"]:
        for name in ("noise", "retrieve"):
            if number["metric"] == "truth" and number["quantity"] == "l1":
                end = number["references"][name]
                end.update({part: end[part] * 3 for part in ("value", "low", "high") if end[part] is not None})


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (smaller, "are not those of the record"),
        (without_truth, "the record lacks truth do(thickness)"),
        (worse_floors, "retrieve scores"),
        (lambda plain: plain.update(parameters=3), "other parameters: 3, here"),
        (lambda plain: plain.update(pixel_temperature=0.5), "other pixel temperature: 0.5, here 0.1"),
        (lambda plain: plain["numbers"][0].update(quantity="beauty"), "no metric of the suite gives such a number"),
    ],
)
def test_scores_beside_a_record_do_not_make_it_true(home, tmp_path, change, words):
    found = falsified(home, tmp_path, change)
    assert any(words in problem for problem in found.problems), found.problems


def test_answers_from_files_have_no_model_to_ask(home, tmp_path):
    record = read_record(home / "record.json")
    write_record(record.model_copy(update={"origin": "answers"}), tmp_path / "record.json")
    with pytest.raises(RecordError, match="no model to ask"):
        verify(tmp_path, 10, device="cpu")


def test_other_weights_are_a_problem(home, tmp_path):
    record = read_record(home / "record.json")
    changed = record.model_copy(update={"inputs": record.inputs.model_copy(update={"weights_sha256": "0" * 64})})
    write_record(changed, tmp_path / "record.json")
    assert any("other weights: 000000000000" in problem for problem in verify(tmp_path, 10, device="cpu").problems)


def test_the_command_says_how_many_agree(home):
    done = CliRunner().invoke(main, ["verify", str(home), "--count", "10", "--device", "cpu", "-q"])
    assert done.exit_code == 0, done.output
    assert "numbers agree sample by sample, on 10 of 60 images" in done.output
    done = CliRunner().invoke(main, ["verify", "nowhere.json"])
    assert done.exit_code == 1
    assert "Cannot read nowhere.json" in done.stderr


@pytest.mark.parametrize(("images", "agrees"), [(2000, True), (1000, False)])
def test_one_image_of_each_unit_says_less_than_two(images, agrees):
    """Sixty subjects with one visit each are 60 of 1,000 subjects, but 60 of 2,000 images."""
    about = {
        "metric": "effectiveness",
        "quantity": "accuracy",
        "intervened": "a",
        "measured": "c",
        "cycles": 0,
        "unit": "",
    }
    number = Number(value=0.6, low=0.577, high=0.623, n=2000, direction="higher", references={}, **about)
    again = Number(value=0.817, low=0.72, high=0.9, n=60, direction="higher", references={}, **about)
    assert reasking._check(number, again, {}, min(60 / 1000, 60 / images)).agrees == agrees


@pytest.mark.parametrize(("errors", "few"), [([1, 1, 1] + 97 * [0], True), (30 * [1] + 70 * [0], False)])
def test_a_skill_that_three_images_decide_says_nothing_of_the_rest(errors, few):
    cell = Cell("skill", "", "higher", "young", "no_beard", kind="skill")
    reference = torch.tensor(errors, dtype=torch.float64)
    column = Column("effectiveness", cell, torch.arange(100), torch.zeros(100), reference=reference)
    made = SimpleNamespace(columns=[column], group=torch.arange(100) + 7)
    assert reasking._carried_by_few(made) == (
        {("effectiveness", "skill", "young", "no_beard", 0, "")} if few else set()
    )


def test_a_record_about_a_card_in_a_file_takes_the_card(card, tmp_path):
    result = counterbench.evaluate(
        "identity", str(card), suite="quick", metrics=["composition"], limit=10, device="cpu"
    )
    home = result.save(tmp_path / "results")
    for command in (["validate"], ["verify", "--count", "10", "--device", "cpu", "-q"]):
        done = CliRunner().invoke(main, [*command, str(home), "--dataset", str(card)])
        assert done.exit_code == 0, done.output
        assert "numbers agree" in done.output if command[0] == "verify" else done.output.startswith("valid    ")
    done = CliRunner().invoke(main, ["validate", str(home)])
    assert done.output.startswith("partly   ")
    assert "Unknown dataset 'squares'" in done.output
    assert "give it with --dataset" in done.output
    done = CliRunner().invoke(main, ["verify", str(home), "-q"])
    assert done.exit_code == 1
    assert "give it with --dataset" in done.stderr
    with pytest.raises(RecordError, match="declares 'squares'; the record is about 'morphomnist'"):
        consistency.exam_of(
            result.record.model_copy(
                update={"inputs": result.record.inputs.model_copy(update={"dataset": "morphomnist"})}
            ),
            dataset=str(card),
        )


@pytest.mark.parametrize(("field", "words"), [("model", "Unknown model"), ("dataset", "Unknown dataset")])
def test_paths_in_a_record_are_not_followed(home, tmp_path, field, words):
    (tmp_path / "mine.yaml").write_text("password: swordfish\n")
    record = read_record(home / "record.json")
    inputs = record.inputs.model_copy(update={field: str(tmp_path / "mine.yaml")})
    write_record(record.model_copy(update={"inputs": inputs}), tmp_path / "record.json")
    with pytest.raises(RecordError, match=words) as caught:
        verify(tmp_path, 10, device="cpu")
    assert "password" not in str(caught.value)
