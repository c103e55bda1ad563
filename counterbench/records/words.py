"""Quantities in one phrase each, for those whose names do not say what they are. Imports no torch."""

from __future__ import annotations

from collections.abc import Iterable

from counterbench.records.estimate import TARGETS
from counterbench.records.record import Number

_PHRASES = {
    "cld": "CLD: is the answer nearer to its input than real images of the new value, and farther than those of the old one? Doing nothing scores ln(w1 + w2 e)",
    "excess_change": "excess change: how much more, or less, was changed than the truth changes",
    "kid": "kid: squared kernel distance between two sets (KID); 0: none that can be told",
    "frechet_distance": "frechet distance: between two sets, as Gaussians in feature space; above 0 even for two halves of one set",
    "density": "density: how closely real images lie around the answers; 1 is usual",
    "coverage": "coverage: share of the real images that have an answer near them",
    "truth_skill": "truth skill: 1 - distance to the truth / that of doing nothing",
    "change_skill": "change skill: the same of the change from the model's own answer to nothing asked",
    "effect_error": "effect error: how wrong the size of the change is along the true one; 0 right, 1 doing nothing",
    "amplification": "amplification: change in other directions than the true one, against its size",
    "skill": "skill: 1 - judges' error / that of doing nothing",
    "perturbation_drop": "perturbation drop: how much worse judges read the answer once it is hardly visibly disturbed",
    "judges_spread": "judges spread: how far apart the judges are",
    "estimated_skill": "estimated skill: what truth skill would be, estimated without the truth",
    "recognised_skill": "recognised skill: skill of judges, where an answer of somebody else counts as nothing done",
    "rate": "recognised: share of answers that are nearest to their own individual",
    "distance_beyond_truth": "distance beyond truth: how much farther the answer is from its individual than the truth is",
}
"""A quantity, or what it begins with before the weights of a CLD -> what it is."""


def phrase(number: Number) -> str:
    """What the quantity is, in one phrase; empty where its name says it."""
    if number.direction in TARGETS:
        return ""  # a share that is best where it was announced (of draws) shares its name with one that is best at 1
    plain = _PHRASES.get(number.quantity)
    return plain or (_PHRASES["cld"] if number.quantity.startswith("cld_") else "")


def glossary(numbers: Iterable[Number]) -> list[str]:
    """The phrases of some numbers, each once."""
    return [told for told in dict.fromkeys(map(phrase, numbers)) if told]
