"""Those re-computed metrics that say what judges read in images."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import numpy as np
from metrics.recomputed import Asked, Numbers, World, attribute_distance, named, of_kind
from numpy import ndarray as Array
from sklearn import metrics as sklearn_metrics


def effectiveness(asked: Sequence[Asked], world: World) -> Numbers:
    numbers: Numbers = {}
    for one, name in product(of_kind(asked, "single", "joint"), world.judged):
        reading, target = world.median_reading(one.answer["image"])[name], one.targets[name]
        error = attribute_distance(name, named(reading), target, world).mean()
        found = {"absolute_error": error} if reading.ndim == 1 else {"accuracy": 1 - error}
        if world.kinds[name] == "binary":
            found |= of_two_classes(reading, target)
        if name in world.panels:
            found |= disagreement(world.read(one.answer["image"])[name])
        if name in {*one.names, *world.descendants(one.names)}:
            found |= skill_when_shaken(one, world, name)
        numbers |= {(quantity, one.words, name, 0, ""): value for quantity, value in found.items()}
    return numbers


def of_two_classes(reading: Array, target: Array) -> dict[str, float]:
    return {
        "balanced_accuracy": sklearn_metrics.balanced_accuracy_score(target, named(reading)),
        "auroc": sklearn_metrics.roc_auc_score(target, reading[:, 1]),
        "f1": sklearn_metrics.f1_score(target, named(reading)),
    }


def disagreement(members: Array) -> dict[str, float]:
    """Standard deviation of measurements; of classes, mean total variation from the mean, and how often all name the same."""
    if members.ndim == 2:
        return {"judges_spread": members.std(0).mean()}
    classes = members.argmax(2)
    return {
        "judges_spread": (np.abs(members - members.mean(0)).sum(2) / 2).mean(),
        "judges_agreement": (classes == classes[0]).all(0).mean(),
    }


def worse_error(images: Array, target: Array, name: str, world: World) -> tuple[Array, Array]:
    """Judged error of images, and the larger of it and that of the perturbed images."""
    perturbed = images if world.shake is None else world.shake(images)
    plain, shaken = (
        attribute_distance(name, named(world.median_reading(seen)[name]), target, world) for seen in (images, perturbed)
    )
    return plain, np.maximum(plain, shaken)


def skill_when_shaken(one: Asked, world: World, name: str) -> dict[str, float]:
    plain, worse = worse_error(one.answer["image"], one.targets[name], name, world)
    _, nothing = worse_error(one.factual["image"], one.targets[name], name, world)
    skill = {"skill": 1 - worse.sum() / nothing.sum()}
    return skill if world.shake is None else {**skill, "perturbation_drop": (worse - plain).mean()}


def off_target(asked: Sequence[Asked], world: World) -> Numbers:
    numbers: Numbers = {}
    for one in of_kind(asked, "single"):
        before, after = (world.median_reading(values["image"]) for values in (one.factual, one.answer))
        moved = {}
        for name in set(world.judged) - {*one.names, *world.descendants(one.names)}:
            change = attribute_distance(name, named(after[name]), named(before[name]), world)
            moved[name] = change / world.spread(name)
        numbers |= {("change", one.words, name, 0, ""): change.mean() for name, change in moved.items()}
        numbers["mean_change", one.words, "", 0, ""] = np.mean(list(moved.values()))
    return numbers
