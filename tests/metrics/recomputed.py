"""The metrics a second time, from their definitions: numpy, scipy and scikit-learn on plain arrays, and nothing of the package."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import permutations

import numpy as np
from numpy import ndarray as Array
from scipy.stats import spearmanr
from sklearn.linear_model import Ridge
from sklearn.model_selection import KFold

Key = tuple[str, str, str, int, str]
"""Quantity, what is set, what is measured, cycles, space."""
Numbers = dict[Key, float]


@dataclass(frozen=True)
class Asked:
    """One question about N samples, and what was answered; images are (N, C, H, W) in grey levels."""

    kind: str
    names: tuple[str, ...]
    cycle: int
    unit: Array
    factual: Mapping[str, Array]
    answer: Mapping[str, Array]
    null: Mapping[str, Array] = field(default_factory=dict)
    held: Mapping[str, Array] = field(default_factory=dict)
    targets: Mapping[str, Array] = field(default_factory=dict)
    truth: Mapping[str, Array] = field(default_factory=dict)
    other: Mapping[str, Array] = field(default_factory=dict)
    matched: Array | None = None
    matched_unit: Array | None = None
    cost: Mapping[str, Array] = field(default_factory=dict)
    draws: Array | None = None  # (N, K, C, H, W)
    others: Array | None = None  # likewise, of other trainings
    held_out: Array | None = None  # real images with the attributes of a sample
    tried: Array | None = None  # rows that stand for a training image whose extraction is tried: which one; -1 for none
    norm: Array | None = None  # the noise norm there
    parts: Array | None = None  # of the observed images, (N, H, W)
    true_parts: Array | None = None
    found_parts: Array | None = None  # in the answers
    boxes: Array | None = None  # (N, 4)
    heat: Array | None = None  # where the caption is looked for, (N, H, W)
    cold: Array | None = None  # the same before training
    random: Array | None = None  # a random map
    latents: Array | None = None  # what the model takes the latents of the observed images to be, (N, K)

    @property
    def words(self) -> str:
        return " + ".join(self.names)


@dataclass(frozen=True)
class World:
    """What is known beside the answers.

    `kinds` are continuous, periodic (with a length of the `turns`), class or binary, of all attributes. `read` gives each variable's
    readings, (J, N) or (J, N, K) with one row per judge, of several judges for the `panels`; `features` the vectors of a space, (N, D);
    `real` are the training images, `held_out` those of the judge split, `of_others` those of the validation split, `everybody` one test image of each unit, with the units.
    """

    kinds: Mapping[str, str]
    parents: Mapping[str, Sequence[str]]
    train: Mapping[str, Array]
    judged: Sequence[str] = ()
    panels: Sequence[str] = ()
    intervenable: Sequence[str] = ()
    turns: Mapping[str, float] = field(default_factory=dict)
    read: Callable[[Array], Mapping[str, Array]] = lambda images: {}
    features: Callable[[str, Array], Array] = lambda space, images: images
    shake: Callable[[Array], Array] | None = None
    real: Array | None = None
    held_out: Array | None = None
    of_others: Array | None = None
    everybody: tuple[Array, Array] | None = None
    typical_change: Mapping[str, float] = field(default_factory=dict)
    first_half: Callable[[Array], Array] | None = None

    def descendants(self, names: Sequence[str]) -> set[str]:
        """Of any of the variables, without these themselves."""
        below: set[str] = set()
        for _ in self.parents:
            below |= {child for child, parents in self.parents.items() if {*parents} & {*names, *below}}
        return below - {*names}

    def spread(self, name: str) -> float:
        """Standard deviation in the training split; of a class, that of a binary one: sqrt((1 - sum p^2) / 2)."""
        values = self.train[name].astype(float)
        if self.kinds[name] in ("continuous", "periodic"):
            return float(values.std(ddof=1))
        share = np.unique(values, return_counts=True)[1] / len(values)
        return math.sqrt((1 - np.square(share).sum()) / 2)

    def scale(self, name: str) -> float:
        """Interquartile range in the training split / 1.349, which is 1 for a standard normal; of classes, 1."""
        if self.kinds[name] in ("class", "binary"):
            return 1.0
        low, high = np.quantile(self.train[name].astype(float), (0.25, 0.75))
        return float(high - low) / 1.349

    def median_reading(self, images: Array) -> dict[str, Array]:
        """Of all judges; class probabilities add up to 1 again."""
        readings = {name: np.median(members, axis=0) for name, members in self.read(images).items()}
        return {n: r / r.sum(1, keepdims=True) if r.ndim == 2 else r for n, r in readings.items()}


def of_kind(asked: Sequence[Asked], *kinds: str) -> Iterator[Asked]:
    return (one for one in asked if one.kind in kinds)


def grey_levels(first: Array, second: Array) -> Array:
    """Mean absolute difference per image."""
    return np.abs(first - second).mean((1, 2, 3))


def cosine(first: Array, second: Array) -> Array:
    lengths = np.linalg.norm(first, axis=1) * np.linalg.norm(second, axis=1)
    return 1 - (first * second).sum(1) / lengths


def attribute_distance(name: str, first: Array, second: Array, world: World) -> Array:
    """Of natural values: 0 or 1 for classes, the shorter way round for periodic ones."""
    if world.kinds[name] in ("class", "binary"):
        return (first != second).astype(float)
    way = np.abs(first - second)
    if world.kinds[name] == "continuous":
        return way
    return np.minimum(way % world.turns[name], world.turns[name] - way % world.turns[name])


def without_rounding(error: Array, value: Array) -> Array:
    """What single precision loses, a millionth of the value, is no error."""
    return np.where(error <= 1e-6 * (1 + np.abs(value)), 0, error)


def named(reading: Array) -> Array:
    """A measurement as it is; of probabilities, the likeliest class."""
    return reading.argmax(1) if reading.ndim == 2 else reading


# Distances between images


def distances(one: Asked, first: Array, second: Array, world: World, spaces: Sequence[str]) -> Numbers:
    """Of images, on average: in grey levels, and in spaces by the cosine of their vectors."""
    numbers = {("l1", one.words, "", one.cycle, "l1"): grey_levels(first, second).mean()}
    for space in spaces:
        apart = cosine(world.features(space, first), world.features(space, second))
        numbers["distance", one.words, "", one.cycle, space] = apart.mean()
    return numbers


def composition(asked: Sequence[Asked], world: World, spaces: Sequence[str] = ()) -> Numbers:
    numbers: Numbers = {}
    for one in of_kind(asked, "null"):
        numbers |= distances(one, one.factual["image"], one.answer["image"], world, spaces)
    return numbers


def reversibility(asked: Sequence[Asked], world: World, spaces: Sequence[str] = ()) -> Numbers:
    numbers: Numbers = {}
    for one in of_kind(asked, "return"):
        numbers |= distances(one, one.factual["image"], one.answer["image"], world, spaces)
    return numbers


def commutativity(asked: Sequence[Asked], world: World, spaces: Sequence[str] = ()) -> Numbers:
    numbers: Numbers = {}
    for one in of_kind(asked, "pair"):
        numbers |= distances(one, one.answer["image"], one.other["image"], world, spaces)
    return numbers


# Against the true counterfactual


def effects(one: Asked) -> tuple[Array, Array, Array]:
    """<z, w>, |z|^2 and |w - its part along z|^2 of true changes z and answered changes w, each (N,)."""
    z, w = (
        (values["image"] - one.factual["image"]).reshape(len(one.unit), -1).astype(float)
        for values in (one.truth, one.answer)
    )
    along, size = (z * w).sum(1), np.square(z).sum(1)
    share = np.divide(along, size, out=np.zeros_like(along), where=size > 0)
    return along, size, np.square(w - share[:, None] * z).sum(1)


def truth(asked: Sequence[Asked], world: World, spaces: Sequence[str] = ()) -> Numbers:
    numbers: Numbers = {}
    for one in of_kind(asked, "single", "joint"):
        numbers |= attribute_errors(one, world)
        if "image" not in one.answer:
            numbers |= skills_of_descendants(one, world)
            continue
        x, answer, true = (values["image"] for values in (one.factual, one.answer, one.truth))
        error, nothing = grey_levels(answer, true), grey_levels(x, true)
        change = grey_levels(answer - one.null["image"], true - x)
        along, size, beside = effects(one)
        numbers |= {
            ("truth_skill", one.words, "", 0, ""): 1 - error.sum() / nothing.sum(),
            ("change_skill", one.words, "", 0, ""): 1 - change.sum() / nothing.sum(),
            **distances(one, answer, true, world, spaces),
            ("effect", one.words, "", 0, ""): along.sum() / size.sum(),
            ("effect_error", one.words, "", 0, ""): np.abs(along - size).sum() / size.sum(),
            ("amplification", one.words, "", 0, ""): math.sqrt(beside.sum() / size.sum()),
        }
    return numbers


def skills_of_descendants(one: Asked, world: World) -> Numbers:
    """Without images: over what follows from what is set, in robust standard deviations."""
    error, change, nothing = (np.zeros(len(one.unit)) for _ in range(3))
    for name in world.descendants(one.names) & {*world.kinds}:
        x, answer, true, null = (values[name] for values in (one.factual, one.answer, one.truth, one.null))
        scale = world.scale(name)
        error += attribute_distance(name, answer, true, world) / scale
        nothing += attribute_distance(name, x, true, world) / scale
        change += attribute_distance(name, answer - null, true - x, world) / scale
    if not nothing.any():
        return {}
    return {
        ("truth_skill", one.words, "", 0, ""): 1 - error.sum() / nothing.sum(),
        ("change_skill", one.words, "", 0, ""): 1 - change.sum() / nothing.sum(),
    }


def attribute_errors(one: Asked, world: World) -> Numbers:
    """Of what the model claims, for every attribute that is not set."""
    others = sorted({*world.kinds} - {*one.names})
    return {
        (f"attribute_{word}", one.words, name, 0, ""): value
        for name in others
        for word, value in [claim_error(name, one.answer[name], one.truth[name], world)]
    }


def claim_error(name: str, claim: Array, true: Array, world: World) -> tuple[str, float]:
    error = attribute_distance(name, claim, true, world)
    if world.kinds[name] in ("class", "binary"):
        return "accuracy", 1 - error.mean()
    return "error", without_rounding(error, true).mean()


def percentage_error(asked: Sequence[Asked], world: World) -> Numbers:
    numbers: Numbers = {}
    for one in of_kind(asked, "single"):
        changed = [n for n in sorted(world.descendants(one.names)) if world.kinds.get(n) in ("continuous", "periodic")]
        outcomes = [name for name in changed if name not in world.intervenable] or changed
        percent = []
        for name in outcomes:
            answer, true = one.answer[name], np.where(one.truth[name] == 0, np.nan, one.truth[name])
            percent.append(100 * attribute_distance(name, answer, true, world) / np.abs(true))
            numbers["percentage_error", one.words, name, 0, ""] = np.nanmean(percent[-1])
        if outcomes:
            of_sample = np.array(percent)[:, ~np.isnan(percent).all(0)]
            numbers["percentage_error", one.words, "", 0, ""] = np.nanmean(of_sample, axis=0).mean()
    return numbers


def ms_ssim(asked: Sequence[Asked], world: World) -> Numbers:
    """Of null answers to their photographs after 1, 10 and all cycles, and of answers to the truth."""
    last = max(one.cycle for one in of_kind(asked, "null"))
    numbers: Numbers = {}
    for one in of_kind(asked, "null"):
        if one.cycle in (1, 10, last):
            numbers["similarity", "", "", one.cycle, ""] = structural(one.answer["image"], one.factual["image"]).mean()
    for one in of_kind(asked, "single"):
        if "image" in one.truth:
            numbers["truth_similarity", one.words, "", 0, ""] = structural(
                one.answer["image"], one.truth["image"]
            ).mean()
    return numbers


def structural(first: Array, second: Array) -> Array:
    """MS-SSIM per pair of images (N, C, H, W), by sums over every window."""
    shortest = min(first.shape[2:])
    weights = np.array([0.0448, 0.2856, 0.3001, 0.2363, 0.1333])
    count = max(1, sum(shortest / 2**scale >= 11 for scale in range(5)))
    weights = weights[:count] / weights[:count].sum()
    side = 11 if shortest >= 11 else shortest if shortest % 2 else shortest - 1
    middle = np.arange(side) - side // 2
    window = np.exp(-(middle[:, None] ** 2 + middle[None] ** 2) / (2 * 1.5**2))
    window /= window.sum()
    scores = np.ones(len(first))
    for scale, weight in enumerate(weights):
        if scale:
            first, second = halved(first), halved(second)
        patches = [np.lib.stride_tricks.sliding_window_view(image, (side, side), (2, 3)) for image in (first, second)]
        means = [(patch * window).sum((-1, -2)) for patch in patches]
        off = [patch - mean[..., None, None] for patch, mean in zip(patches, means, strict=True)]
        variances = [(window * part**2).sum((-1, -2)) for part in off]
        together = (window * off[0] * off[1]).sum((-1, -2))
        seen = (2 * together + (0.03 * 255) ** 2) / (variances[0] + variances[1] + (0.03 * 255) ** 2)
        if scale == count - 1:
            low = (0.01 * 255) ** 2
            seen = seen * (2 * means[0] * means[1] + low) / (means[0] ** 2 + means[1] ** 2 + low)
        scores = scores * np.maximum(seen.mean((1, 2, 3)), 0) ** weight
    return scores


def halved(images: Array) -> Array:
    """Means of squares of two by two pixels."""
    height, width = (length // 2 * 2 for length in images.shape[2:])
    whole = images[..., :height, :width]
    return (whole[..., ::2, ::2] + whole[..., 1::2, ::2] + whole[..., ::2, 1::2] + whole[..., 1::2, 1::2]) / 4


def draws(asked: Sequence[Asked], world: World, *, similarity: bool = False) -> Numbers:
    """Twenty draws: the range from the least to the greatest should hold 19 of 21."""
    numbers: Numbers = {}
    for one in of_kind(asked, "single"):
        assert one.draws is not None
        count, truth = one.draws.shape[1], one.truth["image"]
        deviations = one.draws.std(1, ddof=1)
        numbers["spread", one.words, "", 0, ""] = deviations.mean()
        if similarity:
            pairs = [(i, j) for j in range(count) for i in range(j)]
            alike = [structural(one.draws[:, i], one.draws[:, j]).mean() for i, j in pairs]
            numbers["pairwise_similarity", one.words, "", 0, ""] = np.mean(alike)
        scores = []
        for drawn, true in zip(one.draws, truth, strict=True):
            size = math.sqrt(true.size)
            off = [np.linalg.norm(draw - true) / size for draw in drawn]
            apart = [np.linalg.norm(a - b) / size for i, a in enumerate(drawn) for j, b in enumerate(drawn) if i != j]
            scores.append(np.mean(off) - np.mean(apart) / 2)
        numbers["energy_score", one.words, "", 0, ""] = np.mean(scores)
        numbers["coverage", one.words, "", 0, ""] = covered(one.draws, truth)
        for name in world.judged:
            if world.kinds[name] == "continuous":
                read = np.stack([world.read(one.draws[:, draw])[name].mean(0) for draw in range(count)], 1)
                numbers["coverage", one.words, name, 0, ""] = covered(read, world.read(truth)[name].mean(0))
    return numbers


def identifiability(asked: Sequence[Asked], world: World) -> Numbers:
    """Mean distance of two trainings' answers over mean distance of an answer from the photograph."""
    numbers: Numbers = {}
    for one in of_kind(asked, "single"):
        assert one.others is not None
        everybody = np.concatenate([one.answer["image"][:, None], one.others], 1)
        count = everybody.shape[1]
        apart = [np.abs(everybody[:, i] - everybody[:, j]).mean() for i in range(count) for j in range(count) if i != j]
        changed = [np.abs(everybody[:, i] - one.factual["image"]).mean() for i in range(count)]
        numbers["disagreement", one.words, "", 0, ""] = np.mean(apart) / np.mean(changed)
    return numbers


def covered(draws: Array, truth: Array) -> float:
    """How often the truth has at least one draw below and one above it, in all orders of ties, relative to (K - 1) / (K + 1)."""
    count = draws.shape[1]
    flat, true = draws.reshape(len(draws), count, -1), truth.reshape(len(truth), -1)
    shares = []
    for drawn, wanted in zip(flat, true, strict=True):
        for values, value in zip(drawn.T, wanted, strict=True):
            below, equal = int((values < value).sum()), int((values == value).sum())
            shares.append(np.mean([1 <= below + tied <= count - 1 for tied in range(equal + 1)]))
    return float(np.mean(shares)) / ((count - 1) / (count + 1))


# Of the model


def abduction(asked: Sequence[Asked], world: World) -> Numbers:
    """The round trip alone: what a classifier finds in noise has no closed form."""
    (once,) = (one for one in of_kind(asked, "null") if one.cycle == 1)
    return {
        (f"round_trip_{word}", "", name, 0, ""): value
        for name in world.kinds
        for word, value in [claim_error(name, once.answer[name], once.factual[name], world)]
    }


def latents(asked: Sequence[Asked], world: World) -> Numbers:
    """All matchings are tried, and pairs are gone through one by one; whose arrows point backwards has no closed form."""
    (once,) = (one for one in of_kind(asked, "null") if one.cycle == 1)
    found = once.latents
    assert found is not None
    told = {name: once.factual[name].astype(float) for name, kind in world.kinds.items() if kind != "class"}
    width = found.shape[1]
    rho = np.array([[abs(np.corrcoef(found[:, i], value)[0, 1]) for value in told.values()] for i in range(width)])
    best = max(
        sum(rho[latent, at] for at, latent in enumerate(chosen)) for chosen in permutations(range(width), len(told))
    )
    pairs = [abs(spearmanr(found[:, i], found[:, j]).statistic) for i in range(width) for j in range(i)]
    numbers: Numbers = {("mcc", "", "", 0, ""): best / len(told), ("dependence", "", "", 0, ""): float(np.mean(pairs))}
    scaled = (found - found.mean(0)) / found.std(0)
    for name, value in told.items():
        error = blind = 0.0
        for train, test in KFold(5, shuffle=True, random_state=0).split(scaled):
            fitted = Ridge(1e-3).fit(scaled[train], value[train])
            error += float(((fitted.predict(scaled[test]) - value[test]) ** 2).sum())
            blind += float(((value[train].mean() - value[test]) ** 2).sum())
        numbers["linear_r2", "", name, 0, ""] = 1 - error / blind
    return numbers


def cost(asked: Sequence[Asked], world: World) -> Numbers:
    """Means over all samples of all single questions; of memory, the largest."""
    single = list(of_kind(asked, "single"))
    costs = {name: np.concatenate([one.cost[name] for one in single]) for name in single[0].cost}
    return {(name, "", "", 0, ""): v.max() if name == "peak_memory" else v.mean() for name, v in costs.items()}


def row_skill(errors: Mapping[str, float], nothing: Mapping[str, float], card: Sequence[str]) -> float:
    """Mean over a card's interventions of (E0 - E) / (E0 + E); one that is not answered counts -1."""
    return float(np.mean([(nothing[k] - errors[k]) / (nothing[k] + errors[k]) if k in errors else -1 for k in card]))
