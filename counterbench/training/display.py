"""What a fit shows while it runs: on stderr, because stdout is for results."""

from __future__ import annotations

import logging
import sys
import time
import warnings

import pytorch_lightning as lightning
from pytorch_lightning.callbacks import Callback, RichProgressBar

from counterbench.runtime.progress import duration


class StderrProgressBar(RichProgressBar):
    """Lightning's bar, on stderr."""

    def __init__(self) -> None:
        super().__init__(leave=False, console_kwargs={"stderr": True})


class EpochLines(Callback):
    """A line per epoch instead of a bar, for a log file."""

    def __init__(self) -> None:
        self._begun = time.monotonic()

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        if trainer.is_global_zero:
            losses = ", ".join(f"{name} {float(value):.5g}" for name, value in trainer.callback_metrics.items())
            done, of = trainer.current_epoch + 1, trainer.max_epochs
            seconds = time.monotonic() - self._begun
            left = seconds * (of - done) / done if of else 0.0
            rest = f", at most {duration(left)} left" if left else ""
            print(f"  epoch {done} of {of}: {losses} ({seconds:.0f} s{rest})", file=sys.stderr, flush=True)


class Quiet:
    """Lightning's hints about workers and hardware are not for our users."""

    def __enter__(self) -> None:
        self._logger = logging.getLogger("pytorch_lightning")
        self._level = self._logger.level
        self._logger.setLevel(logging.ERROR)
        logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
        self._warnings = warnings.catch_warnings()
        self._warnings.__enter__()
        warnings.filterwarnings("ignore", module="pytorch_lightning")
        warnings.filterwarnings("ignore", module="lightning")
        warnings.filterwarnings("ignore", category=FutureWarning)
        warnings.filterwarnings("ignore", message=".*lr_scheduler.step.*")

    def __exit__(self, *error: object) -> None:
        self._warnings.__exit__(*error)  # type: ignore[arg-type]
        self._logger.setLevel(self._level)
