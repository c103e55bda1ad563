"""The whole of a search: its trials, random search and fixed ways beside it, and what won with fresh seeds."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

from counterbench.catalog.recipes import as_yaml
from counterbench.catalog.studies import Study
from counterbench.errors import ConfigError
from counterbench.pictures.fronts import FrontPicture
from counterbench.search.objectives import dominates, front, losses
from counterbench.search.space import Way, chosen, without_search
from counterbench.search.studies import Search, require_same
from counterbench.search.trials import Laboratory, Outcome, plain, points
from counterbench.storage.files import write_text

_POLL = 1.0
"""Seconds between looks at what others are making."""
SEARCH, RANDOM, BESIDE, AGAIN = "search", "random", "beside", "again"
GROUPS = (SEARCH, RANDOM, BESIDE)


@dataclass(frozen=True)
class Report:
    """What a study has found.

    Args:
        study: what was searched.
        directions: of the objectives.
        start: the model as it is.
        groups: `search`, `random`, `beside` -> what came out, in the order of the trials.
        fronts: the same -> names of those that none of the group is better than; of `beside`, of each kind by itself.
        again: name of a trial -> the same with fresh seeds.
    """

    study: Study
    directions: Sequence[str]
    start: Outcome
    groups: Mapping[str, Sequence[Outcome]]
    fronts: Mapping[str, Sequence[str]]
    again: Mapping[str, Sequence[Outcome]]

    def outcome(self, name: str) -> Outcome:
        """A trial by its name."""
        return next(one for found in self.groups.values() for one in found if one.name == name)

    def fresh(self, name: str) -> dict[str, float]:
        """Objective -> median over fresh seeds; empty where there are none."""
        values = [one.values for one in self.again.get(name, ()) if one.values]
        return {key: median(one[key] for one in values) for key in self.study.objectives} if values else {}

    @property
    def stays(self) -> list[str]:
        """Which of those that were trained anew none of them is better than, by their medians."""
        medians = {name: list(fresh.values()) for name in self.again if (fresh := self.fresh(name))}
        return front(medians, self.directions)

    def covered(self, one: str, other: str) -> float | None:
        """Share of a group's front of which something on another group's front is better (Zitzler's C); None where there is none."""
        here, there = (
            [losses(self.outcome(name).values.values(), self.directions) for name in self.fronts[group]]
            for group in (one, other)
        )
        return sum(any(dominates(a, b) for a in here) for b in there) / len(there) if there else None

    @property
    def seconds(self) -> dict[str, float]:
        """What each part has cost."""
        spent = {group: sum(one.seconds for one in found) for group, found in self.groups.items()}
        return {**spent, AGAIN: sum(one.seconds for several in self.again.values() for one in several)}


def tune(
    study: Study,
    folder: Path,
    *,
    data_dir: Path | None = None,
    tell: Callable[[str], None] = lambda line: None,
) -> Report:
    """Make all trials of a study that are not made, and collect them.

    Args:
        study: what is searched.
        folder: of the results; several processes may work in it at once.
        data_dir: where published data lies.
        tell: is told about every trial that is done.

    Returns:
        Everything, once all trials are done: those that other processes are making are waited for, and taken over if these die.

    Raises:
        ConfigError: for a study that cannot be, or a folder with another one. UnavailableError: without Optuna.
    """
    laboratory = Laboratory(study, folder, data_dir=data_dir)
    worker = _Worker(laboratory, tell)
    worker.require_possible()
    require_same(folder, plain(study))
    start = worker.made("as-it-is", None, study.seed)
    directions = laboratory.directions()
    counts = {SEARCH: study.trials, RANDOM: study.trials if study.random is None else study.random}
    groups: dict[str, list[Outcome]] = {}
    for group, count in counts.items():
        sampler = study.sampler if group == SEARCH else "random"
        seed = study.seed if group == SEARCH else study.seed + 1
        search = Search(folder, group, directions, sampler, study.population, seed)
        groups[group] = worker.searched(search, count) if count else []
    fixed = {f"{BESIDE}-{number:04d}": way for number, way in enumerate(without_search(study))}
    groups[BESIDE] = worker.all_of({name: (way, study.seed) for name, way in fixed.items()})
    fronts = {group: front(points(found), directions) for group, found in groups.items() if group != BESIDE}
    fronts[BESIDE] = _of_each_kind(groups[BESIDE], directions)
    won = [one for group in GROUPS for one in groups[group] if one.name in fronts[group]]
    anew = {f"{one.name}-seed{seed}": (Way.read(one.tried), seed) for one in won for seed in study.fresh_seeds}
    found = {one.name: one for one in worker.all_of(anew)}
    again = {one.name: [found[f"{one.name}-seed{seed}"] for seed in study.fresh_seeds] for one in won}
    return Report(study, directions, start, groups, fronts, again)


class _Worker:
    """Makes those trials that nobody else is making.

    Args:
        laboratory: where.
        tell: is told about every trial that is done.
    """

    def __init__(self, laboratory: Laboratory, tell: Callable[[str], None]):
        self.laboratory, self.tell = laboratory, tell

    def require_possible(self) -> None:
        """Fail now for what could not be trained: unknown kinds, masks of a model without blocks, mitigations of another objective."""
        study, laboratory = self.laboratory.study, self.laboratory
        for way in without_search(study):
            laboratory.recipe(way, "beside")
        for kind in study.space.kinds:
            way = chosen(_First(kind), study.space, laboratory.blocks)
            laboratory.recipe(way, "first")
            laboratory.require_opens(way)

    def made(self, name: str, way: Way | None, seed: int) -> Outcome:
        """One trial, by whomever."""
        return self.all_of({name: (way, seed)})[0]

    def all_of(self, trials: Mapping[str, tuple[Way | None, int]]) -> list[Outcome]:
        """Some trials, in their order: those that nobody is at are made, the others waited for."""
        done: dict[str, Outcome] = {}
        while len(done) < len(trials):
            for name, (way, seed) in trials.items():
                if name not in done and (outcome := self._tried(name, way, seed)) is not None:
                    done[name] = outcome
            if len(done) < len(trials):
                time.sleep(_POLL)
        return [done[name] for name in trials]

    def _tried(self, name: str, way: Way | None, seed: int) -> Outcome | None:
        """One trial; None while somebody else is at it."""
        known = self.laboratory.outcome(name)
        if known is None:
            with self.laboratory.held(name) as ours:
                if not ours:
                    return None
                begun = self.laboratory.outcome(name) is None
                known = self.laboratory.as_it_is() if way is None else self.laboratory.run(way, name, seed)
            if begun:
                self.tell(described(known))
        if way is not None and known.tried != way.plain():
            raise ConfigError(
                f"{self.laboratory.folder} holds {name} of another study ({known.way} instead of {way}); choose another --output."
            )
        return known

    def searched(self, search: Search, count: int) -> list[Outcome]:
        """The trials of a search."""
        study, laboratory = self.laboratory.study, self.laboratory

        def choose(trial: Any) -> Way | None:
            way = chosen(trial, study.space, laboratory.blocks)
            return None if way.opens_nothing else way

        def named(number: int) -> str:
            return f"{search.name}-{number:04d}"

        def score(way: Way, number: int) -> Sequence[float] | None:
            outcome = laboratory.run(way, named(number), study.seed)
            self.tell(described(outcome))
            return list(outcome.values.values()) or None

        search.run(count, choose, score, free=lambda number: laboratory.held(named(number)))
        while search.open_trials():  # somebody else's, or left by somebody who died meanwhile
            time.sleep(_POLL)
            search.run(count, choose, score, free=lambda number: laboratory.held(named(number)))
        numbers = [trial.number for trial in search.study().get_trials() if trial.state.name != "PRUNED"]
        found = [laboratory.outcome(named(number)) for number in numbers]
        return [one for one in found if one is not None]


class _First:
    """Chooses one kind, every block, and the first of everything else."""

    def __init__(self, kind: str):
        self.kind = kind

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        return self.kind if name == "kind" else choices[-1]

    def suggest_float(self, name: str, low: float, high: float, *, log: bool = False) -> float:
        return low


def _of_each_kind(found: Sequence[Outcome], directions: Sequence[str]) -> list[str]:
    kinds: dict[str, list[Outcome]] = {}
    for one in found:
        kinds.setdefault(json.dumps(one.tried["adapt"], sort_keys=True), []).append(one)
    return [name for several in kinds.values() for name in front(points(several), directions)]


def described(outcome: Outcome) -> str:
    """One line about a trial."""
    said = ", ".join(f"{name} {value:.3g}" for name, value in outcome.values.items())
    return f"{outcome.name}: {outcome.way}: {said or outcome.why} ({outcome.seconds:.0f} s)"


def write_front(report: Report, folder: Path, laboratory: Laboratory) -> list[Path]:
    """The recipes on the front of the search, as files that `train --model` takes."""
    written = []
    for name in report.fronts[SEARCH]:
        recipe = laboratory.recipe(Way.read(report.outcome(name).tried), name)
        path = folder / "front" / f"{name}.yaml"
        write_text(path, as_yaml(recipe.content()))
        written.append(path)
    return written


def as_json(report: Report) -> str:
    """Everything, as plain data."""
    plain_report = {
        "study": report.study.model_dump(mode="json"),
        "directions": dict(zip(report.study.objectives, report.directions, strict=True)),
        "start": asdict(report.start),
        "groups": {group: [asdict(one) for one in found] for group, found in report.groups.items()},
        "fronts": {group: list(names) for group, names in report.fronts.items()},
        "again": {name: [asdict(one) for one in several] for name, several in report.again.items()},
        "stays": report.stays,
        "covered": {
            "random_by_search": report.covered(SEARCH, RANDOM),
            "search_by_random": report.covered(RANDOM, SEARCH),
        },
        "seconds": report.seconds,
    }
    return json.dumps(plain_report, indent=1) + "\n"


def as_markdown(report: Report) -> str:
    """A table for people."""
    objectives = report.study.objectives
    heads = ["trial", "what", "numbers", *objectives, *(f"{name}, fresh" for name in objectives), "stays"]
    lines = ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    rows = [report.start, *(report.outcome(name) for group in GROUPS for name in report.fronts[group])]
    for one in rows:
        fresh = report.fresh(one.name)
        cells = [one.name, one.way, f"{one.opened:,}", *(f"{one.values[name]:.3g}" for name in objectives)]
        cells += [f"{fresh[name]:.3g}" if fresh else "-" for name in objectives]
        lines.append("| " + " | ".join([*cells, "yes" if one.name in report.stays else "-"]) + " |")
    count = len(report.study.fresh_seeds)
    said = {"random by search": report.covered(SEARCH, RANDOM), "search by random": report.covered(RANDOM, SEARCH)}
    covered = "; ".join(f"{what} {share:.0%}" for what, share in said.items() if share is not None)
    spent = ", ".join(f"{group} {seconds:.0f}" for group, seconds in report.seconds.items())
    lines += [
        "",
        f"Fronts of the search ({len(report.groups[SEARCH])} trials), of random search ({len(report.groups[RANDOM])}) and of what was trained without a search. "
        f"Fresh: medians over {count} other training seeds; who wins a search has been lucky too. Stays: nothing that was trained anew is better than it in everything.",
        "",
        *([f"Share of a front that the other front is better than: {covered}.", ""] if covered else []),
        f"Seconds: {spent}.",
    ]
    return "\n".join(lines) + "\n"


def picture(report: Report) -> FrontPicture:
    """What is drawn of a search."""
    signs = {"lower": "less is better", "higher": "more is better"}
    fresh = {name: list(values.values()) for name in report.again if (values := report.fresh(name))}
    labels = {name: report.outcome(name).way.partition(" ")[0] for name in report.fronts[BESIDE]}
    labels |= {name: name.removeprefix(f"{SEARCH}-") for name in report.fronts[SEARCH]}
    return FrontPicture(
        [f"{name} ({signs[way]})" for name, way in zip(report.study.objectives, report.directions, strict=True)],
        {group: points(found) for group, found in report.groups.items()},
        report.fronts,
        labels,
        fresh,
        list(report.start.values.values()),
    )
