"""Weights: safetensors in, safetensors out. Nothing is ever unpickled."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor, nn

from counterbench.errors import CheckpointError, short
from counterbench.storage.files import atomic, sha256_of_file

_FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
_SCALE = "::scale"
"""How the name of the steps ends, (rows,), beside a tensor of 8-bit numbers: weight = number x the step of its row."""
_MANY, _LARGEST = 1024, 127
"""Numbers from which on a tensor is worth 8 bits; the greatest of them."""


def save_weights(module: nn.Module, path: Path, *, bits: Literal[8, 16, 32] = 32) -> str:
    """Write a module's state atomically; returns the file's SHA-256.

    Args:
        module: whose state.
        path: of the file.
        bits: of a floating-point number. 32 keeps what the module computes in; 16 rounds to half precision; 8 rounds every tensor of at
            least 1024 numbers and two dimensions to whole steps, 127 of them to the largest weight of each row (output channel), and
            the others to half precision. They are read as what the module computes in.
    """
    state = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in module.state_dict().items()}
    return save_state(state if bits == 32 else _rounded(state, bits), path)


def save_state(state: Mapping[str, Tensor], path: Path) -> str:
    """Write named tensors atomically; returns the file's SHA-256."""
    with atomic(path) as temporary:
        temporary.write_bytes(save(dict(state)))  # its own writer reports a full disk as something else
    return sha256_of_file(path)


def _rounded(state: dict[str, Tensor], bits: int) -> dict[str, Tensor]:
    rounded = {}
    for name, value in state.items():
        if not value.is_floating_point():
            rounded[name] = value
        elif bits == 8 and value.ndim > 1 and value.numel() >= _MANY:
            steps = value.flatten(1).abs().amax(1).float().clamp(min=1e-12) / _LARGEST
            rounded[name] = (value / _by_row(steps, value)).round().to(torch.int8)
            rounded[name + _SCALE] = steps
        else:
            rounded[name] = value.half()
    return rounded


def _unrounded(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """8-bit numbers and their steps as weights; anything else as it is."""
    steps = {name: state[name + _SCALE] for name in state if name + _SCALE in state}
    return {
        name: value.float() * _by_row(steps[name], value)
        if name in steps and steps[name].shape == value.shape[:1]
        else value
        for name, value in state.items()
        if name.removesuffix(_SCALE) not in steps or name in steps
    }


def _by_row(steps: Tensor, value: Tensor) -> Tensor:
    return steps.view(-1, *[1] * (value.ndim - 1))


def load_weights(module: nn.Module, path: Path, *, sha256: str | None = None) -> str:
    """Read a module's state; returns the file's SHA-256.

    Args:
        module: of the architecture that the weights were saved from.
        path: a safetensors file.
        sha256: what the file's hash must be; None to accept any.

    Raises:
        CheckpointError: if the file is missing, truncated, altered, or made for another architecture.
    """
    state, digest = read_state(path, sha256=sha256)
    expected = module.state_dict()
    _compare(path, state, expected)
    for name, tensor in state.items():
        if not tensor.to(expected[name].dtype).isfinite().all():
            raise CheckpointError(f"{path}: the weights {short(name)} hold NaN or infinite values; train again.")
    module.load_state_dict(state)
    return digest


def load_pinned(module: nn.Module, path: Path, *, sha256: str | None = None, device: str | torch.device = "cpu") -> str:
    """Read the state of a network that only looks, and make it ready: in evaluation mode, without gradients, on its device.

    Args:
        module: of the architecture that the weights were saved from.
        path: a safetensors file.
        sha256: what the file's hash must be; None to accept any.
        device: where it computes.

    Returns:
        The file's SHA-256.

    Raises:
        CheckpointError: if the file is missing, truncated, altered, or made for another architecture.
    """
    digest = load_weights(module, path, sha256=sha256)
    module.to(device, torch.float32).eval().requires_grad_(False)
    return digest


def read_state(path: Path, *, sha256: str | None = None) -> tuple[dict[str, Tensor], str]:
    """(named tensors, the file's SHA-256).

    Args:
        path: a safetensors file.
        sha256: what the file's hash must be; None to accept any.

    Raises:
        CheckpointError: if the file is missing, truncated or altered.
    """
    if not path.is_file():
        raise CheckpointError(f"There are no weights at {path}.")
    digest = sha256_of_file(path)
    if sha256 is not None and digest != sha256:
        raise CheckpointError(
            f"{path} has SHA-256 {digest[:12]}..., expected {sha256[:12]}...: it was altered or cut short; fetch it again."
        )
    try:
        return _unrounded(load(path.read_bytes())), digest
    except (SafetensorError, OSError) as error:
        raise CheckpointError(
            f"{path} is not an intact safetensors file ({error}); it may be truncated, fetch it again."
        ) from error


def _compare(path: Path, state: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
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
