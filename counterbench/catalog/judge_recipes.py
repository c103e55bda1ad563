"""Recipes of judges: which networks are trained, how samples are weighted, and how much a teacher counts."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import Field

from counterbench.catalog import declarations, section
from counterbench.catalog.names import Name
from counterbench.catalog.reading import Declaration, find


class JudgeWeighting(Declaration):
    """How samples are weighted by the subgroups of `train-judges --by`."""

    kind: str
    options: dict[str, Any] = Field(default_factory=dict)
    balanced_batches: bool = False


class JudgeDistillation(Declaration):
    """How the judges of `train-judges --teacher` are learnt from."""

    temperature: float = Field(4.0, gt=0)
    alpha: float = Field(0.9, ge=0, le=1)


class JudgeRecipe(Declaration):
    """How judges are trained: one YAML file, `benchmarks/judges/<name>.yaml`."""

    name: Name
    title: str = ""
    description: str = ""
    citation: str = ""
    architectures: tuple[str, ...] = Field((), description="names of networks; none for all")
    epochs: int | None = Field(None, ge=1)
    """At most; left out: the default."""
    counterfactuals: int = Field(0, ge=0)
    """How often every image is shown once more with values of other images, where the truth can be rendered."""
    weighting: JudgeWeighting | None = None
    """Left out: all samples alike."""
    distillation: JudgeDistillation | None = None
    """Of a teacher; left out: none is needed."""

    @classmethod
    def catalogue(cls, content: Mapping[str, Any]) -> Path:
        return section("benchmarks") / "judges"


def judge_recipe_paths() -> dict[str, Path]:
    """Every recipe of judges of the catalogue: name -> file."""
    return {path.stem: path for path in declarations(JudgeRecipe.catalogue({}))}


def find_judge_recipe(name: str) -> JudgeRecipe:
    """The recipe `name` of the catalogue, or the one in the file `name`.

    Raises:
        UnknownNameError: with the closest match and the list. ConfigError: naming the file and the key that is wrong.

    Examples:
        >>> find_judge_recipe("group-distil").weighting.kind
        'group_dro'
    """
    return find(name, JudgeRecipe, "recipe of judges", known=judge_recipe_paths())
