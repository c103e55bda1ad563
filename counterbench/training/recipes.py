"""Training a model: one folder holds everything.

The likelihood of a structural causal model is a product over its mechanisms, so each is fitted alone, on real parents, in one
or several stages; later mechanisms find the earlier ones (those of their causes) trained. Every finished stage is saved at
once, and an interrupted one leaves a checkpoint, so that `resume` loses at most an epoch.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from counterbench import models
from counterbench.catalog.recipes import MechanismEntry, Recipe, Stage
from counterbench.datasets.dataset import Dataset, Split
from counterbench.errors import CheckpointError, ConfigError, DataError
from counterbench.mechanisms.base import Mechanism
from counterbench.models.scm import StructuralCausalModel
from counterbench.runtime import progress
from counterbench.runtime.blocks import at_once
from counterbench.runtime.versions import versions
from counterbench.storage.files import UNFINISHED, claimed, write_text
from counterbench.storage.weights import load_weights, save_weights
from counterbench.training import loop, stages
from counterbench.training.batches import require_samples
from counterbench.training.hardware import Hardware
from counterbench.training.loop import require_single_precision
from counterbench.training.objectives.base import Circumstances
from counterbench.training.resuming import LATEST, damaged, read_notes

MANIFEST = "manifest.json"
WEIGHTS = "weights.safetensors"
_PREPARED = 1 << 28
"""Encoded numbers that a mechanism looks at before training: 1 GiB."""
MARKER = f"{UNFINISHED}/plan.json"
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
    scm = _untrained(recipe, dataset, seed)
    with claimed(output):
        if resume and _finished(output, plan):
            return output
        _require_free(output, resume)
        splits = dataset.split("train"), dataset.split("validation")
        plan["data"] = {split.name: split.fingerprint for split in splits}
        _mark(output, plan)
        train_values, validation_values = (_stored(split, limit) for split in splits)
        run = MechanismTraining(scm, train_values, validation_values, output / UNFINISHED, hardware, epochs, resume)
        for position, name in enumerate(scm.mechanisms):
            run.fit(name, stages_of(recipe.mechanisms[name], scm, name), seed * 97 + position)
        _finish(scm, output, plan, hardware, run)
    shutil.rmtree(output / UNFINISHED, ignore_errors=True)
    return output


def _finish(
    scm: StructuralCausalModel, output: Path, plan: dict[str, Any], hardware: Hardware, run: MechanismTraining
) -> None:
    """Write the weights, then the manifest: where there is one, the model is whole."""
    manifest = {
        **plan,
        "weights_sha256": save_weights(scm, output / WEIGHTS),
        "hardware": asdict(hardware),
        "versions": versions(),
        "judges_used_in_training": run.judges,
        "curves": run.curves,
    }
    write_text(output / MANIFEST, json.dumps(manifest, indent=1) + "\n")


def _untrained(recipe: Recipe, dataset: Dataset, seed: int) -> StructuralCausalModel:
    """The model with its initial weights; every stage is tried too, so that a slip in a recipe costs no time and no folder."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)  # the initial weights; everything later has its own generator
        scm = models.build(recipe, dataset.graph, dataset.variables)
    with torch.random.fork_rng(devices=[]):
        for name in scm.mechanisms:
            for stage in stages_of(recipe.mechanisms[name], scm, name):
                stages.build(stage, scm, name=name)
    return scm


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


def _require_free(output: Path, resume: bool) -> None:
    """Refuse a folder that holds something else than what is asked for, before any data is loaded."""
    if (output / MANIFEST).exists():
        raise CheckpointError(f"{output} already holds a trained model; choose another --output, or remove it first.")
    if (output / MARKER).exists():
        if not resume:
            raise CheckpointError(
                f"{output} holds an interrupted training; add --resume to go on with it, or remove the folder."
            )
    elif any(not path.name.startswith(".") for path in (output / UNFINISHED).glob("*")):
        raise CheckpointError(
            f"{output / UNFINISHED} holds something unfinished, but no {Path(MARKER).name} that says which training it is of. "
            "Remove that folder, or choose another --output."
        )


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
            f"{output} already holds a trained model, with another {different}; give the same, choose another --output, or "
            "remove it first."
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
            f"The training in {output} was started with another {different}; resume with the same, or start in a new folder."
        )
    write_text(marker, json.dumps(plan))


def _finished_stage(mechanism: Mechanism, weights: Path, curve: Path) -> dict[str, Any]:
    """Take over the weights that a finished stage has left; returns its curve."""
    try:
        load_weights(mechanism, weights)
    except CheckpointError as error:
        raise damaged(weights, "these are no weights of this stage") from error
    return read_notes(curve, "train", "validation", "objective", "judges")


def _stored(split: Split, limit: int | None) -> dict[str, Tensor]:
    values = {name: value[:limit] for name, value in split.values.items()}
    require_samples(values, split.name)
    for name, value in values.items():
        if value.is_floating_point() and not value.isfinite().all():
            bad = int((~value.isfinite()).sum())
            raise DataError(
                f"{name}: {bad} of {value.numel()} values of the {split.name} split are NaN or infinite; clean the data first."
            )
    return values


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
    """

    scm: StructuralCausalModel
    train: Mapping[str, Tensor]
    validation: Mapping[str, Tensor]
    folder: Path
    hardware: Hardware
    epochs: int | None
    resume: bool
    curves: dict[str, Any] = field(default_factory=dict)
    judges: list[str] = field(default_factory=list)

    def fit(self, name: str, stages: Sequence[Stage], seed: int) -> None:
        """All stages of one mechanism."""
        for number, stage in enumerate(stages):
            alone = len(stages) == 1
            title = name if alone else f"{name}: {number + 1} {stage.objective}"
            progress.say(title)
            folder = self.folder / name if alone else self.folder / name / f"{number + 1}-{stage.objective}"
            finished = self._fit(name, stage, folder, seed + 7919 * number, first=number == 0)
            self.judges += finished.pop("judges")
            self.curves[title] = finished

    def _fit(self, name: str, stage: Stage, folder: Path, seed: int, first: bool) -> dict[str, Any]:
        """One stage, or what an interrupted run had made of it; returns its curve."""
        mechanism = self.scm.mechanisms[name]
        weights, curve_file = folder / WEIGHTS, folder / "curve.json"
        if self.resume and weights.is_file() and curve_file.is_file():
            return _finished_stage(mechanism, weights, curve_file)
        started = time.perf_counter()
        if self.epochs:
            fit = stage.fit.model_copy(update={"epochs": min(self.epochs, stage.fit.epochs)})
            stage = stage.model_copy(update={"fit": fit})
        mechanism.requires_grad_(True).train()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)  # for whatever the objective brings along
            objective = stages.build(stage, self.scm, name=name)
        train, held_out = ({v: values[v] for v in objective.variables} for values in (self.train, self.validation))
        if first and not (folder / LATEST).is_file():
            largest = max(variable.size for variable in objective.variables.values())
            rows = slice(0, at_once(largest, len(train[name]), room=_PREPARED))
            encoded = {v: variable.encode(train[v][rows]) for v, variable in objective.variables.items()}
            mechanism.prepare(encoded[name], encoded)
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
        save_weights(mechanism.cpu(), weights)
        write_text(curve_file, json.dumps(curve))
        return curve
