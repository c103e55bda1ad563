"""A value with its interval, the smallest part of a record, and what is better."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field

if TYPE_CHECKING:
    import numpy

Direction = Literal["lower", "higher", "one", "zero", "half"]
"""What is better: less, more, or what is close to that."""
TARGETS = {"one": 1.0, "zero": 0.0, "half": 0.5}
"""The best value of a number that is best in the middle, by its direction."""

Quantity = TypeVar("Quantity", float, "numpy.ndarray")


class Part(BaseModel):
    """Base of everything in a record."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, ser_json_inf_nan="null")


class Estimate(Part):
    """A value with its 95 % interval."""

    value: float
    low: float | None = Field(
        description="lower end of the 95 % interval; null where fewer than ten effective clusters bear on it, and for costs"
    )
    high: float | None
    n: int = Field(ge=1, description="samples behind it")


def regret(value: Quantity, direction: str) -> Quantity:
    """A value (or an array of them) as something of which less is better."""
    if direction in TARGETS:
        return abs(value - TARGETS[direction])
    return -value if direction == "higher" else value
