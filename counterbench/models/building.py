"""From declarations to structural causal models: those of recipes, and the reference SCM of a card."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass

from counterbench.catalog.cards import Card, ReferenceEntry
from counterbench.catalog.recipes import MechanismEntry, Recipe
from counterbench.causal.graph import CausalGraph
from counterbench.causal.phrases import Grammar
from counterbench.causal.variables import Variable
from counterbench.datasets.dataset import Dataset
from counterbench.errors import ConfigError, GraphError, suggestion
from counterbench.mechanisms.base import Mechanism
from counterbench.models.answering import Answering
from counterbench.models.scm import StructuralCausalModel
from counterbench.plugins import registry
from counterbench.plugins.factory import make, options_of
from counterbench.storage.weights import load_weights


@dataclass(frozen=True)
class MechanismContext:
    """What a mechanism is given if its `__init__` has a parameter of that name; its other parameters are options of the recipe.

    Args:
        grammar: of the captions; None where they do not vary.
    """

    grammar: Grammar | None


def build(
    recipe: Recipe, graph: CausalGraph, variables: Mapping[str, Variable], *, grammar: Grammar | None = None
) -> StructuralCausalModel:
    """An untrained model, by recipe.

    Args:
        recipe: the mechanisms.
        graph: of the dataset; the recipe may say another one of the attributes.
        variables: of the dataset, by name.
        grammar: of its captions, for mechanisms that are told in words.

    Raises:
        ConfigError: for a variable without mechanism, an unknown family or an option that the family does not have.
    """
    graph = rewired(recipe, graph, variables)
    for name in recipe.mechanisms:
        if name not in graph:
            raise ConfigError(f"Recipe {recipe.name!r} has a mechanism for {name!r}.{suggestion(name, graph)}")
    mechanisms: list[Mechanism] = []
    for name in graph.order:
        entry = recipe.mechanisms.get(name)
        if entry is None:
            raise ConfigError(
                f"Recipe {recipe.name!r} has no mechanism for {name!r}; every variable of {recipe.dataset} needs one."
            )
        family = registry.mechanisms.get(entry.family)
        parents = [variables[parent] for parent in graph.parents(name)]
        what = f"Recipe {recipe.name!r}: the mechanism {entry.family!r} of {name!r}"
        wants = "grammar" in options_of(family, 2)
        context = MechanismContext(grammar) if wants else None
        mechanisms.append(make(what, family, (variables[name], parents), entry.options, context=context))
    if recipe.answer is not None:
        return Answering(graph, mechanisms, residual=recipe.answer.residual, local=recipe.answer.local)
    return StructuralCausalModel(graph, mechanisms)


def build_for(recipe: Recipe, dataset: Dataset) -> StructuralCausalModel:
    """An untrained model of a dataset, by recipe; see :func:`build`.

    Args:
        recipe: the mechanisms.
        dataset: whose graph, variables and captions.
    """
    return build(recipe, dataset.graph, dataset.variables, grammar=dataset.card.grammar)


def rewired(recipe: Recipe, graph: CausalGraph, variables: Mapping[str, Variable]) -> CausalGraph:
    """The graph of a model: a dataset's, with the arrows among attributes that the recipe says.

    Args:
        recipe: its `graph` lists the causes of every attribute, or is None.
        graph: of the dataset.
        variables: of the dataset; arrows into images stay.

    Raises:
        ConfigError: for names that do not fit, or a cycle.
    """
    if recipe.graph is None:
        return graph
    what, listed = f"Recipe {recipe.name!r}: 'graph'", recipe.graph
    for name in {*listed, *(parent for parents in listed.values() for parent in parents)}:
        if name not in graph:
            raise ConfigError(f"{what} names {name!r}.{suggestion(name, graph)}")
    images = {name for name in graph if variables[name].kind == "image"}
    missing = [name for name in graph if name not in listed and name not in images]
    if missing:
        raise ConfigError(
            f"{what} must list the causes of every attribute, an empty list for none; {', '.join(missing)} is not listed."
        )
    if images & {*listed, *(parent for parents in listed.values() for parent in parents)}:
        raise ConfigError(
            f"{what} names the image; it says who listens to whom among attributes, and arrows into the image stay."
        )
    try:
        return CausalGraph({name: listed.get(name, graph.parents(name)) for name in graph})
    except GraphError as error:
        raise ConfigError(f"{what}: {error}") from None


def reference_recipe(card: Card, mechanisms: Mapping[str, MechanismEntry]) -> Recipe:
    """The mechanisms of a card's attributes as a recipe.

    Raises:
        ConfigError: for an attribute that the image causes: it follows from no attributes alone.
    """
    for name in card.attributes:
        if card.image in card.graph.parents(name):
            raise ConfigError(
                f"{card.name}: {name!r} is caused by the image, so that there is no reference SCM of the attributes alone."
            )
    return Recipe(name="reference-scm", title="Reference SCM", dataset=card.name, mechanisms=dict(mechanisms))


def build_reference(recipe: Recipe, card: Card) -> StructuralCausalModel:
    """An untrained causal model of a card's attributes."""
    graph = CausalGraph({name: card.graph.parents(name) for name in card.attributes})
    return build(recipe, graph, card.build_variables())


def load_reference(card: Card, source: str) -> StructuralCausalModel | None:
    """The reference SCM that a card pins for one of its sources; None where it has none.

    Raises:
        ConfigError: for mechanisms that do not fit the card. CheckpointError: for damaged weights.
    """
    entry = card.reference_scm.get(source)
    if entry is None:
        return None
    scm = build_reference(reference_recipe(card, entry.mechanisms), card)
    path = card.weights_of(entry)
    assert path is not None
    load_weights(scm, path, sha256=entry.sha256)
    return scm.requires_grad_(False).eval()


def reference_fingerprint(entry: ReferenceEntry) -> str:
    """SHA-256 of what decides a reference SCM's values: its weights, and how they are used."""
    mechanisms = {
        name: {"family": mechanism.family, "options": mechanism.options} for name, mechanism in entry.mechanisms.items()
    }
    return hashlib.sha256(json.dumps([entry.sha256, mechanisms], sort_keys=True).encode()).hexdigest()
