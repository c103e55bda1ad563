"""The questions, as data: every model answers the same ones."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

from torch import Tensor

from counterbench.plans.question import Cause, Question


class Line(NamedTuple):
    """One row of a plan.

    Attributes:
        kind: null, single, return, pair, joint or sample.
        row: of the test split.
        variable: what the first intervention sets; "" for a null question and a sample.
        value: what it is set to; for a null question the number of repetitions, for a sample 1.
        then: what the second intervention sets, of a joint question at the same moment; "" where there is none. A pair is asked in
            both orders.
        then_value: what that is set to; NaN where there is none.
    """

    kind: str
    row: int
    variable: str
    value: float
    then: str = ""
    then_value: float = float("nan")


@dataclass(frozen=True)
class Plan:
    """All questions of one exam.

    Args:
        index: (N,), rows of the test split that are asked about, each once.
        cycles: how often the null intervention is composed.
        single: intervened variable -> (N,) natural values, one per row of `index`.
        undo: intervened variable -> (N,) factual values: do(k = v), with v from `single`, then do(k = this).
        pairs: (a, b): do(a) then do(b), and the other order, with the values of `single`.
        joint: (a, b): do(a, b) at once, with the values of `single`.
        captions: attribute -> (N,) natural values, of new individuals to be drawn, one per row of `index`; empty where none are.
    """

    index: Tensor
    cycles: int
    single: dict[str, Tensor]
    undo: dict[str, Tensor]
    pairs: tuple[tuple[str, str], ...] = ()
    joint: tuple[tuple[str, str], ...] = ()
    captions: dict[str, Tensor] = field(default_factory=dict)

    @cached_property
    def hash(self) -> str:
        """SHA-256 of all questions."""
        digest = hashlib.sha256()
        for question in self.lines():
            digest.update(f"{tuple(question)!r}\n".encode())
        return digest.hexdigest()

    @cached_property
    def questions(self) -> tuple[Question, ...]:
        """Every question, each after the one that it follows from: null interventions, single ones, their returns, pairs, joint ones,
        samples."""
        listed: list[Question] = []
        null = None
        for cycle in range(1, self.cycles + 1):
            null = Question("null", self.index, follows=null, cycle=cycle)
            listed.append(null)
        single = {name: Question("single", self.index, name, values) for name, values in self.single.items()}
        listed += single.values()
        listed += [Question("return", self.index, name, back, single[name]) for name, back in self.undo.items()]
        for a, b in self.pairs:
            first = Question("pair", self.index, b, self.single[b], single[a])
            listed += [first, Question("pair", self.index, a, self.single[a], single[b], swaps=first)]
        listed += [Question("joint", self.index, a, self.single[a], beside={b: self.single[b]}) for a, b in self.joint]
        if self.captions:
            listed.append(Question("sample", self.index, beside=self.captions))
        return tuple(listed)

    @property
    def causes(self) -> tuple[Cause, ...]:
        """What is set in questions about the observed samples: one variable, then two at once."""
        return (*self.single, *self.joint)

    def lines(self) -> Iterator[Line]:
        """Every question, in a fixed order."""
        rows = self.index.tolist()
        if self.cycles:
            yield from (Line("null", row, "", float(self.cycles)) for row in rows)
        for name, values in self.single.items():
            yield from (Line("single", row, name, float(v)) for row, v in zip(rows, values.tolist(), strict=True))
        for name, back in self.undo.items():
            asked = zip(rows, self.single[name].tolist(), back.tolist(), strict=True)
            yield from (Line("return", row, name, float(v), name, float(u)) for row, v, u in asked)
        for kind, both in (("pair", self.pairs), ("joint", self.joint)):
            for a, b in both:
                asked = zip(rows, self.single[a].tolist(), self.single[b].tolist(), strict=True)
                yield from (Line(kind, row, a, float(v), b, float(w)) for row, v, w in asked)
        if self.captions:
            yield from (Line("sample", row, "", 1.0) for row in rows)

    def __len__(self) -> int:
        """Number of questions."""
        return sum(self.counts.values())

    @property
    def counts(self) -> dict[str, int]:
        """Questions of each kind."""
        each = {
            "null": bool(self.cycles),
            "single": len(self.single),
            "return": len(self.undo),
            "pair": len(self.pairs),
            "joint": len(self.joint),
            "sample": bool(self.captions),
        }
        return {kind: int(number) * len(self.index) for kind, number in each.items() if number}
