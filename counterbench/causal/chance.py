"""Random draws whose generator is an argument.

Every function that draws takes a `generator`: a plain `torch.Generator` for everyday use, or :class:`SampleNoise`, which
gives every sample a stream of its own, so that a sample's numbers depend on neither its batch nor its neighbours.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence

import numpy as np
import torch
from torch import Tensor

from counterbench.errors import DataError


class SampleNoise:
    """One independent random stream per sample (Philox, Salmon et al. 2011: key and counter, no shared state).

    Args:
        seed: the run's seed.
        keys: one name per sample; equal (seed, key) pairs give equal numbers on every machine.

    Examples:
        >>> alone, together = SampleNoise(0, ["b"]), SampleNoise(0, ["a", "b"])
        >>> bool(alone.normal(3)[0].equal(together.normal(3)[1]))
        True
    """

    def __init__(self, seed: int, keys: Iterable[str | int]):
        # The names are not kept: whoever draws learns nothing of the sample.
        self._streams = [np.random.Generator(np.random.Philox(key=_philox_key(seed, key))) for key in keys]

    def __len__(self) -> int:
        return len(self._streams)

    def normal(self, *shape: int) -> Tensor:
        """Standard normal draws, (N, *shape), float64."""
        return self._stack([stream.standard_normal(shape) for stream in self._streams], shape)

    def uniform(self, *shape: int) -> Tensor:
        """Uniform draws from [0, 1), (N, *shape), float64."""
        return self._stack([stream.random(shape) for stream in self._streams], shape)

    @staticmethod
    def _stack(rows: Sequence[np.ndarray], shape: tuple[int, ...]) -> Tensor:
        return torch.from_numpy(np.stack(rows)) if rows else torch.empty(0, *shape, dtype=torch.float64)


Generator = torch.Generator | SampleNoise | None


def _philox_key(seed: int, key: str | int) -> int:
    return int.from_bytes(hashlib.blake2b(f"{seed}/{key}".encode(), digest_size=16).digest(), "big")


def normal(size: Sequence[int], generator: Generator, like: Tensor) -> Tensor:
    """Standard normal draws of shape `size`, with dtype and device of `like`.

    Examples:
        >>> tuple(normal((2, 3), SampleNoise(0, ["a", "b"]), like=torch.empty(0)).shape)
        (2, 3)
    """
    if isinstance(generator, SampleNoise):
        return _per_sample(generator, size).normal(*size[1:]).to(like.dtype).to(like.device)
    device = like.device if generator is None else generator.device
    return torch.randn(tuple(size), generator=generator, dtype=like.dtype, device=device).to(like.device)


def uniform(size: Sequence[int], generator: Generator) -> Tensor:
    """Draws from the open interval (0, 1), of shape `size`, on the CPU.

    They are float64, so that logarithms of logarithms stay finite; a generator of another device seeds one of the CPU.

    Examples:
        >>> drawn = uniform((1000,), torch.Generator().manual_seed(0))
        >>> bool(((drawn > 0) & (drawn < 1)).all())
        True
    """
    if isinstance(generator, SampleNoise):
        drawn = _per_sample(generator, size).uniform(*size[1:])
    else:
        if generator is not None and generator.device.type != "cpu":
            start = torch.randint(2**62, (1,), generator=generator, device=generator.device)
            generator = torch.Generator().manual_seed(int(start))
        drawn = torch.rand(tuple(size), generator=generator, dtype=torch.float64)
    tiny = torch.finfo(drawn.dtype).tiny
    return drawn.clamp(min=tiny, max=1 - 2**-53)


def gumbel(size: Sequence[int], generator: Generator, like: Tensor) -> Tensor:
    """Standard Gumbel draws, -log(-log U), of shape `size`, with dtype and device of `like`.

    Examples:
        >>> drawn = gumbel((100_000,), torch.Generator().manual_seed(0), like=torch.empty(0))
        >>> round(float(drawn.mean()), 1)  # Euler's constant, 0.577...
        0.6
    """
    return (-(-uniform(size, generator).log()).log()).to(like.dtype).to(like.device)


def _per_sample(generator: SampleNoise, size: Sequence[int]) -> SampleNoise:
    if size[0] != len(generator):
        raise DataError(
            f"{len(generator)} noise streams were given for {size[0]} samples; there must be one per sample."
        )
    return generator
