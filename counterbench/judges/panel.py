"""Panels: all judges of one variable, and what they read together."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

    from counterbench.causal.variables import Variable
    from counterbench.judges.base import Judge


@dataclass(frozen=True)
class Reading:
    """What the judges of one variable measure in a batch of images.

    Args:
        members: (J, N) in the variable's unit, or (J, N, K) class probabilities; one row per judge.
    """

    members: Tensor

    @cached_property
    def value(self) -> Tensor:
        """Median over the judges, (N,) or (N, K), probabilities brought to a sum of 1: this is what is compared with a target.

        One of three judges that an image blinds does not move it; of two judges it is the mean.
        """
        ordered, count = self.members.sort(0).values, len(self.members)
        median = (ordered[(count - 1) // 2] + ordered[count // 2]) / 2
        return median / median.sum(1, keepdim=True).clamp(min=1e-12) if self.discrete else median

    @property
    def discrete(self) -> bool:
        """Whether these are class probabilities."""
        return self.members.ndim == 3

    def spread(self) -> Tensor:
        """How far the judges are apart, (N,): standard deviation in the variable's unit, or mean total variation from their
        mean, 0 to 1."""
        if self.discrete:
            return 0.5 * (self.members - self.members.mean(0)).abs().sum(2).mean(0)
        return self.members.std(0, unbiased=False)

    def agreement(self) -> Tensor:
        """(N,): 1 where all judges name the same class, else 0.

        Raises:
            ValueError: for measurements, which hardly ever agree exactly; use :meth:`spread`.
        """
        if not self.discrete:
            raise ValueError("agreement is for classes; measurements have a spread.")
        named = self.members.argmax(2)
        return (named == named[0]).all(0).float()

    def __getitem__(self, rows: Tensor | slice) -> Reading:
        return Reading(self.members[:, rows])


@dataclass(frozen=True)
class Panel:
    """All judges of one variable; their median is compared with the target.

    Args:
        variable: what they measure.
        members: at least one.
    """

    variable: Variable
    members: tuple[Judge, ...]

    def measure(self, images: Tensor) -> Reading:
        """What every member measures in (N, C, H, W), grey levels 0-255."""
        return measure_all({"": self}, images)[""]

    @property
    def fingerprints(self) -> list[str]:
        return [member.fingerprint for member in self.members]


def measure_all(panels: Mapping[str, Panel], images: Tensor) -> dict[str, Reading]:
    """Measure several variables in the same images, (N, C, H, W), grey levels 0-255; judges that share an eye look once."""
    import torch

    seen: dict[Hashable, Tensor] = {}

    def measured(judge: Judge) -> Tensor:
        if judge.eye is None:
            return judge.measure(images)
        if judge.eye not in seen:
            seen[judge.eye] = judge.look(images)
        return judge.read(seen[judge.eye])

    return {
        name: Reading(torch.stack([measured(member) for member in panel.members])) for name, panel in panels.items()
    }
