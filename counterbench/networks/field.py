"""What a generative ODE asks of its network, whoever wrote it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager

from torch import Tensor, nn

from counterbench.networks.attention import CrossAttention


class FieldNetwork(nn.Module, ABC):
    """A prediction at a state and a time, told some tokens.

    A subclass writes `forward`. Where it attends by other layers than :class:`counterbench.networks.attention.CrossAttention` it writes
    `watched`, and where its parts lie deeper than its children, `parts`.

    Examples:
        >>> import torch
        >>> class Pull(FieldNetwork):
        ...     def forward(self, state, time, tokens):
        ...         return tokens.mean((1, 2))[:, None] - state
        >>> Pull()(torch.zeros(2, 3), torch.zeros(2), torch.ones(2, 1, 4)).tolist()[0], dict(Pull().parts())
        ([1.0, 1.0, 1.0], {})
    """

    @abstractmethod
    def forward(self, state: Tensor, time: Tensor, tokens: Tensor) -> Tensor:
        """States (N, ...), times (N,) from 0 (noise) to 1 (data), tokens (N, T, width) -> prediction of the states' shape."""

    @contextmanager
    def watched(self) -> Iterator[Mapping[str, list[Tensor]]]:
        """While open, every call adds where it looks for each token: layer -> [(N, heads, T, *sides), ...], which sum to 1 over T."""
        layers = {name: part for name, part in self.named_modules() if isinstance(part, CrossAttention)}
        with ExitStack() as stack:
            yield {name: stack.enter_context(layer.watched()) for name, layer in layers.items()}

    @contextmanager
    def heard(self) -> Iterator[Mapping[str, list[Tensor]]]:
        """While open, every call adds what its attention layers add to their maps: layer -> [(N, channels, *sides), ...]."""
        layers = {name: part for name, part in self.named_modules() if isinstance(part, CrossAttention)}
        with ExitStack() as stack:
            yield {name: stack.enter_context(layer.heard()) for name, layer in layers.items()}

    def parts(self) -> dict[str, nn.Module]:
        """What can be opened or frozen one by one: name -> module; together they hold every parameter once."""
        return parts_of(self)


def parts_of(module: nn.Module) -> dict[str, nn.Module]:
    """The children of a module by name, those of a list one by one.

    Examples:
        >>> sorted(parts_of(nn.Sequential(nn.ModuleList([nn.Linear(1, 1), nn.Linear(1, 1)]), nn.SiLU())))
        ['0.0', '0.1', '1']
    """
    parts: dict[str, nn.Module] = {}
    for name, child in module.named_children():
        if isinstance(child, nn.ModuleList):
            parts |= {f"{name}.{number}": part for number, part in enumerate(child)}
        else:
            parts[name] = child
    return parts
