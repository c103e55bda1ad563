"""Sweeps: which models are trained and asked on which datasets, sources, suites and training seeds."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, field_validator, model_validator

from counterbench.catalog import declarations, section
from counterbench.catalog.names import Name
from counterbench.catalog.reading import Declaration, find
from counterbench.catalog.recipes import Keep, Wanted
from counterbench.catalog.suites import STANDARD

Seed = Annotated[int, Field(ge=0, le=2**32 - 1)]


class SweepAdapt(Declaration):
    """A trained model that is trained further in every combination of what is opened, how many samples there are, and how fast."""

    kinds: tuple[str, ...] = Field(min_length=1)
    """What is opened, as `train --adapt` takes it: `lora`, `lora:rank=2`."""
    where: dict[str, Wanted] = Field(default_factory=dict)
    """Variable or role -> values that samples must have."""
    limits: tuple[Annotated[int, Field(ge=2)], ...] = ()
    """Numbers of samples; left out: all of them."""
    learning_rates: tuple[Annotated[float, Field(gt=0)], ...] = ()
    """Left out: the recipe's."""
    steps: int | None = Field(None, ge=1)
    """Of every stage; left out: the recipe's."""
    keep: Keep | None = None
    """Whether the epoch with the lowest validation loss counts, or the last one; left out: the recipe's."""


class SweepJudges(SweepAdapt):
    """Trained judges that are trained further in every combination, as :class:`SweepAdapt` says of models."""

    variables: tuple[str, ...] = Field(min_length=1)
    """That one network reads."""
    init: str = "card"
    """Which judges: those that the card pins, or a folder of `train-judges`."""


class SweepDistil(Declaration):
    """A model that is trained on real rows, and students that learn from what it makes."""

    students: tuple[str, ...] = Field(min_length=1)
    """What each is fed, as `train --feed` takes it: `synthetic:count=1000`, `filtered:count=1000`."""
    where: dict[str, Wanted] = Field(default_factory=dict)
    """Variable or role -> values that the teacher's samples must have."""
    limit: int | None = Field(None, ge=2)
    """Of them, the first so many; left out: all."""
    feed: str | None = None
    """What the teacher is fed, of them: `repeated:times=20`; left out: them, each once."""
    student: str | None = None
    """Recipe of the students; left out: the teacher's."""


class SweepModel(Declaration):
    """A model, or several that differ in options of its recipe, or in how it is trained further."""

    model: str
    """A baseline, a recipe, a recipe file, or a folder of `train`."""
    options: dict[str, Any] = Field(default_factory=dict)
    """Path in the recipe -> value, or list of values, each of which makes a model: `mechanisms.image.options.width: [64, 128]`."""
    adapt: SweepAdapt | None = None
    """How its trained weights are adapted; the model as it is has a row beside."""
    distil: SweepDistil | None = None
    """Who learns from what it makes; the teacher has a row beside."""
    graphs: tuple[str, ...] = ()
    """Graphs of the attributes that it is trained with: card, empty, reversed, full, discovered, or files; each makes a model."""

    @model_validator(mode="after")
    def _one_way(self) -> SweepModel:
        if len(set(self.graphs)) < len(self.graphs):
            raise ValueError("'graphs' names one twice")
        if sum((bool(self.options), self.adapt is not None, self.distil is not None, bool(self.graphs))) > 1:
            raise ValueError(
                "give one of 'options', which make new models, 'adapt', which trains one further, 'distil', which trains others on what it makes, and 'graphs', which rewires its attributes"
            )
        return self


class SweepDataset(Declaration):
    """A dataset and its sources."""

    dataset: str
    """Name of a card, or a card file."""
    sources: tuple[Name, ...] = ()
    """Left out: the card's default."""


class Budget(Declaration):
    """What trainings and evaluations may cost; left out: what recipes and suites say."""

    epochs: int | None = Field(None, ge=1)
    """Of every stage, at most."""
    samples: int | None = Field(None, ge=2)
    """That models train on."""
    limit: int | None = Field(None, ge=1)
    """Test images that they are asked about."""


class Sweep(Declaration):
    """A matrix of trainings and evaluations: one YAML file."""

    name: Name
    title: str = ""
    models: tuple[SweepModel, ...] = ()
    judges: SweepJudges | None = None
    """Judges that are adapted; beside models, or alone."""
    datasets: tuple[SweepDataset, ...] = Field(min_length=1)
    suites: tuple[str, ...] = Field((STANDARD,), min_length=1)
    seeds: tuple[Seed, ...] = ()
    """Of trainings; left out: nothing is trained, and models answer with the weights that they come with."""
    budget: Budget = Budget()
    plugins: tuple[str, ...] = ()
    """Modules or `.py` files, as `counterbench --plugin` takes them."""
    data_dir: str | None = None
    """Folder of published data; left out: $COUNTERBENCH_DATA."""
    device: str = "auto"
    threads: int = Field(1, ge=1)
    """Of the CPU, for every job, whoever runs it: so its numbers do not depend on how many run at once."""
    shares: int = Field(1, ge=1)
    """Jobs that share the images of one evaluation; one more collects what they have stored."""
    keep_answers: bool = False
    """Whether evaluations keep their answers, so that trainings of one recipe can be compared answer by answer."""

    @classmethod
    def catalogue(cls, content: Mapping[str, Any]) -> Path:
        return section("benchmarks") / "sweeps"

    @model_validator(mode="after")
    def _something(self) -> Sweep:
        if not self.models and self.judges is None:
            raise ValueError("nothing is listed; give models, or judges")
        if any(entry.distil is not None for entry in self.models) and not self.seeds:
            raise ValueError("teachers and students are trained, so give seeds")
        if self.judges is not None and not self.seeds:
            raise ValueError("judges are trained, so give seeds")
        if self.judges is not None and self.judges.keep is not None:
            raise ValueError("judges: the best epoch counts; leave out keep")
        return self

    @field_validator("models", mode="before")
    @classmethod
    def _models_by_name(cls, given: Any) -> Any:
        return _named(given, "model")

    @field_validator("datasets", mode="before")
    @classmethod
    def _datasets_by_name(cls, given: Any) -> Any:
        return _named(given, "dataset")

    @field_validator("models", "datasets", "suites", "seeds")
    @classmethod
    def _each_once(cls, given: tuple[Any, ...]) -> tuple[Any, ...]:
        twice = [entry for number, entry in enumerate(given) if entry in given[:number]]
        if twice:
            raise ValueError(f"{twice[0]} is listed twice")
        return given


def _named(given: Any, key: str) -> Any:
    if isinstance(given, (list, tuple)):
        return tuple({key: entry} if isinstance(entry, str) else entry for entry in given)
    return given


def sweep_paths() -> dict[str, Path]:
    """Every sweep of the catalogue: name -> file."""
    return {path.stem: path for path in declarations(Sweep.catalogue({}))}


def find_sweep(name: str) -> Sweep:
    """The sweep `name` of the catalogue, or the one in the file `name`.

    Raises:
        UnknownNameError: with the closest match and the list. ConfigError: naming the file and the key that is wrong.
    """
    return find(name, Sweep, "sweep", known=sweep_paths())
