"""Judges that learn from trained ones: the loss, and who teaches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from counterbench.errors import ConfigError
from counterbench.judges.network import deviation


@dataclass(frozen=True)
class Teacher:
    """A trained network that reads the same variables.

    Args:
        network: images -> outputs, in the order of the student's; it is frozen here.
        scales: quantity -> the mean and the standard deviation in which it speaks.
        sha256: of its weights.
    """

    network: nn.Module
    scales: Mapping[str, tuple[float, float]]
    sha256: str

    def outputs(self, images: Tensor) -> Tensor:
        """What it says of normalised images, without gradients."""
        with torch.no_grad():
            said: Tensor = self.network.to(images.device).eval()(images)
        return said


@dataclass(frozen=True)
class Distillation:
    """Learn from what teachers say of an image, and a little from its label (Hinton et al., 2015).

    The loss of a sample is alpha T^2 KL(teacher || student) + (1 - alpha) times the usual one, both laws at temperature T where they are of classes. Several
    teachers are one, whose law is the mean of theirs. With the weighting `group_dro` it is GroupDistil (Vilouras et al., 2023, arXiv 2311.00476).

    Args:
        teachers: at least one.
        temperature: T, above 0.
        alpha: share of the teachers, from 0 to 1.

    Raises:
        ConfigError: for other numbers, or nobody to learn from.
    """

    teachers: Sequence[Teacher]
    temperature: float = 4.0
    alpha: float = 0.9

    def __post_init__(self) -> None:
        if not self.teachers:
            raise ConfigError("A distillation needs a teacher.")
        if self.temperature <= 0:
            raise ConfigError(f"The temperature is {self.temperature:g}; it must be above 0.")
        if not 0 <= self.alpha <= 1:
            raise ConfigError(f"alpha is {self.alpha:g}; the share of the teachers lies from 0 to 1.")

    def of_classes(self, outputs: Tensor, taught: Sequence[Tensor], usual: Tensor) -> Tensor:
        """Losses, (N,), of a variable with classes.

        Args:
            outputs: (N, classes), the student's logits.
            taught: the same of each teacher.
            usual: (N,), the losses against the labels.

        Examples:
            >>> logits = torch.tensor([[0.0, 2.0]])
            >>> teacher = Teacher(nn.Identity(), {}, "")
            >>> bool(Distillation([teacher], alpha=1.0).of_classes(logits, [logits], torch.ones(1)).abs() < 1e-6)
            True
        """
        law = torch.stack([(one / self.temperature).softmax(1) for one in taught]).mean(0)
        own = (outputs / self.temperature).log_softmax(1)
        divergence = functional.kl_div(own, law, reduction="none").sum(1)
        return self.alpha * self.temperature**2 * divergence + (1 - self.alpha) * usual

    def of_quantity(
        self,
        outputs: Tensor,
        taught: Sequence[Tensor],
        usual: Tensor,
        *,
        scale: tuple[float, float],
        scales: Sequence[tuple[float, float]],
    ) -> Tensor:
        """Losses, (N,), of a quantity, whose laws are normal.

        Args:
            outputs: (N, 2), the student's mean and log deviation, standardised.
            taught: the same of each teacher.
            usual: (N,), the losses against the labels.
            scale: mean and standard deviation in which the student speaks.
            scales: the same of each teacher.
        """
        means, variances = [], []
        for said, (centre, std) in zip(taught, scales, strict=True):
            means.append((said[:, 0] * std + centre - scale[0]) / scale[1])
            variances.append((deviation(said) * std / scale[1]).square())
        mean = torch.stack(means).mean(0)
        # The variance of a mixture: within teachers, and between them.
        variance = torch.stack(variances).mean(0) + torch.stack(means).var(0, unbiased=False)
        own = deviation(outputs)
        apart = (variance + (mean - outputs[:, 0]).square()) / (2 * own.square())
        divergence = apart - 0.5 + own.log() - 0.5 * variance.log()
        # Weighted as the usual loss is, so that hard samples are not given up.
        return self.alpha * own.detach() * divergence + (1 - self.alpha) * usual
