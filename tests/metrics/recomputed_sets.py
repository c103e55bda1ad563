"""Those re-computed metrics that hold answers against sets of real images, of individuals, or of training values."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import product

import numpy as np
from metrics.recomputed import Asked, Numbers, World, cosine, effects, grey_levels, of_kind
from metrics.recomputed_judges import worse_error
from numpy import ndarray as Array
from scipy.sparse.csgraph import connected_components
from scipy.spatial.distance import cdist, pdist


def cells_of(values: Array, train: Array, kind: str) -> Array:
    """The class, or the tenth of the training values; a value at an edge belongs to the upper one."""
    if kind != "continuous":
        return values
    return np.searchsorted(np.unique(np.quantile(train.astype(float), np.arange(1, 10) / 10)), values, side="right")


# How large an intervention is


def dose_response(asked: Sequence[Asked], world: World, bins: int = 5) -> Numbers:
    numbers: Numbers = {}
    for one in of_kind(asked, "single"):
        (name,) = one.names
        if world.kinds[name] != "continuous":
            continue
        size = np.abs(one.held[name] - one.factual[name])
        edges = np.quantile(likely_sizes(world, name), np.arange(1, bins) / bins)
        number, common = np.searchsorted(edges, size, side="right"), in_support(one, world, name)
        along, length, _ = effects(one)
        for k, (word, member) in product(range(bins), (("in", common), ("out", ~common))):
            b = (number == k) & member
            if not b.any():
                continue
            total = length[b].sum()
            numbers |= {
                (f"effect_{word}_{k + 1}", name, "", 0, ""): along[b].sum() / total,
                (f"effect_error_{word}_{k + 1}", name, "", 0, ""): np.abs(along - length)[b].sum() / total,
                (f"size_{word}_{k + 1}", name, "", 0, ""): size[b].mean() / world.spread(name),
            }
    return numbers


def likely_sizes(world: World, name: str) -> Array:
    """|v - k| for all pairs of training values from different tenths of their range, as plans draw them."""
    values = world.train[name].astype(float)
    cell = np.searchsorted(np.linspace(values.min(), values.max(), 11)[1:-1], values, side="right")
    apart = np.abs(values[:, None] - values[None])
    return apart[cell[:, None] != cell[None]]


def in_support(one: Asked, world: World, name: str) -> Array:
    """Whether 10 training samples have the value set, within a quarter of a standard deviation, and the sample's parents."""
    like = np.abs(world.train[name][None] - one.held[name][:, None]) <= 0.25 * world.spread(name)
    for parent in world.parents[name]:
        train, kind = world.train[parent], world.kinds[parent]
        like &= cells_of(train, train, kind)[None] == cells_of(one.factual[parent], train, kind)[:, None]
    return like.sum(1) >= 10


# Against real images


def normal_divergence(p: Array, q: Array) -> Array:
    """KL of diagonal normals given as (mean, log scale), broadcast over all but the last axis."""
    (m, s), (n, t) = np.split(p, 2, axis=-1), np.split(q, 2, axis=-1)
    return (t - s + (np.exp(2 * s) + np.square(m - n)) / (2 * np.exp(2 * t)) - 0.5).sum(-1)


def minimality(asked: Sequence[Asked], world: World) -> Numbers:
    numbers: Numbers = {}
    posteriors = world.features("posterior", world.real)
    for one in of_kind(asked, "single"):
        (name,) = one.names
        own, made = (world.features("posterior", values["image"]) for values in (one.factual, one.answer))
        div = normal_divergence(made, own)
        real = normal_divergence(posteriors[None], own[:, None])
        cell = cells_of(world.train[name], world.train[name], world.kinds[name])
        target, source = (
            cells_of(values[name], world.train[name], world.kinds[name])[:, None] == cell[None]
            for values in (one.held, one.factual)
        )
        there = target.any(1) & source.any(1)
        tie = np.abs(real - div[:, None]) <= 1e-5 * (1 + div[:, None])
        p1 = (((real <= div[:, None]) | tie) & target).sum(1)[there] / target.sum(1)[there]
        p2 = (((real >= div[:, None]) | tie) & source).sum(1)[there] / source.sum(1)[there]
        for word, (w1, w2) in (("cld_0.8_0.2", (0.8, 0.2)), ("cld_1_1", (1, 1))):
            numbers[word, name, "", 0, "posterior"] = np.log(w1 * np.exp(p1) + w2 * np.exp(p2)).mean()
        numbers["saturated", name, "", 0, "posterior"] = ((p1 == 0) & (p2 == 1)).mean()
        x, answer, true = (values["image"] for values in (one.factual, one.answer, one.truth))
        numbers["excess_change", name, "", 0, ""] = np.abs(grey_levels(answer, x) - grey_levels(true, x)).mean()
    return numbers


def recognised(one: Asked, world: World) -> Array:
    """Whether the nearest, among the observed image and one of everybody, shows the same individual."""
    images, units = world.everybody
    own, made, gallery = (
        world.features("embedding", images) for images in (one.factual["image"], one.answer["image"], images)
    )
    apart = cdist(made, gallery)
    same = units[None] == one.unit[:, None]
    own_apart = np.minimum(np.linalg.norm(made - own, axis=1), np.where(same, apart, np.inf).min(1))
    return own_apart <= np.where(same, np.inf, apart).min(1)


def recognition(asked: Sequence[Asked], world: World) -> Numbers:
    numbers: Numbers = {}
    for one in of_kind(asked, "single"):
        numbers["rate", one.words, "", 0, ""] = recognised(one, world).mean()
        if one.truth:
            own, made, true = (
                world.features("embedding", values["image"]) for values in (one.factual, one.answer, one.truth)
            )
            beyond = np.maximum(0, cosine(made, own) - cosine(true, own))
            numbers["distance_beyond_truth", one.words, "", 0, ""] = beyond.mean()
    return numbers


def frechet(x: Array, y: Array) -> float:
    """Squared; the trace of (C C_r)^(1/2) is the sum of singular values of the product of the centred samples."""
    centred = [(sample - sample.mean(0)) / math.sqrt(len(sample) - 1) for sample in (x, y)]
    shared = np.linalg.svd(centred[0] @ centred[1].T, compute_uv=False).sum()
    spread = sum(np.square(sample).sum() for sample in centred)
    return float(np.square(x.mean(0) - y.mean(0)).sum() + spread - 2 * shared)


def kernel_distance(x: Array, y: Array, kept: Array) -> float:
    """Squared maximum mean discrepancy over those pairs of questions that are kept, (N, N)."""

    def mean(first: Array, second: Array) -> float:
        return ((first @ second.T / first.shape[1] + 1) ** 3)[kept].mean()

    return mean(x, x) + mean(y, y) - 2 * mean(x, y)


def discrepancies(asked: Sequence[Asked], world: World, space: str) -> Numbers:
    """The squared maximum mean discrepancy with a linear kernel, and with a Gaussian one as wide as real images are apart in the median."""
    numbers: Numbers = {}
    for one in of_kind(asked, "single"):
        x, y = (world.features(space, images) for images in (one.answer["image"], one.matched))
        kept = (one.unit[:, None] != one.unit[None]) & (one.matched_unit[:, None] != one.matched_unit[None])
        some = pdist(y[:500])
        width = np.median(some[some > 0])
        kernels = {
            "mmd_linear": lambda first, second: first @ second.T / first.shape[1],
            "mmd_gaussian": lambda first, second, width=width: np.exp(-((cdist(first, second) / width) ** 2) / 2),
        }
        for name, kernel in kernels.items():
            within = kernel(x, x)[kept].mean() + kernel(y, y)[kept].mean()
            numbers[name, one.words, "", 0, space] = within - 2 * kernel(x, y)[kept].mean()
    return numbers


def balls(x: Array, y: Array, k: int = 5) -> dict[str, float]:
    """Precision, recall, density and coverage of answers x and real images y; who lies on a rim is inside."""
    radius_x, radius_y = ((1 + 1e-6) * np.sort(cdist(sample, sample), axis=1)[:, k] for sample in (x, y))
    apart = cdist(x, y)
    in_real = apart <= radius_y[None]
    return {
        "precision": in_real.any(1).mean(),
        "recall": (apart <= radius_x[:, None]).any(0).mean(),
        "density": in_real.sum(1).mean() / k,
        "coverage": in_real.any(0).mean(),
    }


def realism(asked: Sequence[Asked], world: World, space: str) -> Numbers:
    """Against the real images that are matched with the questions, one each."""
    numbers: Numbers = {}
    for one in of_kind(asked, "single"):
        made, real = (world.features(space, images) for images in (one.answer["image"], one.matched))
        apart = (one.unit[:, None] != one.unit[None]) & (one.matched_unit[:, None] != one.matched_unit[None])
        found = {
            "frechet_distance": frechet(made, real),
            "kid": kernel_distance(made, real, apart),
            **balls(made, real),
        }
        numbers |= {(quantity, one.words, "", 0, space): value for quantity, value in found.items()}
    return numbers


def published_realism(asked: Sequence[Asked], world: World, space: str) -> Numbers:
    """Answers to all questions together against the whole training split."""
    made = np.concatenate([world.features(space, one.answer["image"]) for one in of_kind(asked, "single")])
    return {("frechet_distance_to_train", "all", "", 0, space): frechet(made, world.features(space, world.real))}


# The law, apart from the individual


def encoded(name: str, values: Array, world: World) -> Array:
    """Quantities in standard deviations, periodic ones on the circle, classes one-hot, (N, 1, 2 or K)."""
    if world.kinds[name] == "continuous":
        return values[:, None].astype(float) / world.spread(name)
    if world.kinds[name] == "periodic":
        angle = 2 * math.pi * values / world.turns[name]
        return np.stack([np.cos(angle), np.sin(angle)], 1)
    return np.eye(int(world.train[name].max()) + 1)[values.astype(int)]


def energy_distance(x: Array, y: Array, unit_x: Array, unit_y: Array) -> float:
    def mean(first: Array, second: Array, of_first: Array, of_second: Array) -> float:
        return cdist(first, second)[of_first[:, None] != of_second[None]].mean()

    return 2 * mean(x, y, unit_x, unit_y) - mean(x, x, unit_x, unit_x) - mean(y, y, unit_y, unit_y)


def across(
    x: Array, y: Array, half: Array, distance: Callable[[Array, Array, Array, Array], float], unit: Array
) -> float:
    """Answers about one half of the individuals against true counterfactuals of the other, both ways."""
    return sum(distance(x[h], y[~h], unit[h], unit[~h]) for h in (half, ~half)) / 2


def rung2(asked: Sequence[Asked], world: World, spaces: Sequence[str] = ()) -> Numbers:
    numbers: Numbers = {}
    for one in of_kind(asked, "single"):
        half = world.first_half(one.unit)
        x, y = (
            np.concatenate([encoded(name, values[name], world) for name in world.kinds], 1)
            for values in (one.answer, one.truth)
        )
        numbers["energy_distance", one.words, "", 0, ""] = across(x, y, half, energy_distance, one.unit)
        for space in spaces:
            x, y = with_value_set(one, world, space)
            distance = across(x, y, half, lambda x, y, *_: frechet(x, y), one.unit)
            numbers["frechet_distance", one.words, "", 0, space] = distance
    return numbers


def with_value_set(one: Asked, world: World, space: str) -> tuple[Array, Array]:
    """Features of answers and of true images, each beside the value set, which varies as much as all features of the latter."""
    (name,) = one.names
    made, true = (world.features(space, values["image"]).astype(float) for values in (one.answer, one.truth))
    value = encoded(name, one.held[name], world)
    value = value * math.sqrt(true.var(0).sum() / value.var(0).sum())
    return np.concatenate([value, made], 1), np.concatenate([value, true], 1)


# Without truth


def estimate(asked: Sequence[Asked], world: World) -> Numbers:
    numbers: Numbers = {}
    back = {one.words: one for one in of_kind(asked, "return")}
    for one in of_kind(asked, "single"):
        (name,) = one.names
        x, typical = one.factual["image"], world.typical_change[name]
        lost = {
            "loss_of_null": grey_levels(x, one.null["image"]).mean(),
            "loss_there_and_back": grey_levels(x, back[name].answer["image"]).mean(),
        }
        judged = [name] if name in world.judged else sorted(world.descendants([name]) & {*world.judged})
        errors = {measured: recognised_error(one, world, measured) for measured in judged}
        skill = 1 - np.mean(list(errors.values()))
        loss = max(lost.values()) + typical * (1 - skill)
        found = {"recognised_skill": skill, "estimated_skill": 1 - loss / typical, **lost}
        numbers |= {(quantity, name, "", 0, ""): value for quantity, value in found.items()}
        numbers |= {("recognised_error", name, measured, 0, ""): value for measured, value in errors.items()}
    return numbers


def recognised_error(one: Asked, world: World, name: str) -> float:
    """Of doing nothing's; an answer that is not recognised counts at least the error of doing nothing."""
    (_, error), (_, nothing) = (
        worse_error(values["image"], one.targets[name], name, world) for values in (one.answer, one.factual)
    )
    return np.where(recognised(one, world), error, np.maximum(error, nothing)).sum() / nothing.sum()


# Against the images that were trained on


def memorisation(asked: Sequence[Asked], world: World) -> Numbers:
    """Copies of training images, how often those are nearer than one's own, and how near as many held-out images are."""
    count = min(len(world.real), len(world.held_out))
    few = world.real[np.arange(count) * len(world.real) // count]
    threshold = np.quantile(apart(world.held_out, world.real).min(1), 0.01)
    known = unit_length(world.features("judge", world.real))
    numbers: Numbers = {}
    for one in of_kind(asked, "single"):
        shown, words = one.answer["image"], one.words
        near = apart(shown, world.real).min(1)
        own = np.array([apart(shown[i : i + 1], one.factual["image"][i : i + 1])[0, 0] for i in range(len(shown))])
        numbers["copied", words, "", 0, ""] = (near <= threshold).mean()
        numbers["stranger", words, "", 0, ""] = (near < own).mean()
        unseen = apart(shown, world.held_out).min(1)
        numbers["neighbour_ratio", words, "", 0, ""] = apart(shown, few).min(1).sum() / unseen.sum()
        cosine = unit_length(world.features("judge", shown)) @ known.T
        numbers["cosine_distance", words, "", 0, "judge"] = (1 - cosine.max(1)).mean()
    return numbers


def reidentification(asked: Sequence[Asked], world: World) -> Numbers:
    """Who is nearer to a training image than 95 % of images of others are, by pixels."""
    by_chance = apart(world.of_others, world.real).min(1)
    threshold = np.quantile(-by_chance, 0.95)
    numbers: Numbers = {}
    for one in [*of_kind(asked, "single"), *of_kind(asked, "sample")]:
        shown, words = one.answer["image"], "" if one in of_kind(asked, "sample") else one.words
        near = apart(shown, world.real).min(1)
        numbers["linked", words, "", 0, "pixels"] = (-near > threshold).mean()
        nearer = (near[:, None] < by_chance).mean(1) + 0.5 * (near[:, None] == by_chance).mean(1)
        numbers["auc", words, "", 0, "pixels"] = nearer.mean()
        if words:
            own = np.array([apart(shown[i : i + 1], one.factual["image"][i : i + 1])[0, 0] for i in range(len(shown))])
            numbers["own", words, "", 0, "pixels"] = (-own > threshold).mean()
    return numbers


def generation(asked: Sequence[Asked], world: World) -> Numbers:
    """New individuals: what judges see in them, how far the set is from held-out images, and copies."""
    (one,) = of_kind(asked, "sample")
    shown, readings = one.answer["image"], world.median_reading(one.answer["image"])
    numbers: Numbers = {}
    for name, reading in readings.items():
        target = one.factual[name]
        if world.kinds[name] == "class":
            numbers["accuracy", "", name, 0, ""] = (reading.argmax(1) == target).mean()
        else:
            numbers["absolute_error", "", name, 0, ""] = np.abs(reading - target).mean()
    threshold = np.quantile(apart(world.held_out, world.real).min(1), 0.01)
    numbers["copied", "", "", 0, ""] = (apart(shown, world.real).min(1) <= threshold).mean()
    known = unit_length(world.features("judge", world.real))

    def least(images: Array) -> float:
        return float((1 - (unit_length(world.features("judge", images)) @ known.T).max(1)).mean())

    distance = frechet(*(world.features("judge", images) for images in (shown, one.held_out)))
    alike = least(shown)
    numbers["frechet_distance", "", "", 0, "judge"] = distance
    numbers["cosine_distance", "", "", 0, "judge"] = alike
    numbers["mifid", "", "", 0, "judge"] = distance / min(1.0, alike / least(world.held_out))
    return numbers


def extraction(asked: Sequence[Asked], world: World, members: int = 3) -> Numbers:
    """The largest group of draws that hang together has three or more, and its middle is like the training image."""
    (one,) = of_kind(asked, "sample")
    threshold = np.quantile(apart(world.held_out, world.real).min(1), 0.01)
    kept = one.tried >= 0
    found = [
        gives_away(draws, world.real[at], threshold, members)
        for draws, at in zip(one.draws[kept], one.tried[kept], strict=True)
    ]
    return {("extracted", "", "", 0, ""): np.mean(found), ("noise_norm", "", "", 0, ""): one.norm[kept].mean()}


def gives_away(draws: Array, target: Array, threshold: float, least: int) -> bool:
    distance = apart(draws, draws)
    _, group = connected_components(distance <= threshold)
    members = np.flatnonzero(group == np.bincount(group).argmax())
    middle = draws[members[distance[np.ix_(members, members)].sum(1).argmin()]]
    return len(members) >= least and apart(middle[None], target[None])[0, 0] <= threshold


def unit_length(vectors: Array) -> Array:
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def apart(images: Array, others: Array) -> Array:
    """The largest root mean square over tiles of 2 x 2 of 8 x 8 pixels, (N, M)."""
    square = (images[:, None, 0] - others[None, :, 0]) ** 2
    return np.sqrt(square.reshape(*square.shape[:2], 4, 2, 4, 2).mean((3, 5)).max((2, 3)))
