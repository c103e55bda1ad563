"""Ranks from paired comparisons: 1 and how many are better beyond chance; who cannot be told apart shares a rank. Imports no torch."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path

import numpy as np

from counterbench.errors import RecordError
from counterbench.leaderboard import comparison, scored
from counterbench.leaderboard.comparison import RESAMPLES
from counterbench.leaderboard.paired import Difference
from counterbench.leaderboard.scored import ScoredRecord
from counterbench.records import totals
from counterbench.records.intervals import Ratios
from counterbench.records.record import Number, Record
from counterbench.records.totals import Key


@dataclass(frozen=True)
class NamedRecord:
    """A record that may be ranked.

    Args:
        name: unique on the board.
        record: its numbers.
        path: where it was read; its scores lie beside it.
    """

    name: str
    record: Record
    path: Path


@dataclass(frozen=True)
class Ranking:
    """Who is better than whom.

    Args:
        ranks: model -> number -> rank; only of models that could be compared.
        means: model -> mean rank: over the metrics, of the mean over each one's numbers; only of models that have all of them.
        lacking: model -> how many numbers it lacks for a mean rank.
        differences: every pair and number.
        clusters: independent units behind them.
        notes: who has no rank, and why.
    """

    ranks: Mapping[str, Mapping[Key, int]] = field(default_factory=dict)
    means: Mapping[str, float] = field(default_factory=dict)
    lacking: Mapping[str, int] = field(default_factory=dict)
    differences: tuple[Difference, ...] = ()
    clusters: int = 0
    notes: tuple[str, ...] = ()


def rank(records: Sequence[NamedRecord], resamples: int = RESAMPLES) -> Ranking:
    """Compare all that answered the same questions, pair by pair, each number among those who have it.

    Records of all images come first; only where there is none are partial ones compared with each other. A record that does not fit
    (other questions, judges or versions, no scores beside it) has no rank, and costs nobody else theirs.
    """
    if len(records) < 2:
        return Ranking()
    comparable, notes = _alike(records)
    scored, more = _scored(comparable)
    notes += more
    temperatures = {e.record.pixel_temperature for e in scored if e.record.pixel_temperature is not None}
    if len(temperatures) > 1:
        hidden = dict.fromkeys(filter(None, (comparison.dependent_on_temperature(e.record) for e in scored)))
        notes += [f"{metrics} has no ranks: the pixel-noise temperatures differ" for metrics in hidden]
        scored = [ScoredRecord(e.name, e.record, _at_any_temperature(e)) for e in scored]
    clusters = {one.clusters for model in scored for one in model.ratios.values()}
    if len(scored) < 2 or max(clusters, default=0) < 2:
        return Ranking(
            notes=(
                *notes,
                *(["no ranks: a single independent unit tells nothing of chance"] if clusters == {1} else []),
            )
        )
    differences = [
        one
        for pair in combinations(scored, 2)
        if pair[0].ratios.keys() & pair[1].ratios.keys()
        for one in comparison.compare(pair, resamples).differences
    ]
    ranks = _ranks(scored, differences)
    means, lacking = _means(scored, ranks)
    return Ranking(ranks, means, lacking, tuple(differences), max(clusters), tuple(notes))


def _alike(records: Sequence[NamedRecord]) -> tuple[list[NamedRecord], list[str]]:
    """(the most that took the same exam, notes on the others)."""
    whole = [one for one in records if not one.record.partial] or list(records)
    exams: dict[str, list[NamedRecord]] = {}
    for one in whole:
        exams.setdefault(_exam(one.record), []).append(one)
    largest = max(exams.values(), key=len)
    notes = []
    for one in records:
        if one not in whole:
            notes.append(f"{one.name} has no rank: it is partial ({one.record.partial})")
        elif one not in largest:
            notes.append(f"{one.name} has no rank: {_difference(largest[0], one)}")
    return largest, notes


def _exam(record: Record) -> str:
    inputs = record.inputs
    data = {name: value for name, value in inputs.data.items() if name != "card"}
    return json.dumps([inputs.plan, data, inputs.judges, inputs.counterbench], sort_keys=True)


def _difference(first: NamedRecord, other: NamedRecord) -> str:
    try:
        scored.require_comparable(first.record, other.record, first.path, other.path)
    except RecordError as error:
        return str(error)
    return "it took another exam"


def _scored(comparable: Sequence[NamedRecord]) -> tuple[list[ScoredRecord], list[str]]:
    """(those with scores of their own, notes on the others)."""
    own, notes = [], []
    for one in comparable:
        try:
            scored.require_comparable(comparable[0].record, one.record, comparable[0].path, one.path)
            scored.require_own(
                one.path, ScoredRecord(one.name, one.record, dict(totals.read(one.path, merge=True).numbers))
            )
            own.append(one)
        except RecordError as error:
            notes.append(f"{one.name} has no rank: {error}")
    try:
        scores = scored.totals_of([one.path for one in own]) if own else []
    except RecordError as error:
        return [], [*notes, f"no ranks: {error}"]
    rows = [ScoredRecord(one.name, one.record, dict(units.numbers)) for one, units in zip(own, scores, strict=True)]
    return [ScoredRecord(row.name, row.record, _rankable(row)) for row in rows], notes


def _at_any_temperature(model: ScoredRecord) -> dict[Key, Ratios]:
    known = model.record.by_key
    return {key: ratios for key, ratios in model.ratios.items() if not known[key].depends_on_temperature}


def _rankable(model: ScoredRecord) -> dict[Key, Ratios]:
    """A record's headline numbers that count: no cost, for that is no matter of chance, none of a judge that the model was trained
    against, none that says of itself that it cannot be ranked, and no error of attributes that were never claimed."""
    known = model.record.by_key
    unclaimed = model.record.coverage is not None and not model.record.coverage.claimed
    return {
        key: ratios
        for key, ratios in model.ratios.items()
        if key in known
        and known[key].role not in ("resource", "detail")
        and not known[key].leaked
        and not known[key].no_rank
        and not (unclaimed and known[key].given)
    }


def _ranks(scored: Sequence[ScoredRecord], differences: Sequence[Difference]) -> dict[str, dict[Key, int]]:
    beaten = Counter(
        (one.second if one.better == one.first else one.first, one.key) for one in differences if one.better is not None
    )
    known = Counter(key for model in scored for key in model.ratios)
    return {
        model.name: {key: 1 + beaten[model.name, key] for key in model.ratios if known[key] > 1} for model in scored
    }


def _means(
    scored: Sequence[ScoredRecord], ranks: Mapping[str, Mapping[Key, int]]
) -> tuple[dict[str, float], dict[str, int]]:
    """(mean ranks, how many numbers somebody lacks for one): what at least half of the models have is what is needed."""
    known = Counter(key for own in ranks.values() for key in own)
    numbers = {key: number for model in scored for key, number in model.record.by_key.items()}
    needed = [key for key, count in known.items() if 2 * count >= len(scored) and counts(numbers[key])]
    metrics: dict[str, list[Key]] = {}
    for key in needed:
        metrics.setdefault(key[0], []).append(key)
    means, lacking = {}, {}
    for name, own in ranks.items():
        if missing := sum(key not in own for key in needed):
            lacking[name] = missing
        elif needed:
            means[name] = float(np.mean([np.mean([own[key] for key in keys]) for keys in metrics.values()]))
    return means, lacking


def counts(number: Number) -> bool:
    """Whether a number counts in mean ranks: no diagnosis, for that says why a model answers as it does and only of models that tell
    their noise, and no skill, for that is the same error once more."""
    return number.role != "diagnosis" and number.kind != "skill"
