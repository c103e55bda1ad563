"""Pictures for the website: models of a board are asked again, from recipe and weights, about the same images."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from counterbench import datasets, models, segmenters
from counterbench.catalog.recipes import recipe_paths
from counterbench.causal.chance import SampleNoise
from counterbench.datasets.dataset import Dataset
from counterbench.errors import CheckpointError, CounterbenchError, DataError
from counterbench.evaluation.exam import Exam
from counterbench.evaluation.exam_of_record import exam_of
from counterbench.evaluation.results_folder import GRID
from counterbench.leaderboard.album import Album, Extreme, Pictured
from counterbench.leaderboard.board import Board, Row
from counterbench.metrics.answers import l1
from counterbench.models.model import Contestant
from counterbench.models.reachable import evaluation_mode
from counterbench.pictures.grid import captions_of
from counterbench.pictures.outlines import colour_of, contours_svg
from counterbench.pictures.overlays import change_pixels
from counterbench.pictures.sheet import tiled
from counterbench.plans.question import ALONE, Question, words_of
from counterbench.records.record import RECORD
from counterbench.runtime.blocks import at_once
from counterbench.runtime.progress import bar
from counterbench.storage.files import MANIFEST, read_bounded, slug, write_png, write_text
from counterbench.storage.pictures import read_picture
from counterbench.storage.slices import picture_of, spread_slices

ASKED = 64
"""Images that each model is asked about."""
SHOWN = 8
"""Images in the viewer."""
_ROOM = 1 << 23  # numbers of the images that are asked about


class NotShownError(CounterbenchError):
    """Why there are no pictures, in words for a public page: nothing of what is on this machine."""


_NOT_HERE = "recipe, weights or data are not where this page was made"


def draw_all(
    boards: Sequence[Board],
    folder: Path,
    *,
    data_dir: Path | None = None,
    device: str = "auto",
    trained: Sequence[Path] = (),
    tell: Callable[[str], None] = lambda line: None,
) -> dict[str, Album]:
    """Ask every model of some boards about some images, and store the pictures.

    Only models of the catalogue and of plug-ins are loaded, and those in the folders of `trained`: a path in a record is not followed.

    Args:
        boards: whose models; those that cannot be loaded here are listed as missing.
        folder: of the website.
        data_dir: where published data lies.
        device: where models compute.
        trained: folders made by training; each serves the records of the weights in it.
        tell: takes the whole reason why a model has no pictures, which pages do not repeat.

    Returns:
        Name of a board -> its album; an empty one, with the reason, where there is nothing to see or data is not here.
    """
    albums: dict[str, Album] = {}
    own = {_weights_in(path): path for path in trained}
    loaded: dict[tuple[str, str, int | None], Dataset] = {}  # what a dataset has worked out serves all of its boards
    for board in boards:
        key = board.dataset, board.source, board.exam_seed
        for row in board.rows:  # the first whose exam can be taken here decides what is shown
            try:
                exam = exam_of(
                    row.record,
                    data_dir,
                    device=device,
                    limit=min(_asked(board), row.record.images),
                    dataset=loaded.get(key),
                )
                loaded[key] = exam.dataset
                albums[board.name] = _draw(board, exam, folder / board.name, own, tell)
                break
            except CounterbenchError as error:
                tell(f"the questions of {row.name} on {board.name} cannot be asked here: {error}")
                albums[board.name] = _nothing(board, _NOT_HERE)
        album = albums.get(board.name)
        if album is not None:
            albums[board.name] = replace(album, drawn=_drawn(board, album, folder / board.name))
    return albums


def _drawn(board: Board, album: Album, folder: Path) -> dict[str, str]:
    """The pictures that evaluations drew beside their records, of models that cannot be asked here; made anew from their pixels."""
    drawn = {}
    for row in board.rows:
        file = row.path.parent / GRID
        if row.name in album.models or row.path.name != RECORD or not file.is_file():
            continue
        try:
            pixels = np.asarray(read_picture(file, 3, formats=("PNG",))).transpose(2, 0, 1)
        except DataError:
            continue  # somebody has put something else there
        name = f"pictures/{slug(row.name)}-drawn.png"
        (folder / "pictures").mkdir(parents=True, exist_ok=True)
        write_png(pixels, folder / name)
        drawn[row.name] = name
    return drawn


def _asked(board: Board) -> int:
    """How many images each model of a board is asked about: fewer of volumes, but those in the viewer."""
    size = math.prod(datasets.card(board.dataset).image_shape)
    return max(SHOWN, at_once(size, ASKED, room=_ROOM))


def _weights_in(folder: Path) -> str:
    """SHA-256 of the weights in a folder made by training, as its manifest says."""
    manifest = _manifest(folder)
    if not isinstance(manifest.get("weights_sha256"), str):
        raise CheckpointError(
            f"{folder} holds no trained model (manifest.json with weights_sha256); give a folder made by train."
        )
    return str(manifest["weights_sha256"])


def _manifest(folder: Path) -> Mapping[str, Any]:
    """The manifest of a trained model; empty if there is none."""
    try:
        content = json.loads(read_bounded(folder / MANIFEST))
    except (OSError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def _nothing(board: Board, why: str) -> Album:
    return Album("", {}, {}, {}, {row.name: why for row in board.rows})


def _draw(board: Board, exam: Exam, folder: Path, trained: Mapping[str, Path], tell: Callable[[str], None]) -> Album:
    if not (exam.dataset.card.image and exam.plan.single):
        return _nothing(board, "there are no images to show")
    session = _Session(exam, folder, trained)
    pictured: dict[str, Pictured] = {}
    missing: dict[str, str] = {}
    with bar(len(board.rows), f"Drawing {board.name}") as advance:
        for row in board.rows:
            try:
                pictured[row.name] = session.ask(row)
            except CounterbenchError as error:
                tell(f"{row.name} on {board.name} has no pictures: {error}")
                missing[row.name] = str(error) if isinstance(error, NotShownError) else _NOT_HERE
            advance(1)
    return Album(
        session.factual_file(),
        session.wanted(),
        session.truth_files(),
        pictured,
        missing,
        slices=session.slices(),
        layers=session.layers,
        parts={name: colour_of(number) for number, name in enumerate(exam.dataset.card.parts) if number},
    )


class _Session:
    """The questions of one board, and what they are compared with.

    Args:
        exam: what is asked.
        folder: of the board.
        trained: SHA-256 of weights -> folder of a model that may be loaded.
    """

    def __init__(self, exam: Exam, folder: Path, trained: Mapping[str, Path]):
        self.exam, self.folder, self.trained = exam, folder, trained
        self.image = exam.dataset.card.image
        self.rows = exam.plan.index
        self.factual = exam.dataset.split("test").take(self.rows)
        self.questions = {words_of(one.intervened): one for one in exam.plan.questions if one.kind in ALONE}
        self.truth = {
            name: exam.dataset.truth("test", self.rows, question.held)[self.image]
            for name, question in self.questions.items()
            if exam.dataset.knows_truth(list(question.held))
        }
        self.segmenter = segmenters.load(exam.dataset.card, exam.dataset.source)
        self.null = next((one for one in exam.plan.questions if one.cycle == 1), None)
        self.layers: dict[str, dict[str, str]] = {}

    def ask(self, row: Row) -> Pictured:
        """One model's answers to all interventions.

        Raises:
            CounterbenchError: if the model is not here, or is another one than the record's.
        """
        inputs = row.record.inputs
        if row.record.origin == "answers":
            raise NotShownError("answers from files: there is no model to ask")
        # Of several trainings, one that is here answers for all.
        trainings = [inputs.weights_sha256, *(training.weights_sha256 for training in row.record.group)]
        known = [sha256 or "" for sha256 in trainings]
        folder = next((self.trained[sha256] for sha256 in known if sha256 in self.trained), None)
        if folder is None and inputs.model not in models.names(inputs.dataset):
            missing = (
                "its folder was not given (--trained)" if inputs.recipe else "its plug-in was not loaded (--plugin)"
            )
            raise NotShownError(f"it is no model of the catalogue, and {missing}")
        place = inputs.model if folder is None else str(folder)
        contestant = models.load(place, self.exam.dataset, device=self.exam.device, references=inputs.references)
        if (contestant.weights_sha256 or "") not in known:
            raise NotShownError("the weights here are not those of the record")
        answers, extremes, null = {}, [], self._null(contestant)
        for name, question in self.questions.items():
            if not models.can_answer(contestant.model, list(question.held)):
                continue
            answered = self._answer(contestant, question)
            answers[name] = self._view(
                f"{row.name}-{name}", answered, masks=self._segmented(answered[:SHOWN]), changed=True, null=null
            )
            if name in self.truth:
                extremes.append(self._extreme(row.name, name, answered))
        return Pictured(answers, tuple(extremes), _curves(folder or _shipped(row)))

    def _null(self, contestant: Contestant) -> Tensor | None:
        """What a model answers where nothing is set; None where nobody knows, and where it returns its input."""
        if self.null is None or not models.can_answer(contestant.model, []):
            return None
        answered = self._answer(contestant, self.null)
        return None if torch.equal(answered, self.factual[self.image].to(answered)) else answered

    def _answer(self, contestant: Contestant, question: Question) -> Tensor:
        held, noise = question.held, SampleNoise(self.exam.seed, question.streams())
        with torch.no_grad(), evaluation_mode(contestant.model):
            return models.ask(contestant.model, self.factual, held, noise=noise, variables=self.exam.dataset.variables)[
                self.image
            ]

    def _extreme(self, model: str, name: str, answered: Tensor) -> Extreme:
        error = l1(answered, self.truth[name])
        order = error.argsort()
        words = captions_of(self.exam.dataset.variables, self.questions[name].held)
        cases = []
        for word, place in (("best", 0), ("median", len(order) // 2), ("worst", -1)):
            i = int(order[place])
            parts = (self.factual[self.image], answered, self.truth[name])
            side = torch.stack([part[i] for part in parts])
            description = (
                f"test image {int(self.rows[i])}, do({name} {words[i]}), L1 to the truth {float(error[i]):.3g}"
            )
            masks = self._three_masks(name, i, answered)
            given = {"change": self.factual[self.image][i].expand_as(side)}
            cases.append((word, description, self._store(f"{model}-{name}-{word}", side, masks=masks, given=given)))
        return Extreme(f"do({name})", tuple(cases))

    def _three_masks(self, name: str, number: int, answered: Tensor) -> Tensor | None:
        """Parts of one factual image, its answer and its truth, (3, *sides); None where one of them is not known."""
        masks = [
            self._known(slice(number, number + 1)),
            self._segmented(answered[number : number + 1]),
            self._true(name, slice(number, number + 1)),
        ]
        return None if any(mask is None for mask in masks) else torch.cat([mask for mask in masks if mask is not None])

    def _segmented(self, images: Tensor) -> Tensor | None:
        """Parts as the card's segmenter finds them."""
        return None if self.segmenter is None else self.segmenter.segment(images).cpu()

    def _known(self, some: slice) -> Tensor | None:
        """Parts of factual images, as the dataset knows them or the segmenter finds them."""
        data = self.exam.dataset
        if "mask" in data.card.carried(data.source):
            masks = data.role("mask", "test", self.rows[some])
            if isinstance(masks, Tensor):
                return masks
        return self._segmented(self.factual[self.image][some])

    def _true(self, name: str, some: slice) -> Tensor | None:
        """Parts of true counterfactuals, likewise."""
        held = {variable: values[some] for variable, values in self.questions[name].held.items()}
        masks = self.exam.dataset.masks("test", self.rows[some], held)
        return masks if masks is not None else self._segmented(self.truth[name][some])

    def factual_file(self) -> str:
        return self._view("factual", self.factual[self.image], masks=self._known(slice(SHOWN)))

    def truth_files(self) -> dict[str, str]:
        return {
            name: self._view(f"truth-{name}", images, masks=self._true(name, slice(SHOWN)), changed=True)
            for name, images in self.truth.items()
        }

    def wanted(self) -> dict[str, tuple[str, ...]]:
        return {
            name: tuple(captions_of(self.exam.dataset.variables, question.held)[:SHOWN])
            for name, question in self.questions.items()
        }

    def slices(self) -> tuple[int, ...]:
        """Heights of the slices in the viewer; none of pictures."""
        images = self.factual[self.image]
        return spread_slices(images.shape[2]) if images.ndim == 5 else ()

    def _view(
        self,
        name: str,
        images: Tensor,
        *,
        masks: Tensor | None,
        changed: bool = False,
        null: Tensor | None = None,
    ) -> str:
        """The images that the viewer shows, of volumes every slice as a file of its own beside that of the middle one."""
        images = images[:SHOWN]
        masks = None if masks is None else masks[:SHOWN]
        given = {"change": self.factual[self.image][:SHOWN]} if changed else {}
        given |= {} if null is None else {"own": null[:SHOWN]}
        for height in self.slices():
            self._store(name, images, masks=masks, given=given, height=height)
        return self._store(name, images, masks=masks, given=given)

    def _store(
        self,
        name: str,
        images: Tensor,
        *,
        masks: Tensor | None = None,
        given: Mapping[str, Tensor] | None = None,
        height: int | None = None,
    ) -> str:
        """Some images side by side as a PNG, and what can be laid over them; its path for the page.

        Args:
            name: of the files.
            images: (N, C, *sides).
            masks: (N, *sides), their parts.
            given: layer -> (N, C, *sides), what they are changed from in it.
            height: of the slice; None for the middle one.
        """
        ending = "" if height is None else f"-slice-{height}"
        stem, across = f"pictures/{slug(name)}", len(images)

        def sheet(maps: Tensor, ground: float) -> Tensor:
            return tiled(picture_of(maps.float().cpu(), index=height), across, ground=ground)

        (self.folder / "pictures").mkdir(parents=True, exist_ok=True)
        pixels = sheet(images, 255.0).round().clamp(0, 255).to(torch.uint8).numpy()
        write_png(pixels, self.folder / f"{stem}{ending}.png")
        layers = {}
        for layer, before in (given or {}).items():
            change = (images.float() - before.float()).abs().mean(1, keepdim=True)
            layers[layer] = f"{stem}-{layer}.png"
            write_png(change_pixels(sheet(change, 0.0)[0]), self.folder / f"{stem}-{layer}{ending}.png")
        if masks is not None:
            layers["parts"] = f"{stem}-parts.svg"
            write_text(self.folder / f"{stem}-parts{ending}.svg", contours_svg(sheet(masks[:, None], 0.0)[0].long()))
        if height is None:
            self.layers[f"{stem}.png"] = layers
        return f"{stem}.png"


def _shipped(row: Row) -> Path | None:
    """Where the weights of a model of the catalogue lie."""
    inputs = row.record.inputs
    recipe = recipe_paths().get((inputs.dataset, inputs.model))
    return None if recipe is None else recipe.parent / f"{inputs.model}-{inputs.source}"


def _curves(folder: Path | None) -> Mapping[str, Mapping[str, Any]]:
    """Training curves of a model, from the manifest beside its weights."""
    curves = {} if folder is None else _manifest(folder).get("curves", {})
    return curves if isinstance(curves, dict) else {}
