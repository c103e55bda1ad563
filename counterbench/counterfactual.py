"""One batch of answers: generated once, judged by many."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property

from torch import Tensor

from counterbench.samples import Samples

Measure = Callable[[Tensor], dict[str, Tensor]]
"""Images -> what the judges measure in them, by variable."""


@dataclass(frozen=True)
class Counterfactual:
    """Questions about some samples, and a model's answers.

    Args:
        intervened: which variables are set; none for the null intervention.
        cycles: how often the null intervention has been composed; 1 for everything else.
        factual: what was observed.
        interventions: natural values of the intervened variables.
        values: the model's answer, natural values of every variable.
        truth: the true answer, where there is one.
        image: name of the image variable.
        measure: the judges.
        measured_factual: what the judges measure in the factual images.
    """

    intervened: tuple[str, ...]
    cycles: int
    factual: Samples
    interventions: Mapping[str, Tensor]
    values: Mapping[str, Tensor]
    truth: Mapping[str, Tensor] | None
    image: str
    measure: Measure
    measured_factual: Mapping[str, Tensor]

    @cached_property
    def measured(self) -> Mapping[str, Tensor]:
        """What the judges measure in the answered images; measured once, whoever asks."""
        if self.values[self.image] is self.factual[self.image]:
            return self.measured_factual
        return self.measure(self.values[self.image])
