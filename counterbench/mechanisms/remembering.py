"""Noise that remembers what was made from it on the way: a null intervention needs it again."""

from __future__ import annotations

from typing import Generic, TypeVar

import torch
from torch import Tensor

from counterbench.mechanisms.base import Mechanism, Noise, Parents

Result = TypeVar("Result")
_NOISE = "(noise)"
"""Before the names of noise's parts, beside those of parents: no variable is called so."""


class Remembering(dict[str, Tensor], Generic[Result]):
    """Abducted noise with what was computed from it on the way: the same mechanism needs it again under the same parents.

    Args:
        noise: that was abducted.
        mechanism: who did.
        parents: encoded values that it was abducted under.
        result: what the mechanism computes from both, whatever it is.

    Examples:
        >>> from counterbench.causal.variables import Continuous
        >>> from counterbench.mechanisms.spline_flow import SplineFlow
        >>> flow, noise = SplineFlow(Continuous("x", 0, 1), []), {"u": torch.zeros(2, 1)}
        >>> remembering = Remembering(noise, flow, {}, "the value")
        >>> with torch.no_grad():
        ...     remembering.result_of(flow, {}), remembering.result_of(flow, {"p": torch.zeros(2, 1)})
        ('the value', None)
    """

    def __init__(self, noise: Noise, mechanism: Mechanism, parents: Parents, result: Result):
        super().__init__(noise)
        self._mechanism, self._result = mechanism, result
        self._inputs = {name: value.clone() for name, value in self._named(parents).items()}

    def _named(self, parents: Parents) -> dict[str, Tensor]:
        return {**parents, **{f"{_NOISE} {name}": value for name, value in self.items()}}

    def result_of(self, mechanism: Mechanism, parents: Parents) -> Result | None:
        """What a mechanism would compute from this noise; None where it is another one, or the noise or a parent is."""
        if mechanism is not self._mechanism or torch.is_grad_enabled():
            return None
        inputs = self._named(parents)
        alike = inputs.keys() == self._inputs.keys() and all(
            inputs[name].shape == known.shape and torch.equal(inputs[name], known)
            for name, known in self._inputs.items()
        )
        return self._result if alike else None
