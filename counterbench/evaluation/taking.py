"""A contestant that takes an exam: its metrics, and chunks of what they have taken."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from counterbench.evaluation.exam import Exam
from counterbench.metrics.base import Column, Metric
from counterbench.models.model import Contestant
from counterbench.models.reachable import modules_of
from counterbench.plans.question import Question
from counterbench.plugins import registry
from counterbench.runtime.code import code_hash
from counterbench.runtime.progress import bar
from counterbench.runtime.versions import versions

if TYPE_CHECKING:
    from counterbench.evaluation.kept_answers import Keeping

REAL = "real"
_ASKING = "counterbench.evaluation.session"
REACH = "reach"
"""State in a chunk: how far the pixels of answers reach."""
OUTSIDE = "outside"
"""State in a chunk: the sum of answers' shares of pixels out of range, and how many answers there are."""
WANTED = "wanted."
"""How the state in a chunk begins that holds the values which a variable was set to, in answers to look at."""
SHOWN = 8
"""Answers to each question that are kept for the picture."""
AGAIN = "again"
"""State in a chunk: answers about the samples that are asked about again."""


@dataclass(frozen=True)
class Shown:
    """A few answers to one question, to look at.

    Args:
        factual: images as observed.
        wanted: variable -> values that it was set to.
        answered: images.
        truth: true images, or None.
        null: images that the model gave where nothing was asked, or None.
    """

    factual: Tensor
    wanted: dict[str, Tensor]
    answered: Tensor
    truth: Tensor | None
    null: Tensor | None = None


@dataclass
class Taking:
    """One contestant taking an exam: a row of the table, with its metrics and what they have taken so far.

    Args:
        name: of the row.
        contestant: the model; None for `real`, which are real images with the counterfactual attributes.
        metrics: what judges it.
        folder: where its chunks are kept; None for memory only.
        key: hash of everything that decides its results.
        optional: whether its chunks may be lost: those of a baseline only save time.
        keeping: keeps its answers; None where they are judged and forgotten.
    """

    name: str
    contestant: Contestant | None
    metrics: list[Metric]
    folder: Path | None
    key: str
    chunks: dict[int, dict[str, Tensor]] = field(default_factory=dict)
    optional: bool = False
    keeping: Keeping | None = None

    def needs(self, question: Question) -> bool:
        """Whether a metric judges the answer to this question, or to one that begins with it; where answers are kept, another metric of
        the same kinds of question may judge them later."""
        if self.keeping is not None and question.kind in kinds_asked(self.metrics):
            return True
        return any(_judges(metric, question) for metric in self.metrics)

    def chunk(self, start: int, rows: Tensor) -> str:
        """Name of the chunk that begins at position `start` of the plan: another one wherever its content may differ."""
        digest = hashlib.sha256(f"{self.key} {rows.tolist()}".encode()).hexdigest()
        return f"{start:06d}-{digest[:24]}"

    def path(self, start: int, rows: Tensor) -> Path | None:
        """Where that chunk is kept."""
        return None if self.folder is None else self.folder / f"chunk-{self.chunk(start, rows)}.safetensors"

    def columns(self) -> list[Column]:
        """All numbers, from all chunks in their order."""
        for metric in self.metrics:
            metric.reset()
        for start in sorted(self.chunks):
            for metric in self.metrics:
                prefix = f"{metric.name}/"
                stored = {
                    key.removeprefix(prefix): v for key, v in self.chunks[start].items() if key.startswith(prefix)
                }
                if stored:
                    metric.restore(stored)
        found: list[Column] = []
        with bar(len(self.metrics), f"Numbers of {self.name}") as advance:
            for metric in self.metrics:
                found += metric.compute() if not metric.empty else []
                advance(1)
        for metric in self.metrics:
            metric.reset()
        return found

    def sets(self) -> dict[str, Tensor]:
        """ "metric/state" -> what the numbers of whole sets come from (features of answers), from all chunks in their order."""
        names = {metric.name for metric in self.metrics if any(cell.statistic == "pseudo" for cell in metric.cells)}
        parts: dict[str, list[Tensor]] = {}
        for start in sorted(self.chunks):
            for key, value in self.chunks[start].items():
                metric, slash, _ = key.partition("/")
                if slash and metric in names:
                    parts.setdefault(key, []).append(value)
        return {key: torch.cat(values) for key, values in parts.items()}

    @cached_property
    def networks(self) -> list[nn.Module]:
        """Those of the model."""
        return [] if self.contestant is None else modules_of(self.contestant.model)

    @property
    def reach(self) -> Tensor | None:
        """Darkest and brightest pixel of all its answers, then of the images that they are about, (4,); None without images."""
        parts = [chunk[REACH] for chunk in self.chunks.values() if REACH in chunk]
        return widest(parts) if parts else None

    @property
    def outside(self) -> float:
        """Share of pixels in all its answers that were out of range by more than rounding."""
        parts = [chunk[OUTSIDE] for chunk in self.chunks.values() if OUTSIDE in chunk]
        total, count = torch.stack(parts).sum(0).tolist() if parts else (0.0, 0.0)
        return total / count if count else 0.0

    def judged(self) -> dict[str, dict[str, Tensor]]:
        """Question -> the answers that were judged, of the samples that are asked about again: natural values by variable."""
        parts: dict[str, dict[str, list[Tensor]]] = {}
        for start in sorted(self.chunks):
            for key, value in self.chunks[start].items():
                if key.startswith(f"{AGAIN}/"):
                    question, _, variable = key.removeprefix(f"{AGAIN}/").rpartition("/")
                    parts.setdefault(question, {}).setdefault(variable, []).append(value)
        return {
            question: {
                name: torch.cat([one.float() if one.dtype == torch.uint8 else one for one in kept])
                for name, kept in values.items()
            }
            for question, values in parts.items()
        }

    def shown(self) -> dict[str, Shown]:
        """Answers to look at, by what is set: `a`, or `a + b` for a joint intervention."""
        first = self.chunks.get(0, {})
        found: dict[str, dict[str, Tensor]] = {}
        wanted: dict[str, dict[str, Tensor]] = {}
        for key, value in first.items():
            if key.startswith("shown/"):
                _, name, part = key.split("/")
                kind = wanted if part.startswith(WANTED) else found
                kind.setdefault(name, {})[part.removeprefix(WANTED)] = value
        return {
            name: Shown(parts["factual"], wanted[name], parts["answered"], parts.get("truth"), parts.get("null"))
            for name, parts in found.items()
        }


def _judges(metric: Metric, question: Question) -> bool:
    if question.kind == "null" and metric.null_cycles is not None and question.cycle > metric.null_cycles:
        return False
    return question.kind in kinds_asked([metric])


def kinds_asked(metrics: Sequence[Metric]) -> set[str]:
    """Kinds of question that some metrics judge, and what those begin with."""
    kinds: set[str] = {kind for metric in metrics if metric.cells for kind in metric.asks}
    return kinds | {"single"} if kinds & {"return", "pair"} else kinds


def key_of(exam: Exam, contestant: Contestant | None) -> str:
    """Hash of everything that decides what a row's chunks hold."""
    inputs = exam.inputs(contestant or Contestant(REAL, None))  # type: ignore[arg-type]
    made_by = sorted(versions().items())
    code = code_hash(_modules(exam, contestant))
    return hashlib.sha256(f"{inputs.hash} {exam.device} {code} {made_by}".encode()).hexdigest()


def _modules(exam: Exam, contestant: Contestant | None) -> set[str]:
    """Where the code lies that decides a row: of asking, of what an exam is made of, and of the model. What they import is behind them."""
    parts: list[object] = [exam.dataset, *exam.spaces.loaded.values()]
    parts += [judge for panel in exam.panels.values() for judge in panel.members]
    if exam.segmenter is not None:
        parts += [exam.segmenter, *exam.segmenter.network.modules()]
    if contestant is not None:
        parts.append(contestant.model)
        parts += [part for network in modules_of(contestant.model) for part in network.modules()]
    kinds = {type(part) for part in parts} | {registry.metrics.get(name) for name in exam.metrics}
    return {_ASKING, *(base.__module__ for kind in kinds for base in kind.__mro__)}


def widest(ends: Sequence[Tensor]) -> Tensor:
    """(4,): smallest and largest of some (smallest, largest, smallest, largest)."""
    whole = torch.stack(list(ends))
    return torch.stack([whole[:, 0].min(), whole[:, 1].max(), whole[:, 2].min(), whole[:, 3].max()])
