"""A model of the image alone, with attribute mechanisms that somebody else has trained."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from counterbench.catalog.recipes import recipe_paths
from counterbench.causal.chance import Generator
from counterbench.causal.graph import CausalGraph
from counterbench.causal.samples import Samples
from counterbench.datasets.dataset import Dataset
from counterbench.errors import ConfigError
from counterbench.models.building import load_reference
from counterbench.models.loading import find_recipe, load
from counterbench.models.scm import StructuralCausalModel

Edit = Callable[[Tensor, Mapping[str, Tensor], Mapping[str, Tensor], Generator], Tensor]
"""(images, (N, C, *sides) in grey levels; attributes as observed; attributes as they should become; chance) -> images."""


class ImageOnly:
    """A model for whoever has trained a network of images, conditioned on attributes, and nothing else: what follows from an intervention
    in the attributes is predicted by trained mechanisms, and the network makes the image that goes with them.

    Args:
        edit: makes the counterfactual images. It draws from the given generator alone; see :mod:`counterbench.causal.chance`.
        dataset: whose attributes.
        attributes: a trained model (recipe or folder) whose attribute mechanisms are used; None for the reference SCM of the card, else the
            first recipe of the dataset with weights for its source.

    Raises:
        ConfigError: if the dataset has no image, or nobody has trained mechanisms of its attributes.

    Examples:
        >>> from counterbench import evaluate, load_dataset
        >>> digits = load_dataset("morphomnist")
        >>> def darker(images, before, after, generator):
        ...     return images * (after["intensity"] / before["intensity"])[:, None, None, None]
        >>> result = evaluate(ImageOnly(darker, digits), digits, suite="glance", limit=10, metrics=["truth"], name="darker")
        >>> result.record.by_key["truth", "truth_skill", "intensity", "", 0, ""].value > 0
        True
    """

    def __init__(self, edit: Edit, dataset: Dataset, *, attributes: str | None = None):
        if not dataset.card.image:
            raise ConfigError(f"{dataset.card.name} has no images; a model of images alone is of no use there.")
        self.edit, self.image = edit, dataset.card.image
        self.attributes = attribute_model(dataset, attributes)

    def counterfactual(
        self, factual: Samples, interventions: Mapping[str, Tensor], generator: Generator = None
    ) -> Mapping[str, Tensor]:
        """Natural values of every variable, had the intervened variables had these values."""
        before = {name: factual[name] for name in self.attributes.graph}
        with torch.no_grad():
            after = self.attributes.counterfactual(before, interventions, generator)
            images = self.edit(factual[self.image], before, after, generator)
        return {**after, self.image: images}


def attribute_model(dataset: Dataset, name: str | None = None) -> StructuralCausalModel:
    """Trained mechanisms of a dataset's attributes, without the image.

    Args:
        dataset: whose attributes.
        name: of a trained recipe or folder; None for the reference SCM of the card, else the first recipe with weights for this source.

    Raises:
        ConfigError: if there are none.

    Examples:
        >>> from counterbench.datasets import load
        >>> sorted(attribute_model(load("morphomnist")).graph)
        ['digit', 'intensity', 'thickness']
    """
    card = dataset.card
    if name is None and (reference := load_reference(card, dataset.source)) is not None:
        return reference
    name = name or _first_trained(dataset)
    scm = load(name, dataset).model
    if not isinstance(scm, StructuralCausalModel):
        raise ConfigError(
            f"{name} has no mechanisms of attributes; give a trained recipe, or a folder made by training."
        )
    if below := [one for one in card.attributes if card.image in scm.graph.parents(one)]:
        raise ConfigError(f"{name}: {below[0]!r} is caused by the image, so that attributes alone do not tell it.")
    graph = CausalGraph({one: scm.graph.parents(one) for one in card.attributes})
    return StructuralCausalModel(graph, [scm.mechanisms[one] for one in card.attributes]).eval()


def _first_trained(dataset: Dataset) -> str:
    for recipe_of, name in sorted(recipe_paths(dataset.card.name)):
        recipe, path = find_recipe(name, dataset.card)
        entry = recipe.weights.get(dataset.source)
        if recipe_of == dataset.card.name and entry is not None and (path.parent / entry.path).is_file():
            return name
    raise ConfigError(
        f"Nobody has trained mechanisms of the attributes of {dataset.card.name}/{dataset.source} yet; train a model (counterbench train) or "
        "a reference SCM (counterbench train-judges), and name its folder."
    )
