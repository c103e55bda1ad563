"""Questions as files, round by round."""

from __future__ import annotations

import csv
import io
from collections.abc import Collection, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from pydantic import Field

import counterbench
from counterbench import datasets
from counterbench.catalog.reading import Declaration
from counterbench.catalog.suites import Suite
from counterbench.causal.variables import Binary, Categorical, Continuous, Image, Variable
from counterbench.datasets.dataset import Dataset
from counterbench.errors import ConfigError, DataError
from counterbench.evaluation.exam import SPLIT, Exam
from counterbench.plans.plan import Plan
from counterbench.plans.question import Question, all_of
from counterbench.runtime.progress import bar
from counterbench.storage.files import (
    atomic,
    own_subfolder,
    read_bounded,
    require_inside,
    write_png,
    write_text,
)
from counterbench.storage.volumes import NIFTI, NPZ, ending_of, name_of, write_volume

if TYPE_CHECKING:
    from counterbench.exchange.answers import AnswerFolder

EXAM, QUESTIONS, ANSWERS, CLAIMS = "exam.json", "questions.csv", "answers", "answers.csv"
BEGUN = "begun-from.sha256"
"""Beside a later round's questions: the answers that they begin with."""
BEGUN_IMAGES = "images"
"""Beside a later round's questions: the images of answers that were arrays, in whole grey levels."""

_INSTRUCTIONS = """Questions of counterbench: {dataset}/{source}, suite {suite}
{line}

round-1/questions.csv has one line per question:

  id        name of the answer, without ending
  image     the image that the question is about, relative to this folder; empty where you draw somebody new (sample.*) who has the
            attributes of the line
  variable  what is set; empty for the null intervention: return the image as you would if nothing were changed
  value     the value it is set to
  beside, beside_value
            of a joint question, another variable that is set at the same moment, and its value
  {attributes}
            what is true of the image before

Answer every question with one {what}, {sides} ({axes}), in round-1/answers/:

{formats}

If your model also says what the other variables become, list it in round-1/answers.csv: a column id, and a column for each
variable. Without it, what is known to be true counts.

Then run

  counterbench score {folder}{card}

It says what is missing or unusable, judges what can be judged, and writes the questions of the next round, which begin with your
answers ({rounds} rounds in all). The record is complete after the last one. An answer that is missing among others counts as a failure,
and nothing is asked about it in later rounds; a kind of question that you leave out altogether is not judged.
"""

_OF_PICTURES = """  ID.png    {mode}, 8 bits per channel, or
  ID.npy    numpy array, grey levels 0 to 255, ({axes}); it is rounded to whole ones before it is judged"""
_OF_VOLUMES = """  ID.npz    numpy archive with one array, grey levels 0 to 255, ({axes}); it is rounded to whole ones before
            it is judged; slices from low to high, rows from front to back, columns to the right,
  ID.npy    the array itself, or
  ID.nii.gz the same as NIfTI, voxels of 1 mm: to the right, to the front, up"""


class ExamInputs(Declaration):
    """What decides the questions of a folder; `exam.json`."""

    dataset: str
    """Name of a card; a card in a file is given by whoever scores the answers, never read from where a folder says."""
    source: str
    suite: Suite
    seed: int = Field(ge=0)
    exam_seed: int | None = Field(None, ge=0, le=2**32 - 1)
    limit: int | None = Field(ge=1)
    plan: str
    """SHA-256 of all questions."""
    pixels: str
    """SHA-256 of the test split."""
    counterbench: str
    volumes: Literal["npz", "nii.gz"] = "npz"
    """The format of volumes; it decides no question."""


def rounds_of(plan: Plan) -> int:
    """How many rounds of questions and answers an exam in files has."""
    return max(1, plan.cycles, 2 if plan.undo or plan.pairs else 1)


def answers_folder(folder: Path, number: int) -> Path:
    """Where the answers of one round lie.

    Raises:
        DataError: if a link leads from there out of the folder of the exam.
    """
    home = folder / f"round-{number}" / ANSWERS
    require_inside(home, folder)
    return home


def answered_in(folder: Path, plan: Plan) -> dict[str, Question]:
    """The questions of which there is at least one file, usable or not, by name."""
    questions = {}
    for number in range(1, rounds_of(plan) + 1):
        home = answers_folder(folder, number)
        files = {name_of(path) for path in home.iterdir()} if home.is_dir() else set()
        for question in all_of(plan.questions, number):
            if any(question.file(row) in files for row in question.rows.tolist()):
                questions[question.name] = question
    return questions


def answered(plan: Plan, names: Collection[str]) -> Plan:
    """What can be judged: the questions of which at least one is answered. One that is missing among others is a failure; a kind of
    question that was left out altogether is not asked."""
    single = {name: values for name, values in plan.single.items() if f"single/{name}" in names}
    cycles = 0
    while cycles < plan.cycles and f"null/{cycles + 1}" in names:
        cycles += 1
    undo = {name: values for name, values in plan.undo.items() if name in single and f"return/{name}" in names}
    pairs = tuple(
        (a, b)
        for a, b in plan.pairs
        if a in single and b in single and f"pair/{a}/{b}" in names and f"pair/{b}/{a}" in names
    )
    joint = tuple((a, b) for a, b in plan.joint if a in single and b in single and f"joint/{a}/{b}" in names)
    captions = plan.captions if "sample" in names else {}
    return replace(plan, single=single, cycles=cycles, undo=undo, pairs=pairs, joint=joint, captions=captions)


def asked_in(plan: Plan, number: int) -> Iterator[tuple[Question, int, dict[str, float]]]:
    """(question, row, variable -> value that it is set to) of one round, in a fixed order."""
    for question in all_of(plan.questions, number):
        held = {name: values.tolist() for name, values in question.held.items()}
        for position, row in enumerate(question.rows.tolist()):
            yield question, row, {name: values[position] for name, values in held.items()}


def export(exam: Exam, folder: Path, *, nifti: bool = False) -> int:
    """Write an exam as a folder; returns how many questions the first round has.

    Args:
        exam: all questions.
        folder: a new one, or the same again.
        nifti: whether volumes are written as NIfTI, not as NPZ.

    Raises:
        ConfigError: if the folder holds something else, or the dataset has no images.
    """
    dataset = exam.dataset
    if not dataset.card.image:
        raise ConfigError(f"{dataset.card.name} has no images to write; export the questions to a .csv instead.")
    if folder.exists() and not folder.is_dir():
        raise ConfigError(f"{folder} is a file; give a new folder, or a name that ends with .parquet, .csv or .json.")
    if folder.exists() and any(folder.iterdir()) and not (folder / EXAM).is_file():
        raise ConfigError(f"{folder} is not empty and holds no exam; give a new folder.")
    card = dataset.card
    inputs = ExamInputs(
        dataset=card.name,
        source=dataset.source,
        suite=exam.suite,
        seed=exam.seed,
        exam_seed=dataset.exam_seed,
        limit=exam.limit,
        plan=exam.plan.hash,
        pixels=dataset.split(SPLIT).fingerprint,
        counterbench=counterbench.__version__,
        volumes="nii.gz" if nifti else "npz",
    )
    image = _image_of(dataset)
    if nifti and len(image.spatial) == 2:
        raise ConfigError(f"{card.name} has pictures, which NIfTI files are not for; leave out --nifti.")
    if (folder / EXAM).is_file() and read_exam(folder) != inputs:
        raise ConfigError(f"{folder} holds other questions; give a new folder.")
    folder.mkdir(parents=True, exist_ok=True)
    unsaid = {"volumes"} if len(image.spatial) == 2 else set()
    # First: an interrupted export can be repeated.
    write_text(folder / EXAM, inputs.model_dump_json(indent=1, exclude=unsaid) + "\n")
    _write_factual(exam, own_subfolder(folder, "factual"), _ending(dataset, inputs))
    count = write_round(exam, folder, 1, None)
    flat = len(image.spatial) == 2
    axes = "channels, rows, columns" if flat else "channels, slices, rows, columns"
    mode = "grey" if image.channels == 1 else "RGB"
    title = f"Questions of counterbench: {dataset.card.name}/{dataset.source}, suite {exam.suite.name}"
    text = _INSTRUCTIONS.format(
        dataset=dataset.card.name,
        source=dataset.source,
        suite=exam.suite.name,
        line="=" * len(title),
        attributes=", ".join(dataset.card.attributes),
        what="image" if flat else "volume",
        sides=" x ".join(map(str, image.shape)),
        axes=axes,
        formats=(_OF_PICTURES if flat else _OF_VOLUMES).format(mode=mode, axes=axes),
        folder=folder,
        card=""
        if card.name in datasets.names()
        else f" --dataset CARD      (CARD: the file that declares {card.name})",
        rounds=rounds_of(exam.plan),
    )
    write_text(folder / "README.txt", text)
    return count


def read_exam(folder: Path) -> ExamInputs:
    """What decides the questions of a folder; DataError if it holds no exam."""
    path = folder / EXAM
    try:
        require_inside(path, folder)
        return ExamInputs.model_validate_json(read_bounded(path))
    except (OSError, ValueError) as error:
        first = str(error).splitlines()[0]
        raise DataError(
            f"{folder} holds no exam that can be read ({path.name}: {first}); make one with: counterbench plan export --output {folder}."
        ) from error


def _image_of(dataset: Dataset) -> Image:
    image = dataset.variables[dataset.card.image]
    assert isinstance(image, Image)
    return image


def _write_factual(exam: Exam, folder: Path, ending: str) -> None:
    pixels = exam.dataset.split(SPLIT).values[exam.dataset.card.image][exam.plan.index]
    with bar(len(pixels), "Writing images") as advance:
        for row, one in zip(exam.plan.index.tolist(), pixels, strict=True):
            path = folder / f"{row:06d}{ending}"
            if not path.exists():
                _write_image(one.numpy(), path)
            advance(1)


def _ending(dataset: Dataset, inputs: ExamInputs) -> str:
    """Of the images: whole grey levels of a picture fit into a PNG; anything finer does not. Volumes are what the folder says."""
    if len(_image_of(dataset).spatial) == 3:
        return f".{inputs.volumes}"
    return ".png" if dataset.split(SPLIT).values[dataset.card.image].dtype == torch.uint8 else ".npy"


def _write_image(pixels: np.ndarray, path: Path) -> None:
    """(C, *sides), grey levels."""
    if ending_of(path) in (NPZ, *NIFTI):
        write_volume(pixels, path)
        return
    if path.suffix == ".png":
        write_png(pixels, path)
        return
    with atomic(path) as temporary, temporary.open("wb") as stream:
        np.save(stream, pixels.astype(np.float32))


def write_round(exam: Exam, folder: Path, number: int, answers: AnswerFolder | None) -> int:
    """Write the list of one round; returns how many questions it has."""
    dataset, names = exam.dataset, exam.dataset.card.attributes
    factual = dataset.attributes(SPLIT)
    home, ending = own_subfolder(folder, f"round-{number}"), _ending(dataset, read_exam(folder))
    own_subfolder(home, ANSWERS)
    text, count = io.StringIO(), 0
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["id", "image", "row", "variable", "value", "beside", "beside_value", *names])
    for question, row, held in asked_in(exam.plan, number):
        if question.follows is None:
            begun = f"factual/{row:06d}{ending}"
            before = {name: float(factual[name][row]) for name in names}
        else:
            assert answers is not None
            earlier = question.follows.file(row)
            if earlier not in answers.files:  # what has no usable answer cannot be gone on from
                continue
            begun = _begun_from(earlier, answers, folder, home, ending=ending)
            before = answers.claimed[earlier]
        if question.kind == "sample":  # nobody is shown, nothing is set: these attributes are to be had
            begun, held = "", {}
        targets = [cell for name, value in held.items() for cell in (name, written(dataset.variables[name], value))]
        targets += [""] * (4 - len(targets))
        shown = [written(dataset.variables[name], before[name]) for name in names]
        writer.writerow([question.file(row), begun, row, *targets, *shown])
        count += 1
    write_text(home / QUESTIONS, text.getvalue())
    if answers is not None:
        write_text(home / BEGUN, answers.fingerprint_before(number) + "\n")
    return count


def _begun_from(name: str, answers: AnswerFolder, folder: Path, home: Path, *, ending: str) -> str:
    """The image of an answer, relative to the exam's folder: the file itself, or of an array its whole grey levels, which are judged."""
    path = answers.files[name]
    if ending_of(path) != ".png":
        path = own_subfolder(home, BEGUN_IMAGES) / f"{name}{'.npy' if ending == '.png' else ending}"
        _write_image(answers.pixels(name).round().clip(0, 255), path)
    return path.relative_to(folder).as_posix()


def written(variable: Variable, value: float) -> str:
    """A natural value as text: a number in full, or the name of a class."""
    if isinstance(variable, Continuous):
        return repr(float(np.float32(value)))
    return variable.classes[int(value)] if isinstance(variable, Categorical) else str(int(value))


def read_value(variable: Variable, text: str) -> float:
    """The way back; ValueError for what is no value of this variable."""
    if isinstance(variable, Categorical):
        if text not in variable.classes:
            raise ValueError(f"{text!r} is none of {', '.join(variable.classes)}")
        return float(variable.classes.index(text))
    number = float(text)
    if isinstance(variable, Binary) and number not in (0.0, 1.0):
        raise ValueError(f"{text!r} is neither 0 nor 1")
    return number
