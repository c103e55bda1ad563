"""From a name to a model: baselines, recipes of the catalogue, folders of trained models, plug-ins."""

from __future__ import annotations

import hashlib
import inspect
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from counterbench.catalog.cards import Card
from counterbench.catalog.generated import is_generated
from counterbench.catalog.recipes import ANY, RENAMED, Recipe, fitted_to, read_recipe, recipe_paths
from counterbench.datasets.dataset import REFERENCES, Dataset
from counterbench.errors import CheckpointError, ConfigError, UnknownNameError, short, suggestion
from counterbench.mechanisms.base import Mechanism
from counterbench.mechanisms.capabilities import HasPixelTemperature
from counterbench.models import baselines
from counterbench.models.adaptation import put_on
from counterbench.models.answering import Answering
from counterbench.models.building import build_for
from counterbench.models.model import Contestant, DeclaresPixelNoise, Fingerprinted, Model
from counterbench.models.reachable import modules_of, state_hash
from counterbench.models.scm import StructuralCausalModel
from counterbench.plugins import registry
from counterbench.storage.files import MANIFEST
from counterbench.storage.weights import load_weights, read_state

WEIGHTS = "weights.safetensors"
"""What the folder of a trained model holds beside its manifest, unless an adapter was trained."""
DIFFERENCE = "difference.safetensors"
"""What training has changed of the weights that it started from, in a folder made by it."""


def names(dataset: str) -> list[str]:
    """Every model that can be named for a dataset; recipes for any dataset are among them where its name makes it."""
    return sorted({*_recipes_and_baselines(dataset), *registry.models.names()})


def _recipes_and_baselines(dataset: str) -> set[str]:
    general = recipe_paths(ANY) if is_generated(dataset) else {}
    return {*baselines.BASELINES, *(name for _, name in (*recipe_paths(dataset), *general))}


def find_recipe(name: str, card: Card) -> tuple[Recipe, Path]:
    """The recipe `name` of the catalogue for this dataset or for any, or the one in the file `name`.

    Args:
        name: of the recipe.
        card: of the dataset; variables that the recipe does not list have the mechanism that it says for their kind.

    Raises:
        UnknownNameError: with the closest match and the list. ConfigError: for a recipe of another dataset.
    """
    recipe, path = _found_recipe(name, card.name)
    if recipe.dataset not in (card.name, ANY):
        raise ConfigError(f"{path} is a recipe for the dataset {recipe.dataset!r}, not for {card.name!r}.")
    fitted = fitted_to(recipe, card.name, {name: entry.kind for name, entry in card.variables.items()})
    if recipe.every is not None and (left := [other for other in card.variables if other not in fitted.mechanisms]):
        raise ConfigError(
            f"The recipe {name!r} says nothing of a variable that is {card.variables[left[0]].kind}, such as {left[0]!r} of {card.name}."
            f"{suggestion(name, names(card.name))}"
        )
    return fitted, path


def _found_recipe(name: str, dataset: str) -> tuple[Recipe, Path]:
    if name.endswith((".yaml", ".yml")):
        return read_recipe(Path(name)), Path(name)
    known = recipe_paths(dataset)
    if (dataset, name) not in known and (dataset, name) in RENAMED:
        name = registry.new_name("model", name, RENAMED[dataset, name])
    if (dataset, name) not in known and name in (*baselines.BASELINES, *registry.models.names()):
        raise ConfigError(f"{name} has no recipe, so there is nothing to train; evaluate it as it is.")
    general = recipe_paths(ANY)
    path = known.get((dataset, name)) or general.get((ANY, name))
    if path is None:
        raise UnknownNameError(f"model for {dataset}", name, {*names(dataset), *(other for _, other in general)})
    return read_recipe(path), path


def load(
    name: str, dataset: Dataset, *, device: str | torch.device = "cpu", references: int = REFERENCES
) -> Contestant:
    """The model `name`, ready to answer.

    Args:
        name: a baseline, a recipe of the catalogue, a recipe file, a folder made by training, or a plug-in's model.
        dataset: what it is asked about.
        device: where it computes.
        references: how many real images the baselines may return.

    Raises:
        UnknownNameError: for an unknown name. CheckpointError: if there are no weights for this source, or they are damaged.
    """
    _reject_collisions(dataset.card.name)
    if name.endswith(".py"):
        raise ConfigError(
            f"{name} is Python. Load it as a plug-in and name what it registers: counterbench --plugin {name} evaluate --model NAME."
        )
    if name in baselines.BASELINES:
        baselines.require(name, dataset.card, dataset.behind)
        return Contestant(
            name,
            baselines.BASELINES[name](dataset, references=references),
            title=f"baseline `{name}`",
            pixel_noise="none",
        )
    if name in registry.models:
        factory = registry.models.get(name)
        try:
            inspect.signature(factory).bind(dataset)
        except TypeError as error:
            raise ConfigError(
                f"The plug-in's model {name!r} must be made from the dataset alone, as {name}(dataset): {error}."
            ) from error
        model = factory(dataset)
        if not isinstance(model, Model):
            raise ConfigError(f"The model {name!r} has no method counterfactual(factual, interventions, generator).")
        return foreign(name, model)
    if (dataset.card.name, name) not in recipe_paths() and Path(name).is_dir():
        return _from_folder(Path(name), dataset, device)
    recipe, path = find_recipe(name, dataset.card)
    entry = recipe.weights.get(dataset.source)
    if entry is None:
        raise CheckpointError(
            f"The model {recipe.name!r} has no trained weights for the source {dataset.source!r}; train it with: "
            f"counterbench train --model {name} --dataset {dataset.card.name} --source {dataset.source} --output FOLDER, "
            "then evaluate --model FOLDER."
        )
    weights = path.parent / entry.path
    if not weights.is_file():
        raise CheckpointError(
            f"{path} names weights that are not there ({weights}). Train the recipe first: counterbench train --model {name} "
            f"--dataset {dataset.card.name} --source {dataset.source} --output FOLDER, then evaluate --model FOLDER."
        )
    manifest = weights.parent / MANIFEST
    training = _provenance(_read_manifest(manifest)) if manifest.is_file() else {}
    return _contestant(recipe, dataset, weights, entry.sha256, device, training)


def foreign(name: str, model: Model, *, code: object = None) -> Contestant:
    """A model that no recipe describes: everything that it holds decides its answers, beside its code.

    Args:
        name: in the record.
        model: it may have an attribute `fingerprint`, text or a hash of what cannot be seen in it, such as files that it reads, and an
            attribute `pixel_temperature`: how much of the abducted pixel noise it puts back, 0 to 1, or "none" if it has no such noise.
        code: what was given, where `model` wraps it.
    """
    held, unseen = state_hash(model if code is None else code)
    own = model.fingerprint if isinstance(model, Fingerprinted) else None
    if own is not None and unseen:
        held, unseen = "", ""  # it says itself what decides its answers
    notes = (f"nothing is reused: what the model holds cannot be seen ({unseen})",) if unseen else ()
    return Contestant(
        name,
        model,
        title=name,
        weights_sha256=hashlib.sha256(f"{own} {held}".encode()).hexdigest(),
        parameters=sum(weight.numel() for network in modules_of(code or model) for weight in network.parameters()),
        **_pixel_noise(name, model if code is None else code),
        notes=notes,
        code=code,
    )


def _pixel_noise(name: str, model: object) -> dict[str, Any]:
    """What a model says of its pixel noise; unknown where it says nothing."""
    said = model.pixel_temperature if isinstance(model, DeclaresPixelNoise) else None
    if said is None:
        return {}
    if said == "none":
        return {"pixel_noise": "none"}
    if not isinstance(said, (int, float)) or isinstance(said, bool) or not 0 <= said <= 1:
        raise ConfigError(
            f'{name} has the pixel_temperature {short(said)}; give a number from 0 to 1, or "none" for a model without pixel noise.'
        )
    return {"pixel_temperature": float(said)}


def _reject_collisions(dataset: str) -> None:
    taken = _recipes_and_baselines(dataset)
    for name in registry.models.names():
        if name in taken:
            raise ConfigError(f"The plug-in's model {name!r} collides with an existing one; choose another name.")


def _read_manifest(path: Path) -> dict[str, Any]:
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(manifest, dict):
            raise ValueError(f"a {type(manifest).__name__} instead of keys and values")
        Recipe.model_validate(manifest["recipe"])
        for key in ("weights_sha256", "dataset", "source", "seed"):
            manifest[key]
    except (ValueError, KeyError, OSError) as error:
        raise CheckpointError(f"{path} is not a manifest of a trained model ({error}).") from error
    return manifest


def recipe_of_folder(folder: Path) -> Recipe:
    """The recipe of a folder made by training.

    Raises:
        CheckpointError: for a folder without a manifest, or one that is none.
    """
    return Recipe.model_validate(_read_manifest(folder / MANIFEST)["recipe"])


def _provenance(manifest: dict[str, Any]) -> dict[str, Any]:
    kept = {key: manifest.get(key) for key in ("source", "seed", "epochs", "limit", "data", "judges_used_in_training")}
    kept |= {key: manifest[key] for key in ("rows", "feed", "init_behind") if key in manifest}
    curves = manifest.get("curves")
    parts = list(curves.values()) if isinstance(curves, dict) else []
    opened = [part["opened"] for part in parts if isinstance(part, dict) and isinstance(part.get("opened"), int)]
    kept |= {"opened": sum(opened)} if opened else {}
    durations = [part.get("seconds") for part in parts if isinstance(part, dict)]
    seconds = [number for number in durations if isinstance(number, (int, float)) and 0 < number < float("inf")]
    return {**kept, "seconds": round(sum(seconds), 1) if seconds and len(seconds) == len(parts) else None}


def _from_folder(folder: Path, dataset: Dataset, device: str | torch.device) -> Contestant:
    if not (folder / MANIFEST).is_file():
        raise CheckpointError(
            f"The folder {folder} holds no finished model (no manifest.json). If a training was interrupted there, go on with "
            "counterbench train --resume."
        )
    manifest = _read_manifest(folder / MANIFEST)
    if manifest["dataset"] != dataset.card.name:
        raise CheckpointError(
            f"{folder} holds a model of {manifest['dataset']!r}; it cannot answer questions about {dataset.card.name!r}."
        )
    recipe = Recipe.model_validate(manifest["recipe"])
    sha256, training = manifest["weights_sha256"], _provenance(manifest)
    if (folder / DIFFERENCE).is_file():
        scm, difference_hash = _adapted(recipe, dataset, folder / DIFFERENCE, sha256)
        contestant = _contestant_of(recipe, dataset, scm, difference_hash, device, training)
    else:
        contestant = _contestant(recipe, dataset, folder / WEIGHTS, sha256, device, training)
    name = folder.resolve().name
    return replace(contestant, called=None if name in baselines.BASELINES else name)


def _adapted(recipe: Recipe, dataset: Dataset, path: Path, sha256: str) -> tuple[StructuralCausalModel, str]:
    """(the model that was made from another one, the hash of what it changed)."""
    scm = build_for(recipe, dataset)
    start_from_init(scm, recipe, dataset)
    tensors, digest = read_state(path, sha256=sha256)
    put_on(scm, recipe, tensors, where=path)
    return scm, digest


def start_from_init(scm: StructuralCausalModel, recipe: Recipe, dataset: Dataset) -> str:
    """Give a model the weights that its recipe starts from; returns their SHA-256.

    Raises:
        ConfigError: for a recipe without `init`, or one that names no trained structural causal model.
        CheckpointError: if those weights are missing, are not the ones that the recipe means, or belong to another architecture.
    """
    if recipe.init is None:
        raise ConfigError(f"The recipe {recipe.name!r} starts from nothing; give it init.")
    base = load(recipe.init.model, dataset)
    if not isinstance(base.model, StructuralCausalModel) or base.weights_sha256 is None:
        raise ConfigError(
            f"init {recipe.init.model}: a training starts from a trained recipe or from a folder made by training."
        )
    if recipe.init.sha256 not in (None, base.weights_sha256):
        raise CheckpointError(
            f"init {recipe.init.model} has weights {base.weights_sha256[:12]}..., but {recipe.name!r} was made from "
            f"{str(recipe.init.sha256)[:12]}...: they were trained anew; fetch the ones that it was made from."
        )
    for name in scm.graph:
        if name not in base.model.graph or base.model.graph.parents(name) != scm.graph.parents(name):
            raise CheckpointError(
                f"init {recipe.init.model} was trained with another graph than the recipe {recipe.name!r}: {name!r} listens to others there. "
                "Start from a model of the same graph."
            )
    state, expected = base.model.state_dict(), scm.state_dict()
    shapes = [{name: value.shape for name, value in part.items()} for part in (state, expected)]
    if shapes[0] != shapes[1]:
        name = next(name for name in sorted({*state, *expected}) if shapes[0].get(name) != shapes[1].get(name))
        raise CheckpointError(
            f"init {recipe.init.model} is of another architecture than the recipe {recipe.name!r}: they differ in {short(name)}. "
            "Start from a model of the same options; one with layers that an adapter has added must be merged first."
        )
    scm.load_state_dict(state)
    return base.weights_sha256


def _contestant(
    recipe: Recipe, dataset: Dataset, weights: Path, sha256: str, device: str | torch.device, training: dict[str, Any]
) -> Contestant:
    scm = build_for(recipe, dataset)
    weights_hash = load_weights(scm, weights, sha256=sha256)
    return _contestant_of(recipe, dataset, scm, weights_hash, device, training)


def _contestant_of(
    recipe: Recipe,
    dataset: Dataset,
    scm: StructuralCausalModel,
    weights_hash: str,
    device: str | torch.device,
    training: dict[str, Any],
) -> Contestant:
    scm.to(device).eval()
    scm.requires_grad_(False)
    image = dataset.card.image
    mechanism = scm.mechanisms[image] if image else None
    return Contestant(
        recipe.name,
        scm,
        title=recipe.title,
        recipe=recipe.content(),
        weights_sha256=weights_hash,
        parameters=sum(parameter.numel() for parameter in scm.parameters()),
        pixel_temperature=_temperature(scm, mechanism),
        exact=mechanism is not None and mechanism.invertible,
        pixel_noise="none"
        if type(mechanism).__module__.startswith("counterbench.") or mechanism is None
        else "unknown",
        training=training,
    )


def _temperature(scm: StructuralCausalModel, mechanism: Mechanism | None) -> float | None:
    """How much of the pixels' residual an answer puts back, by the mechanism or by the way of answering; None where there is no such noise."""
    own = mechanism.pixel_temperature if isinstance(mechanism, HasPixelTemperature) else None
    return max(own or 0.0, scm.residual) if isinstance(scm, Answering) else own
