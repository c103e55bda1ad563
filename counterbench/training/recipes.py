"""Training a model: one folder holds everything.

The likelihood of a structural causal model is a product over its mechanisms, so each is fitted alone, on real parents, in one
or several stages; later mechanisms find the earlier ones (those of their causes) trained. Every finished stage is saved at
once, and an interrupted one leaves a checkpoint, so that `resume` loses at most an epoch.
"""

from __future__ import annotations

import copy
import json
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from counterbench import models
from counterbench.adapters.base import difference, opened, take_difference
from counterbench.catalog.recipes import MechanismEntry, Recipe, Stage, recipe_paths
from counterbench.datasets.dataset import Dataset
from counterbench.datasets.selection import ranges, rows_of
from counterbench.errors import CheckpointError, ConfigError
from counterbench.mechanisms.base import Mechanism
from counterbench.models.adaptation import adapter_of, prefix
from counterbench.models.behind import behind_of
from counterbench.models.loading import DIFFERENCE, WEIGHTS
from counterbench.models.scm import StructuralCausalModel
from counterbench.runtime import progress
from counterbench.runtime.blocks import at_once
from counterbench.runtime.devices import choose_device
from counterbench.runtime.versions import versions
from counterbench.storage.files import MANIFEST, UNFINISHED, claimed, write_text
from counterbench.storage.weights import load_weights, read_state, save_state, save_weights
from counterbench.training import loop, stages
from counterbench.training.feeding import feed_of, kept_feed, without_teacher
from counterbench.training.feeds.base import FeedContext
from counterbench.training.hardware import Hardware
from counterbench.training.loop import require_single_precision
from counterbench.training.objectives.base import Circumstances
from counterbench.training.places import MARKER, require_free
from counterbench.training.resuming import LATEST, damaged, read_notes
from counterbench.training.subgroups import Subgrouped, subgrouped
from counterbench.training.weightings.base import SUBGROUP

CURVE = "curve.json"
_PREPARED = 1 << 28
"""Encoded numbers that a mechanism looks at before training: 1 GiB."""
"""What says that a folder holds a training, and which."""


def train(
    recipe: Recipe,
    dataset: Dataset,
    *,
    output: Path,
    hardware: Hardware = Hardware(),  # noqa: B008 - frozen
    seed: int | None = None,
    epochs: int | None = None,
    limit: int | None = None,
    resume: bool = False,
) -> Path:
    """Train every mechanism of a recipe.

    Args:
        recipe: what to train.
        dataset: from which source.
        output: folder for the result: weights.safetensors, manifest.json, curves.png.
        hardware: where.
        seed: None for the recipe's.
        epochs: at most; None for the recipe's.
        limit: use only this many training samples (and as many for validation), to try things out.
        resume: go on with what an interrupted run has left, if there is anything; a finished training of the same plan is left as it is.

    Returns:
        The folder.

    Raises:
        CheckpointError: if the folder holds something else than this very run, or damaged files of it.
        ConfigError: for a limit below 2, or another default type of torch. DataError: for NaN in the data, or too few of them.
        KeyboardInterrupt: on Ctrl-C, after saving.
    """
    require_single_precision()
    seed = recipe.seed if seed is None else seed
    if limit is not None and limit < 2:
        raise ConfigError(f"limit is {limit}; a training needs at least 2 samples.")
    plan: dict[str, Any] = {
        "recipe": recipe.content(),
        "dataset": dataset.card.name,
        "source": dataset.source,
        "seed": seed,
        "epochs": epochs,
        "limit": limit,
        "precision": hardware.precision,
    }
    recipe, scm = _at_the_start(recipe, dataset, seed)
    plan["recipe"] = recipe.content()
    chosen = rows_of(recipe, dataset, limit=limit)
    source = feed_of(recipe, FeedContext(dataset, chosen, seed, choose_device(hardware.device)), limit=limit)
    if source.real and (recipe.rows is not None or limit is not None):
        where = recipe.rows.where if recipe.rows is not None else {}
        plan["rows"] = {"where": where, **{name: _in_words(rows) for name, rows in chosen.items()}}
    if not source.real:
        # Teacher and verifier are their hashes: where they lie, and the seed in a folder's name, make no other recipe.
        plan["recipe"] = without_teacher(plan["recipe"])
        plan["made_by"] = list(source.made_by)
    if recipe.init is not None:
        plan["init_behind"] = asdict(behind_of(models.load(recipe.init.model, dataset).training))
    if dataset.card.grammar is not None:
        plan["grammar"] = dataset.card.grammar_hash
    with claimed(output):
        if resume and _finished(output, plan):
            return output
        require_free(output, resume)
        if source.real:
            plan["data"] = {name: dataset.split(name).fingerprint for name in ("train", "validation")}
        _mark(output, plan)
        fed = kept_feed(source, output, of=plan)
        run = MechanismTraining(
            scm,
            fed.train,
            fed.validation,
            output / UNFINISHED,
            hardware,
            epochs,
            resume,
            None if fed.rows is None else _divider(dataset, fed.rows),
        )
        for position, name in enumerate(scm.mechanisms):
            run.fit(
                name,
                stages_of(recipe.mechanisms[name], scm, name),
                seed * 97 + position,
                further=recipe.init is not None,
            )
        if fed.about:
            plan["feed"] = fed.about
        _finish(scm, output, plan, hardware, run)
    shutil.rmtree(output / UNFINISHED, ignore_errors=True)
    return output


def _divider(dataset: Dataset, rows: Mapping[str, Tensor]) -> Callable[[str], Subgrouped]:
    """What divides the samples that are used -> which subgroup each is in."""
    chosen = {split: [index] for split, index in rows.items()}
    return lambda by: subgrouped([dataset], by, splits=("train", "validation"), rows=chosen)


def _finish(
    scm: StructuralCausalModel, output: Path, plan: dict[str, Any], hardware: Hardware, run: MechanismTraining
) -> None:
    """Write the weights, or how they differ from those of the start; then the manifest: where there is one, the model is whole."""
    further = plan["recipe"].get("init") is not None
    manifest = {
        **plan,
        "weights_sha256": save_state(run.changed, output / DIFFERENCE)
        if further
        else save_weights(scm, output / WEIGHTS),
        "hardware": asdict(hardware),
        "versions": versions(),
        "judges_used_in_training": run.judges,
        "curves": run.curves,
    }
    write_text(output / MANIFEST, json.dumps(manifest, indent=1) + "\n")


def _at_the_start(recipe: Recipe, dataset: Dataset, seed: int) -> tuple[Recipe, StructuralCausalModel]:
    """(the recipe, with the hash of the weights that it starts from; the model with them, or with random ones); every stage is tried
    too, so that a slip in a recipe costs no time and no folder."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)  # the initial weights; everything later has its own generator
        scm = models.build_for(recipe, dataset)
    if recipe.init is not None:
        sha256 = models.start_from_init(scm, recipe, dataset)
        place = Path(recipe.init.model)
        named = (
            dataset.card.name,
            recipe.init.model,
        ) in recipe_paths()  # the catalogue comes before a folder of that name
        start = {"sha256": sha256, "model": recipe.init.model if named else str(place.resolve())}
        recipe = recipe.model_copy(update={"init": recipe.init.model_copy(update=start)})
    with torch.random.fork_rng(devices=[]):
        for name in scm.mechanisms:
            for stage in stages_of(recipe.mechanisms[name], scm, name):
                objective = stages.build(stage, scm, name=name)
                if stage.weighting is not None:
                    _divider(dataset, rows_of(recipe, dataset))(stage.weighting.by).weigh(objective, stage.weighting)
                if stage.adapt is not None:
                    adapter_of(stage, name).open(copy.deepcopy(scm.mechanisms[name]))
    return recipe, scm


def _in_words(rows: Tensor) -> dict[str, Any]:
    """Which rows, for the manifest."""
    return {"count": len(rows), "which": ranges(rows)}


def stages_of(entry: MechanismEntry, scm: StructuralCausalModel, name: str) -> tuple[Stage, ...]:
    """The stages in which the mechanism of `name` is trained; none for one that comes with its weights.

    Raises:
        ConfigError: if the recipe would train such a one.
    """
    if not scm.mechanisms[name].pretrained:
        return entry.training
    if entry.fit is not None or entry.stages:
        raise ConfigError(
            f"The mechanism {entry.family!r} of {name!r} comes with its weights and is not trained; leave out fit and stages."
        )
    return ()


def _finished(output: Path, plan: Mapping[str, Any]) -> bool:
    """Whether the folder holds this very training, finished: then a job that is submitted once more has nothing to do.

    Raises:
        CheckpointError: if it holds another finished training.
    """
    try:
        manifest = json.loads((output / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    if not isinstance(manifest, dict):
        return False
    if different := _difference(manifest, plan):
        raise CheckpointError(
            f"{output} already holds a trained model of other options ({different}); give the same, choose another --output, remove it first, or "
            f"train it further with --init {output} and another --output."
        )
    return True


def _difference(earlier: Mapping[str, Any], plan: Mapping[str, Any]) -> str | None:
    """The first thing in which two trainings differ, by the keys of the later one."""
    now = json.loads(json.dumps(plan))
    return next((key for key in now if earlier.get(key) != now[key]), None)


def _mark(output: Path, plan: dict[str, Any]) -> None:
    """Make the folder this run's, or find that it already is."""
    marker = output / MARKER
    if marker.exists() and (different := _difference(read_notes(marker), plan)):
        raise CheckpointError(
            f"The training in {output} was started with other options ({different}); resume with the same, or start in a new folder."
        )
    write_text(marker, json.dumps(plan))


def _weights_back(mechanism: Mechanism, weights: Path, curve: Path) -> dict[str, Any]:
    """Take over the weights that a finished stage has left; returns its curve."""
    try:
        load_weights(mechanism, weights)
    except CheckpointError as error:
        raise damaged(weights, "these are no weights of this stage") from error
    return read_notes(curve, "train", "validation", "objective", "judges")


@dataclass
class MechanismTraining:
    """Training all mechanisms of a model, one after the other.

    Args:
        scm: the model.
        train, validation: natural values.
        folder: for whatever is not finished.
        hardware: where.
        epochs: at most, per stage; None for the recipe's.
        resume: take what an interrupted run has left in the folder.
        subgroups: divides the samples: what divides them -> which subgroup each is in; None where no stage asks for it.
    """

    scm: StructuralCausalModel
    train: Mapping[str, Tensor]
    validation: Mapping[str, Tensor]
    folder: Path
    hardware: Hardware
    epochs: int | None
    resume: bool
    subgroups: Callable[[str], Subgrouped] | None = None
    curves: dict[str, Any] = field(default_factory=dict)
    judges: list[str] = field(default_factory=list)
    changed: dict[str, Tensor] = field(default_factory=dict)
    """What stages have changed of the weights that training started from."""

    def fit(self, name: str, stages: Sequence[Stage], seed: int, *, further: bool = False) -> None:
        """All stages of one mechanism, from random weights or further from trained ones."""
        for number, stage in enumerate(stages):
            alone = len(stages) == 1
            title = name if alone else f"{name}: {number + 1} {stage.objective}"
            progress.say(title)
            folder = self.folder / name if alone else self.folder / name / f"{number + 1}-{stage.objective}"
            fit = self._fit_further if further else self._fit
            finished = fit(name, stage, folder, seed + 7919 * number, number)
            self.judges += finished.pop("judges")
            self.curves[title] = finished

    def _fit(self, name: str, stage: Stage, folder: Path, seed: int, number: int) -> dict[str, Any]:
        """One stage, or what an interrupted run had made of it; returns its curve."""
        mechanism = self.scm.mechanisms[name]
        weights, curve_file = folder / WEIGHTS, folder / CURVE
        if self.resume and weights.is_file() and curve_file.is_file():
            return _weights_back(mechanism, weights, curve_file)
        mechanism.requires_grad_(True).train()
        curve = self._run(name, stage, folder, seed, prepared=number > 0)
        save_weights(mechanism, weights)
        write_text(curve_file, json.dumps(curve))
        return curve

    def _fit_further(self, name: str, stage: Stage, folder: Path, seed: int, number: int) -> dict[str, Any]:
        """One stage from trained weights: an adapter opens a part of them, and what has changed is kept."""
        mechanism = self.scm.mechanisms[name]
        kept, curve_file = folder / DIFFERENCE, folder / CURVE
        before = {key: value.clone() for key, value in mechanism.state_dict().items()}
        mechanism.train()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed + 1)  # for what the adapter adds
            adapter = adapter_of(stage, name)
            names = adapter.open(mechanism)
        if self.resume and kept.is_file() and curve_file.is_file():
            tensors, _ = read_state(kept)
            take_difference(mechanism, tensors, where=kept)
            curve = read_notes(curve_file, "train", "validation", "objective", "judges")
        else:
            count = opened(mechanism)
            curve = {**self._run(name, stage, folder, seed, prepared=True), "opened": count}
            tensors = difference(mechanism, before, names)
            save_state(tensors, kept)
            write_text(curve_file, json.dumps(curve))
        self.changed |= {prefix(name, number) + key: value for key, value in tensors.items()}
        adapter.merge(mechanism)
        return curve

    def _run(self, name: str, stage: Stage, folder: Path, seed: int, *, prepared: bool) -> dict[str, Any]:
        """Fit what is open of a mechanism, unless it has looked at the training data before; returns the curve."""
        mechanism = self.scm.mechanisms[name]
        started = time.perf_counter()
        if self.epochs:
            fit = stage.fit.model_copy(update={"epochs": min(self.epochs, stage.fit.epochs)})
            stage = stage.model_copy(update={"fit": fit})
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)  # for whatever the objective brings along
            objective = stages.build(stage, self.scm, name=name)
        train, held_out = ({v: values[v] for v in objective.variables} for values in (self.train, self.validation))
        if not prepared and not (folder / LATEST).is_file():
            largest = max(variable.size for variable in objective.variables.values())
            rows = slice(0, at_once(largest, len(train[name]), room=_PREPARED))
            encoded = {v: variable.encode(train[v][rows]) for v, variable in objective.variables.items()}
            mechanism.prepare(encoded[name], encoded)
        divided = None
        if stage.weighting is not None and self.subgroups is not None:
            divided = self.subgroups(stage.weighting.by)
            divided.weigh(objective, stage.weighting)
            train, held_out = {**train, SUBGROUP: divided.train}, {**held_out, SUBGROUP: divided.held_out}
        curve: dict[str, Any] = {"train": [], "validation": []}
        if any(True for _ in mechanism.parameters()):
            circumstances = Circumstances(
                train=train,
                validation=held_out,
                folder=folder,
                hardware=self.hardware,
                seed=seed,
                resume=self.resume,
            )
            objective.prepare(circumstances)
            curve = vars(loop.run(objective, circumstances))
        curve = {**curve, "objective": stage.objective, "seconds": round(time.perf_counter() - started, 1)}
        curve["judges"] = objective.judges
        if divided is not None and objective.weighting is not None:
            curve["subgroups"] = divided.shares(objective.weighting)
        mechanism.cpu()
        return curve
