"""The contract that a component has to keep, as checks that speak in instructions: `counterbench check NAME`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from counterbench import datasets, models
from counterbench.catalog.reading import declared_in
from counterbench.contracts.base import Finding
from counterbench.datasets.dataset import Dataset
from counterbench.errors import UnknownNameError
from counterbench.plugins import registry

KINDS = ("model", "recipe", "mechanism", "dataset", "metric", "judge", "segmenter", "feature")


def kinds_of(name: str, dataset: str) -> list[str]:
    """What is called `name`: some of :data:`KINDS`.

    Args:
        name: of a component, a recipe, a card, or the path of a card file or of a trained model.
        dataset: whose recipes are looked through.

    Raises:
        UnknownNameError: with the closest match and the list.
    """
    if name.endswith((".yaml", ".yml")):
        return ["recipe" if declared_in(Path(name)) == "recipe" else "dataset"]
    known = {kind: registry.KINDS[kind].names() for kind in KINDS if kind in registry.KINDS}
    known |= {"model": models.names(dataset), "dataset": datasets.names()}
    found = [kind for kind in KINDS if name in known.get(kind, ())]
    if not found and Path(name).is_dir():  # a folder of the same name, such as that of `new`, shadows nothing
        return ["model"]
    if not found:
        raise UnknownNameError("component", name, {one for names in known.values() for one in names})
    return found


def check(name: str, kind: str, dataset: Dataset) -> Iterator[Finding]:
    """Check the component `name` of one kind against its contract, on a dataset.

    Raises:
        UnknownNameError, ConfigError, CheckpointError: for something that cannot even be loaded.
    """
    from counterbench.contracts import datasets, instruments, mechanisms, metrics, models

    checks: dict[str, Callable[[str, Dataset], Iterator[Finding]]] = {
        "model": models.check,
        "dataset": lambda name, dataset: datasets.check(dataset),
        "recipe": lambda name, dataset: mechanisms.check_recipe(Path(name), dataset),
        "mechanism": mechanisms.check,
        "metric": metrics.check,
        "judge": instruments.check_judge,
        "segmenter": instruments.check_segmenter,
        "feature": instruments.check_feature,
        "recogniser": instruments.check_feature,
    }
    yield from checks[kind](name, dataset)
