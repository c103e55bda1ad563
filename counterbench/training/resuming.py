"""Checkpoints of an interrupted training: written atomically; one that cannot be read is an error that says how to go on."""

from __future__ import annotations

import io
import json
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning.plugins.io import TorchCheckpointIO
from torch import Tensor

from counterbench.errors import CheckpointError
from counterbench.storage.files import atomic

LATEST, BEST = "latest.ckpt", "best.ckpt"
"""States of a training after its last epoch, and after the one with the lowest validation loss."""
PARTS = "parts."
"""How the names of weights begin in a state."""
_PARTS_OF_0_1_0 = "module."
"""How they began in version 0.1.0, whose states nothing can go on from."""


class CheckpointFiles(TorchCheckpointIO):
    """Lightning's checkpoints, written beside the file that they replace: a full disk is told with the name of the folder that
    the user chose."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        """Write a state atomically.

        Raises:
            RecordError: if the folder cannot be written or the disk is full.
        """
        state = io.BytesIO()  # torch's own writer reports a full disk as something else
        torch.save(checkpoint, state)
        with atomic(Path(path)) as temporary:
            temporary.write_bytes(state.getbuffer())


def read_checkpoint(path: Path) -> dict[str, Any]:
    """The state of a training, on the CPU. A Lightning checkpoint is a pickle; this one is read as data all the same.

    Raises:
        CheckpointError: if the file is missing, cut short, or something else.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about foreign pickles, which are refused anyway
            state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # pickle, zipfile and torch each have errors of their own for damage
        raise damaged(path, _first_line(error)) from error
    keys = {"state_dict", "optimizer_states", "lr_schedulers", "loops", "callbacks", "epoch", "global_step"}
    if not isinstance(state, dict) or not keys <= state.keys():
        raise damaged(path, "it is no state of a training")
    return state


def require_checkpoints(folder: Path, expected: Mapping[str, Tensor], *, selects: bool) -> Path:
    """The last state of an interrupted stage, once everything that its end will need is known to be whole.

    Args:
        folder: of the stage.
        expected: the state that its weights must fit.
        selects: whether the best epoch is needed too.

    Raises:
        CheckpointError: if a file is damaged, or belongs to another training or version.
    """
    for name in (LATEST, BEST) if selects else (LATEST,):
        weights = read_checkpoint(folder / name)["state_dict"]
        if any(key.startswith(_PARTS_OF_0_1_0) for key in weights):
            raise CheckpointError(
                f"{folder / name} was left by an earlier version of counterbench, from which this one cannot go on. "
                f"{_start_anew(folder)}"
            )
        shapes = {key: tuple(value.shape) if isinstance(value, Tensor) else () for key, value in weights.items()}
        if shapes != {key: tuple(value.shape) for key, value in expected.items()}:
            raise damaged(folder / name, "it belongs to another training")
    return folder / LATEST


def read_notes(path: Path, *keys: str) -> dict[str, Any]:
    """A JSON object that an interrupted training has left, with these keys.

    Raises:
        CheckpointError: if it is anything else.
    """
    try:
        notes = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise damaged(path, _first_line(error)) from error
    if not isinstance(notes, dict) or not set(keys) <= notes.keys():
        raise damaged(path, f"it is no JSON object with {', '.join(keys)}")
    return notes


def damaged(path: Path, reason: str) -> CheckpointError:
    """The error for a damaged file of an interrupted training: which, why, and what to remove so that the training goes on."""
    return CheckpointError(f"{path} is damaged ({reason}). {_start_anew(path.parent)}")


def _start_anew(folder: Path) -> str:
    return f"Remove the folder {folder} and run the same command again: what was kept there is made anew, everything else stays."


def _first_line(error: BaseException) -> str:
    """What an error says, in at most 80 characters."""
    if isinstance(error, EOFError):
        return "it is empty"
    reason = error.strerror if isinstance(error, OSError) else None
    text = reason or str(error) or type(error).__name__
    line = text.splitlines()[0].rstrip(".")
    return line if len(line) <= 80 else line[:77] + "..."
