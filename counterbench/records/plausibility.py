"""Checks of a record's numbers against the definitions of its metrics (bounds, known fixed points), without data, models or torch."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator

from counterbench.records.record import Estimate, Number, Record

SHARES = {
    "accuracy",
    "balanced_accuracy",
    "auroc",
    "f1",
    "attribute_accuracy",
    "round_trip_accuracy",
    "judges_agreement",
    "prior_test",
    "precision",
    "recall",
    "coverage",
}
"""Quantities between 0 and 1."""
SIGNED = {"skill", "effect", "leak", "excess_change", "kid"}
"""Quantities that may be negative."""
UNCHANGED = {"composition", "reversibility", "commutativity", "off_target", "identity_preservation"}
"""Metrics in which doing nothing scores 0 by definition."""
_CLD = math.log(0.8 + 0.2 * math.e), math.log(1 + math.e)


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


def _number(number: Number, record: Record) -> Iterator[str]:
    yield from _estimate(number, number)
    if number.n > record.images and number.metric not in ("cost", "realism"):
        yield f"{number.n} samples of {record.images} images"
    for name, reference in number.references.items():
        yield from (f"{name}: {what}" for what in _estimate(reference, number))
    if number.metric == "cost":
        return
    identity, truth = number.references.get("identity"), number.references.get("truth")
    if identity is not None and (wanted := _of_identity(number)) is not None and abs(identity.value - wanted) > 1e-6:
        yield f"doing nothing scores {wanted:.4g} by definition, and {identity.value:.4g} here"
    if truth is not None and (wanted := _of_truth(number)) is not None and abs(truth.value - wanted) > 1e-4:
        yield f"the truth scores {wanted:g} by definition, and {truth.value:.4g} here"


def _estimate(estimate: Estimate, number: Number) -> Iterator[str]:
    value = estimate.value
    if not math.isfinite(value):
        yield f"{value} is no number"
        return
    if number.quantity in SHARES and not -1e-9 <= value <= 1 + 1e-9:
        yield f"{value:g} is no share between 0 and 1"
    elif number.quantity in ("skill", "leak") and value > 1 + 1e-9:
        yield f"{value:g} is more than 1"
    elif number.quantity == "l1" and not 0 <= value <= 255:
        yield f"{value:g} is no difference of grey levels between 0 and 255"
    elif number.quantity not in SIGNED and value < -1e-9:
        yield f"{value:g} is negative"
    if (estimate.low is None) != (estimate.high is None):
        yield "half an interval"
    elif estimate.low is not None and estimate.high is not None:
        slack = 1e-9 * (1 + abs(value))
        if not estimate.low <= estimate.high:
            yield f"the interval [{estimate.low:g}, {estimate.high:g}] is upside down"
        elif not estimate.low - slack <= value <= estimate.high + slack:
            yield f"{value:g} is not in its interval [{estimate.low:g}, {estimate.high:g}]"


def _of_identity(number: Number) -> float | None:
    """What doing nothing scores, where that follows from the definition."""
    if number.metric in UNCHANGED:
        return 0.0
    if number.metric == "truth" and number.quantity in ("effect", "amplification"):
        return 0.0
    if number.metric == "effectiveness" and number.quantity == "skill":
        return 0.0
    return {"cld_0.8_0.2": _CLD[0], "cld_1_1": _CLD[1]}.get(number.quantity)


def _of_truth(number: Number) -> float | None:
    """What the truth scores in the metric of that name."""
    if number.metric != "truth":
        return None
    if number.quantity in ("effect", "attribute_accuracy"):
        return 1.0
    return 0.0 if number.quantity in ("l1", "amplification", "attribute_error", "distance") else None
