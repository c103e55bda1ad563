"""A convolution and the activation after it in one pass, where torch's oneDNN can: the maps are written once instead of twice."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

_PLAIN: dict[str, Callable[[Tensor], Tensor]] = {
    "gelu": functional.gelu,
    "relu": functional.relu,
    "swish": functional.silu,
}
_FUSED: Any = (
    getattr(torch.ops.mkldnn, "_convolution_pointwise", None) if torch.backends.mkldnn.is_available() else None
)


def convolved(maps: Tensor, convolution: nn.Conv2d, activation: str) -> Tensor:
    """activation(convolution(maps)); the same up to rounding whether or not it is one pass.

    Args:
        maps: (N, C, H, W).
        convolution: padded with zeros.
        activation: gelu, relu or swish.

    >>> convolution = nn.Conv2d(2, 3, 3, padding=1)
    >>> maps = torch.ones(1, 2, 4, 4)
    >>> with torch.no_grad():
    ...     torch.allclose(convolved(maps, convolution, "relu"), convolution(maps).relu(), atol=1e-6)
    True
    """
    if not _can_be_fused(maps, convolution):
        return _PLAIN[activation](convolution(maps))
    fused: Tensor = _FUSED(
        maps,
        convolution.weight,
        convolution.bias,
        list(convolution.padding),
        list(convolution.stride),
        list(convolution.dilation),
        convolution.groups,
        activation,
        [],
        "none",
    )
    return fused


def _can_be_fused(maps: Tensor, convolution: nn.Conv2d) -> bool:
    return (
        _FUSED is not None
        and not torch.is_grad_enabled()
        and maps.device.type == "cpu"
        and maps.dtype == convolution.weight.dtype == torch.float32
        and not torch.is_autocast_enabled("cpu")
        and convolution.padding_mode == "zeros"
        and not isinstance(convolution.padding, str)
        and len(maps) > 0
    )
