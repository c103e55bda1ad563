"""How judges read what models do to images: blur, noise, shifts, coarser grey levels, one bright pixel, and attacks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor
from torch.nn import functional

from counterbench.causal.variables import Continuous
from counterbench.judges.base import Judge
from counterbench.judges.network import NetworkJudge, normalised
from counterbench.networks.spatial import everywhere

LEVELS = 4
"""Grey levels that an attack may change a pixel by."""
_STEPS, _RANDOM = 10, 100


def offset(images: Tensor, by: float) -> Tensor:
    """Brighter by some grey levels, as a decoder with an undertrained background leaves them."""
    return images + by


def noise(images: Tensor, sigma: float) -> Tensor:
    """With white noise of that standard deviation in grey levels."""
    return images + sigma * torch.randn(images.shape, generator=torch.Generator().manual_seed(1))


def blur(images: Tensor, sigma: float) -> Tensor:
    """Blurred by a Gaussian of that width in pixels."""
    return blurred(images, torch.full((len(images),), sigma))


def blurred(images: Tensor, width: Tensor) -> Tensor:
    """Gaussian blur of each image, edges continued.

    Args:
        images: (N, C, *sides).
        width: (N,), standard deviations in pixels, at most about 1; 0 for none.
    """
    taps = torch.arange(-2, 3, device=images.device, dtype=images.dtype)
    weight = (-0.5 * (taps / width.to(images.dtype).clamp(min=1e-3)[:, None]).square()).exp()
    weight = weight / weight.sum(1, keepdim=True)
    count = images.ndim - 2
    for place in range(count):  # the last axis first
        axis, padding = -1 - place, [2 * (number // 2 == place) for number in range(2 * count)]
        padded, side = functional.pad(images, padding, mode="replicate"), images.shape[axis]
        images = sum(everywhere(weight[:, tap, None], images) * padded.narrow(axis, tap, side) for tap in range(5))  # type: ignore[assignment]
    return images


def shift(images: Tensor, by: float) -> Tensor:
    """Moved by a part of a pixel along every axis, linearly: right and down, and a volume to the next slice too."""
    for axis in range(2, images.ndim):
        side = images.shape[axis]
        moved = torch.cat([images.narrow(axis, 0, 1), images.narrow(axis, 0, side - 1)], axis)
        images = (1 - by) * images + by * moved
    return images


def requantised(images: Tensor, levels: int) -> Tensor:
    """As many grey levels as that, evenly spaced."""
    step = 255 / (levels - 1)
    return (images / step).round() * step


def bright_pixel(images: Tensor) -> Tensor:
    """With one white pixel near the corner."""
    changed = images.clone()
    corner = changed
    while corner.ndim > 2:
        corner = corner.select(2, 3)
    corner.fill_(255)
    return changed


PERTURBATIONS: Mapping[str, Callable[[Tensor], Tensor]] = {
    "as they are": lambda images: images,
    "blur 0.5 px": lambda images: blur(images, 0.5),
    "blur 1 px": lambda images: blur(images, 1.0),
    "noise 5": lambda images: noise(images, 5),
    "noise 10": lambda images: noise(images, 10),
    "offset 8": lambda images: offset(images, 8),
    "shift 0.5 px": lambda images: shift(images, 0.5),
    "32 grey levels": lambda images: requantised(images, 32),
    "one bright pixel": bright_pixel,
}
"""What is done to real images, in words -> how."""


def sensitivity(judge: Judge, images: Tensor, truth: Tensor, *, beside: Sequence[Judge] = ()) -> dict[str, float]:
    """The card of a judge: its error on perturbed real images, of a quantity in its unit, of classes the share of wrong ones.

    The last two are attacks that change pixels by at most 4 grey levels: projected gradient descent against the judge (where it has no
    gradient, against a network beside it: a transferred attack), and the worst of 100 random patterns, sample by sample.

    Args:
        judge: whose.
        images: (N, C, *sides), grey levels.
        truth: (N,), natural values of the judge's variable.
        beside: other judges of the same variable, whose attack may be transferred.
    """
    errors = {
        name: float(error_of(judge, change(images.float()), truth).mean()) for name, change in PERTURBATIONS.items()
    }
    model = next((one for one in (judge, *beside) if isinstance(one, NetworkJudge)), None)
    if model is not None:
        name = f"attack of {LEVELS} grey levels" + ("" if model is judge else ", transferred")
        errors[name] = float(error_of(judge, attacked(model, images.float(), truth), truth).mean())
    errors[f"worst of {_RANDOM} random patterns of {LEVELS}"] = float(
        _worst_of_random(judge, images.float(), truth).mean()
    )
    return {name: float(f"{error:.4g}") for name, error in errors.items()}


def error_of(judge: Judge, images: Tensor, truth: Tensor) -> Tensor:
    """(N,): distance in the variable's unit, or 1 for a wrong class, of whole grey levels."""
    read = judge.measure(images.round().clamp(0, 255))
    return judge.variable.distance(read if isinstance(judge.variable, Continuous) else read.argmax(1), truth)


def attacked(judge: NetworkJudge, images: Tensor, truth: Tensor) -> Tensor:
    """Images changed by at most :data:`LEVELS` per pixel so that a network reads something else (Madry et al., ICLR 2018).

    Args:
        judge: a network.
        images: (N, C, *sides), grey levels.
        truth: (N,), what it should not read.
    """
    read = judge.measure(images)
    if isinstance(judge.variable, Continuous):
        away = torch.where(read.double() >= truth.double(), 1.0, -1.0).float()
    changed = images.clone()
    for _ in range(_STEPS):
        changed = changed.detach().requires_grad_(True)
        outputs = judge.network(normalised(changed.to(judge.device)))[:, judge.columns].cpu()
        if isinstance(judge.variable, Continuous):
            loss = (away * outputs[:, 0]).sum()
        else:
            loss = functional.cross_entropy(outputs, truth.long(), reduction="sum")
        (slope,) = torch.autograd.grad(loss, changed)
        changed = changed.detach() + 1.0 * slope.sign()
        changed = torch.minimum(torch.maximum(changed, images - LEVELS), images + LEVELS).clamp(0, 255)
    return changed.detach()


def _worst_of_random(judge: Judge, images: Tensor, truth: Tensor) -> Tensor:
    generator, worst = torch.Generator().manual_seed(2), error_of(judge, images, truth)
    for _ in range(_RANDOM):
        pattern = LEVELS * (2 * torch.randint(0, 2, images.shape, generator=generator) - 1)
        worst = torch.maximum(worst, error_of(judge, images + pattern, truth))
    return worst
