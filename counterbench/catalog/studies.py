"""Studies: a search for what of a trained model to open, by any metrics."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from counterbench.catalog import declarations, section
from counterbench.catalog.names import Name
from counterbench.catalog.reading import Declaration, find
from counterbench.catalog.recipes import Keep, Wanted
from counterbench.catalog.sweeps import Seed

Share = Annotated[float, Field(ge=0, lt=1)]
Rate = Annotated[float, Field(gt=0)]


class Space(Declaration):
    """What is searched: every key that holds several values is a choice."""

    kinds: tuple[str, ...] = Field(min_length=1)
    """What may be opened, as `train --adapt` takes it: `norm_bias`, `lora:alpha=4`."""
    masks: bool = False
    """Whether one bit for each named block says where: `within` of an adapter."""
    ranks: tuple[Annotated[int, Field(ge=1)], ...] = ()
    """Of kinds that have a rank; left out: their own."""
    learning_rate: tuple[Rate, Rate]
    """Lowest and highest; drawn on a logarithmic scale."""
    random_parents: tuple[Share, ...] = ()
    """Shares of parents that are another sample's in training (objective `matching`); left out: the recipe's."""
    drop_loudest: tuple[Share, ...] = ()
    """Shares of each batch with the largest noise norm that are left out (objective `matching`); left out: the recipe's."""

    @field_validator("learning_rate")
    @classmethod
    def _rising(cls, given: tuple[float, float]) -> tuple[float, float]:
        if given[0] > given[1]:
            raise ValueError(f"the lowest learning rate, {given[0]}, is above the highest, {given[1]}")
        return given


class Study(Declaration):
    """One search: a YAML file that `counterbench tune` takes."""

    name: Name
    title: str = ""
    model: str
    """The trained model: a recipe with weights, or a folder of `train`."""
    dataset: str
    source: Name | None = None
    where: dict[str, Wanted] = Field(default_factory=dict)
    """Variable or role -> values that training samples must have."""
    limit: int | None = Field(None, ge=2)
    """Training samples; left out: all of them."""
    space: Space
    steps: int = Field(300, ge=1)
    """Of every training."""
    keep: Keep = "last"
    suite: str = "audit"
    asked: int | None = Field(None, ge=1)
    """Test images that every trial is asked about; left out: the suite's."""
    objectives: tuple[str, ...] = Field(min_length=1)
    """`metric.quantity`, or `metric.quantity.name` with a variable or a feature space; `row_skill`; `opened`, how many numbers move."""
    directions: dict[str, Literal["lower", "higher"]] = Field(default_factory=dict)
    """Objective -> what is better; left out: what the metric says."""
    trials: int = Field(18, ge=1)
    sampler: Literal["nsga2", "tpe", "random"] = "nsga2"
    population: int = Field(6, ge=2)
    """Of NSGA-II: how many trials make a generation."""
    random: int | None = Field(None, ge=0)
    """Trials of random search beside it; left out: as many."""
    beside: tuple[str, ...] = ("full",)
    """What is trained without a search, with the lowest, the middle and the highest learning rate."""
    seed: Seed = 0
    """Of the search, and of all its trainings."""
    fresh_seeds: tuple[Seed, ...] = (101, 102)
    """With which what won is trained anew: who wins a search has been lucky too."""
    device: str = "cpu"

    @classmethod
    def catalogue(cls, content: Mapping[str, Any]) -> Path:
        return section("benchmarks") / "studies"

    @model_validator(mode="after")
    def _consistent(self) -> Study:
        if unknown := [name for name in self.directions if name not in self.objectives]:
            raise ValueError(f"directions: {unknown[0]!r} is none of the objectives")
        for names in (self.objectives, self.fresh_seeds, self.space.kinds):
            if len(set(names)) < len(names):
                raise ValueError(f"{next(one for one in names if list(names).count(one) > 1)} is listed twice")
        if self.seed in self.fresh_seeds:
            raise ValueError(f"fresh_seeds: {self.seed} is the seed of the search; give others")
        return self


def study_paths() -> dict[str, Path]:
    """Every study of the catalogue: name -> file."""
    return {path.stem: path for path in declarations(Study.catalogue({}))}


def find_study(name: str) -> Study:
    """The study `name` of the catalogue, or the one in the file `name`.

    Raises:
        UnknownNameError: with the closest match and the list. ConfigError: naming the file and the key that is wrong.
    """
    return find(name, Study, "study", known=study_paths())
