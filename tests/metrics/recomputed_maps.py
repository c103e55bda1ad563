"""Metrics of maps and parts a second time, from their definitions."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from metrics.recomputed import Asked, Numbers, World, of_kind
from numpy import ndarray as Array
from sklearn.metrics import roc_auc_score

PARTS = ("ground", "dark", "bright")
OWNED = {
    **{("a",): ("dark",), ("b",): (), ("c",): ("dark", "bright")},
    **{("a", "c"): ("dark", "bright"), ("a", "b"): ("dark",)},
}


def scores(heat: Array, region: Array) -> dict[str, float]:
    """Of one map (H, W) and one region."""
    inner, outer = heat[region], heat[~region]
    noise = math.sqrt(inner.var() + outer.var())
    apart = inner.mean() - outer.mean()
    low, high = heat.min(), heat.max()
    shares = []
    for threshold in (0.1, 0.2, 0.3, 0.4, 0.5):
        marked = (heat - low) >= threshold * (high - low) if high > low else np.zeros_like(region)
        shares.append((marked & region).sum() / (marked | region).sum())
    highest = heat == high
    return {
        "auc": roc_auc_score(region.ravel(), heat.ravel()),
        "contrast": float(np.clip(apart / max(noise, 1e-300), -10, 10)) if apart else 0.0,
        "overlap": float(np.mean(shares)),
        "pointing": 0.0 if highest.all() else float((highest & region).sum() / highest.sum()),
    }


def of_maps(heats: Array, regions: Array, key: tuple[str, str]) -> Numbers:
    """Means over the samples whose region is neither nothing nor everything."""
    each = [scores(heat, region) for heat, region in zip(heats, regions, strict=True) if 0 < region.sum() < region.size]
    names = each[0] if each else {}
    return {(name, key[0], "", 0, key[1]): float(np.mean([one[name] for one in each])) for name in names}


def boxed(boxes: Array, like: Array) -> Array:
    inside = np.zeros(like.shape, bool)
    for row, (left, top, right, bottom) in enumerate(boxes):
        if not math.isnan(left):
            inside[row, int(top) : int(bottom), int(left) : int(right)] = True
    return inside


def moved(one: Asked, values: str) -> Array:
    return np.abs(getattr(one, values)["image"] - one.factual["image"]).mean(1)


def localisation(asked: Sequence[Asked], world: World) -> Numbers:
    numbers: Numbers = {}
    for one in of_kind(asked, "single", "joint"):
        if not one.truth:
            continue
        change, region = moved(one, "answer"), moved(one, "truth") >= 2
        assert one.random is not None
        assert one.boxes is not None
        numbers |= of_maps(change, region, (one.words, ""))
        numbers |= of_maps(one.random, region, (one.words, "random map"))
        numbers |= of_maps(one.factual["image"].mean(1), region, (one.words, "image intensity"))
        if one.names == ("a",):
            within = boxed(one.boxes, change)
            within[(region.sum((1, 2)) == 0) | region.all((1, 2))] = False
            numbers |= of_maps(change, within, (one.words, "box"))
    return numbers


def grounding(asked: Sequence[Asked], world: World) -> Numbers:
    numbers: Numbers = {}
    for one in of_kind(asked, "null"):
        if one.cycle != 1:
            continue
        assert one.heat is not None
        assert one.cold is not None
        assert one.random is not None
        assert one.boxes is not None
        within = boxed(one.boxes, one.heat)
        brightness = one.factual["image"].mean(1)
        maps = {"": one.heat, "untrained network": one.cold, "image intensity": brightness, "random map": one.random}
        for name, heat in maps.items():
            numbers |= of_maps(heat, within, ("", name))
    return numbers


def overlap(first: Array, second: Array, part: int) -> Array:
    """Dice of a part per sample, NaN where neither has it."""
    a, b = first == part, second == part
    both = a.sum((1, 2)) + b.sum((1, 2))
    return np.where(both > 0, 2 * (a & b).sum((1, 2)) / np.maximum(both, 1), np.nan)


def parts(asked: Sequence[Asked], world: World) -> Numbers:
    numbers: Numbers = {}
    for one in of_kind(asked, "single", "joint"):
        owned, cause = OWNED[one.names], one.words
        mask, true, found = one.parts, one.true_parts, one.found_parts
        assert mask is not None
        assert true is not None
        assert found is not None
        change, due = moved(one, "answer"), moved(one, "truth")
        own = [PARTS.index(name) for name in owned]
        outside = ~np.isin(mask, own) & ~np.isin(true, own)
        size, total = outside.sum((1, 2)), change.sum((1, 2))
        away = (change * outside).sum((1, 2))
        numbers["outside_change", cause, "", 0, ""] = float((away[size > 0] / size[size > 0]).mean())
        numbers["outside_share", cause, "", 0, ""] = float(away[total > 0].sum() / total.sum())
        for number, name in enumerate(PARTS):
            there = [
                (c[m == number].mean(), d[m == number].mean())
                for c, d, m in zip(change, due, mask, strict=True)
                if (m == number).any()
            ]
            of_part = np.array(there)
            numbers["part_change", cause, name, 0, ""] = float(of_part[:, 0].mean())
            numbers["part_excess", cause, name, 0, ""] = float(np.abs(of_part[:, 0] - of_part[:, 1]).mean())
        wanted = true if owned else mask
        each = np.stack([overlap(found, wanted, number) for number in range(1, len(PARTS))])
        numbers["equivariance", cause, "", 0, ""] = float(np.nanmean(np.nanmean(each, 0)))
        for number, name in enumerate(PARTS[1:]):
            numbers["equivariance", cause, name, 0, ""] = float(np.nanmean(each[number]))
    return numbers
