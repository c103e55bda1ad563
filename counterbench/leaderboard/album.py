"""The pictures of a board, as its pages show them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

OPAQUE = 50
"""Grey levels of change that are drawn in the fullest colour."""
LAYERS = {
    "change": f"change against the factual image (fullest colour: {OPAQUE} grey levels and more)",
    "own": "change against the model's own answer where nothing is set",
    "parts": "outlines of parts",
}
"""What can be laid over a picture, in words."""


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
        missing: name -> why there are none, in words that everybody may read.
        layers: file -> what can be laid over it, one of :data:`LAYERS` -> file.
        parts: name of a part -> the colour of its outline.
        drawn: name of a model that could not be asked -> file with the picture that its evaluation drew.
        slices: of volumes, the heights of which the viewer has a file each: `NAME.png` is the middle one, `NAME-slice-HEIGHT.png` every one.
    """

    factual: str
    wanted: Mapping[str, tuple[str, ...]]
    truth: Mapping[str, str]
    models: Mapping[str, Pictured]
    missing: Mapping[str, str]
    drawn: Mapping[str, str] = field(default_factory=dict)
    slices: tuple[int, ...] = ()
    layers: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    parts: Mapping[str, str] = field(default_factory=dict)

    @property
    def switches(self) -> dict[str, str]:
        """The layers that can be switched on, with what they show in words."""
        there = {layer for layers in self.layers.values() for layer in layers}
        return {name: words for name, words in LAYERS.items() if name in there}

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
