"""Recipes: how a model is composed, trained, and where its weights are."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from counterbench.catalog import declarations, section
from counterbench.catalog.names import Name, VariableName, require_name
from counterbench.catalog.reading import Declaration, read

Keep = Literal["best", "last"]
Kind = Literal["continuous", "binary", "categorical", "ordinal", "vector", "image"]


class Fit(Declaration):
    """How one mechanism is fitted."""

    epochs: int = Field(200, ge=1)
    """At most; early stopping may end sooner."""
    steps: int | None = Field(None, ge=1)
    """At most, rounded up to whole epochs: a recipe then costs the same whatever the size of the training set."""
    batch_size: int = Field(256, ge=1)
    learning_rate: float = Field(1e-3, gt=0)
    weight_decay: float = Field(0.01, ge=0)
    betas: tuple[float, float] = (0.9, 0.999)
    """Of AdamW; games between networks want a smaller first one."""
    warmup_steps: int = Field(100, ge=0)
    """Optimiser steps (not epochs) over which the learning rate rises from zero."""
    cosine: bool = False
    """Let the learning rate fall to zero along a cosine over the whole of the training."""
    gradient_clip: float = Field(0.0, ge=0)
    """Largest norm of the gradient; 0 for no limit."""
    patience: int = Field(20, ge=1)
    """Epochs without a better validation loss before stopping."""
    min_delta: float = Field(0.0, ge=0)
    keep: Keep = "best"
    """Which weights count: those of the epoch with the lowest validation loss, or the last ones, without early stopping."""
    ema_decay: float = Field(0.0, ge=0, lt=1)
    """Decay of the exponential moving average of the weights; 0 for none."""


class AdaptEntry(Declaration):
    """Which numbers of a trained network move: the kind of an adapter, alone or with its options."""

    kind: str
    options: dict[str, Any] = Field(default_factory=dict)
    within: str | tuple[str, ...] | None = None
    """Blocks outside of which nothing moves: their names, or a mask, a word of 0 and 1 for each block in their order; null for all."""

    @model_validator(mode="before")
    @classmethod
    def _kind_alone(cls, given: Any) -> Any:
        return {"kind": given} if isinstance(given, str) else given


class WeightingEntry(Declaration):
    """How samples are weighted by their subgroup."""

    kind: str
    by: str
    """Variables and roles that divide the training set: `domain`, `digit,domain`, `age:5`."""
    options: dict[str, Any] = Field(default_factory=dict)
    balanced_batches: bool = False
    """Draw batches in which every subgroup is as frequent, instead of going through all samples."""


class Stage(Declaration):
    """One stage of training: what is minimised, and how."""

    objective: str = "likelihood"
    options: dict[str, Any] = Field(default_factory=dict)
    weighting: WeightingEntry | None = None
    """How samples are weighted; null for all alike."""
    adapt: AdaptEntry | None = None
    """What of the network is opened; null for everything. For recipes that start from trained weights."""
    fit: Fit = Fit()


class MechanismEntry(Declaration):
    """One mechanism: its family, the family's options, and how it is fitted: by `fit` alone, which is one stage of maximum
    likelihood, or by `stages`, one after the other."""

    family: str
    options: dict[str, Any] = Field(default_factory=dict)
    fit: Fit | None = None
    stages: tuple[Stage, ...] = ()
    frozen: bool = False
    """Whether it keeps the weights that the recipe starts from."""

    @model_validator(mode="after")
    def _one_way(self) -> MechanismEntry:
        if self.fit is not None and self.stages:
            raise ValueError("give either 'fit' (one stage of maximum likelihood) or 'stages', not both")
        if self.frozen and (self.fit is not None or self.stages):
            raise ValueError("a frozen mechanism is not trained; leave out 'fit' and 'stages'")
        return self

    @property
    def training(self) -> tuple[Stage, ...]:
        """All stages, in their order."""
        return () if self.frozen else self.stages or (Stage(fit=self.fit or Fit()),)


class AnswerEntry(Declaration):
    """How predictions become answers; see :class:`counterbench.models.answering.Answering`."""

    residual: float = Field(0.0, ge=0, le=1)
    """Share of the pixel residual that is put back, in grey levels; 1 makes the change on the photograph itself."""
    local: float | None = Field(None, gt=0, lt=1)
    """Share of an image's largest change from which on a change is kept; null to let changes act everywhere."""


class WeightsEntry(Declaration):
    """Trained weights for one source."""

    path: str
    sha256: str = Field(pattern="^[0-9a-f]{64}$")


class InitEntry(Declaration):
    """The trained model that training starts from."""

    model: str
    """A recipe of the catalogue, a recipe file, or a folder made by training."""
    sha256: str | None = Field(None, pattern="^[0-9a-f]{64}$")
    """Of its weights; null to accept any, and the manifest says which they were."""


def _listed(given: Any) -> Any:
    return given if isinstance(given, (list, tuple)) else [given]


Wanted = Annotated[tuple[str | int | float, ...], BeforeValidator(_listed)]
"""Values of which a row has one: classes, numbers, or ranges such as "60:70"."""


class RowsEntry(Declaration):
    """Which samples of a split are used."""

    where: dict[str, Wanted] = Field(default_factory=dict)
    """Variable or role -> values; a sample has one of them, for every name."""
    limit: int | None = Field(None, ge=2)
    """The first so many of those; null for all."""


class FeedEntry(Declaration):
    """How training data is made: the kind of a feed, alone or with its options."""

    kind: str
    options: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _kind_alone(cls, given: Any) -> Any:
        return {"kind": given} if isinstance(given, str) else given


ANY = "any"
"""What stands for the dataset in recipes that fit several: they say mechanisms by kind of variable."""


class Recipe(Declaration):
    """A model: one YAML file, `models/<dataset>/<name>.yaml`.

    What several recipes of a dataset share stands once, in a file that they extend: `_attributes.yaml`.
    """

    name: Name
    title: str
    kind: Literal["scm"] = "scm"
    dataset: Name
    description: str = ""
    citation: str = ""
    seed: int = Field(0, ge=0, le=2**32 - 1)
    init: InitEntry | None = None
    """Where training starts; null for random weights."""
    rows: RowsEntry | None = None
    """Which samples of the training and the validation split are used; null for all."""
    feed: FeedEntry | None = None
    """How training data is made; null for the real rows."""
    graph: dict[VariableName, tuple[VariableName, ...]] | None = None
    """The causes of every attribute where they are others than the card says; null for the card's. Arrows into the image stay."""
    mechanisms: dict[VariableName, MechanismEntry] = Field(default_factory=dict)
    every: dict[Kind, MechanismEntry] | None = None
    """Kind of a variable -> the mechanism of all of this kind that are not listed. A recipe that is used has none left."""
    answer: AnswerEntry | None = None
    """How predictions become answers; null for predictions as they are."""
    weights: dict[Name, WeightsEntry] = Field(default_factory=dict)
    """source -> weights; paths are relative to the recipe."""

    @model_validator(mode="after")
    def _some_mechanism(self) -> Recipe:
        if not self.mechanisms and not self.every:
            raise ValueError("there is no mechanism; give 'mechanisms', by variable, or 'every', by kind of variable")
        if self.dataset == ANY and not self.every:
            raise ValueError(f"a recipe for the dataset {ANY!r} says its mechanisms by kind of variable; give 'every'")
        return self

    @model_validator(mode="after")
    def _from_something(self) -> Recipe:
        if self.init is None:
            for name, entry in (*self.mechanisms.items(), *(self.every or {}).items()):
                if entry.frozen or any(stage.adapt for stage in entry.training):
                    raise ValueError(
                        f"the mechanism of {name!r} is frozen or adapted, so the recipe needs 'init', the trained model to start from"
                    )
        return self

    @classmethod
    def catalogue(cls, content: Mapping[str, Any]) -> Path | None:
        """Recipes of the same dataset."""
        return section("models") / require_name(content["dataset"]) if "dataset" in content else None

    def content(self) -> dict[str, Any]:
        """Plain data that defines the model, without where its weights lie."""
        plain = self.model_dump(mode="json", exclude={"weights"})
        for key in ("answer", "init", "rows", "feed", "graph", "every"):
            if plain[key] is None:
                del plain[key]
        for entry in plain["mechanisms"].values():
            if not entry["frozen"]:
                del entry["frozen"]
            for stage in entry["stages"]:
                if stage["weighting"] is None:
                    del stage["weighting"]
                if stage["adapt"] is None:
                    del stage["adapt"]
                elif stage["adapt"]["within"] is None:
                    del stage["adapt"]["within"]
            for fit in (entry["fit"], *(stage["fit"] for stage in entry["stages"])):
                if fit is not None and fit["keep"] == "best":
                    del fit["keep"]
        return plain


def fitted_to(recipe: Recipe, dataset: str, kinds: Mapping[str, str]) -> Recipe:
    """A recipe with a mechanism for each variable of one dataset: those of `every` take the place of what is not listed.

    Args:
        recipe: as it stands in its file.
        dataset: name of it.
        kinds: variable -> its kind.
    """
    if recipe.every is None:
        return recipe
    filled = {name: entry for kind, entry in recipe.every.items() for name, found in kinds.items() if found == kind}
    mechanisms = {**filled, **recipe.mechanisms}
    return recipe.model_copy(update={"dataset": dataset, "mechanisms": mechanisms, "every": None})


def as_yaml(content: Mapping[str, Any]) -> str:
    """The text of a recipe file.

    Args:
        content: from :meth:`Recipe.content`, or changed.
    """
    import yaml

    return yaml.safe_dump({key: value for key, value in content.items() if value is not None}, sort_keys=False)


RENAMED = {("ellipse", "flow"): "spline"}
"""What recipes were once called: (dataset, old name) -> name."""


def recipe_paths(dataset: str | None = None) -> dict[tuple[str, str], Path]:
    """Every recipe of the catalogue: (dataset, name) -> file."""
    pattern = f"{dataset}/*.yaml" if dataset else "*/*.yaml"
    return {(path.parent.name, path.stem): path for path in declarations(section("models"), pattern)}


def read_recipe(path: Path) -> Recipe:
    """Read a recipe from a file; an option `path` of a mechanism and a folder of `init` are relative to the file, as weights are."""
    recipe = read(path, Recipe)
    if recipe.init is not None and (place := path.parent / recipe.init.model).exists():
        recipe = recipe.model_copy(update={"init": recipe.init.model_copy(update={"model": str(place.resolve())})})
    teacher = recipe.feed.options.get("model") if recipe.feed is not None else None
    if recipe.feed is not None and isinstance(teacher, str) and (place := path.parent / teacher).is_dir():
        options = {**recipe.feed.options, "model": str(place.resolve())}
        recipe = recipe.model_copy(update={"feed": recipe.feed.model_copy(update={"options": options})})
    if recipe.every is not None:
        by_kind = {kind: _located(entry, path.parent) for kind, entry in recipe.every.items()}
        recipe = recipe.model_copy(update={"every": by_kind})
    located = {name: _located(entry, path.parent) for name, entry in recipe.mechanisms.items()}
    return recipe if located == recipe.mechanisms else recipe.model_copy(update={"mechanisms": located})


def _located(entry: MechanismEntry, folder: Path) -> MechanismEntry:
    """The same entry, its path that of the file system."""
    given = entry.options.get("path")
    if not isinstance(given, str):
        return entry
    return entry.model_copy(update={"options": {**entry.options, "path": str((folder / given).resolve())}})
