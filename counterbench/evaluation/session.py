"""Examining several models on one exam: in chunks of samples, sharing whatever does not depend on the model.

A chunk's result is what the metrics have taken from it. It is stored under the hash of everything that decides it, so that an
interrupted examination goes on where it was, with the same numbers to the last bit, and a stored chunk is never taken for
something else.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from counterbench.evaluation.asking import Asking
from counterbench.evaluation.batches import Shared, SharedBatch
from counterbench.evaluation.exam import Exam
from counterbench.evaluation.taking import Taking
from counterbench.models.cost import out_of_memory
from counterbench.runtime.blocks import PICTURE, at_once, block_of
from counterbench.runtime.memory import give_back
from counterbench.runtime.progress import bar
from counterbench.storage.tensors import read_tensors, write_tensors

_CHUNK = 96
_ROOM = 1 << 23
"""Voxels of a chunk of volumes."""
_SECONDS = "seconds"
"""Beside the tensors of a chunk of the first contestant: how long it took."""


@dataclass(frozen=True)
class Share:
    """Which of the chunks to examine: every `count`-th, beginning with that of this number.

    Args:
        number: from 0.
        count: how many shares there are.
    """

    number: int = 0
    count: int = 1


def examine(
    exam: Exam,
    takings: Sequence[Taking],
    *,
    batch_size: int | None = None,
    share: Share = Share(),
    advance: Callable[[int], None] | None = None,
) -> dict[str, float]:
    """Ask every contestant every question that its metrics judge; the results are in their `chunks`.

    Args:
        exam: the questions and the judges.
        takings: who is asked; chunks that are stored already are read instead.
        batch_size: samples at a time; None to choose by the size of an image. Changes the speed, and the last digits of what a
            network answers; no score of a baseline. It is halved when an accelerator runs out of memory.
        share: of the chunks; the default is all of them.
        advance: is told how many answers have been judged; None for a bar of its own.

    Returns:
        Seconds spent by models, judges and truth on all chunks, whoever examined them.

    Raises:
        ModelError: for an answer that is none.
    """
    batch_size = batch_size or batch_size_of(exam)
    session = _Session(exam, batch_size)
    pending, before = _load(exam, takings, share, batch_size)
    if advance is not None:
        session.examine_chunks(pending, advance)
    elif pending:
        with bar(count_of(pending), title_of(takings)) as advance:
            session.examine_chunks(pending, advance)
    return {name: value + before.get(name, 0.0) for name, value in session.shared.seconds.items()}


def title_of(takings: Sequence[Taking]) -> str:
    """What a progress bar says."""
    name = takings[0].name if len(takings) == 1 else f"{takings[0].name} and baselines"
    return f"Evaluating {name}"


def count_of(pending: Sequence[tuple[Tensor, Sequence[Taking]]]) -> int:
    """How many rows have to be judged: those of each contestant."""
    return sum(len(part) * len(waiting) for part, waiting in pending)


def missing(
    exam: Exam, takings: Sequence[Taking], *, batch_size: int | None = None
) -> list[tuple[Tensor, list[Taking]]]:
    """The chunks that are not stored: (positions in the plan, who has to be asked about them)."""
    return _load(exam, takings, Share(), batch_size or batch_size_of(exam))[0]


def batch_size_of(exam: Exam) -> int:
    """How many samples at a time, where nobody chooses."""
    return default_batch(exam.device, size_of(exam))


def size_of(exam: Exam) -> int:
    """How many numbers an image is; 1 for a dataset without images."""
    return max(1, math.prod(exam.dataset.card.image_shape))


def default_batch(device: torch.device, pixels: int) -> int:
    """How many samples at a time, in whole blocks of what judges look at: fewer of larger images, more on an accelerator."""
    fitting, block = 400_000 // pixels * (8 if device.type != "cpu" else 1), block_of(pixels)
    return max(1, min(fitting, 100 if device.type == "cpu" else 1024) // block) * block


def chunk_size(batch: int, *, pixels: int = 1) -> int:
    """How many samples make a chunk: whole batches, few enough for many workers, and of volumes few enough to be held."""
    most = _CHUNK if pixels <= PICTURE else at_once(pixels, _CHUNK, room=_ROOM)
    return batch * max(1, most // batch)


def _load(
    exam: Exam, takings: Sequence[Taking], share: Share, batch_size: int
) -> tuple[list[tuple[Tensor, list[Taking]]], dict[str, float]]:
    """Read the chunks that are stored; returns ((positions in the plan, who has to be asked about them), seconds that those read have
    taken)."""
    pending = []
    seconds: dict[str, float] = {}
    positions = torch.arange(len(exam.plan.index)).split(chunk_size(batch_size, pixels=size_of(exam)))
    for part in positions[share.number :: share.count]:
        start, rows = int(part[0]), exam.plan.index[part]
        waiting = []
        for taking in takings:
            path, keeping = taking.path(start, rows), taking.keeping
            stored = None if path is None else read_tensors(path)
            if stored is None or (keeping is not None and not keeping.has(start, taking.chunk(start, rows))):
                waiting.append(taking)
            else:
                taking.chunks[start], said = stored
                for name, value in json.loads(said.get(_SECONDS, "{}")).items():
                    seconds[name] = seconds.get(name, 0.0) + value
        if waiting:
            pending.append((part, waiting))
    return pending, seconds


class _Session:
    """One run: which batches are asked, and what is kept of them."""

    def __init__(self, exam: Exam, batch_size: int):
        self.exam, self.batch_size, self.shared = exam, batch_size, Shared(exam)

    def examine_chunks(
        self, pending: Sequence[tuple[Tensor, Sequence[Taking]]], advance: Callable[[int], None]
    ) -> None:
        """Ask about what is missing."""
        with torch.no_grad():
            for part, waiting in pending:
                self.examine_chunk(part, waiting, advance)

    def examine_chunk(self, part: Tensor, waiting: Sequence[Taking], advance: Callable[[int], None]) -> None:
        """Ask about some positions of the plan, and store what the metrics took."""
        before = dict(self.shared.seconds)
        while (taken := self._asked(part, waiting, advance)) is None:
            self.batch_size //= 2
            for taking in waiting:
                for metric in taking.metrics:
                    metric.reset()
                if taking.keeping is not None:
                    taking.keeping.forget()
            if self.exam.device.type == "cuda":
                torch.cuda.empty_cache()
        start, rows = int(part[0]), self.exam.plan.index[part]
        spent = json.dumps({name: round(value - before[name], 3) for name, value in self.shared.seconds.items()})
        for number, (taking, tensors) in enumerate(zip(waiting, taken, strict=True)):
            for metric in taking.metrics:
                tensors |= {f"{metric.name}/{state}": value.contiguous() for state, value in metric.dump().items()}
                metric.reset()
            if taking.keeping is not None:  # before its chunk: what is judged is kept
                taking.keeping.store(start, taking.chunk(start, rows))
            path = taking.path(start, rows)
            if path is not None:
                said = {} if number else {_SECONDS: spent}
                write_tensors(path, tensors, metadata=said, optional=taking.optional)
            taking.chunks[start] = tensors

    def _asked(
        self, part: Tensor, waiting: Sequence[Taking], advance: Callable[[int], None]
    ) -> list[dict[str, Tensor]] | None:
        """Answers to look at, for each who was asked; None if the accelerator's memory was too small for the batch."""
        taken: list[dict[str, Tensor]] = [{} for _ in waiting]  # by position: names may repeat
        try:
            for positions in part.split(self.batch_size):
                batch = SharedBatch(self.shared, positions)
                for taking, tensors in zip(waiting, taken, strict=True):
                    asking = Asking(batch, taking, tensors)
                    asking.ask()
                    asking.release()
                    give_back()
                    advance(len(positions))
        except RuntimeError as error:
            if not out_of_memory(error) or self.batch_size == 1:
                raise
            return None
        return taken
