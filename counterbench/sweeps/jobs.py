"""From a sweep to its jobs: which commands there are, in which order, and where they write."""

from __future__ import annotations

import hashlib
import itertools
import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple

from counterbench import models
from counterbench.catalog.recipes import Recipe, RowsEntry, as_yaml
from counterbench.catalog.sweeps import Sweep, SweepAdapt, SweepDistil, SweepJudges, SweepModel
from counterbench.datasets import loading
from counterbench.datasets.selection import rows_of
from counterbench.errors import ConfigError
from counterbench.models.adaptation import adapter_of, made
from counterbench.models.baselines import BASELINES
from counterbench.models.loading import find_recipe
from counterbench.plugins import registry
from counterbench.plugins.factory import options_of
from counterbench.storage.files import MANIFEST, slug, write_text
from counterbench.training.adaptation import adapted_recipe, parsed_adapter, start_recipe
from counterbench.training.feeding import parsed_feed
from counterbench.training.graphs import with_graph

Kind = Literal["data", "baselines", "train", "judge", "student", "share", "evaluate"]
KINDS: tuple[Kind, ...] = ("data", "baselines", "train", "judge", "student", "share", "evaluate")
"""In the order of their numbers."""
STAGES: tuple[tuple[Kind, ...], ...] = (
    ("data",),
    ("baselines", "train", "judge"),
    ("student",),
    ("share",),
    ("evaluate",),
)
"""Jobs of one stage may run at once; a stage needs what those before it have made."""
_FIRST = "identity"
"""The row that is evaluated first in every exam: with it all baselines are examined, once for all models."""


@dataclass(frozen=True)
class Job:
    """One command.

    Args:
        number: in the sweep, from 1.
        kind: data (render or read it once), baselines (examine them once), train, judge (train one further), student (train on what another model makes), share (of an evaluation) or evaluate.
        name: which cell of the matrix it is.
        words: of the command, after `counterbench`; folders are relative to that of the sweep.
        output: the folder that it writes, relative to that of the sweep; "" for none.
        needs: numbers of the jobs that must be done before.
        threads: of the CPU.
        row: of an evaluation of one of several trainings: what they are together; "" for others.
    """

    number: int
    kind: Kind
    name: str
    words: tuple[str, ...]
    output: str = ""
    needs: tuple[int, ...] = ()
    threads: int = 1
    row: str = ""

    @property
    def key(self) -> str:
        """What makes two jobs the same, whatever their numbers: the command. Files about a job are named after it."""
        content = json.dumps([*self.words, self.threads])
        return f"{self.kind}-{self.name}-{hashlib.sha256(content.encode()).hexdigest()[:8]}"


@dataclass(frozen=True)
class _Variant:
    """One model of the matrix on one dataset: its name, the word for it on the command line, whether there is anything to train, and of a
    student its feed and the name of its teacher."""

    name: str
    word: str
    trainable: bool
    feed: str = ""
    teacher: str = ""
    chosen: bool = False
    """Whether the recipe says how many rows it is trained on."""


class _Entry(NamedTuple):
    """A job without its number."""

    kind: Kind
    name: str
    words: tuple[str, ...]
    output: str
    needs: tuple[str, ...]
    row: str


@dataclass
class _Listing:
    """Jobs as they are found, numbered in the end."""

    sweep: Sweep
    found: list[_Entry] = field(default_factory=list)

    def add(
        self,
        kind: Kind,
        name: str,
        words: Sequence[str],
        output: str = "",
        *,
        needs: Sequence[str] = (),
        row: str = "",
    ) -> str:
        """Keep a job; returns the word by which others need it."""
        plugins = [word for plugin in self.sweep.plugins for word in ("--plugin", _located(plugin))]
        self.found.append(_Entry(kind, name, (*plugins, *words), output, tuple(needs), row))
        return f"{kind} {name}"

    def jobs(self) -> list[Job]:
        counts = Counter(f"{entry.kind} {entry.name}" for entry in self.found)
        if twice := [job for job, count in counts.items() if count > 1]:
            raise ConfigError(
                f"Two entries of the sweep make the job {twice[0]!r}; put them into one entry, or into two sweeps."
            )
        ordered = sorted(self.found, key=lambda entry: KINDS.index(entry.kind))
        numbers = {f"{entry.kind} {entry.name}": number for number, entry in enumerate(ordered, 1)}
        return [
            Job(
                number,
                entry.kind,
                entry.name,
                entry.words,
                entry.output,
                tuple(numbers[one] for one in entry.needs),
                self.sweep.threads,
                entry.row,
            )
            for number, entry in enumerate(ordered, 1)
        ]


def expand(sweep: Sweep, folder: Path | None = None) -> list[Job]:
    """All jobs of a sweep, always in the same order.

    Args:
        sweep: the matrix.
        folder: of the sweep, where recipes with other options are written; None to write nothing.

    Raises:
        UnknownNameError: for a dataset or a model that is not there. ConfigError: for options that no recipe has.
    """
    for plugin in sweep.plugins:
        registry.load_plugin(plugin)
    listing = _Listing(sweep)
    for dataset, source in _sources(sweep):
        _list_dataset(listing, dataset, source, folder)
    return listing.jobs()


def _sources(sweep: Sweep) -> Iterator[tuple[str, str]]:
    for entry in sweep.datasets:
        card = loading.card(entry.dataset)
        for source in entry.sources or (card.default_source,):
            if source not in card.sources:
                raise ConfigError(f"{entry.dataset} has no source {source!r}; choose from {', '.join(card.sources)}.")
            yield entry.dataset, source


def _list_dataset(listing: _Listing, dataset: str, source: str, folder: Path | None) -> None:
    sweep = listing.sweep
    place = ["--dataset", _located(dataset), "--source", source]
    if sweep.data_dir is not None:
        place += ["--data-dir", str(Path(sweep.data_dir).expanduser().resolve())]
    where = f"{slug(Path(dataset).stem)}-{source}"
    ready = listing.add("data", where, ["data", "prepare", *place])
    if sweep.judges is not None:
        _list_judges(listing, sweep.judges, place, where, ready)
    if not sweep.models:
        return
    variants = [variant for entry in sweep.models for variant in _variants(entry, dataset, folder)]
    exams = {}
    for suite in sweep.suites:
        name = f"{_FIRST}-{where}-{slug(Path(suite).stem)}"
        words = _evaluation(sweep, _FIRST, place, suite, name)
        exams[suite] = listing.add("baselines", name, words, f"records/{name}", needs=[ready])
    for variant in variants:
        if variant.name == _FIRST:
            continue
        trained = sweep.seeds if variant.trainable else ()
        for seed in trained or (None,):
            cell = f"{variant.name}-{where}" + ("" if seed is None else f"-seed{seed}")
            word, needs = variant.word, []
            if seed is not None:
                word, before = f"trained/{cell}", [ready]
                words = _training(sweep, variant, place, seed, word)
                if variant.teacher:
                    taught_by = f"{variant.teacher}-{where}-seed{seed}"
                    words += ["--feed", variant.feed, "--teacher", f"trained/{taught_by}"]
                    before.append(f"train {taught_by}")
                needs = [listing.add("student" if variant.teacher else "train", cell, words, word, needs=before)]
            for suite in sweep.suites:
                name = f"{cell}-{slug(Path(suite).stem)}"
                row = f"{variant.name}-{where}-{slug(Path(suite).stem)}" if len(trained) > 1 else ""
                words = _evaluation(sweep, word, place, suite, name)
                _list_evaluation(listing, name, words, needs=[*needs, exams[suite]], row=row)


def _list_judges(listing: _Listing, judges: SweepJudges, place: list[str], where: str, ready: str) -> None:
    """Judges, trained further in every combination."""
    init = str(Path(judges.init).resolve()) if Path(judges.init).is_dir() else judges.init
    read = [word for name in judges.variables for word in ("--variable", name)]
    chosen = [
        word for name, values in judges.where.items() for word in ("--where", f"{name}={','.join(map(str, values))}")
    ]
    ways = itertools.product(
        judges.kinds, judges.limits or (None,), judges.learning_rates or (None,), listing.sweep.seeds
    )
    for kind, limit, rate, seed in ways:
        made(parsed_adapter(kind), f"The adapter {kind!r}")  # fail now rather than in every training
        options = {"--limit": limit, "--learning-rate": rate, "--steps": judges.steps, "--seed": seed}
        more = [word for option, value in options.items() if value is not None for word in (option, str(value))]
        name = f"{_called('-'.join(judges.variables), kind, limit, rate)}-{where}-seed{seed}"
        output = f"judges/{name}"
        words = ["train-judges", *place, *read, "--init", init, "--adapt", kind, *chosen, *more]
        listing.add(
            "judge",
            name,
            [*words, "--output", output, "--device", listing.sweep.device, "--quiet"],
            output,
            needs=[ready],
        )


def _called(name: str, kind: str, limit: int | None, rate: float | None) -> str:
    """What a way of adapting is called in names of files."""
    named = [name, kind, *([] if limit is None else [f"n{limit}"]), *([] if rate is None else [f"rate{rate:g}"])]
    return slug(re.sub("[^A-Za-z0-9.]+", "-", "-".join(named)).strip("-"))


def _list_evaluation(listing: _Listing, name: str, words: list[str], *, needs: list[str], row: str) -> None:
    """An evaluation, and the shares that it collects, if there are any."""
    shares, output = listing.sweep.shares, f"records/{name}"
    if shares > 1:
        needs = needs + [
            listing.add(
                "share",
                f"{name}-{number}-of-{shares}",
                [*words, "--share", f"{number}/{shares}"],
                output,
                needs=needs,
            )
            for number in range(1, shares + 1)
        ]
    listing.add("evaluate", name, words, output, needs=needs, row=row)


def _located(name: str) -> str:
    """A name as it is, and a file by its whole path: jobs run in the folder of the sweep."""
    return str(Path(name).resolve()) if name.endswith((".yaml", ".yml", ".py")) else name


def _training(sweep: Sweep, variant: _Variant, place: list[str], seed: int, output: str) -> list[str]:
    words = [
        "train",
        "--model",
        variant.word,
        *place,
        "--seed",
        str(seed),
        "--output",
        output,
        "--device",
        sweep.device,
    ]
    if sweep.budget.epochs is not None:
        words += ["--epochs", str(sweep.budget.epochs)]
    if sweep.budget.samples is not None and not (variant.teacher or variant.chosen):
        words += ["--limit", str(sweep.budget.samples)]
    return [*words, "--resume", "--quiet"]


def _evaluation(sweep: Sweep, model: str, place: list[str], suite: str, name: str) -> list[str]:
    words = [
        "evaluate",
        "--model",
        model,
        *place,
        "--suite",
        suite,
        "--output",
        f"records/{name}",
        "--device",
        sweep.device,
    ]
    if sweep.budget.limit is not None:
        words += ["--limit", str(sweep.budget.limit)]
    words += ["--keep-answers"] * sweep.keep_answers
    return [*words, "--workers", str(sweep.threads), "--quiet"]


def _variants(entry: SweepModel, dataset: str, folder: Path | None) -> Iterator[_Variant]:
    """The models that an entry stands for, on one dataset."""
    if entry.adapt is not None:
        yield from _adapted(entry.model, entry.adapt, dataset, folder)
        return
    if entry.distil is not None:
        yield from _distilled(entry.model, entry.distil, dataset, folder)
        return
    if entry.graphs:
        yield from _rewired(entry.model, entry.graphs, dataset, folder)
        return
    listed = {path: value if isinstance(value, list) else [value] for path, value in entry.options.items()}
    trained = (Path(entry.model) / MANIFEST).is_file()
    if entry.model in (*BASELINES, *registry.models.names()) or trained:
        if listed:
            raise ConfigError(f"{entry.model} has no recipe, so it takes no options in a sweep.")
        yield _Variant(
            slug(Path(entry.model).name), str(Path(entry.model).resolve()) if trained else entry.model, False
        )
        return
    recipe, _ = find_recipe(entry.model, loading.card(dataset))
    if not listed:
        yield _Variant(slug(recipe.name), _located(entry.model), True)
        return
    for values in itertools.product(*listed.values()):
        chosen = dict(zip(listed, values, strict=True))
        content = with_options(recipe, chosen)
        named = "-".join(f"{option.rpartition('.')[2]}-{value}" for option, value in chosen.items())
        name = slug(f"{recipe.name}-{named}")
        _require_buildable(content, dataset)
        yield _Variant(name, _recipe_file({**content, "name": name}, dataset, folder), True)


def _adapted(model: str, adapt: SweepAdapt, dataset: str, folder: Path | None) -> Iterator[_Variant]:
    """The trained model as it is, then every way in which it is trained further."""
    loaded = loading.load(dataset)
    init = str(Path(model).resolve()) if (Path(model) / MANIFEST).is_file() else _located(model)
    base = start_recipe(None, init, loaded)
    yield _Variant(slug(f"{base.name}-as-it-is"), init, False)
    for kind, limit, rate in itertools.product(adapt.kinds, adapt.limits or (None,), adapt.learning_rates or (None,)):
        rows = RowsEntry(where=adapt.where, limit=limit)
        recipe = base if rows == RowsEntry() else base.model_copy(update={"rows": rows})
        opened = parsed_adapter(kind)
        recipe = adapted_recipe(
            recipe, loaded.card.image or "", opened, learning_rate=rate, steps=adapt.steps, keep=adapt.keep
        )
        name = _called(base.name, kind, limit, rate)
        rows_of(recipe, loaded)  # fail now rather than in every training
        adapter_of(recipe.mechanisms[loaded.card.image or ""].training[0], name)
        yield _Variant(name, _recipe_file({**recipe.content(), "name": name}, dataset, folder), True)


def _rewired(model: str, graphs: Sequence[str], dataset: str, folder: Path | None) -> Iterator[_Variant]:
    """The same mechanisms under several graphs of the attributes."""
    loaded = loading.load(dataset)
    recipe, _ = find_recipe(model, loaded.card)
    for graph in graphs:
        other = with_graph(recipe, graph, loaded, seed=recipe.seed)
        _require_buildable(other.content(), dataset)
        yield _Variant(other.name, _recipe_file(other.content(), dataset, folder), True)


def _distilled(model: str, distil: SweepDistil, dataset: str, folder: Path | None) -> Iterator[_Variant]:
    """The teacher, then a student for every feed."""
    loaded = loading.load(dataset)
    recipe, _ = find_recipe(model, loaded.card)
    rows = RowsEntry(where=distil.where, limit=distil.limit)
    recipe = recipe if rows == RowsEntry() else recipe.model_copy(update={"rows": rows})
    rows_of(recipe, loaded)  # fail now rather than in every training
    if distil.feed is not None:
        recipe = recipe.model_copy(update={"feed": parsed_feed(distil.feed, None)})
    teacher = slug(f"{recipe.name}-teacher")
    yield _Variant(
        teacher,
        _recipe_file({**recipe.content(), "name": teacher}, dataset, folder),
        True,
        chosen=distil.limit is not None,
    )
    student, _ = find_recipe(distil.student or model, loaded.card)
    for feed in distil.students:
        entry = parsed_feed(feed, None)
        family = registry.feeds.get(entry.kind)
        if family.real:
            raise ConfigError(
                f"The feed {entry.kind!r} takes real rows; a student learns from synthetic or filtered ones."
            )
        if unknown := [option for option in entry.options if option not in options_of(family, 1)]:
            raise ConfigError(f"The feed {entry.kind!r} has no option {unknown[0]!r}.")
        name = _called(student.name, feed, None, None)
        yield _Variant(name, _recipe_file({**student.content(), "name": name}, dataset, folder), True, feed, teacher)


def with_options(recipe: Recipe, chosen: Mapping[str, Any]) -> dict[str, Any]:
    """What a recipe says, with some values changed.

    Args:
        recipe: as it is.
        chosen: path -> value; steps of a path are keys, and positions in lists, from 0: `mechanisms.image.stages.0.fit.steps`.

    Raises:
        ConfigError: for a path that leads nowhere, or a value that no recipe may have.
    """
    content: dict[str, Any] = json.loads(json.dumps(recipe.content()))
    content.setdefault("answer", None)
    for path, value in chosen.items():
        *way, last = path.split(".")
        place: Any = content
        for step in way:
            place = _inside(place, step, path)
        if isinstance(place, list):
            _inside(place, last, path)
            place[int(last)] = value
        elif isinstance(place, dict) and (last in place or way[-1:] in (["options"], ["answer"])):
            place[last] = value
        else:
            raise _nowhere(path, place)
    try:
        Recipe.model_validate(content)
    except ValueError as error:
        raise ConfigError(
            f"With {', '.join(f'{path}: {value}' for path, value in chosen.items())} {recipe.name} is no recipe: {error}"
        ) from error
    return content


def _require_buildable(content: dict[str, Any], dataset: str) -> None:
    """Fail now rather than in every training: the mechanisms take these options."""
    loaded = loading.load(dataset)
    models.build_for(Recipe.model_validate(content), loaded)


def _inside(place: Any, step: str, path: str) -> Any:
    if isinstance(place, dict) and step in place:
        return place[step]
    if isinstance(place, list) and step.isdecimal() and int(step) < len(place):
        return place[int(step)]
    raise _nowhere(path, place)


def _nowhere(path: str, place: Any) -> ConfigError:
    there = list(place) if isinstance(place, dict) else range(len(place)) if isinstance(place, list) else []
    return ConfigError(
        f"The option {path!r} leads nowhere in the recipe; at its last known step there are: {', '.join(map(str, there)) or 'no further ones'}."
    )


def _recipe_file(content: dict[str, Any], dataset: str, folder: Path | None) -> str:
    """Where the recipe of a variant lies, relative to the sweep's folder; it is written there unless it is there or there is no folder."""
    word = f"recipes/{content['name']}-{slug(Path(dataset).stem)}.yaml"
    if folder is not None:
        path, text = folder / word, as_yaml(content)
        if not path.exists() or path.read_text("utf-8") != text:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_text(path, text)
    return word
