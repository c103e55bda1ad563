"""Diagonal normal distributions."""

from __future__ import annotations

from torch import Tensor


def normal_divergence(
    mean: Tensor, log_scale: Tensor, *, other_mean: Tensor | None = None, other_log_scale: Tensor | None = None
) -> Tensor:
    """KL(N(mean, scale^2) || N(other_mean, other_scale^2)), summed over the last axis, in nats.

    Args:
        mean, log_scale: (..., L), of diagonal normals; scales are standard deviations.
        other_mean, other_log_scale: (..., L); None for 0, so that the other is standard normal.
    """
    # The order of operations decides the last bits of trained weights: torch.distributions.kl_divergence has another one.
    other_mean = mean.new_zeros(()) if other_mean is None else other_mean
    other_log_scale = mean.new_zeros(()) if other_log_scale is None else other_log_scale
    ratio = (2 * (log_scale - other_log_scale)).exp()
    shift = (mean - other_mean) * (-other_log_scale).exp()
    return (0.5 * (ratio + shift.square() - 1) + other_log_scale - log_scale).sum(-1)
