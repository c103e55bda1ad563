"""The contract that a component has to keep, as checks that speak in instructions: `counterbench check NAME`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from counterbench import datasets, models, registry
from counterbench.catalog.reading import load_yaml
from counterbench.checks.base import Finding
from counterbench.datasets.base import Dataset
from counterbench.errors import UnknownNameError

KINDS = ("model", "recipe", "mechanism", "dataset", "metric", "judge", "feature")


def kinds_of(name: str, dataset: str) -> list[str]:
    """What is called `name`: some of :data:`KINDS`.

    Args:
        name: of a component, a recipe, a card, or the path of a card file or of a trained model.
        dataset: whose recipes are looked through.

    Raises:
        UnknownNameError: with the closest match and the list.
    """
    declared = load_yaml(Path(name)) if name.endswith((".yaml", ".yml")) else {}
    is_recipe = isinstance(declared, dict) and "mechanisms" in declared
    there = {
        "model": name in models.names(dataset) or Path(name).is_dir(),
        "recipe": is_recipe,
        "mechanism": name in registry.mechanisms,
        "dataset": name in datasets.names() or (bool(declared) and not is_recipe),
        "metric": name in registry.metrics,
        "judge": name in registry.judges,
        "feature": name in registry.features,
    }
    found = [kind for kind in KINDS if there[kind]]
    if not found:
        known = {*models.names(dataset), *datasets.names()}
        for kind in (registry.mechanisms, registry.metrics, registry.judges, registry.features):
            known |= set(kind.names())
        raise UnknownNameError("component", name, known)
    return found


def check(name: str, kind: str, dataset: Dataset) -> Iterator[Finding]:
    """Check the component `name` of one kind against its contract, on a dataset.

    Raises:
        UnknownNameError, ConfigError, CheckpointError: for something that cannot even be loaded.
    """
    from counterbench.checks import of_datasets, of_instruments, of_mechanisms, of_metrics, of_models

    if kind == "dataset":
        yield from of_datasets.check(dataset)
        return
    checks: dict[str, Callable[[str, Dataset], Iterator[Finding]]] = {
        "model": of_models.check,
        "recipe": lambda name, dataset: of_mechanisms.check_recipe(Path(name), dataset),
        "mechanism": of_mechanisms.check,
        "metric": of_metrics.check,
        "judge": of_instruments.check_judge,
        "feature": of_instruments.check_feature,
    }
    yield from checks[kind](name, dataset)
