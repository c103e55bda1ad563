"""The critic of counterfactual fine-tuning: reads attributes off an image, and never scores anybody."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from counterbench.catalog.recipes import Fit
from counterbench.causal.variables import Categorical, Continuous, Image, Ordinal, Variable
from counterbench.networks.classifiers import Pooled
from counterbench.runtime.blocks import at_once
from counterbench.training.objectives.base import Moment, Objective


class Critic(nn.Module):
    """One small network that reads the image's parents off an image, all encoded.

    Args:
        image: whose encoded values it sees.
        attributes: what it predicts.
        width: of its convolutions.
    """

    def __init__(self, image: Image, attributes: Sequence[Variable], width: int):
        super().__init__()
        self.image, self.attributes = image, tuple(attributes)
        self.sizes = [variable.size for variable in attributes]
        self.network = Pooled(
            image.channels,
            sum(self.sizes),
            stride=min(4, max(1, image.spatial[-2] // 32)),
            width=width,
            dimensions=len(image.spatial),
        )
        self.scale: Tensor
        self.register_buffer("scale", torch.ones(len(self.sizes)))

    def _parts(self, images: Tensor) -> list[tuple[Variable, Tensor]]:
        return list(zip(self.attributes, self.network(images).split(self.sizes, dim=1), strict=True))

    def predict(self, images: Tensor) -> dict[str, Tensor]:
        """Encoded values, (N, size) each; of a class, its probabilities."""
        predictions = {}
        for variable, part in self._parts(images):
            if not isinstance(variable, Continuous):
                part = part.softmax(1) if _is_one_hot(variable) else part.sigmoid()
            predictions[variable.name] = part
        return predictions

    def disagreement(self, images: Tensor, targets: Mapping[str, Tensor]) -> Tensor:
        """Negative log-likelihood of the targets, summed over attributes, (N,), in nats up to a constant.

        Errors of a quantity count in units of the critic's own error on held-out images, and linearly where they are large
        (Huber 1964), so that one attribute does not drown the others.
        """
        total = images.new_zeros(len(images))
        for (variable, part), scale in zip(self._parts(images), self.scale, strict=True):
            target = targets[variable.name].to(part.dtype)
            if isinstance(variable, Continuous):
                error = (part - target) / scale
                total = total + functional.huber_loss(error, torch.zeros_like(error), reduction="none")[:, 0]
            elif _is_one_hot(variable):
                total = total + functional.cross_entropy(part, target, reduction="none")
            else:
                total = total + functional.binary_cross_entropy_with_logits(part, target, reduction="none").sum(1)
        return total

    def calibrate(self, values: Mapping[str, Tensor]) -> None:
        """Learn the size of its own errors from held-out images, given in natural values."""
        self.eval()
        errors = []
        with torch.no_grad():
            for rows in torch.arange(len(values[self.image.name])).split(at_once(self.image.size, 500)):
                predictions = self.predict(self.image.encode(values[self.image.name][rows]))
                misses = [predictions[v.name] - v.encode(values[v.name][rows]) for v in self.attributes]
                errors.append(torch.stack([miss.square().mean(1) for miss in misses], 1))
        self.scale.copy_(torch.cat(errors).mean(0).sqrt().clamp(min=1e-6))


def _is_one_hot(variable: Variable) -> bool:
    """Whether exactly one of the encoded numbers is 1; else they are bits of their own (binary, ordinal)."""
    return isinstance(variable, Categorical) and not isinstance(variable, Ordinal)


class CriticObjective(Objective):
    """The critic on real images.

    Args:
        critic: what is trained.
        fit: how.
    """

    def __init__(self, critic: Critic, fit: Fit):
        super().__init__(critic, fit)
        self.critic = critic

    def losses(self, batch: dict[str, Tensor], moment: Moment) -> Tensor:
        targets = {variable.name: variable.encode(batch[variable.name]) for variable in self.critic.attributes}
        return self.critic.disagreement(self.critic.image.encode(batch[self.critic.image.name]), targets)
