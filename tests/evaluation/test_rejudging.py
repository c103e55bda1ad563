"""Answers that are kept, and judged again without the model."""

import json

import pytest
import torch

from counterbench import evaluation, leaderboard, plans
from counterbench.errors import ConfigError, DataError, RecordError
from counterbench.evaluation import kept_answers, rejudging, results_folder, session
from counterbench.evaluation.kept_answers import ANSWERS, MANIFEST, Keeping, read_manifest
from counterbench.models.model import Contestant
from counterbench.records.record import NOT_SHOWN, UNSTEADY, read_record
from counterbench.storage.files import UNFINISHED
from counterbench.storage.tensors import read_tensors, write_tensors
from counterbench.verification import consistency

METRICS = ["composition", "reversibility", "commutativity", "effectiveness", "off_target", "truth", "abduction", "cost"]


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("COUNTERBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(session, "chunk_size", lambda batch, pixels=1: 16)


class Scm:
    """The toy's own model, which forgets a tenth of the noise; it counts, and fails where it is told to."""

    def __init__(self, toy, fail_at=None):
        self.scm, self.asked, self.fail_at = toy.exact_scm(0.9), 0, fail_at

    def counterfactual(self, factual, interventions, generator=None):
        self.asked += 1
        if self.asked == self.fail_at:
            raise KeyboardInterrupt
        answer = dict(self.scm.counterfactual(factual, interventions, generator))
        # Some pixels are out of range, and none is whole; no null intervention returns its input.
        return {**answer, "image": 255 - answer["image"] * 1.2}

    def abduct(self, values, generator=None):
        return self.scm.abduct(values, generator)

    def sample_noise(self, count, generator=None):
        return self.scm.sample_noise(count, generator)


def contestant(toy, **options):
    return Contestant("m", Scm(toy, **options), weights_sha256="0" * 64, notes=("said of the model",))


def take(toy, folder, metrics=METRICS, who=None, plan=None):
    exam = evaluation.prepare(
        toy.Toy(), "standard", device="cpu", metrics=metrics, limit=None if plan else 40, plan=plan
    )
    keeping = Keeping(folder, image="image")
    made = evaluation.evaluate(who or contestant(toy), exam, folder=folder / UNFINISHED, keeping=keeping)
    results_folder.save(made, folder)
    return made


def again(folder, **options):
    judging = rejudging.ready(folder, device="cpu", **options)
    return evaluation.evaluate(judging.contestant, judging.exam, before=judging.before)


def content(record, *but):
    return record.model_dump(exclude={"seconds", "notes", *but})


def numbers(record):
    return [number for number in record.numbers if number.metric != "cost"]


def test_without_changes_the_numbers_are_the_same_to_the_last_bit(toy, tmp_path, monkeypatch):
    made = take(toy, tmp_path / "m")
    monkeypatch.setattr(Scm, "counterfactual", lambda *_: pytest.fail("the model was asked"))
    monkeypatch.setattr(session, "default_batch", lambda *_: 7)  # batches need not be those of the first time
    judged = again(tmp_path / "m")
    assert content(judged.record, "inputs", "origin", "execution") == content(
        made.record, "inputs", "origin", "execution"
    )
    for first, second in zip(made.columns, judged.columns, strict=True):
        assert first.cell.key_of(first.metric) == second.cell.key_of(second.metric)
        assert torch.equal(first.value, second.value)
        assert torch.equal(first.reference, second.reference)
    assert {number.metric for number in judged.record.numbers} == set(METRICS)


def test_a_record_says_where_its_answers_came_from(toy, tmp_path):
    made, judged = take(toy, tmp_path / "m").record, again(tmp_path / "m").record
    assert (made.origin, judged.origin) == ("model", "kept")
    assert made.kept_answers == judged.kept_answers == judged.inputs.answers == read_manifest(tmp_path / "m").hash
    assert made.inputs.answers is None
    assert judged.inputs.hash != made.inputs.hash
    assert judged.inputs.model_copy(update={"answers": None}) == made.inputs
    assert judged.notes[: len(made.notes)] == made.notes
    assert "judged again" in judged.notes[-1]
    assert any("out of range" in note for note in made.notes)  # what the kept answers cannot show any more


def test_flags_and_costs_are_those_of_the_record(toy, tmp_path):
    class Moody(Scm):
        def counterfactual(self, factual, interventions, generator=None):
            return {
                **super().counterfactual(factual, interventions, generator),
                "c": torch.randint(3, (factual.count,)),
                **interventions,
            }

    made = take(toy, tmp_path / "m", who=Contestant("m", Moody(toy))).record
    judged = again(tmp_path / "m").record
    assert any(flag.startswith(UNSTEADY) for flag in made.flags)
    assert judged.flags == made.flags
    costs = [[n for n in record.numbers if n.metric == "cost"] for record in (made, judged)]
    assert costs[0]
    assert costs[0] == costs[1]


def test_what_is_not_shown_of_preservation_stays_so(toy, tmp_path):
    """Nobody can be asked again, so what asking had found goes with the answers."""

    class Shortcut(Scm):
        def counterfactual(self, factual, interventions, generator=None):
            return super().counterfactual(factual, interventions, generator) if interventions else dict(factual)

    made = take(toy, tmp_path / "m", who=Contestant("m", Shortcut(toy))).record
    assert any(flag.startswith(NOT_SHOWN) for flag in made.flags)
    assert again(tmp_path / "m").record.flags == made.flags


def test_another_judge_gives_what_it_gives_when_the_model_is_asked(toy, tmp_path, monkeypatch):
    take(toy, tmp_path / "m")
    measure = toy.ToyReader._measure
    monkeypatch.setattr(toy.ToyReader, "_measure", lambda self, images: measure(self, images.flip(3)))
    monkeypatch.setattr(toy.ToyReader, "fingerprint", "mirrored")
    asked, judged = take(toy, tmp_path / "other").record, again(tmp_path / "m").record
    assert judged.inputs.judges == asked.inputs.judges
    assert content(judged, "inputs", "origin", "numbers") == content(asked, "inputs", "origin", "numbers")
    assert numbers(judged) == numbers(asked)


def test_some_metrics_alone_and_options_of_another_suite(toy, tmp_path):
    made = take(toy, tmp_path / "m").record
    judged = again(tmp_path / "m", metrics=["truth", "cost"]).record
    assert [n for n in judged.numbers if n.metric == "truth" and n.quantity == "l1"] == [
        n for n in made.numbers if n.metric == "truth" and n.quantity == "l1"
    ]
    path = tmp_path / "mine.yaml"
    path.write_text(
        "extends: standard\nname: mine\ntitle: t\ncycles: 3\npairs: false\nmetrics: {realism: {spaces: [pixel]}}\n"
    )
    other = again(tmp_path / "m", suite=str(path), metrics=["realism", "composition"]).record
    assert {n.space for n in other.numbers if n.metric == "realism"} == {"pixel"}
    assert max(n.cycles for n in other.numbers) == 10  # the questions stay those that were asked
    assert (other.inputs.suite, other.inputs.plan) == ("mine", made.inputs.plan)


def test_questions_that_came_from_a_file_are_read_beside_the_record(toy, tmp_path):
    drawn = evaluation.prepare(toy.Toy(), "standard", device="cpu", metrics=["truth"], limit=20, seed=5).plan
    plans.save(drawn, tmp_path / "p.csv")
    made = take(toy, tmp_path / "m", ["truth", "composition"], plan=tmp_path / "p.csv").record
    judged = again(tmp_path / "m").record
    assert judged.inputs.plan == made.inputs.plan == drawn.hash
    assert content(judged, "inputs", "origin") == content(made, "inputs", "origin")
    plans.save(evaluation.prepare(toy.Toy(), "standard", device="cpu", limit=20).plan, tmp_path / "m" / "plan.parquet")
    with pytest.raises(RecordError, match="holds other questions"):
        again(tmp_path / "m")


def test_a_metric_whose_questions_were_not_asked_is_refused(toy, tmp_path):
    take(toy, tmp_path / "m", ["off_target", "cost"])
    with pytest.raises(
        ConfigError, match=r"reversibility judges answers to return questions, and .* holds those to single"
    ):
        again(tmp_path / "m", metrics=["off_target", "reversibility"])
    with pytest.raises(ConfigError, match="cost watches a model at work"):
        again(tmp_path / "m", metrics=["cost"])
    assert "null/1" in read_manifest(tmp_path / "m").questions  # metrics compare with it


def test_what_a_model_declines_is_declined_again(toy, tmp_path):
    class Declining(Scm):
        def can_answer(self, intervened):
            return "c" not in intervened

    made = take(toy, tmp_path / "m", who=Contestant("m", Declining(toy))).record
    judged = again(tmp_path / "m").record
    assert made.skipped["do(c)"] == judged.skipped["do(c)"]
    assert made.skipped == judged.skipped
    assert made.numbers == judged.numbers


def test_an_interrupted_run_keeps_every_answer_once(toy, tmp_path, monkeypatch):
    monkeypatch.setattr("counterbench.evaluation.evaluation.depends", lambda *_: False)  # calls are counted
    whole = take(toy, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        take(toy, tmp_path / "m", who=contestant(toy, fail_at=47))
    shards = list((tmp_path / "m" / ANSWERS).iterdir())
    assert len(shards) == len(list((tmp_path / "m" / UNFINISHED).iterdir())) == 2
    shards[0].unlink()  # a chunk whose answers are gone is asked about again
    rest = contestant(toy)
    take(toy, tmp_path / "m", who=rest)
    assert rest.model.asked == 20 * 2
    assert read_manifest(tmp_path / "m") == read_manifest(tmp_path / "whole")
    parts = [again(tmp_path / name).record for name in ("m", "whole")]
    assert numbers(parts[0]) == numbers(parts[1])
    assert whole.record.kept_answers == read_manifest(tmp_path / "m").hash


def test_shards_of_an_earlier_run_go(toy, tmp_path):
    take(toy, tmp_path / "m")
    before = {path.name for path in (tmp_path / "m" / ANSWERS).iterdir()}
    take(toy, tmp_path / "m", ["truth"])
    after = {path.name for path in (tmp_path / "m" / ANSWERS).iterdir()}
    assert len(after) == 3
    assert not before & after
    exam = evaluation.prepare(toy.Toy(), "standard", device="cpu", metrics=["truth"], limit=40)
    results_folder.save(evaluation.evaluate(contestant(toy), exam), tmp_path / "m")  # without its answers
    assert not (tmp_path / "m" / ANSWERS).exists()
    assert not (tmp_path / "m" / MANIFEST).exists()
    with pytest.raises(RecordError, match=r"no kept answers in .*--keep-answers"):
        again(tmp_path / "m")


def shard_of(folder):
    return sorted((folder / ANSWERS).iterdir())[1]


def flip(folder, other):
    path = shard_of(folder)
    damaged = bytearray(path.read_bytes())
    damaged[-5] ^= 1
    path.write_bytes(bytes(damaged))


def cut(folder, other):
    shard_of(folder).write_bytes(shard_of(folder).read_bytes()[:100])


def remove(folder, other):
    shard_of(folder).unlink()


def exchange(folder, other):
    shard_of(folder).write_bytes(shard_of(other).read_bytes())


def link_away(folder, other):
    shard_of(folder).unlink()
    (folder / ANSWERS / shard_of(other).name).unlink(missing_ok=True)
    listed = read_manifest(folder).shards[1].file
    (folder / ANSWERS / listed).symlink_to(shard_of(other))


def retell(folder, other):
    (folder / MANIFEST).write_text((other / MANIFEST).read_text())


def lead_out(folder, other):
    told = json.loads((folder / MANIFEST).read_text())
    told["shards"][0]["file"] = "../../other/record.json"
    (folder / MANIFEST).write_text(json.dumps(told))


def empty(folder, other):
    (folder / MANIFEST).write_text("{}")


@pytest.mark.parametrize(
    ("harm", "sentence"),
    [
        (flip, "safetensors is damaged; restore it"),
        (cut, "safetensors is damaged; restore it"),
        (remove, "safetensors is missing; restore it"),
        (exchange, "holds other answers than .* lists"),
        (link_away, "leads out of"),
        (retell, "are not those that its record was made from"),
        (lead_out, "does not list kept answers"),
        (empty, "does not list kept answers"),
    ],
)
def test_damaged_missing_and_foreign_answers_are_refused(toy, tmp_path, harm, sentence):
    take(toy, tmp_path / "m", ["truth"])
    exam = evaluation.prepare(toy.Toy(), "standard", device="cpu", metrics=["truth"], limit=40, seed=1)
    other = tmp_path / "other"
    results_folder.save(evaluation.evaluate(contestant(toy), exam, keeping=Keeping(other, image="image")), other)
    harm(tmp_path / "m", other)
    with pytest.raises((RecordError, DataError), match=sentence) as told:
        again(tmp_path / "m")
    assert "\n" not in str(told.value)


def test_a_shard_that_its_manifest_lists_but_that_answers_something_else_is_refused(toy, tmp_path):
    """Whoever forges the hashes of the manifest and of the record still cannot make tensors of another kind be judged."""
    take(toy, tmp_path / "m", ["truth"])
    path = shard_of(tmp_path / "m")
    tensors, _ = read_tensors(path)
    write_tensors(path, {**tensors, "row": tensors["row"].flip(0)})
    manifest = read_manifest(tmp_path / "m")
    answers = kept_answers.KeptAnswers(
        tmp_path / "m",
        manifest.model_copy(
            update={
                "shards": [
                    shard
                    if shard.file != path.name
                    else shard.model_copy(update={"sha256": kept_answers.sha256_of_tensors(read_tensors(path)[0])})
                    for shard in manifest.shards
                ]
            }
        ),
        evaluation.prepare(toy.Toy(), "standard", device="cpu", metrics=["truth"], limit=40).plan,
        variables=["a", "b", "c", "image"],
        image="image",
    )
    with pytest.raises(RecordError, match="does not hold the answers to the questions of its record"):
        answers.require_whole()


def test_other_pixels_and_records_without_a_model_are_refused(toy, tmp_path, monkeypatch):
    take(toy, tmp_path / "m", ["truth"])
    judged = again(tmp_path / "m")
    results_folder.save(judged, tmp_path / "judged")
    with pytest.raises(RecordError, match="give the record that they lie beside"):
        again(tmp_path / "judged")
    picture = toy.picture
    monkeypatch.setattr(toy, "picture", lambda *given: picture(*given) + 1)
    with pytest.raises(RecordError, match="about other images than toy/formula has here"):
        again(tmp_path / "m")


def test_judged_records_are_valid_and_stand_on_boards_with_a_mark(toy, tmp_path):
    made, judged = take(toy, tmp_path / "r" / "m"), again(tmp_path / "r" / "m")
    results_folder.save(judged, tmp_path / "r" / "judged")
    assert (
        consistency.validate(tmp_path / "r" / "judged", data=True).problems
        == consistency.validate(tmp_path / "r" / "m", data=True).problems
    )
    found = leaderboard.find(tmp_path / "r")
    assert [path.name for path in found] == ["record.json", "record.json"]  # the list of answers is no record
    (board,) = leaderboard.build(found, resamples=100)
    marks = {row.record.origin: " ".join(row.marks) for row in board.rows}
    assert "judged again" in marks["kept"]
    assert "judged again" not in marks["model"]
    assert read_record(tmp_path / "r" / "m" / "record.json") == made.record


def test_answers_in_memory_are_stored_with_the_record(toy, tmp_path):
    exam = evaluation.prepare(toy.Toy(), "standard", device="cpu", metrics=["truth"], limit=40)
    made = evaluation.evaluate(contestant(toy), exam, keeping=Keeping(image="image"))
    results_folder.save(made, tmp_path / "m")
    assert content(again(tmp_path / "m").record, "inputs", "origin") == content(made.record, "inputs", "origin")
    image = read_tensors(shard_of(tmp_path / "m"))[0]["single/a/image"]
    assert image.dtype == torch.uint8
    assert len(image) == 16


def test_room_is_told_before_and_refused_where_there_is_none(toy, tmp_path, monkeypatch):
    exam = evaluation.prepare(toy.Toy(), "standard", device="cpu", metrics=["truth"], limit=40)
    told = kept_answers.room(exam, contestant(toy), tmp_path / "m")
    assert "40 images" in told
    assert "13 answers each" in told
    assert str(tmp_path / "m" / ANSWERS) in told
    monkeypatch.setattr(kept_answers.shutil, "disk_usage", lambda _: type("Disk", (), {"free": 1000}))
    with pytest.raises(RecordError, match=r"needs about 0\.1 MB .* are free"):
        kept_answers.room(exam, contestant(toy), tmp_path / "m")


def test_the_size_of_the_largest_suite_is_in_gigabytes(toy):
    """2,000 images of 3 x 64 x 64 and 20 answers each: half a gigabyte."""
    assert kept_answers._in_words(2000 * 20 * 3 * 64 * 64) == "0.5 GB"
