"""Pixel likelihoods."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from counterbench.networks.spatial import convolution

_BIN = 1 / 255  # half the distance between neighbouring grey levels, on the scale [-1, 1]

_ROOT = math.sqrt(0.5)
_FAR = -9.0
_INFINITE = 1e3
"""In standard deviations."""

_REACH = 1.2  # means may pass the ends of the scale a little: black is easiest to hit from below


class DiscretisedGaussian(nn.Module):
    """A normal per pixel, integrated over the width of one grey level.

    The two extreme bins reach to infinity, so the probabilities of the 256 levels sum to one. The integral is evaluated
    on the lighter tail, far out with log-CDFs, accurate and differentiable wherever the pixel falls (the common tanh approximation
    of the CDF and a floor on the probability are not needed).

    Args:
        features: channels of the feature map it reads.
        channels: channels of the image.
        min_log_scale: lower limit of the log standard deviation, on the scale [-1, 1]; the default is finer than a grey level.
        max_log_scale: upper limit.
        dimensions: of the maps, 2 or 3.
    """

    def __init__(
        self,
        features: int,
        channels: int,
        *,
        min_log_scale: float = -6.0,
        max_log_scale: float = 2.0,
        dimensions: int = 2,
    ):
        super().__init__()
        self.head = convolution(dimensions, features, 2 * channels, 1)
        self.min_log_scale, self.max_log_scale = min_log_scale, max_log_scale

    def start_from(self, images: Tensor) -> None:
        """Let training begin at a typical pixel with a wide scale: from grey with a narrow one, black paper is thousands of nats
        away, and the first epoch is spent on the way there.

        Args:
            images: (N, C, *sides), on the scale [-1, 1].
        """
        bias = self.head.bias
        assert isinstance(bias, Tensor)
        with torch.no_grad():
            channels = images.shape[1]
            bias[:channels] = images.transpose(0, 1).flatten(1).median(1).values.to(bias)
            bias[channels:] = 2.0

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """(N, features, *sides) -> mean and log standard deviation, each (N, C, *sides)."""
        raw, low = self.head(features).chunk(2, dim=1)
        # Soft limits: hard ones would stop the gradient for good.
        log_scale = self.min_log_scale + (self.max_log_scale - self.min_log_scale) * torch.sigmoid(low)
        # Means far outside the scale would put pixels thousands of standard deviations away, where the gradient of a log-CDF
        # overflows in single precision. A leak instead of a hard limit (or a tanh) keeps them from getting stuck there.
        inside = raw.clamp(-_REACH, _REACH)
        return inside + 0.01 * (raw - inside), log_scale


def discretised_gaussian_log_prob(image: Tensor, mean: Tensor, log_scale: Tensor) -> Tensor:
    """Log-probability of each pixel's grey level, elementwise, in nats.

    Args:
        image: grey levels on the scale [-1, 1], i.e. 2 k / 255 - 1 for k = 0 .. 255.
        mean, log_scale: same shape, same scale.
    """
    precision = (-log_scale).exp()
    centred, half = (image - mean) * precision, _BIN * precision
    black, white = image < -1 + _BIN, image > 1 - _BIN
    # Work on the left tail, where neither the normal's distribution function nor its logarithm loses digits.
    sign = torch.where(black | (~white & (centred < 0)), 1.0, -1.0)
    right = sign * centred + half
    left = torch.where(black | white, right.detach() - _INFINITE, right - 2 * half)
    mass = 0.5 * (torch.erfc(-_ROOT * right) - torch.erfc(-_ROOT * left))
    far = right < _FAR
    result = mass.masked_fill(far, 1.0).clamp(min=torch.finfo(image.dtype).tiny).log()
    if not far.any():
        return result
    # Out here the mass is too small for a float. The logarithms cost ten times as much, but few pixels need them.
    log_right, log_left = torch.special.log_ndtr(right[far]), torch.special.log_ndtr(left[far])
    ratio = (log_left - log_right).exp().clamp(max=1 - torch.finfo(image.dtype).eps)
    return result.masked_scatter(far, log_right + torch.log1p(-ratio))
