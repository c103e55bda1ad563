"""How a causal model's prediction becomes its answer: what is put back of the photograph, and where the change may act."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor
from torch.nn import functional

from counterbench.causal.chance import Generator
from counterbench.causal.graph import CausalGraph
from counterbench.causal.variables import Image
from counterbench.mechanisms.base import Mechanism, Noise
from counterbench.models.scm import StructuralCausalModel, Values

SOFTNESS = 0.15
"""Slope of the mask around its threshold, as a share of the threshold."""
WINDOW = 5
"""Side of the neighbourhood, in pixels."""


def neighbourhood(change: Tensor) -> Tensor:
    """Mean |change| around every pixel, over its neighbours and all channels: (N, C, *sides) -> (N, 1, *sides).

    Examples:
        >>> neighbourhood(torch.full((1, 3, 4, 4), -2.0)).unique().tolist()
        [2.0]
    """
    pool = functional.avg_pool3d if change.ndim == 5 else functional.avg_pool2d
    return pool(change.abs().mean(1, keepdim=True), WINDOW, 1, WINDOW // 2, count_include_pad=False)


def above(change: Tensor, nearby: Tensor, threshold: Tensor | float) -> Tensor:
    """A change where its :func:`neighbourhood` moves by more than a threshold, in grey levels; at the threshold, half of it.

    Examples:
        >>> change = torch.tensor([[[[10.0]]], [[[0.1]]]])
        >>> [round(kept, 2) for kept in above(change, neighbourhood(change), 5.0).flatten().tolist()]
        [9.99, 0.0]
    """
    return change * torch.sigmoid((nearby - threshold) / (SOFTNESS * threshold))


def local(change: Tensor, share: float) -> Tensor:
    """A change where its neighbourhood moves nearly as much as the neighbourhood that moves most, and nothing elsewhere.

    The threshold is relative to each image's own largest change, so that one number serves faint and strong interventions, whatever the data.

    Args:
        change: (N, C, *sides), in grey levels.
        share: of the largest mean |change| of a neighbourhood (over its pixels and channels) at which half of the change is kept.

    Examples:
        >>> change = torch.zeros(1, 1, 9, 9)
        >>> change[..., :4] = 20.0
        >>> change[..., 8] = 2.0
        >>> kept = local(change, 0.4)
        >>> round(float(kept[0, 0, 0, 0])), round(float(kept[0, 0, 0, 8]))
        (20, 0)
    """
    nearby = neighbourhood(change)
    largest = nearby.flatten(1).amax(1).view(-1, *[1] * (change.ndim - 1))
    threshold = share * largest.clamp(min=1e-6)
    return above(change, nearby, threshold)


class Answering(StructuralCausalModel):
    """A structural causal model whose answers are photograph and change: x* = base + local(f_do(x) - f_null(x)).

    base = f_null(x) + residual (x - f_null(x)): with a residual of 1 the change is made on the photograph itself, which is Pearl's
    abduction of an additive pixel noise, and a null intervention returns its input by construction.

    Args:
        graph: see the base class.
        mechanisms: see the base class.
        residual: share of the pixel residual that is put back, in grey levels, 0 to 1.
        local: share of the largest change from which on a change is kept, see :func:`local`; None to let changes act everywhere.

    Examples:
        >>> from counterbench.mechanisms.vae import VAE
        >>> image = Image("image", 1, 8, 8)
        >>> vae = VAE(image, [], encoder_channels=[4], decoder_channels=[4])
        >>> model = Answering(CausalGraph({"image": []}), [vae], residual=1.0)
        >>> photograph = {"image": torch.full((2, 1, 8, 8), 100.0)}
        >>> bool(torch.allclose(model.counterfactual(photograph, {})["image"], photograph["image"], atol=1e-4))
        True
    """

    def __init__(
        self,
        graph: CausalGraph,
        mechanisms: Iterable[Mechanism],
        *,
        residual: float = 0.0,
        local: float | None = None,
    ):
        super().__init__(graph, mechanisms)
        self.residual, self.local = residual, local
        self.images = [name for name, variable in self.variables.items() if isinstance(variable, Image)]

    def abduct(self, values: Values, generator: Generator = None) -> dict[str, Noise]:
        """As in the base class; the noise knows the photographs that it was abducted from."""
        return _Seen(super().abduct(values, generator), {name: values[name] for name in self.images})

    def generate(self, noise: Mapping[str, Noise], interventions: Values | None = None) -> dict[str, Tensor]:
        """As in the base class; noise that was drawn, not abducted, has no photograph, and nothing is put back."""
        answer = super().generate(noise, interventions)
        if not isinstance(noise, _Seen):
            return answer
        if noise.null is None:
            noise.null = super().generate(noise) if interventions else dict(answer)
        for name in self.images:
            if name not in (interventions or {}):
                answer[name] = self._image(noise.photographs[name].to(answer[name]), noise.null[name], answer[name])
        return answer

    def _image(self, photograph: Tensor, null: Tensor, predicted: Tensor) -> Tensor:
        change = predicted - null
        if self.local is not None:
            change = local(change, self.local)
        return null + self.residual * (photograph - null) + change


class _Seen(dict[str, Noise]):
    """Abducted noise with the photographs behind it, and what a null intervention gives, once somebody has asked."""

    def __init__(self, noise: Mapping[str, Noise], photographs: Values):
        super().__init__(noise)
        self.photographs = dict(photographs)
        self.null: dict[str, Tensor] | None = None
