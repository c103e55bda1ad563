"""Weights: safetensors in, safetensors out. Nothing is ever unpickled."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import nn

from counterbench.errors import CheckpointError, short
from counterbench.storage.files import atomic, sha256_of_file

_FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


def save_weights(module: nn.Module, path: Path, *, half: bool = False) -> str:
    """Write a module's state atomically; returns the file's SHA-256.

    Args:
        module: whose state.
        path: of the file.
        half: round floating-point numbers to half precision, for half the size; they are read as what the module computes in.
    """
    state = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in module.state_dict().items()}
    if half:
        state = {name: value.half() if value.is_floating_point() else value for name, value in state.items()}
    with atomic(path) as temporary:
        temporary.write_bytes(save(state))  # its own writer reports a full disk as something else
    return sha256_of_file(path)


def load_weights(module: nn.Module, path: Path, *, sha256: str | None = None) -> str:
    """Read a module's state; returns the file's SHA-256.

    Args:
        module: of the architecture that the weights were saved from.
        path: a safetensors file.
        sha256: what the file's hash must be; None to accept any.

    Raises:
        CheckpointError: if the file is missing, truncated, altered, or made for another architecture.
    """
    if not path.is_file():
        raise CheckpointError(f"There are no weights at {path}.")
    digest = sha256_of_file(path)
    if sha256 is not None and digest != sha256:
        raise CheckpointError(
            f"{path} has SHA-256 {digest[:12]}..., expected {sha256[:12]}...: it was altered or cut short; fetch it again."
        )
    try:
        state = load(path.read_bytes())
    except (SafetensorError, OSError) as error:
        raise CheckpointError(
            f"{path} is not an intact safetensors file ({error}); it may be truncated, fetch it again."
        ) from error
    expected = module.state_dict()
    _compare(path, state, expected)
    for name, tensor in state.items():
        if not tensor.to(expected[name].dtype).isfinite().all():
            raise CheckpointError(f"{path}: the weights {short(name)} hold NaN or infinite values; train again.")
    module.load_state_dict(state)
    return digest


def _compare(path: Path, state: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> None:
    missing, extra = sorted(expected.keys() - state.keys()), sorted(state.keys() - expected.keys())
    if missing or extra:
        parts = [f"lacks {name!r}" for name in missing[:1]] + [f"has an unknown {short(name)}" for name in extra[:1]]
        raise CheckpointError(f"{path} was made for another model: it {' and '.join(parts)}.")
    for name, tensor in expected.items():
        if state[name].shape != tensor.shape:
            raise CheckpointError(
                f"{path} was made for another model: {name!r} has shape {tuple(state[name].shape)}, expected {tuple(tensor.shape)}."
            )
        if not _may_become(state[name].dtype, tensor.dtype):
            raise CheckpointError(
                f"{path} was made for another model: {name!r} holds {_words(state[name].dtype)}, expected {_words(tensor.dtype)}."
            )


def _may_become(stored: torch.dtype, wanted: torch.dtype) -> bool:
    """Whether numbers may be read as another type: one precision of floating point as another, everything else as itself."""
    return stored == wanted or (wanted in _FLOATS and stored in _FLOATS)


def _words(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
