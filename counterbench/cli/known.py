"""Names on the command line, looked up before anything heavy is imported: a slip is told at once. Imports no torch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from counterbench import datasets
from counterbench.catalog.recipes import ANY, RENAMED, recipe_paths
from counterbench.catalog.suites import default_suite, find_suite
from counterbench.errors import ConfigError, UnknownNameError
from counterbench.plugins import registry, summaries


def require_model(name: str, dataset: str) -> None:
    """Raise UnknownNameError for a model that is none: no baseline, recipe, plug-in, folder or file.

    Args:
        name: of a model.
        dataset: a card's name or file.
    """
    card = datasets.card(dataset).name
    baselines = summaries.of_members("counterbench.models.baselines", "BASELINES")
    recipes = {recipe for of, recipe in recipe_paths() if of in (card, ANY)}
    known = {*baselines, *recipes, *registry.models.names()}
    if (card, name) in RENAMED:  # its loader says so
        return
    if name not in known and not name.endswith((".yaml", ".yml", ".py")) and not Path(name).exists():
        raise UnknownNameError(f"model for {card}", name, known)


def require_metrics(names: Sequence[str]) -> None:
    """Raise an error for a metric that is none; a word of the field, such as FID, leads to the metric whose number it is.

    Raises:
        ConfigError: for such a word. UnknownNameError: for anything else.
    """
    for name in names:
        if name in registry.metrics:
            continue
        if leads := metrics_called(name):
            raise ConfigError(f"{name} is a number of the metric {leads[0]!r}: --metrics {leads[0]}.")
        raise UnknownNameError("metric", name, registry.metrics.names())


def metrics_called(word: str) -> list[str]:
    """The metrics to which a word of the field leads, whatever its case.

    Examples:
        >>> metrics_called("FID"), metrics_called("psnr")
        (['realism'], [])
    """
    wanted = word.lower()
    return [
        name
        for name in registry.metrics.builtins()
        if wanted
        in (also.lower() for also in summaries.words_of_registered(f"{registry.metrics.package}.{name}", "also"))
    ]


def settled_suite(suite: str | None, dataset: str) -> str:
    """The suite that is asked for, or that of the dataset: `mechanisms` where there are no images, else `standard`.

    Raises:
        UnknownNameError: for one that there is not.

    Examples:
        >>> settled_suite(None, "ellipse"), settled_suite(None, "morphomnist"), settled_suite("quick", "ellipse")
        ('mechanisms', 'standard', 'quick')
    """
    if suite is None:
        return default_suite(datasets.card(dataset))
    find_suite(suite)
    return suite
