"""Some of the named blocks are opened."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from torch import nn

from counterbench.adapters import parts
from counterbench.adapters.base import Selective
from counterbench.errors import ConfigError, suggestion
from counterbench.plugins.registry import adapters


@adapters.register()
class Blocks(Selective):
    """All parameters of some of the network's named blocks move; `counterbench show` lists them.

    Args:
        open: names of the blocks; or
        mask: a word of 0 and 1, one for each block in their order.

    Raises:
        ConfigError: unless exactly one of both is given; for an unknown block, or a mask of another length.

    Examples:
        >>> from counterbench.adapters.base import opened
        >>> network = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
        >>> _ = Blocks(mask="01").open(network)
        >>> opened(network)
        10
    """

    looks_for = "parameter in these blocks"

    def __init__(self, *, open: Sequence[str] | None = None, mask: str | None = None):
        if (open is None) == (mask is None):
            raise ConfigError("blocks: give either open, the names of blocks, or mask, a word of 0 and 1.")
        if mask is not None and set(mask) - {"0", "1"}:
            raise ConfigError(f"blocks: mask is {mask!r}; write 0 and 1 alone, one for each block.")
        self.names, self.mask = open, mask

    def selected(self, network: nn.Module) -> Iterable[nn.Parameter]:
        known = parts.blocks(network)
        chosen = self.names if self.mask is None else unmasked(self.mask, list(known))
        for name in chosen or ():
            if name not in known:
                raise ConfigError(f"blocks: there is no block {name!r}.{suggestion(name, known)}")
            yield from known[name]


def unmasked(mask: str, names: Sequence[str]) -> list[str]:
    """The names that a mask opens.

    Raises:
        ConfigError: for a mask of another length.

    Examples:
        >>> unmasked("101", ["down", "middle", "up"])
        ['down', 'up']
    """
    if len(mask) != len(names):
        raise ConfigError(
            f"blocks: mask {mask!r} has {len(mask)} digits, but there are {len(names)} blocks: {', '.join(names)}."
        )
    return [name for digit, name in zip(mask, names, strict=True) if digit == "1"]
