"""Limits that a gradient can pass."""

from __future__ import annotations

from torch import Tensor

_LEAK = 0.01


def leaky_clamp(values: Tensor, reach: float) -> Tensor:
    """Identity on [-reach, reach], a slope of 0.01 beyond.

    Where a hard limit has no gradient and a tanh next to none, a network that has gone too far (to an all-black image, say)
    would stay there.
    """
    inside = values.clamp(-reach, reach)
    return inside + _LEAK * (values - inside)
