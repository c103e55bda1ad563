"""Mechanisms of this package in the interfaces of `dowhy.gcm`; importing this imports dowhy, see :mod:`counterbench.exchange.gcm`."""

from __future__ import annotations

import numpy as np
import torch
from dowhy import gcm
from torch import Tensor

from counterbench.causal.variables import Continuous
from counterbench.errors import ConfigError
from counterbench.mechanisms.base import Mechanism


def _columns(samples: np.ndarray) -> Tensor:
    """(N,) or (N, d) -> (N, d), float32."""
    return torch.from_numpy(np.asarray(samples, dtype=np.float32).reshape(len(samples), -1))


class OfMechanism(gcm.causal_mechanisms.InvertibleFunctionalCausalModel):  # type: ignore[misc]  # dowhy declares no types
    """A fitted mechanism of one quantity as dowhy's invertible functional causal model.

    Args:
        mechanism: of a continuous variable with parents, invertible, with one number of noise.
        order: names of the parents in dowhy's order, that of the alphabet.

    Raises:
        ConfigError: for another kind of mechanism.
    """

    def __init__(self, mechanism: Mechanism, order: list[str]):
        require_invertible(mechanism)
        self.mechanism, self.order = mechanism, order
        (self._part,) = mechanism.sample_noise(1)

    def fit(self, X: np.ndarray, Y: np.ndarray) -> None:  # noqa: N803 - dowhy's names
        """It is fitted already."""

    def clone(self) -> OfMechanism:
        """The same, with the same weights."""
        return OfMechanism(self.mechanism, self.order)

    def draw_noise_samples(self, num_samples: int) -> np.ndarray:
        """(num_samples, 1), from the mechanism's prior; the draws are those of numpy's global generator, as dowhy's are."""
        noise = self.mechanism.sample_noise(num_samples, _generator())
        found: np.ndarray = noise[self._part].reshape(num_samples, 1).double().numpy()
        return found

    def evaluate(self, parent_samples: np.ndarray, noise_samples: np.ndarray) -> np.ndarray:
        """(N, 1), natural values."""
        with torch.no_grad():
            noise = {self._part: _columns(noise_samples)}
            return _natural(self.mechanism, self.mechanism.generate(noise, self._parents(parent_samples)))

    def estimate_noise(self, target_samples: np.ndarray, parent_samples: np.ndarray) -> np.ndarray:
        """(N, 1), the noise behind natural values."""
        with torch.no_grad():
            value = self.mechanism.variable.encode(_columns(target_samples)[:, 0])
            noise = self.mechanism.abduct(value, self._parents(parent_samples))
        found: np.ndarray = noise[self._part].reshape(len(value), 1).double().numpy()
        return found

    def _parents(self, samples: np.ndarray) -> dict[str, Tensor]:
        columns = dict(zip(self.order, _columns(samples).T, strict=True))
        return {parent.name: parent.encode(columns[parent.name]) for parent in self.mechanism.parents}


class OfRoot(gcm.causal_mechanisms.StochasticModel):  # type: ignore[misc]  # dowhy declares no types
    """A fitted mechanism without parents as dowhy's distribution of a root.

    Args:
        mechanism: of a continuous variable without parents, invertible, with one number of noise.

    Raises:
        ConfigError: for another kind of mechanism.
    """

    def __init__(self, mechanism: Mechanism):
        require_invertible(mechanism)
        self.mechanism = mechanism

    def fit(self, X: np.ndarray) -> None:  # noqa: N803 - dowhy's names
        """It is fitted already."""

    def clone(self) -> OfRoot:
        """The same, with the same weights."""
        return OfRoot(self.mechanism)

    def draw_samples(self, num_samples: int) -> np.ndarray:
        """(num_samples, 1), natural values."""
        with torch.no_grad():
            noise = self.mechanism.sample_noise(num_samples, _generator())
            return _natural(self.mechanism, self.mechanism.generate(noise, {}))


def require_invertible(mechanism: Mechanism) -> None:
    """Raise ConfigError unless dowhy can hold this mechanism: of a quantity, invertible for sure, with one number of noise."""
    name = mechanism.variable.name
    if not isinstance(mechanism.variable, Continuous):
        raise ConfigError(f"{name} is {mechanism.variable.kind}; dowhy's invertible models are of quantities.")
    noise = mechanism.sample_noise(2)
    if not mechanism.invertible or mechanism.stochastic_abduction or [part.numel() for part in noise.values()] != [2]:
        raise ConfigError(
            f"The mechanism of {name} cannot become dowhy's: it must be invertible, without chance, and have one number of noise per sample."
        )


def _natural(mechanism: Mechanism, encoded: Tensor) -> np.ndarray:
    values: np.ndarray = mechanism.variable.decode(encoded).double().numpy()[:, None]
    return values


def _generator() -> torch.Generator:
    """Chance of torch that follows from numpy's global generator: who seeds dowhy seeds this."""
    return torch.Generator().manual_seed(int(np.random.randint(2**31)))
