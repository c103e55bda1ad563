"""One batch of answers: generated once, judged by many."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property

from torch import Tensor

from counterbench.samples import Samples

Measured = Mapping[str, Tensor]
"""What the judges measure, by variable."""


@dataclass(frozen=True)
class Counterfactual:
    """Questions about some samples, and a model's answers.

    Args:
        intervened: which variables are set; none for the null intervention.
        cycles: how often the null intervention has been composed; 1 for everything else.
        factual: what was observed.
        values: the model's answer, natural values of every variable.
        floor: the answer of the baseline `identity` to the same questions.
        truth: the true answer, where there is one.
        image: name of the image variable.
        measure: the judges: images -> what they measure.
        measure_factual: the judges on the factual images, measured once for all questions about them.
    """

    intervened: tuple[str, ...]
    cycles: int
    factual: Samples
    values: Mapping[str, Tensor]
    floor: Mapping[str, Tensor]
    truth: Mapping[str, Tensor] | None
    image: str
    measure: Callable[[Tensor], Measured]
    measure_factual: Callable[[], Measured]

    @cached_property
    def measured(self) -> Measured:
        """What the judges measure in the answered images; measured once, whoever asks."""
        if self.values[self.image] is self.factual[self.image]:
            return self.measure_factual()
        return self.measure(self.values[self.image])
