"""What records of older schemas meant, so that they are still read. Imports no torch."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any

_NOT_NEGATIVE, _SHARE, _ANY, _AT_MOST_1 = [0.0, None], [0.0, 1.0], [None, None], [None, 1.0]
_SHARES = (
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
)
_BOUNDS = {
    **dict.fromkeys(_SHARES, _SHARE),
    **dict.fromkeys(("skill", "leak"), _AT_MOST_1),
    **dict.fromkeys(("effect", "excess_change", "kid"), _ANY),
    "l1": [0.0, 255.0],
}
_PSEUDO = ("auroc", "balanced_accuracy", "frechet_distance", "frechet_distance_to_train", "kid")
_OF_SETS = ("f1", "precision", "recall", "density", "coverage", "prior_test", "leak")
_METRICS: dict[str, dict[str, Any]] = {
    "abduction": {"role": "diagnosis"},
    "commutativity": {"of_identity": 0.0},
    "composition": {"of_identity": 0.0, "depends_on_temperature": True},
    "cost": {"role": "resource"},
    "effectiveness": {},
    "identity_preservation": {"of_identity": 0.0},
    "minimality": {},
    "off_target": {"of_identity": 0.0},
    "percentage_error": {},
    "realism": {},
    "reversibility": {"of_identity": 0.0},
    "truth": {},
}
"""The metrics of schema 3 -> what held for all their numbers."""
_PRESERVING = ("composition", "reversibility", "commutativity", "off_target", "identity_preservation")
_NUMBERS: dict[tuple[str, str], dict[str, Any]] = {
    ("effectiveness", "skill"): {"of_identity": 0.0},
    ("truth", "l1"): {"of_truth": 0.0},
    ("truth", "distance"): {"of_truth": 0.0},
    ("truth", "effect"): {"of_identity": 0.0, "of_truth": 1.0},
    ("truth", "amplification"): {"of_identity": 0.0, "of_truth": 0.0},
    ("truth", "attribute_error"): {"of_truth": 0.0, "given": True},
    ("truth", "attribute_accuracy"): {"of_truth": 1.0, "given": True},
}


def upgraded(content: dict[str, Any]) -> dict[str, Any]:
    """The content of a record of schema 2, 3 or 4 as one of schema 5; of any other, the content itself."""
    if content.get("schema_version") == 2:
        content = _from_2_to_3(content)
    if content.get("schema_version") == 3:
        content = {**content, "schema_version": 4, "numbers": _each(content.get("numbers"), _number)}
    if content.get("schema_version") == 4:
        content = {**content, "schema_version": 5, "numbers": _each(content.get("numbers"), _preserving)}
    return content


def _each(numbers: Any, change: Callable[[dict[str, Any]], dict[str, Any]]) -> Any:
    if not isinstance(numbers, list):
        return numbers
    return [change(number) if isinstance(number, dict) else number for number in numbers]


def _preserving(number: dict[str, Any]) -> dict[str, Any]:
    """A number of schema 4, which did not say that it is won by doing nothing."""
    what = (number.get("metric"), number.get("quantity"))
    return {**number, "preserves": what[0] in _PRESERVING or what == ("truth", "amplification")}


def _number(number: dict[str, Any]) -> dict[str, Any]:
    """A number of schema 3 with what its metric's and its quantity's name meant; of plug-ins nothing but the label is known."""
    fields = {name: value for name, value in number.items() if name != "detail"}
    fields["role"] = "detail" if number.get("detail") is True else "headline"
    metric, quantity = str(number.get("metric")), str(number.get("quantity"))
    if quantity in ("distance", "distance_ratio"):
        fields["label"] = f"{number.get('space', '')} {quantity.replace('_', ' ')}"
    if metric not in _METRICS:
        return fields
    fields |= {"bounds": _BOUNDS.get(quantity, _NOT_NEGATIVE), **_METRICS[metric]}
    if quantity in _PSEUDO or quantity in _OF_SETS:
        fields["statistic"] = "pseudo" if quantity in _PSEUDO else "set"
    if quantity == "leak":
        fields |= {"intervenes": False, "label": f"leak of {number.get('intervened')}"}
    return fields | _NUMBERS.get((metric, quantity), {}) | _latent_divergence(quantity)


def _latent_divergence(quantity: str) -> dict[str, Any]:
    """Of `cld_<w1>_<w2>`, ln(w1 exp P1 + w2 exp P2) with shares P1 and P2; doing nothing has the shares 0 and 1."""
    weights = re.fullmatch(r"cld_([\d.e+-]+)_([\d.e+-]+)", quantity)
    try:
        first, second = (float(weight) for weight in weights.groups()) if weights else (0.0, 0.0)
        least, of_identity = math.log(first + second), math.log(first + second * math.e)
    except ValueError:
        return {}
    label = f"CLD ({quantity.split('_')[1]}, {quantity.split('_')[2]})"
    return {"bounds": [least, 1 + least], "of_identity": of_identity, "label": label}


def _from_2_to_3(content: dict[str, Any]) -> dict[str, Any]:
    """What notes told in words stands in fields."""
    notes, training = content.get("notes"), content.get("training")
    words = [note for note in notes if isinstance(note, str)] if isinstance(notes, list) else []
    coverage = _coverage_told(words)
    return {
        **content,
        "schema_version": 3,
        "origin": "model" if coverage is None else "answers",
        "coverage": coverage,
        "trained_on": training.get("source") if isinstance(training, dict) else None,
    }


def _coverage_told(notes: list[str]) -> dict[str, Any] | None:
    """What notes of schema 2 say of answers from files; None where they are of none."""
    if not any(note.startswith("answers from files") for note in notes):
        return None
    text = "\n".join(notes)
    rounds = re.findall(r"^answers from files, round \d+: (\d+) of (\d+) answers", text, re.MULTILINE)
    unanswered = re.search(r"^rounds \d+ to (\d+) are not answered", text, re.MULTILINE)
    left_out = re.search(r"^left out: (.*)$", text, re.MULTILINE)
    return {
        "rounds": [{"asked": int(asked), "usable": int(usable)} for usable, asked in rounds],
        "rounds_asked": int(unanswered[1]) if unanswered else max(1, len(rounds)),
        "left_out": left_out[1].split(", ") if left_out else [],
        "claimed": "attributes that were not claimed" not in text,
    }
