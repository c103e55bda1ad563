"""Checks of a record's numbers against the definitions of its metrics (bounds, known fixed points), without data, models or torch."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator

import numpy as np

from counterbench.records.estimate import Estimate
from counterbench.records.record import Number, Record, RowSkillNumber
from counterbench.records.row_skill import UNANSWERED, bounded, skill_key
from counterbench.records.subgroups import Subgroups

_ROUNDING = 1e-9
_NEAR = 1e-6


def problems(record: Record) -> list[str]:
    """Everything in a record that cannot be; an empty list if there is nothing."""
    found = list(_whole(record))
    for number in record.numbers:
        found += [f"{_name(number)}: {what}" for what in _number(number, record)]
    return found


def _name(number: Number) -> str:
    parts = [number.metric, number.quantity, f"do({number.intervened})" if number.intervened else "", number.measured]
    cycles = f"after {number.cycles} cycles" if number.cycles else ""
    return " ".join(part for part in (*parts, number.space, cycles) if part)


def _whole(record: Record) -> Iterator[str]:
    if record.images > record.test_images:
        yield f"{record.images} images were asked about, but there are {record.test_images}"
    if record.inputs.limit is not None and record.images > record.inputs.limit:
        yield f"{record.images} images were asked about under a limit of {record.inputs.limit}"
    if not 1 <= record.clusters <= record.images:
        yield f"{record.clusters} independent units in {record.images} images"
    if record.parameters < 0:
        yield f"{record.parameters} weights"
    if record.inputs.weights_sha256 is not None and not re.fullmatch("[0-9a-f]{64}", record.inputs.weights_sha256):
        yield f"the weights' SHA-256 is {record.inputs.weights_sha256!r}"
    for kind, count in record.questions.items():
        if count <= 0 or count % record.images:
            yield f"{count} questions of the kind {kind} about {record.images} images: every image is asked the same"
    for key, times in Counter(number.key for number in record.numbers).items():
        if times > 1:
            yield f"the number {' '.join(str(part) for part in key if part)} is there {times} times"
    for metric in sorted({number.metric for number in record.numbers} - record.inputs.metrics.keys()):
        yield f"there are numbers of {metric}, which is not among the metrics that were asked for"
    if not record.numbers:
        yield "there are no numbers"
    if record.row_skill is not None:
        yield from _row_skill(record, record.row_skill)
    for divided in record.subgroups:
        yield from (f"by {divided.by}: {what}" for what in _subgroups(record, divided))


def _subgroups(record: Record, divided: Subgroups) -> Iterator[str]:
    """What cannot be of the numbers of subgroups."""
    count = len(divided.names)
    if not (len(set(divided.names)) == count == len(divided.images) == len(divided.clusters)):
        yield f"{count} subgroups with {len(divided.images)} numbers of images and {len(divided.clusters)} of independent units"
        return
    if sum(divided.images) != record.images:
        yield f"the subgroups have {sum(divided.images)} images together, and {record.images} were asked about"
    known = record.by_key
    for one in divided.numbers:
        number = known.get(one.key)
        name = " ".join(str(part) for part in one.key if part)
        if number is None:
            yield f"the number {name} is in subgroups alone"
        elif len(one.values) != count:
            yield f"the number {name} has {len(one.values)} values for {count} subgroups"
        else:
            for value in one.values:
                yield from (f"{name}: {what}" for what in (_estimate(value, number) if value is not None else ()))


def _row_skill(record: Record, row: RowSkillNumber) -> Iterator[str]:
    """What cannot be of the number that orders the board: it follows from the truth skills."""
    if len({part.intervened for part in row.parts}) < len(row.parts):
        yield "the row skill counts an intervention twice"
    counted = []
    for part in row.parts:
        number = record.by_key.get(skill_key(part))
        told = None if number is None else number.value
        if part.skill is not None and (told is None or abs(part.skill - told) > _NEAR * (1 + abs(told))):
            yield f"the row skill says {part.skill:.4g} of do({part.intervened}), whose {part.by} skill is {told}"
        if not part.left_out:
            counted.append(UNANSWERED if part.skill is None else float(bounded(np.array(1 - part.skill))))
    if not counted:
        yield "the row skill counts no intervention"
    elif abs(row.value - sum(counted) / len(counted)) > _NEAR:
        yield f"the row skill is {row.value:.4g}; its interventions give {sum(counted) / len(counted):.4g}"
    for name, wanted in (("identity", 0.0), ("truth", 1.0)):
        end = row.references.get(name)
        if end is not None and abs(end.value - wanted) > 1e-4:
            yield f"the row skill of {name} is {wanted:g} by definition, and {end.value:.4g} here"


def _number(number: Number, record: Record) -> Iterator[str]:
    yield from _estimate(number, number)
    if number.n > record.images and number.statistic == "mean" and number.role != "resource":
        yield f"{number.n} samples of {record.images} images"
    for name, reference in number.references.items():
        yield from (f"{name}: {what}" for what in _estimate(reference, number))
    for name, score, wanted, slack in (
        ("doing nothing", number.references.get("identity"), number.of_identity, 1e-6),
        ("the truth", number.references.get("truth"), number.of_truth, 1e-4),
    ):
        if score is not None and wanted is not None and abs(score.value - wanted) > slack:
            yield f"{name} scores {wanted:.4g} by definition, and {score.value:.4g} here"


def _estimate(estimate: Estimate, number: Number) -> Iterator[str]:
    value = estimate.value
    if not math.isfinite(value):
        yield f"{value} is no number"
        return
    yield from _beyond(value, *number.bounds)
    if (estimate.low is None) != (estimate.high is None):
        yield "half an interval"
    elif estimate.low is not None and estimate.high is not None:
        slack = 1e-9 * (1 + abs(value))
        if not estimate.low <= estimate.high:
            yield f"the interval [{estimate.low:g}, {estimate.high:g}] is upside down"
        elif not estimate.low - slack <= value <= estimate.high + slack:
            yield f"{value:g} is not in its interval [{estimate.low:g}, {estimate.high:g}]"


def _beyond(value: float, low: float | None, high: float | None) -> Iterator[str]:
    """What is wrong with a value that cannot be, by its definition."""
    under, over = low is not None and value < low - _ROUNDING, high is not None and value > high + _ROUNDING
    if not (under or over):
        return
    if low is not None and high is not None:
        yield f"{value:g} is not between {low:g} and {high:g}"
    else:
        yield f"{value:g} is less than {low:g}" if under else f"{value:g} is more than {high:g}"
