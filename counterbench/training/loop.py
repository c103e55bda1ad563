"""Fitting one module with Lightning: the loop, and nothing about models or folders of results."""

from __future__ import annotations

import math
import signal
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import pytorch_lightning as lightning
import torch
from pytorch_lightning.callbacks import Callback, EarlyStopping, ModelCheckpoint, WeightAveraging
from torch import Tensor

from counterbench.catalog.recipes import Fit
from counterbench.errors import ConfigError, ModelError
from counterbench.runtime import progress
from counterbench.training.batches import loader, mixed
from counterbench.training.display import Lines, Quiet, StderrProgressBar
from counterbench.training.resuming import (
    BEST,
    LATEST,
    CheckpointFiles,
    read_checkpoint,
    require_checkpoints,
)


@dataclass(frozen=True)
class Hardware:
    """Where and how to compute.

    Args:
        device: cpu, cuda, mps, or auto.
        devices: how many.
        precision: Lightning's word for it: 32-true or bf16-mixed (half precision that needs no scaling of the loss).
    """

    device: str = "auto"
    devices: int = 1
    precision: str = "32-true"

    @property
    def accelerator(self) -> str:
        """Lightning's word for the kind of device."""
        return "gpu" if self.device.startswith("cuda") else self.device.partition(":")[0]

    @property
    def chosen(self) -> int | list[int]:
        """How many devices, or which one (cuda:1)."""
        _, colon, number = self.device.partition(":")
        return [int(number)] if colon and self.devices == 1 else self.devices


@dataclass
class Curve:
    """Loss after each epoch, in nats per sample."""

    train: list[float] = field(default_factory=list)
    validation: list[float] = field(default_factory=list)
    parts: dict[str, list[float]] = field(default_factory=dict)
    """What else an objective logs, by name; e.g. the losses of further players."""


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


@dataclass(frozen=True)
class Player:
    """Somebody with an optimiser of its own: a whole model, or one side of a game.

    Args:
        name: in curves and messages.
        parameters: what it moves.
        loss: what it minimises: (batch, generator) -> per sample, (N,).
        rate: its learning rate in units of the fit's.
    """

    name: str
    parameters: Sequence[torch.nn.Parameter]
    loss: Callable[[dict[str, Tensor], torch.Generator], Tensor]
    rate: float = 1.0


class Fitting(lightning.LightningModule):
    """Shared by everything that is trained: AdamW, warm-up per step, losses per sample, curves.

    Every batch, each player in turn takes one step; with one player that is ordinary training.

    Args:
        module: what is trained.
        fit: how.
        seed: of every draw during training; each step has its own generator, so resuming changes nothing.
    """

    selects: ClassVar[bool] = True
    """Whether the epoch with the lowest validation loss is kept and patience ends the training, else the last one."""

    def __init__(self, module: torch.nn.Module, fit: Fit, seed: int):
        super().__init__()
        self.module, self.fit_options, self.seed = module, fit, seed
        self.automatic_optimization = False  # one way for any number of players

    def losses(self, batch: dict[str, Tensor], generator: torch.Generator, training: bool) -> Tensor:
        """Loss per sample, (N,), in validation and, unless there are other players, in training."""
        raise NotImplementedError

    def players(self) -> Sequence[Player]:
        """Who takes a step on every batch, in this order."""
        return [Player("train", list(self.module.parameters()), lambda b, g: self.losses(b, g, training=True))]

    def after_step(self) -> None:
        """Called when all players have taken their step."""

    def note(self, name: str, value: Tensor, count: int) -> None:
        """Add a number of this batch to the curve `name`."""
        self.log(name, value.detach(), on_step=False, on_epoch=True, batch_size=count, sync_dist=True)

    def training_step(self, batch: dict[str, Tensor], batch_index: int) -> None:
        generator = torch.Generator(self.device).manual_seed(
            mixed(self.seed, self.global_step * 1024 + self.global_rank)
        )
        count = len(next(iter(batch.values())))
        optimizers, schedules = _listed(self.optimizers()), _listed(self.lr_schedulers())
        # Layers like dropout draw from the global state: for this step, that follows from the seed too.
        with torch.random.fork_rng([self.device] if self.device.type == "cuda" else []):
            torch.manual_seed(generator.initial_seed())
            self._step(batch, generator, count, optimizers, schedules)
        self.after_step()

    def _step(
        self,
        batch: dict[str, Tensor],
        generator: torch.Generator,
        count: int,
        optimizers: Sequence[Any],
        schedules: Sequence[Any],
    ) -> None:
        for player, optimizer, schedule in zip(self.players(), optimizers, schedules, strict=True):
            if len(optimizers) > 1:
                self.toggle_optimizer(optimizer)  # the others' weights need no gradient now
            loss = player.loss(batch, generator).mean()
            if not loss.isfinite():
                raise ModelError(
                    f"The loss became {loss.item()} in epoch {self.current_epoch}; try a smaller learning rate."
                )
            optimizer.zero_grad()
            self.manual_backward(loss)
            if self.fit_options.gradient_clip:
                torch.nn.utils.clip_grad_norm_(player.parameters, self.fit_options.gradient_clip)
            optimizer.step()
            schedule.step()
            if len(optimizers) > 1:
                self.untoggle_optimizer(optimizer)
            self.note(f"{player.name}_loss", loss, count)

    def validation_generator(self, batch_index: int) -> torch.Generator:
        """The same chance for a batch in every epoch, so that epochs can be compared."""
        return torch.Generator(self.device).manual_seed(mixed(self.seed, batch_index))

    def validation_step(self, batch: dict[str, Tensor], batch_index: int) -> None:
        losses = self.losses(batch, self.validation_generator(batch_index), training=False)
        self.log("val_loss", losses.mean(), prog_bar=True, batch_size=len(losses), sync_dist=True)

    def configure_optimizers(self) -> Any:
        options = self.fit_options
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
            for player in self.players()
        ]
        return optimizers, [torch.optim.lr_scheduler.LambdaLR(optimizer, factor) for optimizer in optimizers]


def _listed(one_or_many: Any) -> list[Any]:
    """Lightning hands out a single optimiser bare."""
    return list(one_or_many) if isinstance(one_or_many, (list, tuple)) else [one_or_many]


class _Record(Callback):
    """Keeps the curve, and carries it through a resume."""

    def __init__(self, first: str) -> None:
        self.first = first
        """The player whose loss is the curve of training."""
        self.curve = Curve()

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        metrics = {name: float(value) for name, value in trainer.callback_metrics.items()}
        self.curve.validation.append(metrics.pop("val_loss"))
        self.curve.train.append(metrics.pop(f"{self.first}_loss"))
        for name, value in metrics.items():
            self.curve.parts.setdefault(name, []).append(value)

    def state_dict(self) -> dict[str, Any]:
        return vars(self.curve)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.curve = Curve(**state_dict)


def run(
    fitting: Fitting,
    train: Mapping[str, Tensor],
    validation: Mapping[str, Tensor],
    folder: Path,
    hardware: Hardware,
    resume: bool = False,
) -> Curve:
    """Train one module; it ends with the weights of its best validation epoch, or of its last one where the objective cannot
    tell which is best (averaged ones, where the fit says so).

    Args:
        fitting: what to train.
        train, validation: natural values.
        folder: for checkpoints while it runs.
        hardware: where.
        resume: go on from the folder's checkpoint, if there is one, as if nothing had happened.

    Raises:
        KeyboardInterrupt: on Ctrl-C; the folder then holds the last whole epoch.
        CheckpointError: if what an interrupted run has left is damaged. RecordError: if the folder cannot be written.
    """
    require_single_precision()
    record = _Record(fitting.players()[0].name)
    best = ModelCheckpoint(folder, Path(BEST).stem, monitor="val_loss", enable_version_counter=False)
    latest = ModelCheckpoint(folder, Path(LATEST).stem, enable_version_counter=False)
    checkpoint: Path | None = None
    if resume and (folder / LATEST).is_file():
        checkpoint = require_checkpoints(folder, fitting.state_dict(), fitting.selects)
    before = signal.getsignal(signal.SIGINT)
    with Quiet():
        callbacks: list[Callback] = [record, best, latest]
        if fitting.selects:
            options = fitting.fit_options
            callbacks.append(EarlyStopping("val_loss", min_delta=options.min_delta, patience=options.patience))
        batch_size = fitting.fit_options.batch_size
        batches = loader(train, batch_size, fitting.seed)
        trainer = _trainer(fitting.fit_options, len(batches), callbacks, folder, hardware)
        try:
            trainer.fit(
                fitting,
                batches,
                loader(validation, batch_size, None),
                ckpt_path=str(checkpoint) if checkpoint else None,
                weights_only=True,
            )
        except SystemExit:  # how Lightning ends on Ctrl-C, with further signals ignored
            signal.signal(signal.SIGINT, before)
            raise KeyboardInterrupt from None
    # Both are read from disk because with several devices the training happened in other processes.
    latest_state = read_checkpoint(folder / LATEST)
    kept = read_checkpoint(folder / BEST) if fitting.selects else latest_state
    if bad := [name for name, value in kept["state_dict"].items() if not value.isfinite().all()]:
        raise ModelError(f"Training ended with {bad[0]!r} holding NaN or infinite values; try a smaller learning rate.")
    fitting.load_state_dict(kept["state_dict"])
    return Curve(**latest_state["callbacks"][record.state_key])


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
        callbacks.append(StderrProgressBar() if bar else Lines())
    return lightning.Trainer(
        accelerator=hardware.accelerator,
        devices=hardware.chosen,
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
