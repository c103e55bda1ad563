"""A folder of answer files, read as a model."""

from __future__ import annotations

import csv
import hashlib
import threading
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from counterbench.causal.samples import Samples
from counterbench.causal.variables import Image
from counterbench.errors import DataError
from counterbench.evaluation.exam import SPLIT, Exam
from counterbench.exchange.questions import (
    BEGUN,
    CLAIMS,
    answered,
    answered_in,
    answers_folder,
    asked_in,
    read_value,
)
from counterbench.models.baselines import Identity
from counterbench.models.model import LookedUp
from counterbench.plans.question import Question, all_of
from counterbench.runtime.progress import bar
from counterbench.runtime.words import counted
from counterbench.storage.files import read_bounded, require_inside, require_regular, sha256_of_file
from counterbench.storage.pictures import PictureError, PictureSizeError, read_picture
from counterbench.storage.volumes import NIFTI, NPZ, ending_of, name_of, read_archive, read_nifti

_FORMATS = (".png", ".npy", NPZ, *NIFTI)
_HEADERS = threading.Lock()
_ROOM = 64
"""How many times the numbers of an image a file may hold before nobody looks what they are."""

WRONG = {"missing": "missing", "unreadable": "unreadable", "size": "of a wrong size", "range": "out of range"}
"""What may be wrong with an answer, in words."""
_REACH = 32
"""Grey levels that an answer may lie beyond 0 and 255; more is another scale."""


@dataclass
class Coverage:
    """What became of the questions of one round.

    Args:
        asked: how many there are.
        found: ids -> files that can be used.
        wrong: kind of :data:`WRONG` -> ids -> what exactly.
        extra: files that answer nothing, or again.
    """

    asked: int
    found: dict[str, Path] = field(default_factory=dict)
    wrong: dict[str, dict[str, str]] = field(default_factory=lambda: {kind: {} for kind in WRONG})
    extra: list[str] = field(default_factory=list)

    @property
    def counts(self) -> dict[str, int]:
        """Numbers of each kind."""
        wrong = {kind: len(self.wrong[kind]) for kind in WRONG}
        return {"asked": self.asked, "usable": len(self.found), **wrong, "extra": len(self.extra)}

    def examples(self) -> list[str]:
        """One answer of every kind that cannot be used, and why."""
        shown = []
        for kind in WRONG:
            for name, why in list(self.wrong[kind].items())[:1]:
                shown.append(f"{name}: {why}")
        return shown + [f"{name} answers nothing" for name in self.extra[:1]]

    def __str__(self) -> str:
        wrong = [f"{len(self.wrong[kind])} {words}" for kind, words in WRONG.items() if self.wrong[kind]]
        extra = f"; {counted(len(self.extra), 'files')} that answer nothing" if self.extra else ""
        summary = f"{len(self.found)} of {self.asked} answers can be used"
        return summary + (f" ({', '.join(wrong)})" if wrong else "") + extra


class AnswerFolder(LookedUp):
    """A model that lies in a folder: it knows the questions that were asked, and no others.

    Args:
        exam: all questions.
        folder: of the exam.

    Raises:
        DataError: for a list of claims that cannot be, when it is read.
    """

    what = "Answers from files"

    def __init__(self, exam: Exam, folder: Path):
        self.exam, self.folder = exam, folder
        self.asked = answered_in(folder, exam.plan)
        self.plan = answered(exam.plan, self.asked)
        self.draws = bool(self.plan.captions)
        self.rounds = max((question.round for question in self.asked.values()), default=0)
        self.identity = Identity(exam.dataset)
        image = exam.dataset.variables[exam.dataset.card.image]
        assert isinstance(image, Image)
        self.image = image

    @cached_property
    def coverage(self) -> dict[int, Coverage]:
        """What became of the questions, by round."""
        return {number: self._checked(number) for number in range(1, self.rounds + 1)}

    @cached_property
    def files(self) -> dict[str, Path]:
        """id -> file, of every answer that can be used."""
        return {name: path for found in self.coverage.values() for name, path in found.found.items()}

    @property
    def fingerprint(self) -> str:
        """SHA-256 of all answers."""
        return self.fingerprint_before(self.rounds + 1)

    def fingerprint_before(self, number: int) -> str:
        """SHA-256 of the answers of all rounds before that one."""
        digest = hashlib.sha256()
        for earlier in range(1, min(number, self.rounds + 1)):
            for name, path in sorted(self.coverage[earlier].found.items()):
                digest.update(f"{name} {self._hashes[path]}\n".encode())
            if (claims := self._beside(earlier, CLAIMS)) is not None:
                digest.update(f"{earlier} {sha256_of_file(claims)}\n".encode())
        return digest.hexdigest()

    @cached_property
    def _hashes(self) -> dict[Path, str]:
        return {path: sha256_of_file(path) for path in self.files.values()}

    def require_consistent(self) -> None:
        """Raise DataError if answers changed after others began with them."""
        for number in range(2, self.rounds + 1):
            begun = self._beside(number, BEGUN)
            if begun is not None and read_bounded(begun).strip() != self.fingerprint_before(number).encode():
                raise DataError(
                    f"The questions in {begun.parent} begin with answers that have changed since; remove round-{number} and later ones, "
                    "score again, and answer the new questions."
                )

    def _beside(self, number: int, name: str) -> Path | None:
        """A file of a round, if it is there.

        Raises:
            DataError: if it is a link that leads out of the folder, or no ordinary file.
        """
        path = self.folder / f"round-{number}" / name
        require_inside(path, self.folder)
        try:
            require_regular(path)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise DataError(f"Cannot read {path}: {error.strerror or error}.") from error
        return path

    def _checked(self, number: int) -> Coverage:
        home = answers_folder(self.folder, number)
        asked = {question.file(row) for question, row, _ in asked_in(self.plan, number)}
        coverage = Coverage(len(asked))
        files: dict[str, Path] = {}
        for path in sorted(home.iterdir()) if home.is_dir() else []:
            name = name_of(path)
            if name in asked and ending_of(path) in _FORMATS and name not in files:
                files[name] = path
            elif not path.name.startswith("."):
                coverage.extra.append(path.name)
        coverage.wrong["missing"] = dict.fromkeys(sorted(asked - files.keys()), "there is no such file")
        with ThreadPoolExecutor() as pool, bar(len(files), f"Checking round {number}") as advance:
            for name, path, problem in pool.map(lambda item: (*item, self._problem(item[1])), sorted(files.items())):
                if problem is None:
                    coverage.found[name] = path
                else:
                    coverage.wrong[problem[0]][name] = f"{path.name} {problem[1]}"
                advance(1)
        return coverage

    def _problem(self, path: Path) -> tuple[str, str] | None:
        """Why a file cannot be used: (kind, in words); None if it can."""
        try:
            require_inside(path, self.folder)
            require_regular(path)
            pixels = read_image(path, self.image)
        except WrongSizeError as error:
            return "size", str(error)
        except Exception as error:  # anybody's file: readers raise whatever a damaged one makes them stumble over
            return "unreadable", f"cannot be read ({type(error).__name__}: {error})"
        low, high = float(pixels.min()), float(pixels.max())
        if not np.isfinite(pixels).all():
            return "range", "holds NaN or infinite values"
        if low < -_REACH or high > 255 + _REACH:
            return "range", f"has values from {low:g} to {high:g}; grey levels are 0 to 255"
        # An image that never leaves [0, 1] was not written in grey levels.
        if 0 < high <= 1:
            return "range", "has values up to 1; grey levels are 0 to 255"
        return None

    @cached_property
    def claimed(self) -> dict[str, dict[str, float]]:
        """id -> values of all attributes after the question: what the list of claims says, else what is known to be true."""
        attributes: dict[str, dict[str, float]] = {}
        for number in range(1, self.rounds + 1):
            attributes |= self._known(number, attributes)
            for name, values in self._claims[number].items():
                attributes[name] = {**attributes[name], **values}
        return attributes

    def _known(self, number: int, earlier: Mapping[str, Mapping[str, float]]) -> dict[str, dict[str, float]]:
        factual, known = self.exam.dataset.attributes(SPLIT), {}
        for question in all_of(self.plan.questions, number):
            rows, follows = question.rows, question.follows
            before_values, done = {name: value[rows] for name, value in factual.items()}, {}
            if follows is not None:
                before = [earlier[follows.file(row)] for row in rows.tolist()]
                before_values = {
                    name: torch.tensor([values[name] for values in before], dtype=torch.float64).to(factual[name].dtype)
                    for name in factual
                }
                done = {name: before_values[name] for name in follows.held}
            held = {name: values.double().to(factual[name].dtype) for name, values in question.held.items()}
            after = self.identity.attributes(Samples(before_values, rows, done=done), held)
            for position, row in enumerate(rows.tolist()):
                known[question.file(row)] = {name: float(after[name][position]) for name in factual}
        return known

    @cached_property
    def _claims(self) -> dict[int, dict[str, dict[str, float]]]:
        """What the lists of claims say, by round."""
        return {number: self._read_claims(number) for number in range(1, self.rounds + 1)}

    def _read_claims(self, number: int) -> dict[str, dict[str, float]]:
        path = self._beside(number, CLAIMS)
        if path is None:
            return {}
        asked = {question.file(row): held for question, row, held in asked_in(self.exam.plan, number)}
        judged = {question.file(row) for question, row, _ in asked_in(self.plan, number)}
        known = ["id", *self.exam.dataset.card.attributes]
        claims: dict[str, dict[str, float]] = {}
        try:
            with path.open(encoding="utf-8-sig", newline="") as stream:
                reader = csv.DictReader(stream)
                columns = reader.fieldnames or []
                if set(columns) - set(known) or "id" not in columns or len(set(columns)) < len(columns):
                    raise DataError(
                        f"{path} has the columns {', '.join(columns) or '(none)'}; it needs id, and may have {', '.join(known[1:])}, each once, "
                        "separated by commas."
                    )
                for line, row in enumerate(reader, 2):
                    if None in row:
                        raise DataError(f"{path}, line {line} has more cells than columns.")
                    if row["id"] not in asked or row["id"] in claims:
                        what = "is there twice" if row["id"] in claims else "is no question"
                        raise DataError(f"{path}, line {line}: {row['id']!r} {what}.")
                    claims[row["id"]] = self._claim(row, asked[row["id"]], f"{path}, line {line}")
        except (OSError, UnicodeDecodeError, csv.Error) as error:
            raise DataError(f"{path} is not a table of comma-separated values in UTF-8 ({error}).") from error
        return {name: values for name, values in claims.items() if name in judged}

    @cached_property
    def claims_all(self) -> bool:
        """Whether every usable answer comes with claims about all attributes."""
        claimants = {name for claims in self._claims.values() for name, values in claims.items() if values}
        return self.files.keys() <= claimants

    def _claim(self, row: Mapping[str, Any], held: Mapping[str, float], where: str) -> dict[str, float]:
        claim: dict[str, float] = {}
        for name in self.exam.dataset.card.attributes:
            if row.get(name) in (None, ""):
                continue
            variable = self.exam.dataset.variables[name]
            try:
                claim[name] = read_value(variable, row[name])
                variable.check(torch.tensor([claim[name]]))
            except ValueError as error:
                raise DataError(f"{where}: {name} is {row[name]!r}: {error}.") from error
            if name in held:
                if not np.isclose(claim[name], held[name], rtol=1e-4, atol=1e-4):
                    raise DataError(f"{where}: {name} was set to {held[name]:g}, not to {row[name]}.")
                claim[name] = held[name]
        return claim

    def failed(self, kinds: Sequence[str]) -> Tensor:
        """Rows of the test split in which an answer to one of these kinds of question is missing or cannot be used, (K,), long."""
        rows, kinds = self.plan.index.tolist(), [kind for kind in kinds if kind in self.asked]
        return torch.tensor(
            [row for row in rows if any(self.asked[kind].file(row) not in self.files for kind in kinds)],
            dtype=torch.long,
        )

    # --- as a model ---------------------------------------------------------------------------------------------------

    def can_answer(self, intervened: Collection[str]) -> bool:
        """Whether such questions were answered at all."""
        if not intervened:
            return self.plan.cycles > 0
        if len(intervened) > 1:
            return any(set(both) == set(intervened) for both in (*self.plan.pairs, *self.plan.joint))
        return next(iter(intervened)) in self.plan.single

    def answer_question(self, question: Question, given: Samples) -> dict[str, Tensor]:
        """The answers to a question: claims, or what is known to be true, and the images."""
        names = [question.file(row) for row in given.index.tolist()]
        images = np.stack([self.pixels(name) for name in names])
        dtypes = {name: value.dtype for name, value in given.items()}
        values = {
            name: torch.tensor([self.claimed[one][name] for one in names], dtype=torch.float64).to(dtypes[name])
            for name in self.exam.dataset.card.attributes
        }
        held = {name: value.to(dtypes[name]) for name, value in question.held.items()}
        return {**values, **held, self.image.name: torch.from_numpy(images)}

    def pixels(self, name: str) -> np.ndarray:
        """The image of an answer, (C, *sides), float32, as it was written."""
        path = self.files.get(name)
        return nothing(name, self.image) if path is None else read_image(path, self.image)


def nothing(name: str, image: Image) -> np.ndarray:
    """What stands for a missing or unusable answer where sets of images are compared: noise, (C, *sides), like no image and like no
    other answer. Where samples count one by one, the answer is a failure (:mod:`counterbench.evaluation.missing`)."""
    seed = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big")
    return np.random.default_rng(seed).uniform(0, 255, image.shape).astype(np.float32)


class WrongSizeError(ValueError):
    """An image of another size."""


def read_image(path: Path, image: Image) -> np.ndarray:
    """An answer as (C, *sides), float32, grey levels.

    Args:
        path: a PNG of 8 bits per channel, or a numpy array in .npy or .npz, (C, *sides), (*sides, C), or (*sides) if there is one
            channel; a volume may be NIfTI.
        image: what it must be.

    Raises:
        WrongSizeError: for another size. ValueError: for another format than the ending says, more than 8 bits per channel,
            transparent pixels, colours where there is one channel, or an array that holds no numbers. Whatever readers raise for a damaged file. (Arrays of objects are never unpickled.)
    """
    ending, volume = ending_of(path), len(image.spatial) == 3
    if ending in (".npy", NPZ):
        return _arranged(_array(path) if ending == ".npy" else _archive(path, image), image)
    if ending in NIFTI:
        if not volume:
            raise ValueError("a NIfTI file holds a volume; write pictures as PNG or as arrays")
        return _arranged(read_nifti(path, _ROOM * image.size), image)
    if volume:
        raise WrongSizeError(f"is a picture; expected a volume, {' x '.join(map(str, image.shape))}")
    return _picture(path, image)


def _archive(path: Path, image: Image) -> np.ndarray:
    with _HEADERS:
        return read_archive(path, _ROOM * image.size)


def _array(path: Path) -> np.ndarray:
    # Mapped, so that a header that promises terabytes costs nothing. One header at a time: numpy reads it as a Python literal, and
    # Python 3.11 counts the depth of literals of all threads together ("recursion depth mismatch", now and then).
    with _HEADERS:
        pixels = np.load(path, mmap_mode="r", allow_pickle=False)
    if not isinstance(pixels, np.ndarray) or pixels.dtype.kind not in "fiu":
        raise ValueError("it holds no plain array of numbers")
    return pixels


def _arranged(pixels: np.ndarray, image: Image) -> np.ndarray:
    """An array with its channels first."""
    if pixels.shape == image.spatial and image.channels == 1:
        pixels = pixels[None]
    elif pixels.shape == (*image.spatial, image.channels) != image.shape:
        pixels = np.moveaxis(pixels, -1, 0)
    if pixels.shape != image.shape:
        raise WrongSizeError(f"is {' x '.join(map(str, pixels.shape))}; expected {' x '.join(map(str, image.shape))}")
    return np.array(pixels, dtype=np.float32)


def _picture(path: Path, image: Image) -> np.ndarray:
    """A PNG, as long as nothing is lost in reading it: neither bits, nor colours, nor what shines through."""
    try:
        picture = read_picture(path, image.channels, size=(image.width, image.height), formats=("PNG",))
    except PictureSizeError as error:
        raise WrongSizeError(error.why) from None
    except PictureError as error:
        raise ValueError(f"it {error.why}") from None
    pixels = np.asarray(picture, np.float32)
    return pixels[None] if image.channels == 1 else pixels.transpose(2, 0, 1)
