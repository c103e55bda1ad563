"""A discovery as files: the graph in the words of a card, every pair with its frequency, and all numbers."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from counterbench.catalog.cards import Card
from counterbench.catalog.plain_yaml import parse
from counterbench.causal.graph import CausalGraph
from counterbench.datasets.dataset import Dataset
from counterbench.datasets.loading import names
from counterbench.discovery.trying import Discovery
from counterbench.errors import ConfigError, GraphError
from counterbench.storage.files import read_bounded, write_text

GRAPH, CARD, EDGES, REPORT = "graph.yaml", "card.yaml", "edges.csv", "discovery.json"
_HALF = 0.5


def rows(discovery: Discovery) -> list[dict[str, Any]]:
    """Every pair that was found, is known, or came back in half of the resamples: cause, effect, what it is, frequency.

    A pair without direction is listed once, in the order of the variables, with how often it came back either way.
    """
    names, found, truth = discovery.table.names, discovery.found, discovery.truth
    listed = []
    for i, cause in enumerate(names):
        for j, effect in enumerate(names):
            here, undirected = bool(found.directed[i, j]), bool(found.undirected[i, j]) and i < j
            known = truth is not None and bool(truth[i, j])
            if i == j or not (here or undirected or known or discovery.frequency[i, j] >= _HALF):
                continue
            if not (here or undirected) and found.joined[i, j]:
                continue  # the other way round, or without direction: that row says so
            often = discovery.frequency[i, j] + (discovery.frequency[j, i] if undirected else 0.0)
            listed.append(
                {
                    "cause": cause,
                    "effect": effect,
                    "found": "yes" if here else "undirected" if undirected else "no",
                    "known": _known(truth, i, j),
                    "frequency": None if np.isnan(often) else round(float(often), 3),
                }
            )
    return listed


def _known(truth: np.ndarray | None, i: int, j: int) -> str:
    if truth is None:
        return ""
    return "yes" if truth[i, j] else "reversed" if truth[j, i] else "no"


def store(discovery: Discovery, folder: Path, *, dataset: Dataset | None = None) -> list[str]:
    """Write everything into a folder; returns the names of the files.

    `graph.yaml` and, of a dataset of the catalogue, `card.yaml` are written where the graph has directions everywhere and no cycle; where it
    has not, those of an earlier run are removed.

    Args:
        discovery: what was found.
        folder: is made.
        dataset: where the samples come from; None for a file. Arrows of its attributes that were not looked at are those of its card.
    """
    told = report(discovery)
    written = {REPORT: json.dumps(told, indent=1) + "\n", EDGES: _as_csv(told["edges"])}
    graph = discovery.graph
    parents = None if graph is None else {name: graph.parents(name) for name in graph}
    if graph is not None and dataset is not None:
        parents = completed(graph, dataset)
    if parents is not None:
        head = f"# Found by {discovery.method}; `counterbench train --graph` takes this file.\n"
        content = {"graph": {name: list(causes) for name, causes in parents.items()}}
        written[GRAPH] = head + yaml.safe_dump(content, sort_keys=False, default_flow_style=None)
        if dataset is not None and dataset.card.image and dataset.card.name in names():
            written[CARD] = _card_with(parents, discovery, dataset.card)
    for name in (GRAPH, CARD):
        if name not in written:
            (folder / name).unlink(missing_ok=True)
    for name, text in written.items():
        write_text(folder / name, text)
    return sorted(written)


def completed(found: CausalGraph, dataset: Dataset) -> dict[str, tuple[str, ...]] | None:
    """The causes of every attribute: among those of a graph what it says, for all others what the card says; None where that makes a cycle.

    Args:
        found: over some attributes.
        dataset: whose.
    """
    order = dataset.card.attributes

    def causes(name: str) -> tuple[str, ...]:
        known = {one for one in dataset.graph.parents(name) if name not in found or one not in found}
        wanted = known | (set(found.parents(name)) if name in found else set())
        listed = [
            one for one in dataset.graph.parents(name) if one in wanted
        ]  # the order of the card, where it has one
        return (*listed, *(one for one in order if one in wanted and one not in listed))

    parents = {name: causes(name) for name in order}
    try:
        CausalGraph(parents)
    except GraphError:
        return None
    return parents


def report(discovery: Discovery) -> dict[str, Any]:
    """Everything as plain data."""
    return {
        "method": discovery.method,
        "options": discovery.options,
        "data": discovery.table.title,
        "variables": dict(discovery.table.kinds),
        "samples": len(discovery.table.values),
        "resamples": discovery.resamples,
        "seed": discovery.seed,
        "order": None if discovery.found.order is None else [discovery.table.names[i] for i in discovery.found.order],
        "edges": rows(discovery),
        "comparison": {name: None if np.isnan(value) else value for name, value in discovery.comparison().items()},
        "warnings": discovery.warnings(),
    }


def _as_csv(listed: list[dict[str, Any]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, ("cause", "effect", "found", "known", "frequency"), lineterminator="\n")
    writer.writeheader()
    writer.writerows(listed)
    return text.getvalue()


def _card_with(parents: Mapping[str, tuple[str, ...]], discovery: Discovery, card: Card) -> str:
    """A card that says the graph that was found."""
    content = {
        "extends": card.name,
        "name": card.name,
        "title": f"{card.title}; graph found by {discovery.method}",
        "variables": {name: {"parents": list(causes)} for name, causes in parents.items()},
    }
    return yaml.safe_dump(content, sort_keys=False, width=140)


def read_graph(path: Path) -> dict[str, tuple[str, ...]]:
    """The parents of every variable that a file lists under `graph`.

    Args:
        path: a YAML file, such as :func:`store` writes.

    Raises:
        ConfigError: for another file.
    """
    try:
        content = parse(read_bounded(path).decode("utf-8"))
        listed = content["graph"]
        if not all(isinstance(parents, list) for parents in listed.values()):
            raise TypeError("the causes of a variable are a list")
        return {str(name): tuple(str(parent) for parent in parents) for name, parents in listed.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ConfigError(
            f"{path} says no graph; it needs a key 'graph' with the causes of every attribute, such as {{intensity: [thickness]}} "
            f"({type(error).__name__}: {error})."
        ) from None
