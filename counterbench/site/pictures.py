"""Pictures for the website: models of a board are asked again, from recipe and weights, about the same images."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from counterbench import models
from counterbench.catalog.recipes import recipe_paths
from counterbench.counterfactual import l1
from counterbench.datasets.base import Dataset
from counterbench.errors import CounterbenchError
from counterbench.exam import Exam
from counterbench.files import slug, write_png
from counterbench.leaderboard import Board, Row
from counterbench.models import Contestant
from counterbench.progress import bar
from counterbench.randomness import SampleNoise
from counterbench.reachable import evaluation_mode
from counterbench.report.grid import captions
from counterbench.report.sheet import tiled
from counterbench.validation import exam_of

ASKED = 64
"""Images that each model is asked about."""
SHOWN = 8
"""Images in the viewer."""


@dataclass(frozen=True)
class Extreme:
    """Best, median and worst answers to one intervention.

    Args:
        question: e.g. do(thickness).
        cases: (word, caption, file of factual, answer and truth side by side).
    """

    question: str
    cases: tuple[tuple[str, str, str], ...]


@dataclass(frozen=True)
class Pictured:
    """One model's pictures.

    Args:
        answers: intervened variable -> file with its answers in the viewer.
        extremes: one per intervention whose truth is known.
        curves: of its training, as its manifest says; empty if there is none.
    """

    answers: Mapping[str, str]
    extremes: tuple[Extreme, ...]
    curves: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


@dataclass(frozen=True)
class Album:
    """Pictures of a board; paths are relative to the board's folder.

    Args:
        factual: file.
        wanted: intervened variable -> what was set, in words, for each image.
        truth: intervened variable -> file.
        models: name -> its pictures.
        missing: name -> why there are none.
    """

    factual: str
    wanted: Mapping[str, tuple[str, ...]]
    truth: Mapping[str, str]
    models: Mapping[str, Pictured]
    missing: Mapping[str, str]

    def viewed(self) -> list[dict[str, Any]]:
        """What the viewer shows, intervention by intervention."""
        return [
            {
                "name": name,
                "wanted": list(words),
                "rows": [
                    {"name": "factual", "file": self.factual, "kind": "given"},
                    *({"name": "truth", "file": file, "kind": "given"} for file in [self.truth.get(name)] if file),
                    *(
                        {"name": model, "file": pictured.answers[name], "kind": "model"}
                        for model, pictured in self.models.items()
                        if name in pictured.answers
                    ),
                ],
            }
            for name, words in self.wanted.items()
        ]


def draw_all(
    boards: Sequence[Board], folder: Path, data_dir: Path | None = None, device: str = "auto"
) -> dict[str, Album]:
    """Ask every model of some boards about some images, and store the pictures.

    Args:
        boards: whose models; those that cannot be loaded here are listed as missing, with the reason.
        folder: of the website.
        data_dir: where published data lies.
        device: where models compute.

    Returns:
        Name of a board -> its album; an empty one, with the reason, where there is nothing to see or data is not here.
    """
    found: dict[str, Album] = {}
    loaded: dict[tuple[str, str], Dataset] = {}  # what a dataset has worked out serves all of its boards
    for board in boards:
        if not board.rows:
            continue
        record, key = board.rows[0].record, (board.dataset, board.source)
        try:
            exam = exam_of(record, data_dir, device, min(ASKED, record.images), loaded.get(key))
            loaded[key] = exam.dataset
            if exam.dataset.card.image and exam.plan.single:
                found[board.name] = _draw(board, exam, folder / board.name)
            else:
                found[board.name] = _nothing(board, "there are no images to show")
        except CounterbenchError as why:
            found[board.name] = _nothing(board, str(why))
    return found


def _nothing(board: Board, why: str) -> Album:
    return Album("", {}, {}, {}, {row.name: why for row in board.rows})


def _draw(board: Board, exam: Exam, folder: Path) -> Album:
    session = _Session(exam, folder)
    found: dict[str, Pictured] = {}
    missing: dict[str, str] = {}
    with bar(len(board.rows), f"Drawing {board.name}") as advance:
        for row in board.rows:
            try:
                found[row.name] = session.ask(row)
            except CounterbenchError as why:
                missing[row.name] = str(why)
            advance(1)
    return Album(session.factual_file(), session.wanted(), session.truth_files(), found, missing)


class _Session:
    """The questions of one board, and what they are compared with."""

    def __init__(self, exam: Exam, folder: Path):
        self.exam, self.folder = exam, folder
        self.image = exam.dataset.card.image
        self.rows = exam.plan.index
        self.factual = exam.dataset.split("test").take(self.rows)
        self.truth = {
            name: exam.dataset.truth("test", self.rows, {name: value})[self.image]
            for name, value in exam.plan.single.items()
            if exam.dataset.knows_truth([name])
        }

    def ask(self, row: Row) -> Pictured:
        """One model's answers to all interventions.

        Raises:
            CounterbenchError: if the model is not here, or is another one than the record's.
        """
        inputs = row.record.inputs
        if any(note.startswith("answers from files") for note in row.record.notes):
            raise CounterbenchError("answers from files: there is no model to ask")
        contestant = models.load(inputs.model, self.exam.dataset, self.exam.device, inputs.references)
        if contestant.weights_sha256 != inputs.weights_sha256:
            raise CounterbenchError("the weights here are not those of the record")
        answers, extremes = {}, []
        for name in self.exam.plan.single:
            if not models.can_answer(contestant.model, [name]):
                continue
            answered = self._answer(contestant, name)
            answers[name] = self._store(f"{row.name}-{name}", answered[:SHOWN])
            if name in self.truth:
                extremes.append(self._extreme(row.name, name, answered))
        return Pictured(answers, tuple(extremes), _curves(row))

    def _answer(self, contestant: Contestant, name: str) -> Tensor:
        held = {name: self.exam.plan.single[name]}
        noise = SampleNoise(self.exam.seed, [f"single/{name}/{row}" for row in self.rows.tolist()])
        with torch.no_grad(), evaluation_mode(contestant.model):
            return models.ask(contestant.model, self.factual, held, noise, self.exam.dataset.variables)[self.image]

    def _extreme(self, model: str, name: str, answered: Tensor) -> Extreme:
        error = l1(answered, self.truth[name])
        order = error.argsort()
        words = captions(self.exam.dataset.variables[name], self.exam.plan.single[name])
        cases = []
        for word, place in (("best", 0), ("median", len(order) // 2), ("worst", -1)):
            i = int(order[place])
            side = torch.stack([part[i] for part in (self.factual[self.image], answered, self.truth[name])])
            told = f"test image {int(self.rows[i])}, do({name} {words[i]}), L1 to the truth {float(error[i]):.3g}"
            cases.append((word, told, self._store(f"{model}-{name}-{word}", side)))
        return Extreme(f"do({name})", tuple(cases))

    def factual_file(self) -> str:
        return self._store("factual", self.factual[self.image][:SHOWN])

    def truth_files(self) -> dict[str, str]:
        return {name: self._store(f"truth-{name}", images[:SHOWN]) for name, images in self.truth.items()}

    def wanted(self) -> dict[str, tuple[str, ...]]:
        single = self.exam.plan.single
        return {name: tuple(captions(self.exam.dataset.variables[name], single[name][:SHOWN])) for name in single}

    def _store(self, name: str, images: Tensor) -> str:
        """Some images side by side as a PNG; its path for the page."""
        pixels = tiled(images.float().cpu(), len(images)).round().clamp(0, 255).to(torch.uint8).numpy()
        path = Path("pictures") / f"{slug(name)}.png"
        (self.folder / "pictures").mkdir(parents=True, exist_ok=True)
        write_png(pixels, self.folder / path)
        return path.as_posix()


def _curves(row: Row) -> Mapping[str, Mapping[str, Any]]:
    """Training curves of the model, from the manifest beside its weights."""
    inputs = row.record.inputs
    recipe = recipe_paths().get((inputs.dataset, inputs.model))
    place = Path(inputs.model) if recipe is None else recipe.parent / f"{inputs.model}-{inputs.source}"
    try:
        curves = json.loads((place / "manifest.json").read_text(encoding="utf-8")).get("curves", {})
    except (OSError, ValueError):
        return {}
    return curves if isinstance(curves, dict) else {}
