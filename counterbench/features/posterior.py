"""The feature space of a pinned unconditional autoencoder: the posterior of an image, for counterfactual latent divergence."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from counterbench.errors import UnavailableError
from counterbench.features.base import FeatureSpace
from counterbench.networks.autoencoder import Recogniser
from counterbench.networks.normal import normal_divergence
from counterbench.plugins.registry import features
from counterbench.storage.weights import load_pinned


@features.register()
class Posterior(FeatureSpace):
    """Mean and log standard deviation of q(z | image), side by side; the distance is KL(q(. | first) || q(. | second)).

    Args:
        latent, channels, hidden: of the network; see :class:`counterbench.networks.autoencoder.Recogniser`.
        shape: (C, H, W) of the images, or (C, D, H, W) of volumes.
        weights: safetensors file.
        sha256: what its hash must be.
        device: where it computes.
        card: name of the dataset, for messages.

    Raises:
        UnavailableError: if the card pins no autoencoder.
    """

    title = "posterior of a pinned unconditional autoencoder"

    def __init__(
        self,
        *,
        latent: int = 16,
        channels: Sequence[int] = (16, 32, 64),
        hidden: int = 128,
        shape: Sequence[int],
        weights: Path | None = None,
        sha256: str | None = None,
        device: str | torch.device = "cpu",
        card: str = "",
    ):
        if weights is None:
            raise UnavailableError(f"the dataset {card!r} pins no unconditional autoencoder")
        self.network = Recogniser(shape, latent, channels=channels, hidden=hidden)
        self.sha256 = load_pinned(self.network, weights, sha256=sha256, device=device)
        self.device = device

    @property
    def fingerprint(self) -> str:
        return f"posterior sha256={self.sha256}"

    def _extract(self, images: Tensor) -> Tensor:
        return torch.cat(self.network(images.to(self.device) / 127.5 - 1), 1)

    def distance(self, first: Tensor, second: Tensor) -> Tensor:
        (mean, log_scale), (other_mean, other_log_scale) = (
            self.extract(images).double().chunk(2, 1) for images in (first, second)
        )
        return normal_divergence(mean, log_scale, other_mean=other_mean, other_log_scale=other_log_scale)
