"""Questions and answers as files: a third door that must lead to the same numbers."""

import csv
import gc
import json
import os
import struct
import sys
import zlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import PIL.Image
import pytest
import torch

from counterbench import evaluation
from counterbench.causal.samples import Samples
from counterbench.causal.variables import Image
from counterbench.errors import ConfigError, DataError, ModelError
from counterbench.exchange import questions
from counterbench.exchange.answers import AnswerFolder, nothing, read_image
from counterbench.exchange.scoring import ready
from counterbench.leaderboard.ranking import why_not
from counterbench.models.model import Contestant
from counterbench.records.record import NOT_SHOWN
from counterbench.storage.volumes import write_volume

SUITE = """
name: letters
title: All kinds of questions
cycles: 3
single: true
undo: true
pairs: true
metrics: [composition, reversibility, commutativity, effectiveness, off_target, truth]
"""


class Blurred:
    """A model that any program could be: it depends on the image, what is set, and nothing else."""

    def __init__(self, dataset):
        self.dataset = dataset

    def counterfactual(self, factual, interventions, generator=None):
        image = (0.9 * factual["image"] + 12).clamp(0, 255)
        for name, value in interventions.items():
            image = image + (3 if name == "a" else -2) * value.float().view(-1, *[1] * (image.ndim - 1))
        values = {**factual, **interventions}
        if "a" in interventions:  # what it believes of the consequences, wrongly
            values["b"] = 0.5 * values["b"]
        return {**values, "image": image.clamp(0, 255)}


@pytest.fixture
def suite(tmp_path):
    path = tmp_path / "letters.yaml"
    path.write_text(SUITE)
    return path


@pytest.fixture
def exported(toy, suite, tmp_path):
    exam = evaluation.prepare("toy", str(suite), device="cpu", limit=9)
    folder = tmp_path / "exam"
    questions.export(exam, folder)
    return exam, folder


def answer(exam, folder, number, suffix=".npy", model=None):
    """Answer a round as a stranger would: from the files alone."""
    model = model or Blurred(exam.dataset)
    variables = exam.dataset.variables
    home = folder / f"round-{number}"
    claims = []
    with (home / "questions.csv").open(newline="") as stream:
        for row in csv.DictReader(stream):
            image = torch.from_numpy(read_image(folder / row["image"], exam.dataset.variables["image"]).copy())[None]
            given = {
                name: torch.tensor([questions.read_value(variables[name], row[name])], dtype=torch.float32)
                for name in exam.dataset.card.attributes
            }
            given["c"] = given["c"].long()
            held = {}
            if row["variable"]:
                value = questions.read_value(variables[row["variable"]], row["value"])
                held = {row["variable"]: torch.tensor([value]).to(given[row["variable"]].dtype)}
            made = model.counterfactual(Samples({**given, "image": image}, torch.tensor([int(row["row"])])), held)
            target = home / "answers" / f"{row['id']}{suffix}"
            if suffix == ".npy":
                np.save(target, made["image"][0].numpy())
            elif made["image"].ndim == 5:
                write_volume(made["image"][0].numpy(), target)
            else:
                PIL.Image.fromarray(made["image"][0, 0].round().to(torch.uint8).numpy()).save(target)
            claims.append(
                {"id": row["id"], **{n: questions.written(variables[n], float(made[n])) for n in given if n != "image"}}
            )
    with (home / "answers.csv").open("w", newline="") as stream:
        writer = csv.DictWriter(stream, claims[0])
        writer.writeheader()
        writer.writerows(claims)


def numbers(record):
    return {number.key: (number.value, number.low, number.high) for number in record.numbers}


def test_answers_from_files_get_the_numbers_of_the_model_itself(exported):
    exam, folder = exported
    for number in (1, 2, 3):
        answer(exam, folder, number)
        found = ready(folder, "stranger", device="cpu")
        assert found.rounds == (number, 3)
    assert found.waiting is None
    assert found.exam.plan.hash == exam.plan.hash
    by_letter = evaluation.evaluate(found.contestant, found.exam).record
    native = evaluation.evaluate(Contestant("native", Blurred(exam.dataset)), exam).record
    assert numbers(by_letter) == numbers(native)
    assert "answers from files, round 1: 36 of 36 answers can be used" in by_letter.notes
    assert (by_letter.origin, by_letter.left_out) == ("answers", [])
    assert (native.origin, native.coverage) == ("model", None)
    assert [flag for flag in by_letter.flags if flag.startswith(NOT_SHOWN)] == [
        f"{NOT_SHOWN}: answers from files cannot be asked for again from somebody who had not seen the photographs"
    ]
    assert all(why_not(by_letter, number) for number in by_letter.numbers if number.preserves)
    barred = {number.metric for number in by_letter.numbers if "from files" in why_not(by_letter, number)}
    assert {"reversibility", "commutativity"} <= barred


def test_a_round_that_is_not_answered_yet_is_not_judged(exported):
    exam, folder = exported
    answer(exam, folder, 1)
    found = ready(folder, device="cpu")
    assert found.waiting == folder / "round-2" / "questions.csv"
    record = evaluation.evaluate(found.contestant, found.exam).record
    assert {number.metric for number in record.numbers} == {"composition", "effectiveness", "off_target", "truth"}
    assert {number.cycles for number in record.numbers if number.metric == "composition"} == {1}
    assert "rounds 2 to 3 are not answered; what they ask is not judged" in record.notes
    assert record.left_out == ["rounds 2 to 3 are not answered"]
    native = evaluation.evaluate(Contestant("native", Blurred(exam.dataset)), exam).record
    assert numbers(record).items() <= numbers(native).items()


def test_png_answers_are_whole_grey_levels(exported):
    exam, folder = exported
    answer(exam, folder, 1, ".png")
    found = ready(folder, device="cpu")
    record = evaluation.evaluate(found.contestant, found.exam).record
    native = evaluation.evaluate(Contestant("native", Blurred(exam.dataset)), exam).record
    for key, (value, *_) in numbers(record).items():
        if key[1] == "l1":
            assert value == pytest.approx(numbers(native)[key][0], abs=0.5)


def test_wrong_answers_are_told_apart_counted_and_fail(exported):
    exam, folder = exported
    answer(exam, folder, 1)
    home = folder / "round-1" / "answers"
    ids = [f"single.a.{row:06d}" for row in range(6)]
    (home / f"{ids[0]}.npy").unlink()
    np.save(home / f"{ids[1]}.npy", np.zeros((1, 4, 4), np.float32))
    np.save(home / f"{ids[2]}.npy", np.full((1, 8, 8), 0.5, np.float32))
    np.save(home / f"{ids[3]}.npy", np.full((1, 8, 8), np.nan, np.float32))
    (home / f"{ids[4]}.npy").write_bytes(b"\x93NUMPY cut short")
    np.save(home / f"{ids[5]}.npy", np.array([print], dtype=object), allow_pickle=True)
    (home / "single.a.999999.npy").write_bytes(b"")
    (home / "notes.txt").write_text("hello")
    found = ready(folder, device="cpu")
    assert found.coverage[1].counts == {
        "asked": 36,
        "usable": 30,
        "missing": 1,
        "unreadable": 2,
        "size": 1,
        "range": 2,
        "extra": 2,
    }
    said = "30 of 36 answers can be used (1 missing, 2 unreadable, 1 of a wrong size, 2 out of range); 2 files that answer nothing"
    assert str(found.coverage[1]) == said
    record = evaluation.evaluate(found.contestant, found.exam).record
    assert any(said in note for note in record.notes)
    assert record.coverage.rounds == [found.coverage[1].counts]
    whole = evaluation.evaluate(Contestant("native", Blurred(exam.dataset)), exam).record
    key = ("truth", "l1", "a", "", 0, "l1")
    assert record.by_key[key].n == whole.by_key[key].n  # failures count
    assert record.by_key[key].value > whole.by_key[key].value
    factual = exam.dataset.split("test").take(torch.tensor([0]))
    question = next(one for one in exam.plan.questions if one.name == "single/a").at(torch.tensor([0]))
    (stands_for_it,) = found.contestant.model.answer_question(question, factual)["image"].numpy()
    with pytest.raises(ModelError, match="looked up question by question"):
        found.contestant.model.counterfactual(factual, question.held)
    assert np.array_equal(stands_for_it, nothing(ids[0], exam.dataset.variables["image"]))


class Distances(Blurred):
    """Far from everything that was asked for, in another way each time: dropping an answer must not pay even here."""

    def counterfactual(self, factual, interventions, generator=None):
        values = super().counterfactual(factual, interventions, generator)
        return {**values, "image": 255 - values["image"] * (1 + int(factual.index[0]) % 3) / 3}


@pytest.mark.parametrize("kept", [[0], [3, 8], [0, 1, 2, 3, 4, 5, 6, 7]])
@pytest.mark.parametrize("model", [Blurred, Distances])
def test_leaving_answers_out_never_improves_a_number(exported, kept, model):
    exam, folder = exported
    for number in (1, 2, 3):
        answer(exam, folder, number, model=model(exam.dataset))
        found = ready(folder, device="cpu")
    whole = evaluation.evaluate(found.contestant, found.exam).record
    for path in folder.glob("round-*/answers/*.npy"):
        if int(path.stem.rpartition(".")[2]) not in kept:
            path.unlink()
    for begun in folder.glob("round-*/begun-from.sha256"):
        begun.unlink()  # as if they had been left out from the beginning
    found = ready(folder, device="cpu")
    part = evaluation.evaluate(found.contestant, found.exam).record
    assert part.by_key.keys() == whole.by_key.keys()
    for key, number in part.by_key.items():
        if number.quantity in ("auroc", "f1", "balanced_accuracy"):
            continue  # of whole sets: an answer that is missing there is a guess
        assert number.n == whole.by_key[key].n, key
        assert number.regret >= whole.by_key[key].regret - 1e-9, key


class Remains:
    """Something that the garbage collector has to finalise, wherever it happens to run."""

    def __init__(self):
        self.itself = self

    def __del__(self):
        sum(range(50))


def test_no_array_is_unreadable_because_others_are_read_meanwhile(tmp_path):
    image = Image("image", 1, 8, 8)
    np.save(tmp_path / "a.npy", np.zeros(image.shape, np.float32))

    def read(_):
        for _ in range(5):
            Remains()
        return read_image(tmp_path / "a.npy", image).shape

    before, interval = gc.get_threshold(), sys.getswitchinterval()
    gc.set_threshold(20)
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(8) as pool:
            assert set(pool.map(read, range(1500))) == {image.shape}
    finally:
        gc.set_threshold(*before)
        sys.setswitchinterval(interval)


def test_without_claims_what_is_known_to_be_true_counts(exported):
    exam, folder = exported
    answer(exam, folder, 1)
    (folder / "round-1" / "answers.csv").unlink()
    found = ready(folder, device="cpu")
    record = evaluation.evaluate(found.contestant, found.exam).record
    errors = [n.value for n in record.numbers if n.quantity == "attribute_error"]
    assert errors
    assert max(errors) == 0
    assert not record.coverage.claimed


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("id", "single.a.123456", "'single.a.123456' is no question"),
        ("b", "many", "b is 'many'"),
        ("b", "nan", "b is 'nan'"),
        ("c", "four", "'four' is none of zero, one, two"),
        ("a", "3.25", "a was set to"),
    ],
)
def test_claims_that_cannot_be(exported, column, value, message):
    exam, folder = exported
    answer(exam, folder, 1)
    path = folder / "round-1" / "answers.csv"
    rows = list(csv.DictReader(path.open(newline="")))
    row = next(row for row in rows if row["id"].startswith("single.a."))
    row[column] = value
    with path.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    with pytest.raises(DataError, match=message):
        evaluation.evaluate((found := ready(folder, device="cpu")).contestant, found.exam)


def test_a_baselines_name_is_taken(exported):
    exam, folder = exported
    answer(exam, folder, 1)
    with pytest.raises(DataError, match="'identity' is the name of a baseline"):
        ready(folder, "identity", device="cpu")


def test_folders_that_are_no_exam(exported, tmp_path, suite):
    exam, folder = exported
    with pytest.raises(DataError, match="holds no exam"):
        ready(tmp_path / "nowhere", device="cpu")
    with pytest.raises(DataError, match="holds no answers"):
        ready(folder, device="cpu")
    (folder / "round-1" / "answers" / "single.a.000000.npy").write_bytes(b"?")
    with pytest.raises(DataError, match="None of the answers"):
        ready(folder, device="cpu")
    (folder / "exam.json").write_text("{")
    with pytest.raises(DataError, match="holds no exam that can be read"):
        ready(folder, device="cpu")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("...")
    with pytest.raises(ConfigError, match="is not empty"):
        questions.export(exam, tmp_path / "full")


def test_an_exam_is_never_written_over_another(exported, suite):
    exam, folder = exported
    questions.export(exam, folder)  # again: the same
    other = evaluation.prepare("toy", str(suite), device="cpu", limit=5)
    with pytest.raises(ConfigError, match="holds other questions"):
        questions.export(other, folder)


def test_every_question_of_the_plan_is_asked_once(exported):
    exam, _ = exported
    listed = [
        question.file(row)
        for number in range(1, questions.rounds_of(exam.plan) + 1)
        for question, row, _ in questions.asked_in(exam.plan, number)
    ]
    assert len(listed) == len(set(listed))
    rows, pairs = len(exam.plan.index), len(exam.plan.pairs)
    assert len(listed) == rows * (exam.plan.cycles + len(exam.plan.single) + len(exam.plan.undo) + 2 * pairs)


def test_it_knows_no_other_questions(exported):
    exam, folder = exported
    answer(exam, folder, 1)
    answers = AnswerFolder(exam, folder)
    assert answers.can_answer(["a"])
    assert answers.can_answer([])
    assert not answers.can_answer(["a", "c"])
    for path in (folder / "round-1" / "answers").glob("single.c.*"):
        path.unlink()
    assert not AnswerFolder(exam, folder).can_answer(["c"])  # a question that was left out as a whole


def test_the_command_line_from_end_to_end(morphomnist, tmp_path, monkeypatch):
    """Somebody copies every image: the identity, by letter."""
    import shutil

    from click.testing import CliRunner

    from counterbench.cli import main

    monkeypatch.chdir(tmp_path)
    runner = CliRunner()
    done = runner.invoke(main, ["plan", "export", "--suite", "quick", "--limit", "3", "--output", "mine", "-q"])
    assert done.exit_code == 0, done.output
    folder = tmp_path / "mine"
    assert "{" not in (folder / "README.txt").read_text()
    assert "1 x 32 x 32" in (folder / "README.txt").read_text()
    first = read_image(folder / "factual" / "000001.png", morphomnist.variables["image"])
    assert torch.equal(torch.from_numpy(first.copy()), morphomnist.split("test").take(torch.tensor([1]))["image"][0])
    for row in csv.DictReader((folder / "round-1" / "questions.csv").open(newline="")):
        shutil.copy(folder / row["image"], folder / "round-1" / "answers" / f"{row['id']}.png")
    done = runner.invoke(main, ["score", "mine", "--name", "copies", "-q"])
    assert done.exit_code == 0, done.output
    assert "copies (answers from files)" in done.output
    assert "Round 2 of 3: answer" in done.stderr
    assert "mine/round-2/questions.csv" in done.stderr
    asked = list(csv.DictReader((folder / "round-2" / "questions.csv").open(newline="")))
    assert all((folder / row["image"]).is_file() for row in asked)
    assert {row["id"].split(".")[0] for row in asked} == {"null", "return", "pair"}
    done = runner.invoke(main, ["score", "elsewhere"])
    assert done.exit_code == 1
    assert "holds no exam" in done.stderr


def test_values_a_little_beyond_the_scale_are_taken_as_they_are_natively(exported):
    exam, folder = exported

    class Bright(Blurred):
        def counterfactual(self, factual, interventions, generator=None):
            made = super().counterfactual(factual, interventions, generator)
            made["image"][:, :, 0, 0] = 255.4
            return made

    answer(exam, folder, 1, model=Bright(exam.dataset))
    found = ready(folder, device="cpu")
    assert found.coverage[1].counts["usable"] == 36
    native = evaluation.evaluate(Contestant("native", Bright(exam.dataset)), exam).record
    assert numbers(evaluation.evaluate(found.contestant, found.exam).record).items() <= numbers(native).items()


def test_answers_that_changed_after_others_began_with_them(exported):
    exam, folder = exported
    for number in (1, 2):
        answer(exam, folder, number)
        ready(folder, device="cpu")
    path = folder / "round-1" / "answers" / "single.a.000000.npy"
    np.save(path, np.load(path) + 1)
    with pytest.raises(DataError, match="begin with answers that have changed since; remove round-2"):
        ready(folder, device="cpu")


def test_a_stray_file_answers_nothing(exported):
    exam, folder = exported
    answer(exam, folder, 1)
    ready(folder, device="cpu")
    (folder / "round-2" / "answers" / ".DS_Store").write_bytes(b"Finder")
    (folder / "round-2" / "answers" / "Thumbs.db").write_bytes(b"Explorer")
    assert ready(folder, device="cpu").rounds == (1, 3)


def test_kinds_of_questions_that_were_left_out_are_not_asked(exported):
    exam, folder = exported
    answer(exam, folder, 1)
    for path in (folder / "round-1" / "answers").glob("single.c.*"):
        path.unlink()
    ready(folder, device="cpu")
    answer_only = folder / "round-2" / "answers"
    answer(exam, folder, 2)
    for path in [*answer_only.glob("return.b.*"), *answer_only.glob("pair.*")]:
        path.unlink()
    claims = folder / "round-2" / "answers.csv"
    kept = [line for line in claims.read_text().splitlines() if not line.startswith(("return.b", "pair"))]
    claims.write_text("\n".join(kept) + "\n")
    found = ready(folder, device="cpu")
    record = evaluation.evaluate(found.contestant, found.exam).record
    assert {n.intervened for n in record.numbers if n.metric == "reversibility"} == {"a"}
    assert not [n for n in record.numbers if n.metric == "commutativity"]
    assert not [n for n in record.numbers if n.intervened == "c"]
    assert any(note.startswith("left out: do(c), do(b) taken back") for note in record.notes)
    assert record.coverage.left_out[:2] == ["do(c)", "do(b) taken back"]


def test_what_has_no_usable_answer_is_not_gone_on_from(exported):
    exam, folder = exported
    answer(exam, folder, 1)
    (folder / "round-1" / "answers" / "single.a.000003.npy").unlink()
    ready(folder, device="cpu")
    asked = {row["id"]: row["image"] for row in csv.DictReader((folder / "round-2" / "questions.csv").open(newline=""))}
    assert "return.a.000003" not in asked
    assert all(asked.values())


@pytest.mark.parametrize("shape", [(8, 8), (8, 8, 1)])
def test_arrays_may_have_their_channels_last_or_none(exported, shape):
    exam, folder = exported
    answer(exam, folder, 1)
    for path in (folder / "round-1" / "answers").glob("*.npy"):
        np.save(path, np.load(path).reshape(shape))
    assert ready(folder, device="cpu").coverage[1].counts["usable"] == 36


def _deep_png():
    """8 x 8 pixels of three channels with 16 bits each."""
    rows = b"".join(b"\0" + bytes(8 * 6) for _ in range(8))
    parts = (b"IHDR" + struct.pack(">IIBBBBB", 8, 8, 16, 2, 0, 0, 0), b"IDAT" + zlib.compress(rows), b"IEND")
    chunks = b"".join(struct.pack(">I", len(part) - 4) + part + struct.pack(">I", zlib.crc32(part)) for part in parts)
    return b"\x89PNG\r\n\x1a\n" + chunks


def test_pictures_of_any_eight_bit_kind_and_no_other(exported, tmp_path):
    exam, _ = exported
    image = exam.dataset.variables["image"]
    grey = (np.arange(64).reshape(8, 8) * 4).astype(np.uint8)
    for mode in ("L", "RGB", "LA", "RGBA", "P"):
        PIL.Image.fromarray(grey).convert(mode).save(tmp_path / "a.png")
        assert np.array_equal(read_image(tmp_path / "a.png", image)[0], grey), mode
    PIL.Image.fromarray(grey.astype(np.uint16) * 257).save(tmp_path / "a.png")
    with pytest.raises(ValueError, match="more than 8 bits"):
        read_image(tmp_path / "a.png", image)
    (tmp_path / "a.png").write_bytes(_deep_png())
    with pytest.raises(ValueError, match="more than 8 bits"):  # pillow opens it as 8 bits
        read_image(tmp_path / "a.png", image)
    clear = np.dstack([grey, np.full_like(grey, 128)])
    PIL.Image.fromarray(clear, "LA").save(tmp_path / "a.png")
    with pytest.raises(ValueError, match="transparent"):
        read_image(tmp_path / "a.png", image)
    PIL.Image.fromarray(np.dstack([grey, grey, grey // 2])).save(tmp_path / "a.png")
    with pytest.raises(ValueError, match="colours"):
        read_image(tmp_path / "a.png", image)
    PIL.Image.fromarray(grey).save(tmp_path / "a.jpg")
    (tmp_path / "a.jpg").rename(tmp_path / "a.png")
    with pytest.raises(ValueError, match="a JPEG, not a PNG"):
        read_image(tmp_path / "a.png", image)
    np.savez(tmp_path / "b.npz", grey)
    (tmp_path / "b.npz").rename(tmp_path / "b.npy")
    with pytest.raises(ValueError, match="no plain array"):
        read_image(tmp_path / "b.npy", image)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"has the columns \(none\); it needs id"),
        ("id,B\nsingle.a.000000,1\n", "has the columns id, B; it needs id, and may have"),
        ("id;b\nsingle.a.000000;1\n", "has the columns id;b"),
        ("id,b\nsingle.a.000000,1\nsingle.a.000000,2\n", "'single.a.000000' is there twice"),
        ("id,b,b\nsingle.a.000000,1,2\n", "has the columns id, b, b; it needs id, and may have .* each once"),
        ("id,b\nsingle.a.000000,1,2\n", "line 2 has more cells than columns"),
    ],
)
def test_lists_of_claims_that_mean_something_else(exported, text, message):
    exam, folder = exported
    answer(exam, folder, 1)
    (folder / "round-1" / "answers.csv").write_text(text)
    with pytest.raises(DataError, match=message):
        ready(folder, device="cpu")


def test_an_interrupted_export_can_be_repeated(toy, suite, tmp_path, monkeypatch):
    exam = evaluation.prepare("toy", str(suite), device="cpu", limit=4)

    def interrupted(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(questions, "_write_image", interrupted)
        with pytest.raises(KeyboardInterrupt):
            questions.export(exam, tmp_path / "exam")
    assert questions.export(exam, tmp_path / "exam") == 16


def test_other_pixels_are_noticed(exported):
    exam, folder = exported
    answer(exam, folder, 1)
    path = folder / "exam.json"
    path.write_text(path.read_text().replace(exam.dataset.split("test").fingerprint, "0" * 64))
    with pytest.raises(DataError, match="with other images than"):
        ready(folder, device="cpu")


def test_what_is_wrong_is_shown_by_example(exported):
    exam, folder = exported
    answer(exam, folder, 1)
    home = folder / "round-1" / "answers"
    np.save(home / "single.a.000000.npy", np.zeros((1, 4, 4), np.float32))
    np.save(home / "single.b.000000.npy", np.full((1, 8, 8), 4000.0, np.float32))
    shown = " ".join(ready(folder, device="cpu").coverage[1].examples())
    assert "single.a.000000.npy is 1 x 4 x 4; expected 1 x 8 x 8" in shown
    assert "has values from 4000 to 4000; grey levels are 0 to 255" in shown


def everything_under(folder):
    return {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.mark.parametrize("link", ["round-2", "round-2/answers"])
@pytest.mark.parametrize("where", ["elsewhere", "exam/factual/elsewhere"])
def test_nothing_is_written_through_a_link(exported, tmp_path, link, where):
    exam, folder = exported
    answer(exam, folder, 1)
    elsewhere = tmp_path / where
    elsewhere.mkdir()
    (elsewhere / "questions.csv").write_text("precious")
    before = everything_under(elsewhere)
    (folder / link).parent.mkdir(exist_ok=True)
    (folder / link).symlink_to(elsewhere)
    with pytest.raises(DataError, match=r"round-2.* is a link"):
        ready(folder, device="cpu")
    assert everything_under(elsewhere) == before
    assert not (elsewhere / "answers").exists()


def test_questions_are_not_exported_through_a_link(exported, tmp_path):
    exam, folder = exported
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (folder / "factual").rename(tmp_path / "moved")
    (folder / "factual").symlink_to(elsewhere)
    with pytest.raises(DataError, match="factual is a link"):
        questions.export(exam, folder)
    assert not list(elsewhere.iterdir())


@pytest.mark.parametrize("part", ["exam.json", "round-1/answers", "round-1/answers.csv", "round-1"])
def test_nothing_is_read_through_a_link_that_leaves_the_folder(exported, tmp_path, part):
    exam, folder = exported
    answer(exam, folder, 1)
    (folder / part).rename(tmp_path / "outside")
    (folder / part).symlink_to(tmp_path / "outside")
    with pytest.raises(DataError, match="is a link that leads out of"):
        evaluation.evaluate((found := ready(folder, device="cpu")).contestant, found.exam)


def test_answers_that_are_links_or_pipes(exported, tmp_path):
    """One that stays in the folder is an answer; others cannot be used, and cost nobody else anything."""
    exam, folder = exported
    answer(exam, folder, 1)
    home = folder / "round-1" / "answers"
    inside, outside, pipe = (home / f"single.a.{row:06d}.npy" for row in (0, 1, 2))
    inside.rename(folder / "kept.npy")
    inside.symlink_to(folder / "kept.npy")
    outside.rename(tmp_path / "secret.npy")
    outside.symlink_to(tmp_path / "secret.npy")
    pipe.unlink()
    os.mkfifo(pipe)
    coverage = ready(folder, device="cpu").coverage[1]
    assert coverage.counts["usable"] == 34
    assert coverage.wrong["unreadable"].keys() == {outside.stem, pipe.stem}
    assert "leads out of" in coverage.wrong["unreadable"][outside.stem]
    assert "pipe, device or socket" in coverage.wrong["unreadable"][pipe.stem]


@pytest.mark.parametrize("part", ["exam.json", "round-1/answers.csv", "round-2/begun-from.sha256"])
def test_pipes_are_not_waited_for(exported, part):
    exam, folder = exported
    answer(exam, folder, 1)
    ready(folder, device="cpu")
    answer(exam, folder, 2)
    (folder / part).unlink()
    os.mkfifo(folder / part)
    with pytest.raises(DataError, match="pipe, device or socket"):
        ready(folder, device="cpu")


def test_a_card_in_a_file_is_given_by_whoever_scores(card, suite, tmp_path):
    exam = evaluation.prepare(str(card), str(suite), device="cpu", metrics=["composition"], limit=4)
    folder = tmp_path / "exam"
    questions.export(exam, folder)
    assert str(tmp_path) not in (folder / "exam.json").read_text()
    assert "score" in (folder / "README.txt").read_text()
    assert "--dataset CARD" in (folder / "README.txt").read_text()
    for row in csv.DictReader((folder / "round-1" / "questions.csv").open(newline="")):
        target = folder / "round-1" / "answers" / f"{row['id']}.png"
        target.write_bytes((folder / row["image"]).read_bytes())
    assert ready(folder, device="cpu", dataset=str(card)).coverage[1].counts["usable"] == 8
    with pytest.raises(DataError, match=r"Unknown dataset 'squares'.*--dataset CARD"):
        ready(folder, device="cpu")
    inputs = json.loads((folder / "exam.json").read_text())
    (folder / "exam.json").write_text(json.dumps({**inputs, "dataset": str(card)}))
    with pytest.raises(DataError, match="Unknown dataset"):
        ready(folder, device="cpu")  # a path in a folder of answers is not followed
    (folder / "exam.json").write_text(json.dumps({**inputs, "dataset": "circles"}))
    with pytest.raises(DataError, match=r"asks about 'circles', and .* declares 'squares'"):
        ready(folder, device="cpu", dataset=str(card))


@pytest.mark.parametrize("nifti", [False, True])
def test_volumes_are_asked_and_answered_in_files(toy, suite, tmp_path, nifti):
    if nifti:
        pytest.importorskip("nibabel")
    solid = toy.SolidToy()
    exam = evaluation.prepare(solid, str(suite), device="cpu", limit=9)
    folder, ending = tmp_path / "exam", ".nii.gz" if nifti else ".npz"
    questions.export(exam, folder, nifti=nifti)
    said = (folder / "README.txt").read_text()
    assert "one volume, 1 x 16 x 16 x 16 (channels, slices, rows, columns)" in said
    assert {path.name for path in (folder / "factual").iterdir()} == {f"{row:06d}{ending}" for row in range(9)}
    image = exam.dataset.variables["image"]
    assert np.array_equal(
        read_image(folder / "factual" / f"000004{ending}", image), exam.dataset.split("test").values["image"][4]
    )
    for number, suffix in ((1, ending), (2, ".npy"), (3, ending)):
        answer(exam, folder, number, suffix)
        found = ready(folder, "stranger", device="cpu")
        assert found.coverage[number].counts["usable"] == found.coverage[number].asked
    native = evaluation.evaluate(Contestant("native", Blurred(exam.dataset)), exam).record
    assert numbers(evaluation.evaluate(found.contestant, found.exam).record) == numbers(native)


def test_the_axes_of_a_volume_survive_a_nifti_however_it_lies(tmp_path):
    nibabel = pytest.importorskip("nibabel")
    volume = np.arange(2 * 3 * 4, dtype=np.float32).reshape(1, 2, 3, 4)
    path = tmp_path / "a.nii.gz"
    write_volume(volume, path)
    stored = nibabel.load(path)
    # To the right, to the front, up: the lowest, foremost, leftmost voxel.
    assert stored.shape == (4, 3, 2)
    assert stored.get_fdata()[0, 2, 0] == volume[0, 0, 0, 0]
    assert nibabel.aff2axcodes(stored.affine) == ("R", "A", "S")
    assert np.array_equal(read_image(path, Image("v", 1, 2, 3, 4)), volume)
    turned = stored.as_reoriented(nibabel.orientations.axcodes2ornt("LPI"))
    nibabel.save(turned, tmp_path / "b.nii")
    assert np.array_equal(read_image(tmp_path / "b.nii", Image("v", 1, 2, 3, 4)), volume)


def test_what_is_no_volume_is_refused_in_words(tmp_path, monkeypatch):
    image = Image("v", 1, 4, 4, 4)
    np.savez(tmp_path / "two.npz", a=np.zeros(3), b=np.zeros(3))
    with pytest.raises(ValueError, match=r"it holds a.npy, b.npy; expected one array"):
        read_image(tmp_path / "two.npz", image)
    np.savez(tmp_path / "objects.npz", np.array([print], dtype=object))
    with pytest.raises(ValueError, match="no plain array"):
        read_image(tmp_path / "objects.npz", image)
    np.savez_compressed(tmp_path / "large.npz", np.zeros((100, 100, 100), np.uint8))
    with pytest.raises(ValueError, match="100 x 100 x 100, which is too large"):
        read_image(tmp_path / "large.npz", image)
    np.savez(tmp_path / "other.npz", np.zeros((4, 4, 5)))
    with pytest.raises(ValueError, match="4 x 4 x 5; expected 1 x 4 x 4 x 4"):
        read_image(tmp_path / "other.npz", image)
    PIL.Image.new("L", (4, 4)).save(tmp_path / "a.png")
    with pytest.raises(ValueError, match="is a picture; expected a volume, 1 x 4 x 4 x 4"):
        read_image(tmp_path / "a.png", image)
    np.savez(tmp_path / "flat.npz", np.zeros((4, 4, 4, 1)))
    assert read_image(tmp_path / "flat.npz", image).shape == (1, 4, 4, 4)
    monkeypatch.setitem(sys.modules, "nibabel", None)
    with pytest.raises(DataError, match=r"need nibabel: pip install 'counterbench\[adni\]'\.$"):
        write_volume(np.zeros((1, 4, 4, 4)), tmp_path / "a.nii.gz")
