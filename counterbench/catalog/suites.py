"""Suites: which questions are asked and which metrics judge the answers."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, field_validator

from counterbench.catalog import declarations, section
from counterbench.catalog.cards import Card
from counterbench.catalog.names import Name
from counterbench.catalog.reading import Declaration, find
from counterbench.catalog.recipes import Wanted

STANDARD = "standard"
"""The usual questions and metrics of images."""
MOST_CYCLES = 50
"""Null interventions in a row that may be asked."""


class Suite(Declaration):
    """An exam, for any dataset."""

    name: Name
    title: str
    description: str = ""
    cycles: int = Field(10, ge=0, le=MOST_CYCLES)
    """How often the null intervention is composed; 0 leaves it out."""
    single: bool = True
    """Whether every intervenable variable is set once in every image."""
    undo: bool = False
    """Whether each of these interventions is taken back again (the questions `return`)."""
    pairs: bool = False
    """Whether two unrelated variables are set one after the other, in both orders (the questions `pair`)."""
    joint: bool = False
    """Whether the pairs of variables that the card names are set at once (the questions `joint`)."""
    samples: bool = False
    """Whether a new individual is drawn with the attributes of every sample (the questions `sample`), by models that can draw."""
    law: Literal["training", "published"] = "training"
    """Where continuous values come from: training values in another tenth of their range, or, as in the published protocol,
    distinct test values in another ninth."""
    metrics: dict[str, dict[str, Any]] = Field(min_length=1)
    """metric -> its options; a plain list of names is taken as well."""
    where: dict[str, Wanted] = Field(default_factory=dict)
    """Variable or role -> values; ask about test samples alone that have one of them, for every name."""
    limit: int | None = Field(None, ge=1)
    """Ask about the first of those samples only."""
    references: int = Field(10_000, ge=100)
    """How many real training images answers are compared with (baselines, minimality, realism)."""
    resamples: int = Field(2000, ge=100)
    """Bootstrap resamples behind each interval."""

    @classmethod
    def catalogue(cls, content: Mapping[str, Any]) -> Path:
        return section("benchmarks") / "suites"

    @field_validator("metrics", mode="before")
    @classmethod
    def _names_alone(cls, given: Any) -> Any:
        if isinstance(given, (list, tuple)):
            return {name: {} for name in given}
        if isinstance(given, dict):
            return {name: options or {} for name, options in given.items()}
        return given


def suite_paths() -> dict[str, Path]:
    """Every suite of the catalogue: name -> file."""
    return {path.stem: path for path in declarations(Suite.catalogue({}))}


def find_suite(name: str) -> Suite:
    """The suite `name` of the catalogue, or the one in the file `name`.

    Raises:
        UnknownNameError: with the closest match and the list.
    """
    return find(name, Suite, "suite", known=suite_paths())


def default_suite(card: Card) -> str:
    """The suite of a dataset where none is asked for: `mechanisms` where there are no images, else `standard`."""
    return STANDARD if card.image else "mechanisms"
