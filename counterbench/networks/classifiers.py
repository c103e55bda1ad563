"""Two small image classifiers of different architecture, so that their agreement means something.

`stride` is that of the first convolution: 2 makes images of 64 pixels as cheap as those of 32.
"""

from __future__ import annotations

from torch import Tensor, nn


class Plain(nn.Sequential):
    """Strided convolutions with batch normalisation, global average pooling (about 100,000 weights)."""

    def __init__(self, channels: int, classes: int, *, stride: int = 1, width: int = 16):
        layers: list[nn.Module] = []
        before = channels
        for after, step in ((width, stride), (2 * width, 2), (4 * width, 2), (6 * width, 2)):
            layers += [nn.Conv2d(before, after, 3, step, 1, bias=False), nn.BatchNorm2d(after), nn.ReLU()]
            before = after
        super().__init__(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(before, classes))


class Pooled(nn.Module):
    """Wide kernels and max pooling, then a dense layer that sees where things are (LeNet's family; LeCun et al. 1998)."""

    def __init__(self, channels: int, classes: int, *, stride: int = 1, width: int = 12):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(channels, width, 5, stride, padding=2),
            nn.GELU(),
            nn.MaxPool2d(2),
            nn.Conv2d(width, 3 * width, 5, padding=2),
            nn.GELU(),
            nn.MaxPool2d(2),
            nn.GroupNorm(4, 3 * width),
            nn.Conv2d(3 * width, 3 * width, 3, padding=1),
            nn.GELU(),
            nn.AdaptiveAvgPool2d(4),
        )
        self.head = nn.Sequential(
            nn.Flatten(), nn.Dropout(0.4), nn.Linear(48 * width, 64), nn.GELU(), nn.Linear(64, classes)
        )

    def forward(self, images: Tensor) -> Tensor:
        """(N, C, H, W) -> logits, (N, classes)."""
        logits: Tensor = self.head(self.features(images))
        return logits


ARCHITECTURES: dict[str, type[nn.Module]] = {"plain": Plain, "pooled": Pooled}
