"""Discriminator of (image, latent) pairs with a context vector."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from counterbench.networks.convolutional import Encoder

_SLOPE = 0.1


class Discriminator(nn.Module):
    """Logit of "this is a real image with its encoded latent", for pairs with their context.

    Args:
        shape: (C, H, W) of the image, or (C, D, H, W) of the volume.
        latent: length of the latent.
        context: length of the context vector.
        channels: one number per stage; every stage halves the image.
        hidden: width of the dense layers.
    """

    def __init__(self, shape: Sequence[int], latent: int, *, context: int, channels: Sequence[int], hidden: int):
        super().__init__()
        self.image = Encoder(shape, context, channels, hidden)
        self.latent = nn.Sequential(
            nn.Linear(latent, hidden), nn.LeakyReLU(_SLOPE), nn.Linear(hidden, hidden), nn.LeakyReLU(_SLOPE)
        )
        self.joint = nn.Sequential(nn.Linear(2 * hidden + context, hidden), nn.LeakyReLU(_SLOPE), nn.Linear(hidden, 1))

    def forward(self, image: Tensor, latent: Tensor, context: Tensor) -> Tensor:
        """(N, C, *sides), (N, latent), (N, context) -> logits (N,)."""
        seen = torch.cat([self.image(image, context), self.latent(latent), context], 1)
        logit: Tensor = self.joint(seen)[:, 0]
        return logit
