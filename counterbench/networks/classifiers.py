"""Three small networks for images and volumes, of different architecture, so that their agreement means something.

`stride` is that of the first convolution: 2 makes images of 64 pixels as cheap as those of 32. `dimensions` are those of the
images: 2, or 3 of volumes.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from counterbench.networks.spatial import average_pool, batch_norm, convolution, maximum_pool, pooled_to


class Plain(nn.Sequential):
    """Strided convolutions with batch normalisation, global average pooling (about 100,000 weights)."""

    def __init__(self, channels: int, classes: int, *, stride: int = 1, width: int = 16, dimensions: int = 2):
        layers: list[nn.Module] = []
        before = channels
        for after, step in ((width, stride), (2 * width, 2), (4 * width, 2), (6 * width, 2)):
            layers.append(convolution(dimensions, before, after, 3, stride=step, bias=False))
            layers += [batch_norm(dimensions, after), nn.ReLU()]
            before = after
        super().__init__(*layers, pooled_to(dimensions, 1), nn.Flatten(), nn.Linear(before, classes))


class Pooled(nn.Module):
    """Wide kernels and max pooling, then a dense layer that sees where things are (LeNet's family; LeCun et al. 1998)."""

    def __init__(self, channels: int, classes: int, *, stride: int = 1, width: int = 12, dimensions: int = 2):
        super().__init__()
        self.features = nn.Sequential(
            convolution(dimensions, channels, width, 5, stride=stride),
            nn.GELU(),
            maximum_pool(dimensions, 2),
            convolution(dimensions, width, 3 * width, 5),
            nn.GELU(),
            maximum_pool(dimensions, 2),
            nn.GroupNorm(4, 3 * width),
            convolution(dimensions, 3 * width, 3 * width, 3),
            nn.GELU(),
            pooled_to(dimensions, 4),
        )
        self.head = nn.Sequential(
            nn.Flatten(),
            nn.Dropout(0.4),
            nn.Linear(3 * width * 4**dimensions, 64),
            nn.GELU(),
            nn.Linear(64, classes),
        )

    def forward(self, images: Tensor) -> Tensor:
        """(N, C, *sides) -> logits, (N, classes)."""
        logits: Tensor = self.head(self.features(images))
        return logits


class _Block(nn.Module):
    """Two convolutions beside the identity (He et al., 2016), normalised within each image, then halved by averaging."""

    def __init__(self, before: int, after: int, *, dimensions: int):
        super().__init__()
        self.inner = nn.Sequential(
            nn.GroupNorm(4, before),
            nn.SiLU(),
            convolution(dimensions, before, after, 3),
            nn.GroupNorm(4, after),
            nn.SiLU(),
            convolution(dimensions, after, after, 3),
        )
        self.beside = convolution(dimensions, before, after, 1)
        self.halve = average_pool(dimensions, 2)

    def forward(self, maps: Tensor) -> Tensor:
        halved: Tensor = self.halve(self.inner(maps) + self.beside(maps))
        return halved


class Residual(nn.Module):
    """Residual blocks with group normalisation and average pooling, read by the mean and the spread of each map."""

    def __init__(self, channels: int, classes: int, *, stride: int = 1, width: int = 16, dimensions: int = 2):
        super().__init__()
        self.stem = convolution(dimensions, channels, width, 4, stride=2 * stride, padding=1)
        widths = ((width, 2 * width), (2 * width, 4 * width))
        self.blocks = nn.Sequential(*(_Block(*pair, dimensions=dimensions) for pair in widths))
        self.head = nn.Sequential(nn.Linear(8 * width, 64), nn.SiLU(), nn.Linear(64, classes))

    def forward(self, images: Tensor) -> Tensor:
        """(N, C, *sides) -> logits, (N, classes)."""
        maps = self.blocks(self.stem(images)).flatten(2)
        spread = (maps.var(2, correction=min(1, maps.shape[2] - 1)) + 1e-12).sqrt()
        logits: Tensor = self.head(torch.cat([maps.mean(2), spread], 1))
        return logits


ARCHITECTURES: dict[str, type[nn.Module]] = {"plain": Plain, "pooled": Pooled, "residual": Residual}
