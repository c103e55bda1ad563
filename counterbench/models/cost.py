"""What an answer costs: passes through the weights, memory."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import nn


@dataclass
class Passes:
    """How often weights were used.

    Args:
        used: forward passes of every layer, weighted by its number of weights.
        weights: how many weights there are.
    """

    used: float = 0.0
    weights: int = 0

    @property
    def mean(self) -> float | None:
        """Passes through an average weight; None for a model without weights."""
        return self.used / self.weights if self.weights else None


@contextmanager
def counted_passes(networks: Sequence[nn.Module], samples: int = 1) -> Iterator[Passes]:
    """Count the forward passes of some networks' layers inside the block.

    A pass of a part of the batch counts by its share, so that it is no matter how a model splits its work.

    Args:
        networks: those of a model; see :func:`counterbench.models.reachable.modules_of`.
        samples: how many samples are answered inside the block.
    """
    layers = {layer for network in networks for layer in network.modules()}
    own = {layer: sum(weight.numel() for weight in layer.parameters(recurse=False)) for layer in layers}
    passes = Passes(weights=sum(own.values()))

    def hook(layer: nn.Module, inputs: tuple[object, ...], _: object) -> None:
        rows = inputs[0].shape[0] if inputs and isinstance(inputs[0], torch.Tensor) and inputs[0].ndim else samples
        passes.used += own[layer] * min(1.0, rows / samples)

    handles = [layer.register_forward_hook(hook) for layer, weights in own.items() if weights]
    try:
        yield passes
    finally:
        for handle in handles:
            handle.remove()


def peak_memory(device: torch.device) -> float | None:
    """Largest memory in use so far, in MB: of the accelerator, or of this process; None where it cannot be told."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    try:
        import resource
    except ImportError:  # there is none on Windows
        return None
    largest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return largest / (2**20 if sys.platform == "darwin" else 2**10)


def out_of_memory(error: BaseException) -> bool:
    """Whether an accelerator ran out of memory."""
    return isinstance(error, torch.OutOfMemoryError) or (
        isinstance(error, RuntimeError) and "out of memory" in str(error).lower()
    )
