"""How a causal model's prediction becomes its answer: what is put back of the photograph, and where the change may act."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from counterbench.causal.chance import Generator
from counterbench.causal.variables import Image
from counterbench.models.scm import StructuralCausalModel, Values

SOFTNESS = 0.15
"""Slope of the mask around its threshold, as a share of the threshold."""
WINDOW = 5
"""Side of the neighbourhood, in pixels."""


def local(change: Tensor, threshold: float) -> Tensor:
    """A change where its neighbourhood moves, and nothing elsewhere.

    Args:
        change: (N, C, *sides), in grey levels.
        threshold: mean of |change| over the neighbourhood (and the channels), in grey levels, at which half of the change is kept.

    Examples:
        >>> change = torch.zeros(1, 1, 9, 9)
        >>> change[..., :4] = 20.0
        >>> change[..., 8] = 1.0
        >>> kept = local(change, 4.0)
        >>> round(float(kept[0, 0, 0, 0])), round(float(kept[0, 0, 0, 8]))
        (20, 0)
    """
    pool = functional.avg_pool3d if change.ndim == 5 else functional.avg_pool2d
    nearby = pool(change.abs().mean(1, keepdim=True), WINDOW, 1, WINDOW // 2, count_include_pad=False)
    return change * torch.sigmoid((nearby - threshold) / (SOFTNESS * threshold))


class Answering(nn.Module):
    """A structural causal model whose answers are photograph and change, x* = base + local(f_do(x) - f_null(x)).

    base = f_null(x) + residual (x - f_null(x)): with a residual of 1 the change is made on the photograph itself, which is Pearl's
    abduction of an additive pixel noise, and a null intervention returns its input by construction.

    Args:
        scm: what predicts.
        residual: share of the pixel residual that is put back, in grey levels, 0 to 1.
        threshold: see :func:`local`; None to let changes act everywhere.

    Examples:
        >>> from counterbench.causal.graph import CausalGraph
        >>> from counterbench.mechanisms.vae import VAE
        >>> image = Image("image", 1, 8, 8)
        >>> scm = StructuralCausalModel(CausalGraph({"image": []}), [VAE(image, [], encoder_channels=[4], decoder_channels=[4])])
        >>> photograph = {"image": torch.full((2, 1, 8, 8), 100.0)}
        >>> bool(Answering(scm, residual=1.0).counterfactual(photograph, {})["image"].equal(photograph["image"]))
        True
    """

    def __init__(self, scm: StructuralCausalModel, *, residual: float, threshold: float | None = None):
        super().__init__()
        self.scm, self.residual, self.threshold = scm, residual, threshold
        self.images = [name for name, variable in scm.variables.items() if isinstance(variable, Image)]

    def abduct(self, values: Values, generator: Generator = None) -> Mapping[str, Mapping[str, Tensor]]:
        """As the causal model does."""
        return self.scm.abduct(values, generator)

    def sample_noise(self, count: int, generator: Generator = None) -> Mapping[str, Mapping[str, Tensor]]:
        """As the causal model does."""
        return self.scm.sample_noise(count, generator)

    def counterfactual(self, factual: Values, interventions: Values, generator: Generator = None) -> dict[str, Tensor]:
        """As :meth:`counterbench.models.scm.StructuralCausalModel.counterfactual`, with images answered in this way."""
        noise = self.scm.abduct(factual, generator)
        answer = self.scm.generate(noise, interventions)
        null = self.scm.generate(noise) if interventions else answer
        for name in self.images:
            if name not in interventions:
                answer[name] = self._image(factual[name].to(answer[name]), null[name], answer[name])
        return answer

    def _image(self, photograph: Tensor, null: Tensor, predicted: Tensor) -> Tensor:
        change = predicted - null
        if self.threshold is not None:
            change = local(change, self.threshold)
        return null + self.residual * (photograph - null) + change


def answering(scm: StructuralCausalModel, options: Mapping[str, Any]) -> nn.Module:
    """The model that a recipe's `answer` describes: the causal model itself where it says nothing."""
    return Answering(scm, **options) if options else scm
