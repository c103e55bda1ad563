"""One trial: a way of adapting a model is trained and asked, once, whoever does it."""

from __future__ import annotations

import copy
import json
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, Timeout

from counterbench import datasets, evaluation, models
from counterbench.adapters.parts import blocks
from counterbench.catalog.recipes import Recipe, RowsEntry
from counterbench.catalog.studies import Study
from counterbench.datasets.dataset import Dataset
from counterbench.datasets.selection import ranges, rows_of
from counterbench.errors import ConfigError, ModelError
from counterbench.evaluation.exam import Exam
from counterbench.mechanisms.base import Mechanism
from counterbench.models.adaptation import adapter_of, made
from counterbench.records.record import Record, read_record, to_json
from counterbench.runtime.devices import choose_device
from counterbench.search import objectives
from counterbench.search.space import Way
from counterbench.storage.files import read_bounded, write_text
from counterbench.training import recipes
from counterbench.training.adaptation import start_recipe
from counterbench.training.hardware import Hardware

RESULT, RECORD = "result.json", "record.json"


@dataclass(frozen=True)
class Outcome:
    """What came out of a trial.

    Args:
        name: of the trial.
        way: in words.
        tried: what was tried, as plain data.
        seed: of the training.
        values: objective -> value; empty where training failed.
        opened: how many numbers moved.
        seconds: of training and asking together.
        why: it failed; empty where it did not.
    """

    name: str
    way: str
    tried: dict[str, Any]
    seed: int
    values: dict[str, float] = field(default_factory=dict)
    opened: int = 0
    seconds: float = 0.0
    why: str = ""


class Laboratory:
    """Where the trials of a study are made.

    Args:
        study: what is searched.
        folder: of its results.
        data_dir: where published data lies.

    Raises:
        ConfigError: for a study that cannot be. UnknownNameError: for unknown names.
    """

    def __init__(self, study: Study, folder: Path, *, data_dir: Path | None = None):
        self.study, self.folder, self.data_dir = study, folder, data_dir
        self.device = str(choose_device(study.device))
        if not self.dataset.card.image:
            raise ConfigError(f"{study.dataset} has no image; tune searches what of an image's mechanism to open.")

    @cached_property
    def dataset(self) -> Dataset:
        """What is asked about."""
        return datasets.load(self.study.dataset, self.study.source, data_dir=self.data_dir)

    @cached_property
    def exam(self) -> Exam:
        """What every trial is asked."""
        study, rows = self.study, rows_of(self.base, self.dataset)["train"]
        # Of every trial, and of the model as it is, the copies that are looked for are of the same images.
        seen = {"which": ranges(rows), "where": dict(study.where)}
        return evaluation.prepare(self.dataset, study.suite, limit=study.asked, device=self.device, seen=seen)

    @cached_property
    def base(self) -> Recipe:
        """The recipe that starts from the trained model, on the study's rows."""
        model = self.study.model
        init = str(Path(model).resolve()) if Path(model).is_dir() else model
        base = start_recipe(None, init, self.dataset)
        rows = RowsEntry(where=self.study.where, limit=self.study.limit)
        return base if rows == RowsEntry() else base.model_copy(update={"rows": rows})

    @property
    def variable(self) -> str:
        """Whose mechanism is adapted."""
        return self.dataset.card.image or ""

    @cached_property
    def mechanism(self) -> Mechanism:
        """What is adapted, without its weights."""
        scm = models.build_for(self.base, self.dataset)
        return scm.mechanisms[self.variable]

    @cached_property
    def blocks(self) -> list[str]:
        """The named blocks of the mechanism, for masks."""
        return list(blocks(self.mechanism))

    def require_opens(self, way: Way) -> None:
        """Raise ConfigError if a way opens nothing of the mechanism."""
        with torch.random.fork_rng(devices=[]):
            made(way.adapt, f"The adapter {way.adapt.kind!r}").open(copy.deepcopy(self.mechanism))

    def recipe(self, way: Way, name: str) -> Recipe:
        """The recipe of a way, checked as far as it can be without training."""
        recipe = way.recipe(self.study, self.base, self.variable)
        adapter_of(recipe.mechanisms[self.variable].training[0], self.variable)
        return recipe.model_copy(update={"name": name})

    @contextmanager
    def held(self, name: str) -> Iterator[bool]:
        """Whether this process has a trial to itself, for the length of a block; a process that dies gives it back."""
        lock = self.folder / "locks" / f"{name}.lock"
        lock.parent.mkdir(parents=True, exist_ok=True)
        try:
            with FileLock(lock, timeout=0):
                yield True
        except Timeout:
            yield False

    def outcome(self, name: str) -> Outcome | None:
        """What came out of a trial before; None if it is not done."""
        path = self.folder / "trials" / name / RESULT
        return Outcome(**json.loads(read_bounded(path))) if path.is_file() else None

    def record(self, name: str) -> Record:
        """The record of a trial that is done and did not fail."""
        return read_record(self.folder / "trials" / name / RECORD)

    def run(self, way: Way, name: str, seed: int) -> Outcome:
        """Make a trial, or go on with one that was interrupted.

        Raises:
            ConfigError: for an objective that the suite does not give.
        """
        if (known := self.outcome(name)) is not None:
            return known
        if (twin := self._twin(way, seed)) is not None:
            return self._stored(replace(twin, name=name, seconds=0.0), self.record(twin.name))
        begun = time.perf_counter()
        try:
            record = self._trained(way, name, seed)
            values = self._values(record)
        except (ModelError, ConfigError) as why:  # objectives are known to exist: see as_it_is
            failed = Outcome(name, str(way), way.plain(), seed, seconds=time.perf_counter() - begun, why=str(why))
            return self._stored(failed)
        moved = int(objectives.value(record, objectives.OPENED))
        made = Outcome(name, str(way), way.plain(), seed, values, moved, time.perf_counter() - begun)
        return self._stored(made, record)

    def _twin(self, way: Way, seed: int) -> Outcome | None:
        """A trial of the same way with the same seed that is done: a search asks for what it knows again, and gets the same answer."""
        for path in sorted((self.folder / "trials").glob(f"*/{RESULT}")):
            known = self.outcome(path.parent.name)
            if known is None:
                continue
            if known.tried == way.plain() and known.seed == seed and not known.why and known.opened:
                return known
        return None

    def _values(self, record: Record) -> dict[str, float]:
        return {objective: objectives.value(record, objective) for objective in self.study.objectives}

    def _stored(self, outcome: Outcome, record: Record | None = None) -> Outcome:
        """Keep what came out of a trial; its record first, for a result says that everything is there."""
        home = self.folder / "trials" / outcome.name
        if record is not None:
            write_text(home / RECORD, to_json(record))
        write_text(home / RESULT, json.dumps(asdict(outcome), indent=1) + "\n")
        return outcome

    def _trained(self, way: Way, name: str, seed: int) -> Record:
        hardware, model = Hardware(self.device), self.folder / "trials" / name / "model"
        recipes.train(self.recipe(way, name), self.dataset, output=model, hardware=hardware, seed=seed, resume=True)
        return self._examined(str(model))

    def _examined(self, model: str) -> Record:
        contestant = models.load(model, self.dataset, device=self.device)
        return evaluation.evaluate(contestant, self.exam.knowing(contestant)).record

    def as_it_is(self) -> Outcome:
        """The trained model, not adapted."""
        name = "as-it-is"
        if (known := self.outcome(name)) is not None:
            return known
        begun = time.perf_counter()
        assert self.base.init is not None
        record = self._examined(self.base.init.model)
        values = self._values(record)
        found = Outcome(name, "nothing is opened", {}, 0, values, 0, time.perf_counter() - begun)
        return self._stored(found, record)

    def directions(self) -> list[str]:
        """Of every objective: `lower` or `higher`."""
        record = self.record(self.as_it_is().name)
        said = self.study.directions
        return [said.get(one) or objectives.direction(record, one) for one in self.study.objectives]


def points(outcomes: Sequence[Outcome]) -> dict[str, list[float]]:
    """Name -> values of the objectives, of those trials that did not fail."""
    return {one.name: list(one.values.values()) for one in outcomes if one.values}


def plain(study: Study) -> dict[str, Any]:
    """A study as data that can be compared."""
    return study.model_dump(mode="json", exclude={"title", "trials", "random", "fresh_seeds", "beside"})
