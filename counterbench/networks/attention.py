"""Attention of positions over tokens, whose weights can be looked at."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn import functional

from counterbench.errors import ConfigError

_READERS = 4
"""Heads of the attention that reads phrases."""


class CrossAttention(nn.Module):
    """Every position of the maps looks at the tokens, and adds what it finds there.

    Scaled dot-product attention (Vaswani et al., NeurIPS 2017), the positions asking, the tokens answering; its output starts
    at zero, so that a new layer is the identity.

    Args:
        channels: of the maps.
        token: length of a token.
        heads: a divisor of the channels.
        sides: of the maps, for positions that know where they are; None for positions that know only what is there.

    Raises:
        ConfigError: if the heads do not divide the channels.

    Examples:
        >>> layer = CrossAttention(8, 4, heads=2)
        >>> tuple(layer(torch.zeros(2, 8, 4, 4), torch.zeros(2, 3, 4)).shape)
        (2, 8, 4, 4)
    """

    def __init__(self, channels: int, token: int, heads: int, *, sides: Sequence[int] | None = None):
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
        self.place = None if sides is None else nn.Parameter(0.1 * torch.randn(math.prod(sides), channels))
        self._watchers: list[list[Tensor]] = []
        self._listeners: list[list[Tensor]] = []

    def forward(self, maps: Tensor, tokens: Tensor) -> Tensor:
        """(N, channels, *sides), (N, T, token) -> (N, channels, *sides)."""
        positions = self.norm(maps.flatten(2).transpose(1, 2))
        query = self._split(self.query(positions if self.place is None else positions + self.place))
        key, value = self._split(self.key(tokens)), self._split(self.value(tokens))
        if self._watchers:
            weights = (query @ key.transpose(2, 3) * key.shape[3] ** -0.5).softmax(3)
            for watcher in self._watchers:
                watcher.append(weights.detach().transpose(2, 3).unflatten(3, maps.shape[2:]))
        heard = functional.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2)
        found: Tensor = self.out(heard).transpose(1, 2).view_as(maps)
        for listener in self._listeners:
            listener.append(found.detach())
        return maps + found

    def _split(self, features: Tensor) -> Tensor:
        """(N, L, channels) -> (N, heads, L, channels / heads)."""
        heads: Tensor = features.unflatten(2, (self.heads, -1)).transpose(1, 2)
        return heads

    @contextmanager
    def heard(self) -> Iterator[list[Tensor]]:
        """While open, what every call adds to its maps is added to the list: (N, channels, *sides).

        Examples:
            >>> layer = CrossAttention(8, 4, heads=2)
            >>> with layer.heard() as added:
            ...     _ = layer(torch.zeros(2, 8, 4, 4), torch.zeros(2, 3, 4))
            >>> tuple(added[0].shape)
            (2, 8, 4, 4)
        """
        seen: list[Tensor] = []
        self._listeners.append(seen)
        try:
            yield seen
        finally:
            self._listeners = [listener for listener in self._listeners if listener is not seen]

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
    """One token per condition, each with a learned token that stands for "not told"; then one for every word of a phrase.

    Args:
        sizes: how many numbers encode each condition.
        width: of a token.
        vocabulary: how many words there are; 0 for no phrase.
        length: of the phrases, in words.

    Examples:
        >>> tokens = Tokens([1, 10], width=8)
        >>> conditions = [torch.zeros(2, 1), torch.zeros(2, 10)]
        >>> told = torch.tensor([[True, True], [False, False]])
        >>> tuple(tokens(conditions, told).shape)
        (2, 2, 8)
        >>> phrase = torch.tensor([[3, 1, 0]])
        >>> tuple(Tokens([1], width=8, vocabulary=5, length=3)([torch.zeros(1, 1), phrase], torch.ones(1, 4).bool()).shape)
        (1, 4, 8)
    """

    def __init__(self, sizes: list[int], width: int, *, vocabulary: int = 0, length: int = 0):
        super().__init__()
        self.width = width
        self.read = nn.ModuleList(
            nn.Sequential(nn.Linear(size, width), nn.SiLU(), nn.Linear(width, width)) for size in sizes
        )
        # Without any condition one token remains, so that there is something to look at.
        self.untold = nn.Parameter(0.02 * torch.randn(len(sizes) if length else max(1, len(sizes)), width))
        self.words = Words(vocabulary, length, width) if length else None

    def forward(self, conditions: list[Tensor], told: Tensor) -> Tensor:
        """[(N, size), ...], of phrases the numbers of their words (N, length) last; (N, number of tokens) boolean -> (N, tokens, width)."""
        if self.words is not None:
            *conditions, phrase = conditions
            said: Tensor = self.words(phrase, told[:, len(conditions) :])
            if not conditions:
                return said
            return torch.cat([self._numbers(conditions, told[:, : len(conditions)]), said], 1)
        return self._numbers(conditions, told) if conditions else self.untold.expand(len(told), -1, -1)

    def _numbers(self, conditions: list[Tensor], told: Tensor) -> Tensor:
        tokens = torch.stack([read(condition) for read, condition in zip(self.read, conditions, strict=True)], 1)
        return torch.where(told[:, :, None], tokens, self.untold)


class Words(nn.Module):
    """A token for every word of a phrase; zeros for a word that is missing or not told, so that whoever looks there hears nothing.

    A word is known by what it is, where it stands, and by the others: one layer of self-attention (Vaswani et al., NeurIPS 2017) reads the
    phrase, as the encoders of published text-to-image models do.

    Args:
        vocabulary: how many words there are; they are numbered from 1.
        length: of the phrases.
        width: of a token.

    Examples:
        >>> words = Words(5, 3, width=8)
        >>> said = words(torch.tensor([[3, 1, 0]]), torch.ones(1, 3).bool())
        >>> tuple(said.shape), bool((said[0, 2] == 0).all())
        ((1, 3, 8), True)
    """

    def __init__(self, vocabulary: int, length: int, width: int):
        super().__init__()
        self.word = nn.Embedding(vocabulary + 1, width)
        self.place = nn.Parameter(0.1 * torch.randn(length, width))
        self.context = nn.TransformerEncoderLayer(
            width,
            _READERS if width % _READERS == 0 else 1,
            2 * width,
            dropout=0.0,
            activation="gelu",
            batch_first=True,
            norm_first=True,
        )

    def forward(self, phrase: Tensor, told: Tensor) -> Tensor:
        """(N, length) numbers of words, 0 for none; (N, length) boolean -> (N, length, width)."""
        said = ((phrase > 0) & told)[:, :, None]
        read: Tensor = self.context(said * (self.word(phrase) + self.place))
        return said * read
