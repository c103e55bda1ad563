"""What an adapter is: it freezes a network but for the part that it opens, or for what it adds."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from counterbench.adapters.parts import NORMS, blocks, chosen_blocks
from counterbench.errors import CheckpointError, ConfigError, short


class Adapter(ABC):
    """Decides which numbers of a trained network move when it is trained further.

    A subclass registers with `@registry.adapters.register()`; its keyword arguments are the options that a recipe may write.
    """

    mergeable: ClassVar[bool] = True
    """Whether what it adds can be folded into the network's own weights."""
    looks_for: ClassVar[str]
    """What a network must have for it, in words; empty where any will do."""
    within: str | Sequence[str] | None = None
    """Blocks outside of which nothing moves, by name or as a mask; None for everywhere."""

    def open(self, network: nn.Module) -> dict[str, str]:
        """Freeze a network, but for what this adapter opens; what it adds starts as the identity.

        Args:
            network: a mechanism, a judge's network, or any other module; it is changed in place.

        Returns:
            Name of a tensor of the network's state -> its name before: an adapter may put a layer inside another one. What was added is not there.

        Raises:
            ConfigError: if the network has nothing that the adapter could open. UnavailableError: without the extra that it needs.
        """
        network.requires_grad_(False)
        before = {id(tensor): name for name, tensor in network.state_dict(keep_vars=True).items()}
        self._open(network)
        if self.within is not None:
            _hold_outside(network, chosen_blocks(self.within, list(blocks(network))))
        if (self.looks_for or self.within is not None) and not opened(network):
            where = "" if self.within is None else " in these blocks"
            looks_for = self.looks_for or "parameter"
            raise ConfigError(
                f"The adapter {self.name!r} finds nothing to open here: the network has no {looks_for}{where}."
            )
        _hold_statistics(network)
        state = network.state_dict(keep_vars=True)
        return {name: before[id(tensor)] for name, tensor in state.items() if id(tensor) in before}

    @abstractmethod
    def _open(self, network: nn.Module) -> None:
        """Open, or add, parameters of a network that is wholly frozen."""

    def merge(self, network: nn.Module) -> None:  # noqa: B027 - most add nothing
        """Fold what was added into the network's own weights, whose names are then those of before. Default: nothing was added."""

    @property
    def name(self) -> str:
        """What it is called in a recipe."""
        return type(self).__module__.rpartition(".")[2]


class Selective(Adapter):
    """Opens some of the parameters that a network has, and adds none."""

    @abstractmethod
    def selected(self, network: nn.Module) -> Iterable[nn.Parameter]:
        """The parameters to open."""

    def _open(self, network: nn.Module) -> None:
        for parameter in self.selected(network):
            parameter.requires_grad_(True)


def opened(network: nn.Module) -> int:
    """How many numbers of a network move when it is trained.

    Examples:
        >>> opened(nn.Linear(3, 2))
        8
    """
    return sum(parameter.numel() for parameter in network.parameters() if parameter.requires_grad)


def _hold_outside(network: nn.Module, names: Sequence[str]) -> None:
    """Freeze whatever does not belong to some blocks; what was added there stays the identity."""
    for name, weights in blocks(network).items():
        for weight in weights if name not in names else ():
            weight.requires_grad_(False)


def _hold_statistics(network: nn.Module) -> None:
    """Normalisation whose own parameters are frozen keeps its running statistics too."""
    for module in network.modules():
        if isinstance(module, NORMS) and not any(weight.requires_grad for weight in module.parameters()):
            module.eval()


def difference(network: nn.Module, before: Mapping[str, Tensor], names: Mapping[str, str]) -> dict[str, Tensor]:
    """What distinguishes a network from the one that it was: tensors of its state that were added, or have changed.

    Args:
        network: opened by an adapter and trained, not merged.
        before: its state before it was opened.
        names: name of a tensor -> its name before, from :meth:`Adapter.open`.

    Examples:
        >>> layer = nn.Linear(2, 1)
        >>> before = {name: value.clone() for name, value in layer.state_dict().items()}
        >>> _ = layer.bias.data.add_(1)
        >>> list(difference(layer, before, {"weight": "weight", "bias": "bias"}))
        ['bias']
    """
    return {
        name: value.detach().cpu().contiguous().clone()
        for name, value in network.state_dict().items()
        if name not in names or not torch.equal(value.cpu(), before[names[name]].cpu())
    }


def take_difference(network: nn.Module, tensors: Mapping[str, Tensor], *, where: object) -> None:
    """Put the tensors of a difference into a network that the same adapter has opened.

    Args:
        network: with what the adapter adds, not merged.
        tensors: from :func:`difference`.
        where: they come from, for messages.

    Raises:
        CheckpointError: for tensors that the network does not have, or of another shape.
    """
    state = network.state_dict()
    for name, value in tensors.items():
        if name not in state:
            raise CheckpointError(f"{where} was made for another model: it has an unknown {short(name)}.")
        if state[name].shape != value.shape:
            raise CheckpointError(
                f"{where} was made for another model: {short(name)} has shape {tuple(value.shape)}, expected {tuple(state[name].shape)}."
            )
    network.load_state_dict(dict(tensors), strict=False)
