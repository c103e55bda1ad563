"""Answers as files: a model that lies in a folder."""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from counterbench.baselines import Identity
from counterbench.errors import DataError
from counterbench.exam import SPLIT, Exam
from counterbench.files import sha256_of_file
from counterbench.letters.questions import ANSWERS, CLAIMS, Question, questions, read_value
from counterbench.progress import bar
from counterbench.randomness import Generator, SampleNoise
from counterbench.samples import Samples
from counterbench.variables import Image

BLANK = 127.5
"""Grey level of what a missing or unusable answer is judged as."""
_FORMATS = (".png", ".npy")


@dataclass
class Coverage:
    """What became of the questions of one round.

    Args:
        asked: how many there are.
        found: ids -> files that can be used.
        missing, unreadable, size, range: ids without an answer, with one that is no image, of another size, with values outside 0 to 255
            (or all within 0 to 1).
        extra: files that answer nothing.
    """

    asked: int
    found: dict[str, Path] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)
    unreadable: list[str] = field(default_factory=list)
    size: list[str] = field(default_factory=list)
    range: list[str] = field(default_factory=list)
    extra: list[str] = field(default_factory=list)

    @property
    def counts(self) -> dict[str, int]:
        """Numbers of each kind."""
        kinds = ("missing", "unreadable", "size", "range", "extra")
        return {"asked": self.asked, "usable": len(self.found)} | {kind: len(getattr(self, kind)) for kind in kinds}

    def __str__(self) -> str:
        words = {"missing": "missing", "unreadable": "unreadable", "size": "of a wrong size", "range": "out of range"}
        wrong = [f"{len(getattr(self, kind))} {said}" for kind, said in words.items() if getattr(self, kind)]
        extra = f"; {len(self.extra)} files answer nothing" if self.extra else ""
        return (
            f"{len(self.found)} of {self.asked} answers can be used"
            + (f" ({', '.join(wrong)})" if wrong else "")
            + extra
        )


class Answers:
    """A model that lies in a folder: it knows the questions that were asked, and no others.

    Args:
        exam: the questions.
        folder: of the exam.
        rounds: how many are answered.
    """

    def __init__(self, exam: Exam, folder: Path, rounds: int):
        self.exam, self.folder, self.rounds = exam, folder, rounds
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

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of all answers."""
        digest = hashlib.sha256()
        for name, path in sorted(self.files.items()):
            digest.update(f"{name} {sha256_of_file(path)}\n".encode())
        for number in range(1, self.rounds + 1):
            claims = self.folder / f"round-{number}" / CLAIMS
            if claims.is_file():
                digest.update(f"{number} {sha256_of_file(claims)}\n".encode())
        return digest.hexdigest()

    def _checked(self, number: int) -> Coverage:
        home = self.folder / f"round-{number}" / ANSWERS
        asked = {question.id for question in questions(self.exam.plan, number)}
        coverage = Coverage(len(asked))
        there: dict[str, Path] = {}
        for path in sorted(home.iterdir()) if home.is_dir() else []:
            if path.stem in asked and path.suffix.lower() in _FORMATS:
                there.setdefault(path.stem, path)
            else:
                coverage.extra.append(path.name)
        coverage.missing = sorted(asked - there.keys())
        with ThreadPoolExecutor() as pool, bar(len(there), f"Checking round {number}") as advance:
            for name, path, problem in pool.map(lambda item: (*item, self._problem(item[1])), sorted(there.items())):
                if problem:
                    getattr(coverage, problem).append(name)
                else:
                    coverage.found[name] = path
                advance(1)
        return coverage

    def _problem(self, path: Path) -> str:
        """Why a file cannot be used: unreadable, size or range; empty if it can."""
        try:
            pixels = read_image(path)
        except (OSError, ValueError, EOFError):
            return "unreadable"
        if pixels.shape != self.image.shape:
            return "size"
        if not np.isfinite(pixels).all() or pixels.min() < 0 or pixels.max() > 255:
            return "range"
        # An image of floats that never leaves [0, 1] was not written in grey levels.
        return "range" if path.suffix.lower() == ".npy" and 0 < pixels.max() <= 1 else ""

    @cached_property
    def claimed(self) -> dict[str, dict[str, float]]:
        """id -> values of all attributes after the question: what the list of claims says, else what is known to be true."""
        found: dict[str, dict[str, float]] = {}
        for number in range(1, self.rounds + 1):
            found |= self._known(number, found)
            for name, values in self._claims(number).items():
                found[name] = {**found[name], **values}
        return found

    def _known(self, number: int, earlier: Mapping[str, Mapping[str, float]]) -> dict[str, dict[str, float]]:
        factual, found = self.exam.dataset.attributes(SPLIT), {}
        by_key: dict[str, list[Question]] = {}
        for question in questions(self.exam.plan, number):
            by_key.setdefault(question.key.rpartition("/")[0], []).append(question)
        for key, asked in by_key.items():
            rows = torch.tensor([question.row for question in asked])
            given = {name: value[rows] for name, value in factual.items()}
            done: dict[str, Tensor] = {}
            if number > 1:
                before = [earlier[question.image.rpartition("/")[2]] for question in asked]
                given = {
                    name: torch.tensor([values[name] for values in before], dtype=torch.float64).to(factual[name].dtype)
                    for name in factual
                }
                first = key.split("/")[1] if key.startswith(("return", "pair")) else None
                done = {first: given[first]} if first else {}
            held = {}
            if (name := asked[0].variable) and name:
                values = torch.tensor([question.value for question in asked], dtype=torch.float64)
                held = {name: values.to(factual[name].dtype)}
            after = self.identity.attributes(Samples(given, rows, done), held)
            for position, question in enumerate(asked):
                found[question.id] = {name: float(after[name][position]) for name in factual}
        return found

    def _claims(self, number: int) -> dict[str, dict[str, float]]:
        path = self.folder / f"round-{number}" / CLAIMS
        if not path.is_file():
            return {}
        asked = {question.id: question for question in questions(self.exam.plan, number)}
        claims: dict[str, dict[str, float]] = {}
        try:
            with path.open(encoding="utf-8-sig", newline="") as stream:
                for line, row in enumerate(csv.DictReader(stream), 2):
                    if row.get("id") not in asked:
                        raise DataError(f"{path}, line {line}: there is no question {row.get('id')!r}.")
                    claims[row["id"]] = self._claim(row, asked[row["id"]], f"{path}, line {line}")
        except (OSError, UnicodeDecodeError, csv.Error) as error:
            raise DataError(f"{path} is not a table of comma-separated values in UTF-8 ({error}).") from error
        return claims

    def _claim(self, row: Mapping[str, Any], question: Question, where: str) -> dict[str, float]:
        found: dict[str, float] = {}
        for name in self.exam.dataset.card.attributes:
            if row.get(name) in (None, ""):
                continue
            variable = self.exam.dataset.variables[name]
            try:
                found[name] = read_value(variable, row[name])
                variable.check(torch.tensor([found[name]]))
            except ValueError as error:
                raise DataError(f"{where}: {name} is {row[name]!r}: {error}.") from error
            if name == question.variable and question.value is not None:
                if not np.isclose(found[name], question.value, rtol=1e-4, atol=1e-4):
                    raise DataError(f"{where}: {name} was set to {question.value:g}, not to {row[name]}.")
                found[name] = question.value
        return found

    # --- as a model ---------------------------------------------------------------------------------------------------

    def can_answer(self, intervened: Collection[str]) -> bool:
        """Whether any of these questions has an answer; one that is missing is a failure, a kind that was left out is not."""
        if not intervened:
            return any(name.startswith("null.") for name in self.files)
        if len(intervened) > 1:
            return any(name.startswith("pair.") for name in self.files)
        return any(name.startswith(f"single.{next(iter(intervened))}.") for name in self.files)

    def counterfactual(
        self, factual: Samples, interventions: Mapping[str, Tensor], generator: Generator = None
    ) -> dict[str, Tensor]:
        assert isinstance(generator, SampleNoise)
        names = ["{}.{:06d}".format(*_parted(key)) for key in generator.keys]
        images = np.stack([self._pixels(name) for name in names])
        dtypes = {name: value.dtype for name, value in factual.items()}
        values = {
            name: torch.tensor([self.claimed[one][name] for one in names], dtype=torch.float64).to(dtypes[name])
            for name in self.exam.dataset.card.attributes
        }
        held = {name: value.to(dtypes[name]) for name, value in interventions.items()}
        return {**values, **held, self.image.name: torch.from_numpy(images)}

    def _pixels(self, name: str) -> np.ndarray:
        path = self.files.get(name)
        return np.full(self.image.shape, BLANK, np.float32) if path is None else read_image(path)


def _parted(key: str | int) -> tuple[str, int]:
    head, _, row = str(key).rpartition("/")
    return head.replace("/", "."), int(row)


def read_image(path: Path) -> np.ndarray:
    """(C, H, W), float32, grey levels.

    Raises:
        OSError, ValueError, EOFError: if it is no image. (Arrays of objects are never unpickled.)
    """
    if path.suffix.lower() == ".npy":
        found = np.load(path, allow_pickle=False)
        if found.dtype.kind not in "fiu":
            raise ValueError(f"an array of {found.dtype}")
        found = found.astype(np.float32)
    else:
        import PIL.Image

        with PIL.Image.open(path) as opened:
            found = np.asarray(opened.convert("L" if opened.mode in ("L", "1", "I;16", "I") else "RGB"), np.float32)
    return found[None] if found.ndim == 2 else found.transpose(2, 0, 1) if path.suffix.lower() != ".npy" else found
