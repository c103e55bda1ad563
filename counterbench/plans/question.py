"""One question: what is set, to what, in which images, and what it follows from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from torch import Tensor

Kind = Literal["null", "single", "return", "pair", "joint", "sample"]

ALONE: tuple[Kind, ...] = ("single", "joint")
"""Kinds of question whose answer is judged by itself, against its own targets and its own truth."""

Cause = str | tuple[str, str]
"""What is set: one variable, or the two of a joint intervention."""


def names_of(cause: Cause) -> tuple[str, ...]:
    """The variables that are set, one by one; none for a null intervention."""
    if isinstance(cause, tuple):
        return cause
    return (cause,) if cause else ()


def words_of(names: Iterable[str]) -> str:
    """Variables that are set together as records and people read it: `a`, or `a + b`."""
    return " + ".join(names)


@dataclass(frozen=True, eq=False)
class Question:
    """One entry of a plan, asked about each of its images.

    Names of files derive from it, never the other way round.

    Args:
        kind: null, single, return (what was set is set back), pair (a second variable is set), joint (two are set at once) or sample
            (an individual is drawn that has these attributes; no image is given).
        rows: (N,), of the test split.
        variable: what is set; "" for a null intervention and a sample.
        values: (N,), natural values that it is set to; None for a null intervention and a sample.
        follows: the question whose answers it is asked about; None where it is asked about the observed images.
        swaps: of a pair, the question that sets the same two variables in the other order and comes before this one.
        cycle: of a null intervention, how many have been composed with it.
        beside: of a joint question, what is set at the same moment, of a sample, the attributes to have: variable -> (N,) natural values.
    """

    kind: Kind
    rows: Tensor
    variable: str = ""
    values: Tensor | None = None
    follows: Question | None = None
    swaps: Question | None = None
    cycle: int = 0
    beside: Mapping[str, Tensor] = field(default_factory=dict)

    @property
    def intervened(self) -> tuple[str, ...]:
        """Every variable that is set on the way to the answer, in this order, each once."""
        before = self.follows.intervened if self.follows is not None else ()
        now = (self.variable, *self.beside) if self.variable else ()
        return (*before, *(name for name in now if name not in before))

    @property
    def cause(self) -> Cause:
        """What is set, as numbers name it: one variable, or both of a joint question; "" for a null intervention and a sample."""
        return (self.variable, *self.beside) if self.variable and self.beside else self.variable  # type: ignore[return-value]

    @property
    def name(self) -> str:
        """`null/3`, `single/age`, `return/age`, `pair/age/sex`, `joint/age/sex`, `sample`."""
        return "/".join((self.kind, *([str(self.cycle)] if self.kind == "null" else self.intervened)))

    @property
    def round(self) -> int:
        """1 + how many answers it builds on."""
        return 1 if self.follows is None else self.follows.round + 1

    @property
    def held(self) -> dict[str, Tensor]:
        """What is set, or to be had: variable -> (N,) natural values; empty for a null intervention."""
        return {**({} if self.values is None else {self.variable: self.values}), **self.beside}

    def at(self, positions: Tensor) -> Question:
        """The same question about some of its images."""
        return replace(
            self,
            rows=self.rows[positions],
            values=None if self.values is None else self.values[positions],
            follows=None if self.follows is None else self.follows.at(positions),
            swaps=None if self.swaps is None else self.swaps.at(positions),
            beside={name: values[positions] for name, values in self.beside.items()},
        )

    def streams(self) -> list[str]:
        """The name of each image's stream of chance: one for all questions about it, so that they share its exogenous noise; who is drawn
        anew has another."""
        stream = "sample" if self.kind == "sample" else "row"
        return [f"{stream}/{row}" for row in self.rows.tolist()]

    def file(self, row: int) -> str:
        """What the answer about a row is called on disk, without ending: `pair.age.sex.000012`."""
        return f"{self.name.replace('/', '.')}.{row:06d}"


def all_of(questions: Iterable[Question], number: int) -> list[Question]:
    """The questions of one round: those that build on `number` - 1 answers."""
    return [question for question in questions if question.round == number]
