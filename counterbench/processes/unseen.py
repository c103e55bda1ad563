"""What no portrait shows of somebody, drawn from its law given everything that the picture shows."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from counterbench.processes.portraits import TRAITS

_GLASSES = tuple(name for name in TRAITS if name.startswith("glasses_"))
_BEARD = tuple(name for name in TRAITS if name.startswith("beard_"))
HIDDEN_BY: Mapping[tuple[str, int], tuple[str, ...]] = {
    ("eyeglasses", 0): _GLASSES,
    ("no_beard", 1): _BEARD,
    ("smiling", 0): ("smile_width", "smile_lift", "smile_opening"),
    ("young", 1): ("grey", "wrinkles", "wrinkle_phase"),
    ("male", 1): ("long_hair", "fringe"),
    ("bald", 1): ("hairline", "fringe", "long_hair", "short_hair"),
}
"""(attribute, its value) -> the traits that a picture of such a face does not show."""

# A smile is seen as one width and one curve of the mouth, each made of two traits: (low, high) of both.
_WIDTH, _WIDER = (0.13, 0.18), (0.2, 0.42)
_CURVE, _LIFT = (-0.012, 0.016), (0.05, 0.085)


def hidden(attributes: Mapping[str, Tensor]) -> Tensor:
    """Which traits a picture does not show at all.

    Args:
        attributes: (N,) each, 0 or 1, of everything that a portrait follows from.

    Returns:
        (N, len(TRAITS)), bool.
    """
    unseen = torch.zeros(len(attributes["young"]), len(TRAITS), dtype=torch.bool)
    for (name, value), traits in HIDDEN_BY.items():
        columns = [TRAITS.index(trait) for trait in traits]
        unseen[:, columns] |= (attributes[name] == value)[:, None]
    return unseen


def drawn_again(attributes: Mapping[str, Tensor], traits: Tensor, chance: Tensor) -> Tensor:
    """Traits of somebody who would look the same: those that the picture does not show are drawn anew.

    Traits are independent and uniform, so those that are hidden keep that law. Of a smiling mouth, width and curve are seen, and the
    parts that they are made of follow their law given product and sum.

    Args:
        attributes: (N,) each, 0 or 1, of everything that a portrait follows from: as the picture shows them.
        traits: (N, len(TRAITS)), in [0, 1].
        chance: (N, len(TRAITS)), uniform on [0, 1].

    Returns:
        (N, len(TRAITS)), in [0, 1].
    """
    drawn = torch.where(hidden(attributes), chance.to(traits.dtype), traits)
    smiles = attributes["smiling"] == 1
    for names, law in ((("mouth_width", "smile_width"), _of_product), (("mouth_curve", "smile_lift"), _of_sum)):
        places = [TRAITS.index(name) for name in names]
        parts = law(traits[:, places[0]].double(), traits[:, places[1]].double(), chance[:, places[0]].double())
        for place, part in zip(places, parts, strict=True):
            drawn[smiles, place] = part[smiles].clamp(0, 1).to(drawn.dtype)
    return drawn


def _scaled(share: Tensor, ends: tuple[float, float]) -> Tensor:
    return ends[0] + (ends[1] - ends[0]) * share


def _share(value: Tensor, ends: tuple[float, float]) -> Tensor:
    return (value - ends[0]) / (ends[1] - ends[0])


def _of_product(width: Tensor, wider: Tensor, chance: Tensor) -> tuple[Tensor, Tensor]:
    """Width and widening given width (1 + widening): the density of the width is proportional to its inverse."""
    seen = _scaled(width, _WIDTH) * (1 + _scaled(wider, _WIDER))
    low = (seen / (1 + _WIDER[1])).clamp(min=_WIDTH[0])
    high = (seen / (1 + _WIDER[0])).clamp(max=_WIDTH[1])
    again = low * (high / low) ** chance
    return _share(again, _WIDTH), _share(seen / again - 1, _WIDER)


def _of_sum(curve: Tensor, lift: Tensor, chance: Tensor) -> tuple[Tensor, Tensor]:
    """Curve and lift given their sum: uniform where both are possible."""
    seen = _scaled(curve, _CURVE) + _scaled(lift, _LIFT)
    low, high = (seen - _LIFT[1]).clamp(min=_CURVE[0]), (seen - _LIFT[0]).clamp(max=_CURVE[1])
    again = low + (high - low) * chance
    return _share(again, _CURVE), _share(seen - again, _LIFT)
