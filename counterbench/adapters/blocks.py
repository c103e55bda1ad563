"""Some of the named blocks are opened."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from torch import nn

from counterbench.adapters import parts
from counterbench.adapters.base import Selective
from counterbench.errors import ConfigError
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
        if mask is not None:
            parts.require_mask(mask)
        self.names, self.mask = open or (), mask

    def selected(self, network: nn.Module) -> Iterable[nn.Parameter]:
        known = parts.blocks(network)
        for name in parts.chosen_blocks(self.names if self.mask is None else self.mask, list(known)):
            yield from known[name]
