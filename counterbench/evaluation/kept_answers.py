"""Answers that are kept beside a record, in shards, so that they can be judged again without asking the model."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal

import torch
from pydantic import Field, ValidationError
from torch import Tensor

from counterbench.catalog.reading import Declaration
from counterbench.causal.samples import Samples
from counterbench.causal.variables import Image, Variable, Vector
from counterbench.errors import DataError, RecordError
from counterbench.evaluation.exam import Exam
from counterbench.evaluation.putting import takes
from counterbench.evaluation.taking import kinds_asked
from counterbench.models.model import Contestant, LookedUp
from counterbench.plans.plan import Plan
from counterbench.plans.question import Question
from counterbench.runtime.progress import bar
from counterbench.storage.files import read_bounded, require_inside, write_text
from counterbench.storage.tensors import read_tensors, sha256_of_tensors, write_tensors

ANSWERS, MANIFEST = "answers", "answers.json"
"""In the folder of an evaluation: the folder of its answers, and the list of them."""
_ROW = "row"
_PER_VALUE = 8
"""Bytes of one number of an attribute of one answer, at most."""


class Shard(Declaration):
    """The answers about neighbouring images of the plan."""

    file: str = Field(pattern=r"^[0-9]{6,}-[0-9a-f]{24}\.safetensors$")
    images: int = Field(ge=1)
    sha256: str
    """Of its tensors."""


class Manifest(Declaration):
    """What the kept answers are about, and their hashes."""

    schema_version: Literal[1] = 1
    plan: str
    """SHA-256 of all questions of the exam."""
    pixels: str
    """SHA-256 of the test split."""
    weights: str | None
    """SHA-256 of what the model holds."""
    kinds: list[str]
    """Kinds of question that were asked."""
    questions: list[str]
    """Names of the questions that were answered."""
    shards: list[Shard] = Field(min_length=1)
    """In the order of the plan's images."""
    notes: list[str]
    """What a reader of the record had to know about the model and how it answered."""

    @property
    def hash(self) -> str:
        """SHA-256 of the canonical JSON without the names of files, and so of all answers."""
        content = self.model_dump(mode="json", exclude={"shards": {"__all__": {"file"}}})
        canonical = json.dumps(content, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()


class Keeping:
    """Keeps all answers of one contestant while they are judged: images in whole grey levels, attributes as they were claimed.

    Args:
        folder: of the evaluation; None to hold them in memory until :meth:`save`.
        image: the variable that is an image; "" where there is none.
    """

    def __init__(self, folder: Path | None = None, *, image: str):
        self.folder, self.image = folder, image
        self.shards: dict[int, Shard] = {}
        self.questions: set[str] | None = None
        self._held: dict[str, dict[str, Tensor]] = {}
        self._pending: list[dict[str, Tensor]] = []

    def add(self, rows: Tensor, answers: Mapping[str, Mapping[str, Tensor]]) -> None:
        """Take the answers about one batch, by name of the question."""
        values = {
            f"{name}/{key}": v.to(torch.uint8) if key == self.image else v
            for name, answer in answers.items()
            for key, v in answer.items()
        }
        self._pending.append({_ROW: rows, **values})
        self.questions = set(answers) if self.questions is None else self.questions & set(answers)

    def forget(self) -> None:
        """Drop the batches of a chunk that has to be asked about again."""
        self._pending.clear()

    def store(self, start: int, name: str) -> None:
        """Store what was taken since the last chunk; the chunk begins at position `start` of the plan.

        Raises:
            RecordError: if it cannot be written.
        """
        shared = set.intersection(*(set(part) for part in self._pending))
        tensors = {key: torch.cat([part[key] for part in self._pending]) for key in sorted(shared)}
        self._pending.clear()
        file = f"{name}.safetensors"
        if self.folder is None:
            self._held[file] = tensors
        else:
            write_tensors(self.folder / ANSWERS / file, tensors)
        self._list(start, file, tensors)

    def has(self, start: int, name: str) -> bool:
        """Whether a run before this one has stored that chunk, and it is intact."""
        file = f"{name}.safetensors"
        stored = None if self.folder is None else read_tensors(self.folder / ANSWERS / file)
        if stored is None:
            return False
        tensors, _ = stored
        self._list(start, file, tensors)
        names = {key.rpartition("/")[0] for key in tensors if key != _ROW}
        self.questions = names if self.questions is None else self.questions & names
        return True

    def _list(self, start: int, file: str, tensors: dict[str, Tensor]) -> None:
        self.shards[start] = Shard(file=file, images=len(tensors[_ROW]), sha256=sha256_of_tensors(tensors))

    def manifest(self, exam: Exam, contestant: Contestant, *, notes: Sequence[str]) -> Manifest:
        """What has been kept, once everything was asked."""
        answered = self.questions or set()
        return Manifest(
            plan=exam.plan.hash,
            pixels=exam.fingerprints["test"],
            weights=contestant.weights_sha256,
            kinds=sorted(kinds_asked(exam.make_metrics(contestant))),
            questions=[question.name for question in exam.plan.questions if question.name in answered],
            shards=[self.shards[start] for start in sorted(self.shards)],
            notes=list(notes),
        )

    def save(self, manifest: Manifest, folder: Path) -> None:
        """Write the manifest, and the shards that are in memory, into the folder of the evaluation; remove shards of earlier runs.

        Raises:
            RecordError: if the folder cannot be written.
        """
        for file, tensors in self._held.items():
            write_tensors(folder / ANSWERS / file, tensors)
        listed = {shard.file for shard in manifest.shards}
        for path in (folder / ANSWERS).glob("*.safetensors"):
            if path.name not in listed:
                path.unlink(missing_ok=True)
        write_text(folder / MANIFEST, manifest.model_dump_json(indent=1) + "\n")


def discard(folder: Path) -> None:
    """Remove the answers that were kept in the folder of an evaluation."""
    (folder / MANIFEST).unlink(missing_ok=True)
    shutil.rmtree(folder / ANSWERS, ignore_errors=True)


def room(exam: Exam, contestant: Contestant, folder: Path) -> str:
    """How much disk kept answers need in the folder of an evaluation, in a sentence.

    Raises:
        RecordError: if there is less.
    """
    kinds = kinds_asked(exam.make_metrics(contestant))
    asked = [
        question for question in exam.plan.questions if question.kind in kinds and takes(contestant.model, question)
    ]
    each = sum(_size(variable) for variable in exam.dataset.variables.values())
    size, images = len(asked) * len(exam.plan.index) * each, len(exam.plan.index)
    told = f"Keeping the answers needs about {_in_words(size)} in {folder / ANSWERS} ({images:,} images, {len(asked)} answers each)"
    there = sum(path.stat().st_size for path in (folder / ANSWERS).glob("*.safetensors"))
    free = shutil.disk_usage(next(place for place in (folder, *folder.absolute().parents) if place.is_dir())).free
    if size - there > free:
        raise RecordError(f"{told}, and {_in_words(free)} are free. Choose another --output, or evaluate without them.")
    return f"{told}."


def _size(variable: Variable) -> int:
    """Bytes of one value, at most."""
    if isinstance(variable, Image):
        return variable.size
    return _PER_VALUE * (variable.size if isinstance(variable, Vector) else 1)


def _in_words(size: int) -> str:
    return f"{size / 1e9:.1f} GB" if size >= 50_000_000 else f"{max(size, 100_000) / 1e6:.1f} MB"


def read_manifest(folder: Path) -> Manifest:
    """The list of what is kept.

    Raises:
        RecordError: if there is none, or it is damaged.
    """
    path = folder / MANIFEST
    try:
        require_inside(path, folder)
        return Manifest.model_validate_json(read_bounded(path))
    except FileNotFoundError as error:
        raise RecordError(
            f"There are no kept answers in {folder}; evaluate the model again with --keep-answers."
        ) from error
    except (OSError, DataError, ValidationError) as error:
        why = error.errors()[0]["msg"] if isinstance(error, ValidationError) else str(error)
        raise RecordError(
            f"{path} does not list kept answers ({why}); evaluate the model again with --keep-answers."
        ) from error


def is_kept(folder: Path, sha256: str | None) -> bool:
    """Whether the answers with this hash lie in a folder, as far as their list says."""
    try:
        return read_manifest(folder).hash == sha256
    except RecordError:
        return False


class KeptAnswers(LookedUp):
    """A model that knows the answers that were kept, and no others.

    Args:
        folder: of the evaluation.
        manifest: what is kept.
        plan: the questions.
        variables: names of all variables.
        image: that which is an image; "" where there is none.
    """

    what = "Kept answers"

    def __init__(self, folder: Path, manifest: Manifest, plan: Plan, *, variables: Collection[str], image: str):
        self.folder, self.manifest, self.variables, self.image = folder, manifest, tuple(variables), image
        self.index = plan.index
        asked = [question for question in plan.questions if question.kind in manifest.kinds or question.cycle == 1]
        self.draws = any(question.kind == "sample" and question.name in manifest.questions for question in asked)
        asked = [question for question in asked if question.kind != "sample"]
        answered = {frozenset(question.intervened) for question in asked if question.name in manifest.questions}
        self.declined = {frozenset(question.intervened) for question in asked} - answered
        self._ends = torch.tensor([shard.images for shard in manifest.shards]).cumsum(0)
        self._position = {row: position for position, row in enumerate(plan.index.tolist())}
        self._loaded: tuple[int, dict[str, Tensor]] | None = None

    def require_whole(self) -> None:
        """Raise RecordError for the first shard that is missing, damaged or about something else."""
        if int(self._ends[-1]) != len(self.index):
            raise RecordError(
                f"The answers in {self.folder / ANSWERS} are about {int(self._ends[-1]):,} images, and the questions about {len(self.index):,}; "
                "they belong to another record."
            )
        with bar(len(self.manifest.shards), "Checking kept answers") as advance:
            for _ in self._every_shard():
                advance(1)

    def _every_shard(self) -> Iterator[dict[str, Tensor]]:
        yield from map(self._read, range(len(self.manifest.shards)))

    def _read(self, number: int) -> dict[str, Tensor]:
        """One shard, checked.

        Raises:
            RecordError: if it is not what the manifest says.
        """
        shard = self.manifest.shards[number]
        path = self.folder / ANSWERS / shard.file
        end = int(self._ends[number])
        require_inside(path, self.folder / ANSWERS)
        if not path.exists():
            raise RecordError(f"{path} is missing; restore it, or evaluate the model again with --keep-answers.")
        stored = read_tensors(path)
        if stored is None:
            raise RecordError(f"{path} is damaged; restore it, or evaluate the model again with --keep-answers.")
        tensors, _ = stored
        if sha256_of_tensors(tensors) != shard.sha256:
            raise RecordError(
                f"{path} holds other answers than {self.folder / MANIFEST} lists; restore the listed ones."
            )
        whole = {f"{name}/{variable}" for name in self.manifest.questions for variable in self.variables}
        rows = self.index[end - shard.images : end]
        fits = whole <= tensors.keys() and all(len(tensors[key]) == shard.images for key in whole)
        if not fits or not torch.equal(tensors.get(_ROW, rows.new_empty(0)), rows):
            raise RecordError(
                f"{path} does not hold the answers to the questions of its record; it belongs to another."
            )
        return tensors

    def can_answer(self, intervened: Collection[str]) -> bool:
        """Whether the model took such questions."""
        return frozenset(intervened) not in self.declined

    def answer_question(self, question: Question, given: Samples) -> dict[str, Tensor]:
        """The answers to a question, as they were kept."""
        positions = torch.tensor([self._position[row] for row in question.rows.tolist()])
        numbers = torch.searchsorted(self._ends, positions, right=True)
        found = [(number, (numbers == number).nonzero()[:, 0]) for number in numbers.unique().tolist()]
        order = torch.cat([places for _, places in found]).argsort()
        parts = [self._of_shard(number, question.name, positions[places]) for number, places in found]
        return {variable: torch.cat([part[variable] for part in parts])[order] for variable in self.variables}

    def _of_shard(self, number: int, name: str, positions: Tensor) -> dict[str, Tensor]:
        if self._loaded is None or self._loaded[0] != number:
            self._loaded = number, self._read(number)
        begun = int(self._ends[number]) - self.manifest.shards[number].images
        values = {variable: self._loaded[1][f"{name}/{variable}"][positions - begun] for variable in self.variables}
        return {key: value.float() if key == self.image else value for key, value in values.items()}
