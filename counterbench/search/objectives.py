"""Objectives of a search: numbers of a record, and which way is better."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean

from counterbench.errors import ConfigError, suggestion
from counterbench.records.record import Number, Record

ROW_SKILL, OPENED = "row_skill", "opened"


def names(record: Record) -> list[str]:
    """Every objective that a record could give, without its variables and spaces."""
    found = {f"{number.metric}.{number.quantity}" for number in record.numbers}
    return [*sorted(found), ROW_SKILL, OPENED]


def value(record: Record, objective: str) -> float:
    """The number of a record that is an objective: the mean over interventions, where there are several.

    Args:
        record: of a trial.
        objective: see :class:`counterbench.catalog.studies.Study`.

    Raises:
        ConfigError: if the record has no such number.
    """
    if objective == OPENED:
        return float(record.training.get("opened") or 0)
    if objective == ROW_SKILL:
        if record.row_skill is None:
            raise ConfigError(f"The suite {record.inputs.suite!r} gives no row skill; choose another objective.")
        return record.row_skill.value
    return fmean(number.value for number in _numbers(record, objective))


def direction(record: Record, objective: str) -> str:
    """`lower` or `higher`, as the metric says.

    Raises:
        ConfigError: for a number that is best in the middle.
    """
    if objective in (OPENED, ROW_SKILL):
        return "lower" if objective == OPENED else "higher"
    way = _numbers(record, objective)[0].direction
    if way not in ("lower", "higher"):
        raise ConfigError(
            f"objectives: {objective} is best at {way}; say under directions whether lower or higher is wanted."
        )
    return way


def _numbers(record: Record, objective: str) -> list[Number]:
    metric, _, rest = objective.partition(".")
    quantity, _, about = rest.partition(".")
    found = [number for number in record.numbers if (number.metric, number.quantity) == (metric, quantity)]
    if about:
        found = [n for n in found if about in (n.intervened, n.measured, n.space)]
    if not found:
        known = names(record)
        raise ConfigError(
            f"objectives: the suite {record.inputs.suite!r} on {record.inputs.dataset} gives no number {objective!r}.{suggestion(objective, known)}"
        )
    scales = {(n.unit, n.space, n.cycles, n.measured if n.unit else "") for n in found}
    if len(scales) > 1:
        others = sorted({word for n in found for word in (n.measured, n.space) if word})
        raise ConfigError(
            f"objectives: {objective} names numbers that have no mean in common; add one of {', '.join(others)} as a third word."
        )
    return found


def front(points: Mapping[str, Sequence[float]], directions: Sequence[str]) -> list[str]:
    """The names of those that no other is better than: as good in everything, and better in something. In their order.

    Args:
        points: name -> value of every objective.
        directions: of the objectives, `lower` or `higher`.

    Examples:
        >>> front({"a": (0.1, 0.5), "b": (0.2, 0.5), "c": (0.3, 0.9)}, ["lower", "higher"])
        ['a', 'c']
    """
    lost = {name: losses(values, directions) for name, values in points.items()}
    return [name for name, one in lost.items() if not any(dominates(other, one) for other in lost.values())]


def losses(values: Iterable[float], directions: Sequence[str]) -> list[float]:
    """Values of the objectives, each with the sign that makes less of it better.

    Examples:
        >>> losses([0.1, 0.5], ["lower", "higher"])
        [0.1, -0.5]
    """
    return [value if way == "lower" else -value for value, way in zip(values, directions, strict=True)]


def dominates(one: Sequence[float], other: Sequence[float]) -> bool:
    """Whether losses are as small in everything, and smaller in something.

    Examples:
        >>> dominates([1, 2], [1, 3]), dominates([1, 2], [1, 2])
        (True, False)
    """
    pairs = list(zip(one, other, strict=True))
    return all(a <= b for a, b in pairs) and any(a < b for a, b in pairs)
