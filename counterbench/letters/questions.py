"""Questions as files, round by round."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

import counterbench
from counterbench import datasets
from counterbench.datasets.base import Dataset
from counterbench.errors import ConfigError, DataError
from counterbench.exam import SPLIT, Exam
from counterbench.files import atomic, write_text
from counterbench.plans import Plan
from counterbench.progress import bar
from counterbench.variables import Binary, Categorical, Continuous, Image, Variable

if TYPE_CHECKING:
    from counterbench.letters.answers import Answers

EXAM, QUESTIONS, ANSWERS, CLAIMS = "exam.json", "questions.csv", "answers", "answers.csv"

_INSTRUCTIONS = """Questions of counterbench: {dataset}/{source}, suite {suite}
{line}

round-1/questions.csv has one line per question:

  id        name of the answer, without ending
  image     the image that the question is about, relative to this folder
  variable  what is set; empty for the null intervention: return the image as you would if nothing were changed
  value     the value it is set to
  {attributes}
            what is true of the image before

Answer every question with one image, {channels} x {height} x {width} (channels, rows, columns), in round-1/answers/:

  ID.png    {mode}, 8 bits per channel, or
  ID.npy    numpy array of floats, grey levels 0 to 255, (channels, rows, columns)

If your model also says what the other variables become, list it in round-1/answers.csv: a column id, and a column for each
variable. Without it, what is known to be true counts.

Then run

  counterbench score {folder}

It says what is missing or unusable, judges what can be judged, and writes the questions of the next round, which begin with your
answers ({rounds} rounds in all). The record is complete after the last one.
"""


@dataclass(frozen=True)
class Letter:
    """What decides the questions of a folder; `exam.json`."""

    dataset: str
    source: str
    suite: dict[str, Any]
    seed: int
    limit: int | None
    plan: str
    counterbench: str


@dataclass(frozen=True)
class Question:
    """One line of a list of questions.

    Args:
        id: name of the answer.
        key: how the examination calls it.
        row: of the test split.
        image: file that it begins with, relative to the folder, without ending.
        variable, value: what is set; empty and None for the null intervention.
    """

    id: str
    key: str
    row: int
    image: str
    variable: str
    value: float | None


def rounds_of(plan: Plan) -> int:
    """How many rounds an exam by letter has."""
    return max(1, plan.cycles, 2 if plan.undo or plan.pairs else 1)


def up_to(plan: Plan, rounds: int) -> Plan:
    """What can be judged when that many rounds are answered."""
    if rounds >= rounds_of(plan):
        return plan
    later: dict[str, Any] = {} if rounds >= 2 else {"undo": {}, "pairs": ()}
    return replace(plan, cycles=min(plan.cycles, rounds), **later)


def questions(plan: Plan, number: int) -> Iterator[Question]:
    """The questions of one round, in a fixed order."""
    rows = plan.index.tolist()

    def ask(
        key: str, image: str, variable: str = "", values: Sequence[float | None] | None = None
    ) -> Iterator[Question]:
        for position, row in enumerate(rows):
            begin = f"{image}.{row:06d}" if image.startswith("round-") else f"{image}/{row:06d}"
            value = None if values is None else values[position]
            yield Question(f"{key.replace('/', '.')}.{row:06d}", f"{key}/{row}", row, begin, variable, value)

    if number <= plan.cycles:
        given = "factual" if number == 1 else f"round-{number - 1}/{ANSWERS}/null.{number - 1}"
        yield from ask(f"null/{number}", given)
    if number == 1:
        for name, values in plan.single.items():
            yield from ask(f"single/{name}", "factual", name, values.tolist())
    if number == 2:
        first = f"round-1/{ANSWERS}/single"
        for name, back in plan.undo.items():
            yield from ask(f"return/{name}", f"{first}.{name}", name, back.tolist())
        for a, b in plan.pairs:
            yield from ask(f"pair/{a}/{b}", f"{first}.{a}", b, plan.single[b].tolist())
            yield from ask(f"pair/{b}/{a}", f"{first}.{b}", a, plan.single[a].tolist())


def export(exam: Exam, folder: Path) -> int:
    """Write an exam as a folder; returns how many questions the first round has.

    Raises:
        ConfigError: if the folder holds something else, or the dataset has no images.
    """
    dataset = exam.dataset
    if not dataset.card.image:
        raise ConfigError(f"{dataset.card.name} has no images to write; export the questions to a .csv instead.")
    if folder.exists() and any(folder.iterdir()) and not (folder / EXAM).is_file():
        raise ConfigError(f"{folder} is not empty and holds no exam; give a new folder.")
    inputs = Letter(
        str(dataset.card.path)
        if dataset.card.path and dataset.card.name not in datasets.names()
        else dataset.card.name,
        dataset.source,
        exam.suite.model_dump(mode="json"),
        exam.seed,
        exam.limit,
        exam.plan.hash,
        counterbench.__version__,
    )
    if (folder / EXAM).is_file() and read_exam(folder) != inputs:
        raise ConfigError(f"{folder} holds other questions; give a new folder.")
    _write_factual(exam, folder / "factual")
    count = write_round(exam, folder, 1, None)
    image = dataset.variables[dataset.card.image]
    assert isinstance(image, Image)
    title = f"Questions of counterbench: {dataset.card.name}/{dataset.source}, suite {exam.suite.name}"
    text = _INSTRUCTIONS.format(
        dataset=dataset.card.name,
        source=dataset.source,
        suite=exam.suite.name,
        line="=" * len(title),
        attributes=", ".join(dataset.card.attributes),
        channels=image.channels,
        height=image.height,
        width=image.width,
        mode="grey" if image.channels == 1 else "RGB",
        folder=folder,
        rounds=rounds_of(exam.plan),
    )
    write_text(folder / "README.txt", text)
    write_text(folder / EXAM, json.dumps(asdict(inputs), indent=1) + "\n")
    return count


def read_exam(folder: Path) -> Letter:
    """What decides the questions of a folder; DataError if it holds no exam."""
    path = folder / EXAM
    try:
        return Letter(**json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise DataError(
            f"{folder} holds no exam that can be read ({path.name}: {error}); make one with: counterbench plan export --output {folder}."
        ) from error


def _write_factual(exam: Exam, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    pixels = exam.dataset.split(SPLIT).values[exam.dataset.card.image][exam.plan.index]
    with bar(len(pixels), "Writing images") as advance:
        for row, one in zip(exam.plan.index.tolist(), pixels, strict=True):
            path = folder / f"{row:06d}{_ending(exam.dataset)}"
            if not path.exists():
                _write_image(one.numpy(), path)
            advance(1)


def _ending(dataset: Dataset) -> str:
    """Whole grey levels fit into a PNG; anything finer does not."""
    return ".png" if dataset.split(SPLIT).values[dataset.card.image].dtype == torch.uint8 else ".npy"


def _write_image(pixels: np.ndarray, path: Path) -> None:
    """(C, H, W), grey levels."""
    import PIL.Image

    with atomic(path) as temporary:
        if path.suffix == ".npy":
            with temporary.open("wb") as stream:
                np.save(stream, pixels.astype(np.float32))
        else:
            array = pixels.transpose(1, 2, 0)
            PIL.Image.fromarray(array[..., 0] if array.shape[2] == 1 else array).save(temporary, format="PNG")


def write_round(exam: Exam, folder: Path, number: int, answers: Answers | None) -> int:
    """Write the list of one round; returns how many questions it has."""
    dataset, names = exam.dataset, exam.dataset.card.attributes
    factual = dataset.attributes(SPLIT)
    home = folder / f"round-{number}"
    (home / ANSWERS).mkdir(parents=True, exist_ok=True)
    text, count = io.StringIO(), 0
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["id", "image", "row", "variable", "value", *names])
    for question in questions(exam.plan, number):
        begun = question.image
        if begun.startswith("round-"):
            assert answers is not None
            stem = begun.rpartition("/")[2]
            file = answers.files.get(stem)
            begun = str(file.relative_to(folder)) if file is not None else ""
            before = answers.claimed[stem]
        else:
            begun += _ending(dataset)
            before = {name: float(factual[name][question.row]) for name in names}
        value = "" if question.value is None else written(dataset.variables[question.variable], question.value)
        shown = [written(dataset.variables[name], before[name]) for name in names]
        writer.writerow([question.id, begun, question.row, question.variable, value, *shown])
        count += 1
    write_text(home / QUESTIONS, text.getvalue())
    return count


def written(variable: Variable, value: float) -> str:
    """A natural value as text: a number in full, or the name of a class."""
    if isinstance(variable, Continuous):
        return repr(float(np.float32(value)))
    return variable.classes[int(value)] if isinstance(variable, Categorical) else str(int(value))


def read_value(variable: Variable, text: str) -> float:
    """The way back; ValueError for what is no value of this variable."""
    if isinstance(variable, Categorical):
        return float(variable.classes.index(text))
    number = float(text)
    if isinstance(variable, Binary) and number not in (0.0, 1.0):
        raise ValueError(f"{text!r} is neither 0 nor 1")
    return number
