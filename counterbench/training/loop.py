"""Fitting one objective with Lightning: the loop, and nothing about models or folders of results."""

from __future__ import annotations

import math
import signal
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytorch_lightning as lightning
import torch
from pytorch_lightning.callbacks import Callback, EarlyStopping, ModelCheckpoint, WeightAveraging
from torch import Tensor

from counterbench.catalog.recipes import Fit
from counterbench.errors import ConfigError, ModelError
from counterbench.runtime import progress
from counterbench.runtime.memory import freed_kept
from counterbench.training.batches import loader, mixed
from counterbench.training.curves import Curve, CurveCallback
from counterbench.training.display import EpochLines, Quiet, StderrProgressBar
from counterbench.training.hardware import Hardware
from counterbench.training.objectives.base import Circumstances, Moment, Objective, Player
from counterbench.training.resuming import (
    BEST,
    LATEST,
    PARTS,
    CheckpointFiles,
    read_checkpoint,
    require_checkpoints,
)
from counterbench.training.weightings.base import SUBGROUP, means_of


def require_single_precision() -> None:
    """Refuse to train in another precision than the one that every model is read and compared in.

    Raises:
        ConfigError: if torch's default type is not float32.
    """
    if torch.get_default_dtype() != torch.float32:
        raise ConfigError(
            f"torch's default type is {torch.get_default_dtype()}; models are trained in torch.float32. "
            "Call torch.set_default_dtype(torch.float32) first."
        )


class Fitting(lightning.LightningModule):
    """What Lightning runs: AdamW, warm-up per step, losses per sample, curves, of any objective.

    Every batch, each player in turn takes one step; with one player that is ordinary training.

    Args:
        objective: what is minimised.
        seed: of every draw during training; each step has its own generator, so resuming changes nothing.

    Raises:
        ConfigError: if a player moves weights that are in no part of the objective.
    """

    def __init__(self, objective: Objective, seed: int):
        super().__init__()
        self.objective, self.seed = objective, seed
        self.parts = torch.nn.ModuleDict(objective.parts())
        self.weighting = objective.weighting
        self.held_out: list[tuple[Tensor, Tensor]] = []
        self.automatic_optimization = False  # one way for any number of players
        self._require_whole()

    def _require_whole(self) -> None:
        """Refuse players whose weights would stay behind in a checkpoint, and on the CPU."""
        own = {id(weight) for weight in self.parts.parameters()}
        for player in self.objective.players():
            if not own.issuperset(map(id, player.parameters)):
                raise ConfigError(
                    f"The player {player.name!r} of {type(self.objective).__name__} moves weights that are in none of its "
                    f"parts ({', '.join(self.parts)}); parts() must return every module that is trained."
                )

    def training_step(self, batch: dict[str, Tensor], batch_index: int) -> None:
        generator = self._generator(self.global_step * 1024 + self.global_rank)
        players, optimizers = self.objective.players(), _listed(self.optimizers())
        step = self.global_step // len(players)  # Lightning counts every player's
        # Layers like dropout draw from the global state: for this step, that follows from the seed too.
        with torch.random.fork_rng([self.device] if self.device.type == "cuda" else []):
            torch.manual_seed(generator.initial_seed())
            for player, optimizer, schedule in zip(players, optimizers, _listed(self.lr_schedulers()), strict=True):
                # The others' weights need no gradient now.
                with self.toggled_optimizer(optimizer) if len(players) > 1 else nullcontext():
                    self._step(player, optimizer, batch, Moment(generator, epoch=self.current_epoch, step=step))
                schedule.step()
        self.objective.after_step()

    def _step(self, player: Player, optimizer: Any, batch: dict[str, Tensor], moment: Moment) -> None:
        """One player's step."""
        count = len(next(iter(batch.values())))
        if not any(weight.requires_grad for weight in player.parameters):
            return  # an adapter has left this player nothing to move
        loss = self._together(player.loss(batch, moment), batch)
        for name, value in moment.notes.items():
            self._note(name, value, count)
        if not loss.isfinite():
            raise ModelError(f"The loss became {loss.item()} in epoch {moment.epoch}; try a smaller learning rate.")
        optimizer.zero_grad()
        self.manual_backward(loss)
        if clip := self.objective.fit.gradient_clip:
            torch.nn.utils.clip_grad_norm_(player.parameters, clip)
        optimizer.step()
        self._note(f"{player.name}_loss", loss, count)

    def _together(self, losses: Tensor, batch: dict[str, Tensor]) -> Tensor:
        """The losses of samples as one number."""
        if self.weighting is None:
            return losses.mean()
        if len(losses) != len(batch[SUBGROUP]):
            raise ConfigError(
                f"{type(self.objective).__name__} leaves samples of a batch out, so that they cannot be weighted by subgroup; leave out that option "
                "or the weighting."
            )
        return self.weighting(losses, batch[SUBGROUP])  # type: ignore[no-any-return]

    def _note(self, name: str, value: Tensor, count: int) -> None:
        """Add a number of this batch to the curve `name`."""
        self.log(name, value.detach(), on_step=False, on_epoch=True, batch_size=count, sync_dist=True)

    def _generator(self, number: int) -> torch.Generator:
        return torch.Generator(self.device).manual_seed(mixed(self.seed, number))

    def validation_step(self, batch: dict[str, Tensor], batch_index: int) -> None:
        # The same chance for a batch in every epoch, so that epochs can be compared.
        moment = Moment(self._generator(batch_index), training=False, epoch=self.current_epoch)
        losses = self.objective.validate(batch, moment)
        if losses is not None and self.weighting is not None:
            self.held_out.append((losses.detach(), batch[SUBGROUP]))
        elif losses is not None:
            self.log("val_loss", losses.mean(), prog_bar=True, batch_size=len(losses), sync_dist=True)

    def on_validation_epoch_end(self) -> None:
        if self.weighting is not None and self.held_out:
            losses, subgroup = (torch.cat(parts) for parts in zip(*self.held_out, strict=True))
            self.held_out.clear()
            of_epoch = self.weighting.of_epoch(*means_of(losses, subgroup, len(self.weighting.counts)))
            self.log("val_loss", of_epoch, prog_bar=True)
        loss = self.objective.after_validation()
        if loss is not None:
            self.log("val_loss", loss, prog_bar=True, sync_dist=True)

    def configure_optimizers(self) -> Any:
        options = self.objective.fit
        total = max(1, int(self.trainer.estimated_stepping_batches))

        def factor(step: int) -> float:
            rising = min(1.0, (step + 1) / (options.warmup_steps + 1))
            return rising * (0.5 * (1 + math.cos(math.pi * min(1.0, step / total))) if options.cosine else 1.0)

        optimizers = [
            torch.optim.AdamW(
                player.parameters,
                options.learning_rate * player.rate,
                betas=options.betas,
                weight_decay=options.weight_decay,
            )
            for player in self.objective.players()
        ]
        return optimizers, [torch.optim.lr_scheduler.LambdaLR(optimizer, factor) for optimizer in optimizers]


def _listed(one_or_many: Any) -> list[Any]:
    """Lightning hands out a single optimiser bare."""
    return list(one_or_many) if isinstance(one_or_many, (list, tuple)) else [one_or_many]


def run(objective: Objective, circumstances: Circumstances) -> Curve:
    """Train the parts of an objective; they end with the weights of the best validation epoch, or of the last one where the
    objective cannot tell which is best (averaged ones, where the fit says so).

    Args:
        objective: what is minimised.
        circumstances: data, folder for checkpoints while it runs, hardware, seed; whether to go on from the folder's
            checkpoint, if there is one, as if nothing had happened.

    Raises:
        KeyboardInterrupt: on Ctrl-C; the folder then holds the last whole epoch.
        CheckpointError: if what an interrupted run has left is damaged. RecordError: if the folder cannot be written.
    """
    require_single_precision()
    _require_weighable(objective, circumstances)
    folder = circumstances.folder
    fitting = Fitting(objective, circumstances.seed)
    record = CurveCallback(objective.players()[0].name)
    checkpoint: Path | None = None
    if circumstances.resume and (folder / LATEST).is_file():
        checkpoint = require_checkpoints(folder, fitting.state_dict(), selects=_selects(objective))
    with Quiet():
        _fit(fitting, circumstances, record, checkpoint)
    # Both are read from disk because with several devices the training happened in other processes.
    latest = read_checkpoint(folder / LATEST)
    weights = (read_checkpoint(folder / BEST) if _selects(objective) else latest)["state_dict"]
    if bad := [name for name, value in weights.items() if not value.isfinite().all()]:
        raise ModelError(
            f"Training ended with {bad[0].removeprefix(PARTS)!r} holding NaN or infinite values; try a smaller learning rate."
        )
    fitting.load_state_dict(weights)
    return Curve(**latest["callbacks"][record.state_key])


def _require_weighable(objective: Objective, circumstances: Circumstances) -> None:
    """Refuse to weight the samples of a game, or on several devices.

    Raises:
        ConfigError: for one of these.
    """
    if objective.weighting is None:
        return
    if len(objective.players()) > 1:
        raise ConfigError(
            f"{type(objective).__name__} is a game of several players, whose losses no weighting of samples fits; leave it out."
        )
    if circumstances.hardware.devices > 1:
        raise ConfigError(
            "A weighting remembers the losses of subgroups, which several devices would not share; train on one device."
        )


def _selects(objective: Objective) -> bool:
    """Whether the epoch with the lowest validation loss counts, not the last one."""
    return objective.selects and objective.fit.keep == "best"


def _fit(fitting: Fitting, circumstances: Circumstances, record: CurveCallback, checkpoint: Path | None) -> None:
    """Fit, from a checkpoint on if there is one; Ctrl-C ends as Ctrl-C."""
    options, folder = fitting.objective.fit, circumstances.folder
    best = ModelCheckpoint(folder, Path(BEST).stem, monitor="val_loss", enable_version_counter=False)
    latest = ModelCheckpoint(folder, Path(LATEST).stem, enable_version_counter=False)
    callbacks: list[Callback] = [record, best, latest]
    if _selects(fitting.objective):
        callbacks.append(EarlyStopping("val_loss", min_delta=options.min_delta, patience=options.patience))
    devices = circumstances.hardware.devices
    balanced = circumstances.train[SUBGROUP] if fitting.objective.balanced_batches else None
    batches = loader(circumstances.train, options.batch_size, seed=fitting.seed, devices=devices, balanced=balanced)
    held_out = loader(circumstances.validation, options.batch_size, seed=None)
    trainer = _trainer(options, len(batches), callbacks, folder, circumstances.hardware)
    before = signal.getsignal(signal.SIGINT)
    try:
        with freed_kept():
            trainer.fit(
                fitting, batches, held_out, ckpt_path=str(checkpoint) if checkpoint else None, weights_only=True
            )
    except SystemExit:  # how Lightning ends on Ctrl-C, with further signals ignored
        signal.signal(signal.SIGINT, before)
        raise KeyboardInterrupt from None


@dataclass(frozen=True)
class _MovingAverage:
    """Exponential moving average of weights; an object, because worker processes cannot receive a closure."""

    decay: float

    def __call__(self, averaged: Tensor, current: Tensor, count: Tensor | int) -> Tensor:
        # In this form weights that are held stay as they are, to the last bit.
        return averaged + (1 - self.decay) * (current - averaged)


def _trainer(
    options: Fit, batches: int, callbacks: list[Callback], folder: Path, hardware: Hardware
) -> lightning.Trainer:
    epochs = options.epochs if options.steps is None else min(options.epochs, math.ceil(options.steps / batches))
    if options.ema_decay:
        callbacks.append(WeightAveraging(avg_fn=_MovingAverage(options.ema_decay)))
    bar = progress.shown.get() and progress.watched()
    if progress.shown.get():
        callbacks.append(StderrProgressBar() if bar else EpochLines())
    return lightning.Trainer(
        accelerator=hardware.accelerator,
        devices=hardware.indices,
        # Worker processes instead of re-running the command: everything around the fit happens once.
        # In a game, every step leaves out somebody's weights.
        strategy="ddp_spawn_find_unused_parameters_true" if hardware.devices > 1 else "auto",
        precision=hardware.precision,  # type: ignore[arg-type]
        max_epochs=epochs,
        callbacks=callbacks,
        plugins=[CheckpointFiles()],
        logger=False,
        enable_model_summary=False,
        enable_progress_bar=bar,
        num_sanity_val_steps=0,
        default_root_dir=folder,
    )
