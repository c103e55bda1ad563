"""Other graphs for a recipe: what if the one on the card is wrong, or nobody knows one."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np

from counterbench.catalog.recipes import Recipe
from counterbench.datasets.dataset import Dataset
from counterbench.discovery import discover
from counterbench.discovery.storing import GRAPH, completed, read_graph
from counterbench.discovery.table import of_dataset
from counterbench.discovery.trying import readable
from counterbench.errors import ConfigError, suggestion
from counterbench.models.building import rewired
from counterbench.storage.files import slug

WORDS = ("card", "empty", "reversed", "full", "discovered")
"""Graphs that have a name; any other word is a file."""
LONGEST = 64
"""Characters of a recipe's name."""
METHOD, ROWS = "score", 2000
"""How `discovered` looks for one."""


def with_graph(recipe: Recipe, word: str, dataset: Dataset, *, seed: int = 0) -> Recipe:
    """A recipe whose attributes listen to others than the card says; arrows into the image stay.

    Args:
        recipe: the mechanisms.
        word: `empty`, no arrows; `reversed`, each turned round; `full`, every attribute caused by all before it in the card's order;
            `discovered`, what the method `score` finds among the attributes that it can read, while arrows of the others stay; `card`; or a
            file with a key `graph`.
        dataset: whose attributes.
        seed: of discovery.

    Returns:
        The recipe, called after both; as it was for `card`.

    Raises:
        ConfigError: for a file that does not fit, or a graph with a cycle.
    """
    if word == "card":
        return recipe.model_copy(update={"graph": None})
    parents = parents_of(word, dataset, seed=seed)
    path = Path(word)
    called = word if word in WORDS else path.stem if path.name != GRAPH else f"{path.resolve().parent.name}"
    other = recipe.model_copy(update={"graph": parents, "name": _fitting(f"{recipe.name}-graph-{called}")})
    rewired(other, dataset.graph, dataset.variables)
    return other


def _fitting(name: str) -> str:
    """A name as a recipe may have it: of a long one the beginning and a hash."""
    name = slug(name)
    return name if len(name) <= LONGEST else f"{name[: LONGEST - 7]}-{hashlib.sha256(name.encode()).hexdigest()[:6]}"


def parents_of(word: str, dataset: Dataset, *, seed: int = 0) -> dict[str, tuple[str, ...]]:
    """The causes of every attribute in a graph that has a name, or in a file; see :func:`with_graph`."""
    card = dataset.card
    graph, attributes = dataset.graph, card.attributes
    if any(card.image in graph.parents(name) for name in attributes):
        raise ConfigError(
            f"{card.name}: an attribute is caused by the image, so the graph of the attributes has no other form."
        )
    if word == "empty":
        return dict.fromkeys(attributes, ())
    if word == "full":
        return {name: tuple(attributes[:place]) for place, name in enumerate(attributes)}
    if word == "reversed":
        return {name: tuple(child for child in attributes if name in graph.parents(child)) for name in attributes}
    if word == "discovered":
        return _discovered(dataset, seed)
    if not Path(word).is_file():
        raise ConfigError(f"--graph {word}: there is no such file.{suggestion(word, WORDS)}")
    return read_graph(Path(word))


def _discovered(dataset: Dataset, seed: int) -> dict[str, tuple[str, ...]]:
    table, _ = readable(METHOD, of_dataset(dataset))
    found = discover(METHOD, table.first(ROWS, np.random.default_rng([seed])), seed=seed).graph
    assert found is not None, "an order gives every pair a direction"
    parents = completed(found, dataset)
    if parents is None:
        raise ConfigError(
            f"--graph discovered: what {METHOD} finds on {dataset.card.name} and the card's arrows of what it cannot read make a cycle; "
            "write a graph file."
        )
    return parents
