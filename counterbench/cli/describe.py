"""Texts of `list` and `show`: one line for each component, or everything about one."""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from counterbench import datasets
from counterbench.catalog.cards import Card, Instrument, JudgeEntry, SourceEntry
from counterbench.catalog.generated import PATTERN, is_generated
from counterbench.catalog.judge_recipes import JudgeRecipe, find_judge_recipe, judge_recipe_paths
from counterbench.catalog.reading import declared_in
from counterbench.catalog.recipes import ANY, Recipe, read_recipe, recipe_paths
from counterbench.catalog.suites import Suite, find_suite, suite_paths
from counterbench.catalog.sweeps import find_sweep, sweep_paths
from counterbench.cli.known import metrics_called
from counterbench.errors import UnknownNameError
from counterbench.plugins import extras, registry, summaries
from counterbench.runtime.words import counted

if TYPE_CHECKING:
    from counterbench.plans.plan import Line

Lines = list[tuple[str, str]]


def _models() -> Lines:
    """Recipes by name: what they are, then the datasets that have one."""
    grouped: dict[str, list[tuple[str, Recipe]]] = {}
    for (dataset, name), path in recipe_paths().items():
        grouped.setdefault(name, []).append((dataset, read_recipe(path)))
    lines = []
    for name, of in sorted(grouped.items()):
        lines.append((name, of[0][1].title))
        lines += [("", f"  {dataset}{_weights(recipe)}") for dataset, recipe in of]
    return [*lines, *_baselines(), *((name, "plug-in") for name in registry.models.names())]


def _baselines() -> Lines:
    """From the source: the baselines themselves need torch."""
    return [
        (name, f"baseline: {words}")
        for name, words in summaries.of_members("counterbench.models.baselines", "BASELINES").items()
    ]


def _weights(recipe: Recipe) -> str:
    return f" (weights for: {', '.join(recipe.weights)})" if recipe.weights else " (untrained)"


def _datasets() -> Lines:
    cards = [datasets.card(name) for name in datasets.names()]
    listed = [(card.name, f"{card.title} (sources: {', '.join(card.sources)})") for card in cards]
    return [*listed, (PATTERN, "Random causal models without images, such as scm-anm-5-8-0")]


def _sweeps() -> Lines:
    return [(name, find_sweep(name).title) for name in sweep_paths()]


def _suites() -> Lines:
    return [(name, find_suite(name).description.strip()) for name in suite_paths()]


def _components(kind: registry.Registry[Any]) -> Lines:
    return [(name, f"{kind.summary(name)}{_unavailable(kind, name)}") for name in kind.names()]


def _unavailable(kind: registry.Registry[Any], name: str) -> str:
    """What to add where a component cannot be used for want of an extra."""
    line = kind.lacks(name)
    return f" (unavailable: {line})" if line else ""


KINDS: dict[str, Callable[[], Lines]] = {
    "models": _models,
    "datasets": _datasets,
    "metrics": lambda: _components(registry.metrics),
    "suites": _suites,
    "sweeps": _sweeps,
    "mechanisms": lambda: _components(registry.mechanisms),
    "objectives": lambda: _components(registry.objectives),
    "weightings": lambda: _components(registry.weightings),
    "feeds": lambda: _components(registry.feeds),
    "adapters": lambda: _components(registry.adapters),
    "discoverers": lambda: _components(registry.discoverers),
    "judges": lambda: _components(registry.judges),
    "judge-recipes": lambda: [(name, find_judge_recipe(name).title) for name in judge_recipe_paths()],
    "segmenters": lambda: _components(registry.segmenters),
    "architectures": lambda: list(summaries.of_members("counterbench.networks.classifiers", "ARCHITECTURES").items()),
    "features": lambda: _components(registry.features),
    "recognisers": lambda: _components(registry.recognisers),
}


_OPTIONS = "Args:\n"
"""Where a docstring begins to tell of options."""


def describe(name: str, dataset: str | None = None) -> str:
    """Everything about the thing called `name`, or declared in the file `name`; about each of them if several kinds have it.

    Args:
        name: of a dataset, recipe, suite or component, in any case; a word of the field, such as FID, leads to its metric.
        dataset: whose recipe; None for the first one, with the names of the others.

    Raises:
        UnknownNameError: with the closest match and the list.
    """
    if name.endswith((".yaml", ".yml")):
        return _describe_file(Path(name))
    every = _all_names()
    if name not in every and name.lower() in every:
        name = name.lower()
    if dataset is not None and (of_dataset := _recipes_called(name, dataset)):
        return of_dataset[0]
    descriptions = []
    if name in datasets.names() or is_generated(name):
        descriptions.append(_describe_dataset(name))
    descriptions += _recipes_called(name, None)
    if name in suite_paths():
        descriptions.append(_describe_suite(find_suite(name)))
    if name in judge_recipe_paths():
        descriptions.append(_describe_judge_recipe(find_judge_recipe(name)))
    descriptions += [f"{baseline}\n\n{words}" for baseline, words in _baselines() if baseline == name]
    for kind in (
        registry.metrics,
        registry.mechanisms,
        registry.objectives,
        registry.weightings,
        registry.feeds,
        registry.adapters,
        registry.discoverers,
        registry.judges,
        registry.segmenters,
        registry.features,
        registry.recognisers,
        registry.models,
    ):
        known = kind.renamed.get(name, name)
        if known in kind:
            descriptions.append(_describe_component(kind, known))
    if not descriptions:
        descriptions = [_describe_component(registry.metrics, metric) for metric in metrics_called(name)]
    if not descriptions:
        raise UnknownNameError("name", name, every)
    return "\n\n".join(descriptions)


def _recipes_called(name: str, dataset: str | None) -> list[str]:
    """The recipe of a dataset; without one the first, and which other datasets have one."""
    there = {of: path for (of, called), path in recipe_paths().items() if called == name}
    if not there:
        return []
    if dataset is not None and dataset not in there:
        raise UnknownNameError(f"dataset with a recipe {name!r}", dataset, there)
    first = dataset or (_DEFAULT if _DEFAULT in there else next(iter(there)))
    others = ", ".join(of for of in there if of != first)
    told = [f"{name} is also a recipe for {others}: --dataset NAME shows it"] if others and dataset is None else []
    return ["\n\n".join([_describe_recipe(read_recipe(there[first]), first), *told])]


_DEFAULT = "morphomnist"
"""The dataset where none is named."""


def _describe_file(path: Path) -> str:
    declared = declared_in(path)
    if declared == "recipe":
        recipe = read_recipe(path)
        return _describe_recipe(recipe, recipe.dataset)
    return _describe_dataset(str(path)) if declared == "card" else _describe_suite(find_suite(str(path)))


def _all_names() -> set[str]:
    recipes = {recipe for _, recipe in recipe_paths()}
    return {
        *datasets.names(),
        *recipes,
        *suite_paths(),
        *judge_recipe_paths(),
        *(name for name, _ in _baselines()),
        *registry.models.names(),
        *registry.metrics.names(),
        *registry.mechanisms.names(),
        *registry.objectives.names(),
        *registry.weightings.names(),
        *registry.feeds.names(),
        *registry.adapters.names(),
        *registry.discoverers.names(),
        *registry.judges.names(),
        *registry.segmenters.names(),
        *registry.features.names(),
        *registry.recognisers.names(),
    }


def _describe_judge_recipe(recipe: JudgeRecipe) -> str:
    said = recipe.model_dump(mode="json", exclude_none=True, exclude={"name", "title", "description", "citation"})
    settings = [f"  {key}: {value}" for key, value in said.items() if value]
    words = [recipe.description.strip(), recipe.citation.strip()]
    return "\n".join([f"{recipe.title}  ({recipe.name})", "", *(line for line in words if line), "", "how", *settings])


def _describe_dataset(name: str) -> str:
    card = datasets.card(name)
    variables = card.build_variables()
    lines = [
        f"{card.title}  ({card.name})",
        "",
        card.description.strip(),
        "",
        "graph",
        *("  " + line for line in card.graph.text().split("\n")),
        "",
        "variables",
    ]
    wide = max(len(key) for key in variables) + 2
    lines += [
        f"  {key:<{wide}}{variable.describe()}; {card.variables[key].description}".rstrip("; ")
        for key, variable in variables.items()
    ]
    for source, entry in card.sources.items():
        lines += ["", *_describe_source(card, source, entry)]
    if card.truth:
        lines += ["", f"truth: {card.truth.strip()}"]
    judges = [f"  {key:<{wide}}{_describe_judge(judge)}" for key, entries in card.judges.items() for judge in entries]
    known = [
        f"  {name:<{wide}}{_describe_recogniser(entry)}"
        for name, entries in card.recognisers.items()
        for entry in entries
    ]
    segmenters = [f"  {entry.segmenter:<{wide}}{_describe_recogniser(entry)}" for entry in card.segmenters]
    roles = [
        f"  {role:<{wide}}{declared.description} ({', '.join(declared.sources)})"
        for role, declared in card.roles.items()
    ]
    limits = [f"  - {limit}" for limit in card.limits]
    cite = ["  " + line for line in card.citation.strip().split("\n") if line]
    for title, entries in {
        "judges": judges or ["  none yet"],
        "segmenters": segmenters,
        "recognisers": known,
        "also carried": roles,
        "limits": limits,
        "cite": cite,
    }.items():
        if entries:
            lines += ["", title, *entries]
    return "\n".join(lines)


def _describe_source(card: Card, source: str, entry: SourceEntry) -> list[str]:
    mark = " (default)" if source == card.default_source else ""
    download = "needs no download" if entry.embedded else "needs published data"
    sizes = ", ".join(f"{size:,} {split}" for split, size in entry.sizes.items())
    hidden = [
        f"hidden cause {cause} of {' and '.join(moved)}, shown to no model" for cause, moved in entry.hidden.items()
    ]
    facts = [entry.description.strip(), sizes, *hidden, f"licence: {entry.licence}", entry.citation]
    return [f"source {source}{mark}: {download}", *(f"  {line}" for line in facts if line)]


def _describe_recogniser(entry: Instrument) -> str:
    quality = "; ".join(
        f"{source}: {', '.join(f'{figure} {value:g}' for figure, value in figures.items())}"
        for source, figures in entry.quality.items()
    )
    return f"{quality} ({entry.note})" if entry.note else quality


def _describe_judge(judge: JudgeEntry) -> str:
    quality = "; ".join(
        f"{source}: " + ", ".join(f"{name} {value:g}" for name, value in qualities.items())
        for source, qualities in judge.quality.items()
    )
    return " ".join(part for part in (judge.judge, judge.options.get("architecture", ""), quality) if part)


def _describe_recipe(recipe: Recipe, dataset: str) -> str:
    fits = "any dataset of attributes alone" if dataset == ANY else dataset
    lines = [f"{recipe.title}  ({recipe.name}, for {fits})", "", recipe.description.strip(), "", "mechanisms"]
    by_kind = {f"every {kind}": entry for kind, entry in (recipe.every or {}).items()}
    listed = {**by_kind, **recipe.mechanisms}
    wide = max(12, *(len(name) + 2 for name in listed))
    for name, entry in listed.items():
        options = ", ".join(f"{key}={value}" for key, value in entry.options.items())
        words = f"{entry.family}{f' ({options})' if options else ''}"
        lines += textwrap.wrap(words, 100, initial_indent=f"  {name:<{wide}}", subsequent_indent=" " * (wide + 4))
        if entry.stages:
            lines.append(f"  {'':<{wide}}trained by {', then '.join(stage.objective for stage in entry.stages)}")
    if recipe.graph is not None:
        arrows = [f"  {', '.join(parents)} -> {name}" for name, parents in recipe.graph.items() if parents]
        lines += ["", "graph of its own, among attributes", *(arrows or ["  no arrows"])]
    shipped = ", ".join(recipe.weights) or "none"
    return "\n".join(
        [*lines, "", f"trained weights shipped for sources: {shipped}", "", "cite", f"  {recipe.citation.strip()}"]
    )


def _yes(flag: bool) -> str:
    return "yes" if flag else "no"


def _options(options: Mapping[str, object]) -> str:
    return f" ({', '.join(f'{key}: {value}' for key, value in options.items())})" if options else ""


def _describe_suite(suite: Suite) -> str:
    return "\n".join(
        [
            f"{suite.title}  ({suite.name})",
            "",
            suite.description.strip(),
            "",
            f"null interventions composed: {suite.cycles}",
            f"one intervention per variable and image: {_yes(suite.single)}, values from: {suite.law}",
            f"each of them taken back: {_yes(suite.undo)}",
            f"unrelated ones in both orders: {_yes(suite.pairs)}",
            f"real images that answers are compared with: {suite.references:,}",
            "metrics:",
            *(f"  {name}{_options(options)}" for name, options in suite.metrics.items()),
            f"test images: {suite.limit or 'all'}",
        ]
    )


def _describe_component(kind: registry.Registry[Any], name: str) -> str:
    component = kind.get(name)
    lines = [f"{name}  ({kind.kind})", "", inspect.getdoc(component) or "", *_inherited_options(component)]
    if line := kind.lacks(name):
        lines += ["", f"unavailable here: {line}"]
    for title in ("definition", "formula", "blind_to", "source"):
        if getattr(component, title, ""):
            lines += ["", f"{title.replace('_', ' ')}: {getattr(component, title)}"]
    if hasattr(component, "asks"):
        lines += ["", f"judges the questions: {', '.join(sorted(component.asks))}"]
    return "\n".join(lines)


def _inherited_options(component: Any) -> list[str]:
    """The options that a class has from its base, where it says nothing of options itself."""
    words = [inspect.getdoc(part) or "" for part in getattr(component, "__mro__", ())]
    if not words or _OPTIONS in words[0]:
        return []
    said = next((text for text in words if _OPTIONS in text), "")
    block = said[said.index(_OPTIONS) :].split("\n\n")[0] if said else ""
    return ["", block] if block else []


def describe_adapters(name: str, dataset: str) -> str:
    """How many numbers each adapter opens in the image's mechanism of a model, and its blocks.

    Raises:
        UnknownNameError: for an unknown model or dataset.
    """
    from counterbench import models
    from counterbench.training.adaptation import opened_by_adapters

    loaded = datasets.load(dataset)
    recipe, _ = models.find_recipe(name, loaded.card)
    everything, numbers, blocks = opened_by_adapters(recipe, loaded)
    lines = [
        f"{recipe.title}  ({recipe.name}, for {dataset})",
        "",
        "numbers that adapters open in the image's mechanism",
    ]
    lines += [
        f"  {adapter:<22}{number:>12,}{number / everything:>8.1%}"
        if isinstance(number, int)
        else f"  {adapter:<22}{number}"
        for adapter, number in numbers.items()
    ]
    lines += ["", "its blocks"]
    lines += [f"  {block:<22}{number:>12,}{number / everything:>8.1%}" for block, number in blocks.items()]
    return "\n".join(lines)


def describe_plan(
    dataset: str,
    source: str | None,
    *,
    data_dir: Path | None,
    suite: str,
    seed: int,
    exam_seed: int | None = None,
    limit: int | None,
) -> str:
    """How many questions of each kind, what they set, and the hash."""
    from counterbench import plans

    loaded = datasets.load(dataset, source, data_dir=data_dir, exam_seed=exam_seed)
    exam = "" if exam_seed is None else f", exam seed {exam_seed}"
    drawn = plans.draw(loaded, find_suite(suite), seed, limit=limit)
    lines = [
        f"{loaded.card.name}/{loaded.source}, suite {suite}, seed {seed}{exam}: {counted(len(drawn), 'questions')} about {counted(len(drawn.index), 'images')}",
        f"plan {drawn.hash}",
        "",
    ]
    words = {
        "null": f"no intervention, composed {drawn.cycles} times",
        "single": f"do({'), do('.join(drawn.single)})",
        "return": f"the same, then back: {', '.join(drawn.undo)}",
        "pair": "; ".join(f"do({a}) then do({b}), and the other order" for a, b in drawn.pairs),
        "joint": "; ".join(f"do({a}, {b}) at once" for a, b in drawn.joint),
        "sample": "a new individual with the same attributes",
    }
    lines += [f"{kind:<8}{count:>8}  {words[kind]}" for kind, count in drawn.counts.items()]
    if drawn.single:
        lines += ["", "values that are set"]
    for name, values in drawn.single.items():
        variable = loaded.variables[name]
        low, middle, high = (float(values.double().quantile(q)) for q in (0.0, 0.5, 1.0))
        span = f"{variable.show(low)} to {variable.show(high)}"
        lines.append(
            f"  {name:<12}{span}" + (f", median {variable.show(middle)}" if variable.kind == "continuous" else "")
        )
    first = [question for question in drawn.lines() if question.row == int(drawn.index[0])]
    lines += ["", f"test image {int(drawn.index[0])} is asked"]
    lines += [f"  {_in_words(question)}" for question in first]
    return "\n".join(lines)


def _in_words(question: Line) -> str:
    if question.kind == "null":
        return f"null    {question.value:g} times"
    if question.kind == "sample":
        return "sample  a new individual with its attributes"
    if question.kind == "joint":
        held = f"{question.variable} = {question.value:g}, {question.then} = {question.then_value:g}"
        return f"{question.kind:<8}do({held})"
    then = f", then do({question.then} = {question.then_value:g})" if question.then else ""
    return f"{question.kind:<8}do({question.variable} = {question.value:g}){then}"


def diagnose(dataset: str, source: str | None, data_dir: Path | None) -> str:
    """What works here: devices, packages, folders, and every feature space with the file that it needs."""
    import torch

    from counterbench import features, judges
    from counterbench.errors import CounterbenchError
    from counterbench.features.downloads import weights_folder
    from counterbench.runtime.versions import versions
    from counterbench.storage.files import cache_folder

    devices = ["cpu"] + ["cuda"] * torch.cuda.is_available() + ["mps"] * torch.backends.mps.is_available()
    lines = [
        ", ".join(f"{name} {version}" for name, version in versions().items()),
        f"devices: {', '.join(devices)}",
        f"prepared data and results of baselines: {cache_folder()} ($COUNTERBENCH_CACHE)",
        f"pretrained weights: {weights_folder()} ($COUNTERBENCH_WEIGHTS)",
        "",
        f"feature spaces for {dataset}",
    ]
    card = datasets.card(dataset)
    panels = judges.load(card, card.source(source))
    for name in registry.features.names():
        family = registry.features.get(name)
        try:
            features.load(name, card, panels)
            lines.append(f"  ok       {name:<12}{family.title}")
        except CounterbenchError as error:
            lines.append(f"  missing  {name:<12}{family.title}: {error}")
    requirements = [needed for name in registry.features.names() for needed in registry.features.get(name).needs]
    lines += ["", "files to fetch once, for the metrics that use them"]
    lines += [
        f"  {weights_folder() / needed.name}\n    from {needed.url}\n    for {needed.purpose}"
        for needed in requirements
    ]
    lines += ["", "optional parts", *(f"  {line}" for line in _extras())]
    lines += ["", "Everything else works without them; what needs a missing file is skipped, and the table says so."]
    return "\n".join(lines)


def _extras() -> list[str]:
    """One line for each extra that components of this package need: whether it is there, what for, how to get it."""
    lines = []
    for extra in extras.EXTRAS:
        names = [name for kind in registry.KINDS.values() for name in kind.builtins() if kind.extra_of(name) == extra]
        missing = extras.missing_packages(extra)
        how = f"; {', '.join(missing)} missing: {extras.install_line(extra)}" if missing else ""
        lines.append(f"{'missing' if missing else 'ok':<9}{extra:<12}{', '.join(names)}{how}")
    return lines


def draw(name: str, path: Path) -> None:
    """Draw a dataset's graph.

    Raises:
        UnknownNameError: if there is no dataset of this name.
    """
    from counterbench.pictures.graphs import draw_graph

    card = datasets.card(name)
    draw_graph(card.graph, card.build_variables(), path, title=card.title)
