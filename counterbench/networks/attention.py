"""Attention of positions over tokens, whose weights can be looked at."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn import functional

from counterbench.errors import ConfigError


class CrossAttention(nn.Module):
    """Every position of the maps looks at the tokens, and adds what it finds there.

    Scaled dot-product attention (Vaswani et al., NeurIPS 2017), the positions asking, the tokens answering; its output starts
    at zero, so that a new layer is the identity.

    Args:
        channels: of the maps.
        token: length of a token.
        heads: a divisor of the channels.

    Raises:
        ConfigError: if the heads do not divide the channels.

    Examples:
        >>> layer = CrossAttention(8, 4, heads=2)
        >>> tuple(layer(torch.zeros(2, 8, 4, 4), torch.zeros(2, 3, 4)).shape)
        (2, 8, 4, 4)
    """

    def __init__(self, channels: int, token: int, heads: int):
        super().__init__()
        if heads < 1 or channels % heads:
            raise ConfigError(f"{heads} heads do not divide {channels} channels; give a divisor.")
        self.heads = heads
        self.norm = nn.LayerNorm(channels)
        self.query = nn.Linear(channels, channels, bias=False)
        self.key = nn.Linear(token, channels, bias=False)
        self.value = nn.Linear(token, channels, bias=False)
        self.out = nn.Linear(channels, channels)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)
        self._watchers: list[list[Tensor]] = []

    def forward(self, maps: Tensor, tokens: Tensor) -> Tensor:
        """(N, channels, *sides), (N, T, token) -> (N, channels, *sides)."""
        positions = maps.flatten(2).transpose(1, 2)
        query = self._split(self.query(self.norm(positions)))
        key, value = self._split(self.key(tokens)), self._split(self.value(tokens))
        if self._watchers:
            weights = (query @ key.transpose(2, 3) * key.shape[3] ** -0.5).softmax(3)
            for watcher in self._watchers:
                watcher.append(weights.detach().transpose(2, 3).unflatten(3, maps.shape[2:]))
        heard = functional.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2)
        found: Tensor = self.out(heard)
        return maps + found.transpose(1, 2).view_as(maps)

    def _split(self, features: Tensor) -> Tensor:
        """(N, L, channels) -> (N, heads, L, channels / heads)."""
        heads: Tensor = features.unflatten(2, (self.heads, -1)).transpose(1, 2)
        return heads

    @contextmanager
    def watched(self) -> Iterator[list[Tensor]]:
        """While open, the weights of every call are added to the list: (N, heads, T, *sides), which sum to 1 over T.

        Examples:
            >>> layer = CrossAttention(8, 4, heads=2)
            >>> with layer.watched() as maps:
            ...     _ = layer(torch.zeros(2, 8, 4, 4), torch.zeros(2, 3, 4))
            >>> tuple(maps[0].shape), bool(torch.allclose(maps[0].sum(2), torch.ones(())))
            ((2, 2, 3, 4, 4), True)
        """
        seen: list[Tensor] = []
        self._watchers.append(seen)
        try:
            yield seen
        finally:
            self._watchers = [watcher for watcher in self._watchers if watcher is not seen]


class Tokens(nn.Module):
    """One token per condition, each with a learned token that stands for "not told".

    Args:
        sizes: how many numbers encode each condition.
        width: of a token.

    Examples:
        >>> tokens = Tokens([1, 10], width=8)
        >>> conditions = [torch.zeros(2, 1), torch.zeros(2, 10)]
        >>> told = torch.tensor([[True, True], [False, False]])
        >>> tuple(tokens(conditions, told).shape)
        (2, 2, 8)
    """

    def __init__(self, sizes: list[int], width: int):
        super().__init__()
        self.width = width
        self.read = nn.ModuleList(
            nn.Sequential(nn.Linear(size, width), nn.SiLU(), nn.Linear(width, width)) for size in sizes
        )
        # Without any condition one token remains, so that there is something to look at.
        self.untold = nn.Parameter(0.02 * torch.randn(max(1, len(sizes)), width))

    def forward(self, conditions: list[Tensor], told: Tensor) -> Tensor:
        """[(N, size), ...], (N, number of conditions) boolean -> (N, max(1, number of conditions), width)."""
        if not conditions:
            return self.untold.expand(len(told), -1, -1)
        tokens = torch.stack([read(condition) for read, condition in zip(self.read, conditions, strict=True)], 1)
        return torch.where(told[:, :, None], tokens, self.untold)
