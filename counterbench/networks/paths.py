"""Paths between noise (time 0) and data (time 1): x_t = signal(t) x + noise(t) u, and what a network may predict along them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Weights:
    """Of data and noise at some times, and their derivatives, (N, 1, ...) each."""

    signal: Tensor
    noise: Tensor
    signal_rate: Tensor
    noise_rate: Tensor


class Path(ABC):
    """How data and noise are mixed at a time.

    Examples:
        >>> linear = Linear()
        >>> x, u, time = torch.ones(1, 2), torch.zeros(1, 2), torch.tensor([0.25])
        >>> linear.at(x, u, time).tolist(), linear.velocity(x, u, time).tolist()
        ([[0.25, 0.25]], [[1.0, 1.0]])
    """

    @abstractmethod
    def weights(self, time: Tensor) -> Weights:
        """Of times of any shape."""

    def _of(self, time: Tensor, like: Tensor) -> Weights:
        return self.weights(time.view(-1, *[1] * (like.ndim - 1)))

    def at(self, value: Tensor, noise: Tensor, time: Tensor) -> Tensor:
        """The state at a time: (N, ...), (N, ...), (N,) -> (N, ...)."""
        weights = self._of(time, value)
        return weights.signal * value + weights.noise * noise

    def velocity(self, value: Tensor, noise: Tensor, time: Tensor) -> Tensor:
        """The derivative of the state, (N, ...)."""
        weights = self._of(time, value)
        return weights.signal_rate * value + weights.noise_rate * noise

    def velocity_from_noise(self, state: Tensor, noise: Tensor, time: Tensor) -> Tensor:
        """The derivative that follows from a predicted noise; the signal's weight must not be 0."""
        weights = self._of(time, state)
        value = (state - weights.noise * noise) / weights.signal
        return weights.signal_rate * value + weights.noise_rate * noise

    def noise_from_velocity(self, state: Tensor, velocity: Tensor, time: Tensor) -> Tensor:
        """The noise that a predicted derivative stands for."""
        weights = self._of(time, state)
        # state = s x + n u and velocity = s' x + n' u: two equations for x and u.
        determinant = weights.signal * weights.noise_rate - weights.signal_rate * weights.noise
        return (weights.signal * velocity - weights.signal_rate * state) / determinant


class Linear(Path):
    """Straight lines at constant speed (Lipman et al., ICLR 2023; Liu et al., ICLR 2023): x_t = t x + (1 - t) u."""

    def weights(self, time: Tensor) -> Weights:
        one = torch.ones_like(time)
        return Weights(time, 1 - time, one, -one)


class Scheduled(Path):
    """The path of a discrete noise schedule (Ho et al., NeurIPS 2020), joined between its steps.

    At time 1 is the schedule's first step, whose noise is small but not 0, at time 0 its last: x_t = sqrt(a) x + sqrt(1 - a) u, the logarithm of a
    linear between two steps.

    Args:
        kept: (steps,), the share a of the signal's variance that is left after each step, falling.

    Examples:
        >>> path = Scheduled(torch.tensor([0.99, 0.5, 0.01]))
        >>> [round(float(path.weights(torch.tensor([time])).signal) ** 2, 3) for time in (0.0, 0.5, 1.0)]
        [0.01, 0.5, 0.99]
    """

    def __init__(self, kept: Tensor):
        self.logs = kept.detach().double().clamp(min=1e-12).log()

    def weights(self, time: Tensor) -> Weights:
        logs, last = self.logs.to(time), len(self.logs) - 1
        step = (1 - time) * last
        before = step.detach().floor().clamp(0, last - 1)
        left = logs[before.long()]
        slope = logs[before.long() + 1] - left
        share = (left + slope * (step - before)).exp()
        signal, noise = share.sqrt(), (1 - share).clamp(min=1e-12).sqrt()
        # d log a / d time, for time runs against the steps.
        rate = -last * slope
        return Weights(signal, noise, signal * rate / 2, -share * rate / (2 * noise))


class Cosine(Path):
    """A quarter of a circle: x_t = sin(pi t / 2) x + cos(pi t / 2) u, whose noise-to-signal ratio is that of the cosine schedule.

    Nichol & Dhariwal (ICML 2021); its derivative is pi / 2 times what Salimans & Ho (ICLR 2022) call v, with its sign turned.
    """

    def weights(self, time: Tensor) -> Weights:
        angle = torch.pi / 2 * time
        signal, noise = angle.sin(), angle.cos()
        return Weights(signal, noise, torch.pi / 2 * noise, -torch.pi / 2 * signal)
