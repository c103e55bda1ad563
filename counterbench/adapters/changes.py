"""Layers whose weights are seen through a small trained change, which can be folded into them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from counterbench.adapters.base import Adapter
from counterbench.adapters.parts import is_transposed, outputs


class Change(nn.Module, ABC):
    """Trained numbers that make other weights of a layer's weights; at the start, the same ones."""

    @abstractmethod
    def forward(self, weight: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """(weight, bias) -> (weight, bias), of the same shapes; None stays None."""


class WrappedLayer(nn.Module):
    """A layer with something beside it; whatever else is asked of it, the layer answers.

    Args:
        layer: it stays as it is.
    """

    def __init__(self, layer: nn.Module):
        super().__init__()
        self.layer = layer

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(super().__getattr__("layer"), name)  # its weight, its sizes


class ChangedLayer(WrappedLayer):
    """A layer that computes with changed weights.

    Args:
        layer: linear, a convolution, or normalisation.
        change: of its weights.
    """

    def __init__(self, layer: nn.Module, change: Change):
        super().__init__(layer)
        self.change = change

    def forward(self, *inputs: Tensor, **options: Any) -> Tensor:
        weight, bias = self.change(self.layer.weight, self.layer.bias)
        changed = {"weight": weight} if bias is None else {"weight": weight, "bias": bias}
        result: Tensor = functional_call(self.layer, changed, inputs, options)
        return result

    @torch.no_grad()
    def merged(self) -> nn.Module:
        """The layer, with the changed weights as its own."""
        weight, bias = self.change(self.layer.weight, self.layer.bias)
        own: Any = self.layer
        own.weight.copy_(weight)
        if bias is not None:
            own.bias.copy_(bias)
        return self.layer


class Changing(Adapter):
    """Puts a :class:`Change` on layers."""

    looks_for = "linear layer and no convolution"

    @abstractmethod
    def changes(self, network: nn.Module) -> dict[str, Change]:
        """Name of a layer -> what changes its weights."""

    def _open(self, network: nn.Module) -> None:
        for name, change in self.changes(network).items():
            layer = network.get_submodule(name)
            replace(network, name, ChangedLayer(layer, change.to(layer.weight)))  # type: ignore[arg-type]

    def merge(self, network: nn.Module) -> None:
        replace_all(network, ChangedLayer, lambda layer: layer.merged())


def replace(network: nn.Module, name: str, module: nn.Module) -> None:
    """Put a module in the place of the submodule called `name`."""
    parent, _, child = name.rpartition(".")
    setattr(network.get_submodule(parent), child, module)


def replace_all(network: nn.Module, kind: type, make: Callable[[Any], nn.Module]) -> None:
    """Put `make(module)` in the place of every submodule of a kind."""
    for name, module in list(network.named_modules()):
        if isinstance(module, kind):
            replace(network, name, make(module))


def by_output(scale: Tensor, weight: Tensor, transposed: bool) -> Tensor:
    """One number per output, in the shape that multiplies a layer's weight."""
    axis = 1 if transposed else 0
    return scale.view([-1 if number == axis else 1 for number in range(weight.ndim)])


def matrix_of(weight: Tensor, transposed: bool) -> Tensor:
    """A layer's weight as a matrix, (outputs, inputs x kernel).

    Examples:
        >>> tuple(matrix_of(torch.zeros(3, 5, 2, 2), transposed=True).shape)
        (5, 12)
    """
    return (weight.transpose(0, 1) if transposed else weight).flatten(1)


def like_weight(matrix: Tensor, weight: Tensor, transposed: bool) -> Tensor:
    """A matrix from :func:`matrix_of` in the shape of the layer's weight."""
    if not transposed:
        return matrix.view_as(weight)
    return matrix.reshape(weight.transpose(0, 1).shape).transpose(0, 1)


class OutputScale(Change):
    """y = gamma * (what the layer says), and beta more where the layer has a bias.

    Args:
        layer: whose outputs are scaled.
        shifted: whether there is a beta.
    """

    def __init__(self, layer: nn.Module, *, shifted: bool):
        super().__init__()
        self.transposed = is_transposed(layer)
        count = outputs(layer)
        self.gamma = nn.Parameter(torch.ones(count))
        self.beta = nn.Parameter(torch.zeros(count)) if shifted and layer.bias is not None else None

    def forward(self, weight: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor | None]:
        scaled = weight * by_output(self.gamma, weight, self.transposed)
        if bias is None:
            return scaled, None
        return scaled, self.gamma * bias if self.beta is None else torch.addcmul(self.beta, self.gamma, bias)
