"""Parts of a network by what they are: layers, normalisation, attention, biases, blocks, the head."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd
from torch.nn.modules.instancenorm import _InstanceNorm

from counterbench.errors import ConfigError, suggestion
from counterbench.mechanisms.base import Mechanism
from counterbench.mechanisms.capabilities import HasBlocks, HasHead

NORMS = (_BatchNorm, _InstanceNorm, nn.GroupNorm, nn.LayerNorm, nn.RMSNorm)
"""Layers that normalise."""
_ATTENDING = ("attention", "sablock", "spatialtransformer")
_OWN = "own"


def layers(network: nn.Module) -> dict[str, nn.Module]:
    """The layers that multiply by a matrix: linear ones and convolutions (transposed ones without groups), name -> layer.

    Examples:
        >>> list(layers(nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Conv2d(2, 1, 1))))
        ['0', '2']
    """
    return {name: module for name, module in network.named_modules() if _multiplies(module)}


def _multiplies(module: nn.Module) -> bool:
    if isinstance(module, _ConvTransposeNd):
        return module.groups == 1
    return isinstance(module, (nn.Linear, _ConvNd))


def is_transposed(layer: nn.Module) -> bool:
    """Whether the second axis of a layer's weight, not the first, counts its outputs."""
    return isinstance(layer, _ConvTransposeNd)


def outputs(layer: nn.Module) -> int:
    """How many channels a layer has at its end.

    Examples:
        >>> outputs(nn.ConvTranspose2d(3, 5, 2)), outputs(nn.Linear(3, 2)), outputs(nn.GroupNorm(2, 4))
        (5, 2, 4)
    """
    weight: Any = layer.weight
    return int(weight.shape[1 if is_transposed(layer) else 0])


def last_layers(network: nn.Module) -> dict[str, nn.Module]:
    """The last layer of every part that holds layers itself: the output of an attention, of a residual block, of a small perceptron.

    Examples:
        >>> two = nn.Sequential(nn.Linear(2, 4), nn.SiLU(), nn.Linear(4, 1))
        >>> list(last_layers(nn.Sequential(two, nn.Conv2d(1, 1, 1))))
        ['0.2', '1']
    """
    last: dict[str, str] = {}
    for name in layers(network):
        last[name.rpartition(".")[0]] = name
    return {name: layer for name, layer in layers(network).items() if name in set(last.values())}


def norms(network: nn.Module) -> Iterator[nn.Parameter]:
    """The parameters of normalisation."""
    for module in network.modules():
        if isinstance(module, NORMS):
            yield from module.parameters(recurse=False)


def biases(network: nn.Module) -> Iterator[nn.Parameter]:
    """The biases of all layers, those of normalisation included."""
    for name, parameter in network.named_parameters():
        if name.rpartition(".")[2] == "bias":
            yield parameter


def attention(network: nn.Module) -> Iterator[nn.Parameter]:
    """The parameters of layers that attend, known by the names of their classes."""
    for module in network.modules():
        if any(word in type(module).__name__.lower() for word in _ATTENDING):
            yield from module.parameters()


def blocks(network: nn.Module) -> Mapping[str, list[nn.Parameter]]:
    """Name -> parameters of the network's named blocks, or of its parts where it names none; together they hold each parameter once.

    Examples:
        >>> {name: len(weights) for name, weights in blocks(nn.Sequential(nn.Linear(2, 1), nn.ReLU())).items()}
        {'0': 2}
    """
    modules = (
        network.blocks()
        if isinstance(network, Mechanism) and isinstance(network, HasBlocks)
        else dict(network.named_children())
    )
    parts = {name: list(module.parameters()) for name, module in modules.items()}
    known = {id(weight) for weights in parts.values() for weight in weights}
    parts[_OWN] = [weight for weight in network.parameters() if id(weight) not in known]
    return {name: weights for name, weights in parts.items() if weights}


def require_mask(mask: str) -> None:
    """Raise ConfigError unless a word is made of 0 and 1."""
    if set(mask) - {"0", "1"}:
        raise ConfigError(f"blocks: mask is {mask!r}; write 0 and 1 alone, one for each block.")


def chosen_blocks(chosen: str | Sequence[str], names: Sequence[str]) -> list[str]:
    """Blocks that are given by name, or by a mask.

    Args:
        chosen: names, or a word of 0 and 1 for each block.
        names: of all blocks, in their order.

    Raises:
        ConfigError: for an unknown name, or a mask of another length.

    Examples:
        >>> chosen_blocks("101", ["down", "middle", "up"]), chosen_blocks(["up"], ["down", "up"])
        (['down', 'up'], ['up'])
    """
    if not isinstance(chosen, str):
        if unknown := [name for name in chosen if name not in names]:
            raise ConfigError(f"blocks: there is no block {unknown[0]!r}.{suggestion(unknown[0], names)}")
        return list(chosen)
    require_mask(chosen)
    if len(chosen) != len(names):
        raise ConfigError(
            f"blocks: mask {chosen!r} has {len(chosen)} digits, but there are {len(names)} blocks: {', '.join(names)}."
        )
    return [name for digit, name in zip(chosen, names, strict=True) if digit == "1"]


def head(network: nn.Module) -> nn.Module:
    """The last layer of a network: the one that it names, or else the last of its layers.

    Raises:
        ConfigError: for a network without layers.

    Examples:
        >>> head(nn.Sequential(nn.Linear(3, 2), nn.ReLU(), nn.Linear(2, 1)))
        Linear(in_features=2, out_features=1, bias=True)
    """
    part = network
    if isinstance(network, Mechanism) and isinstance(network, HasHead):  # other modules may call a layer so
        part = network.head()
    found = list(layers(part).values())
    if not found:
        raise ConfigError("The network has no linear layer and no convolution, so there is no last one to open.")
    return found[-1]
