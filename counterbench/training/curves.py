"""What a training leaves to look at: its losses, epoch by epoch."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytorch_lightning as lightning
from pytorch_lightning.callbacks import Callback


@dataclass
class Curve:
    """Loss after each epoch, in nats per sample."""

    train: list[float] = field(default_factory=list)
    validation: list[float] = field(default_factory=list)
    parts: dict[str, list[float]] = field(default_factory=dict)
    """What else an objective logs, by name; e.g. the losses of further players."""


class CurveCallback(Callback):
    """Keeps the curve, and carries it through a resume.

    Args:
        first: the player whose loss is the curve of training.
    """

    def __init__(self, first: str) -> None:
        self.first = first
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
