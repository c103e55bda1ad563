"""Training the unconditional autoencoder behind minimality: on the split that no model sees, with a seed that no model uses."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from counterbench.catalog.recipes import Fit
from counterbench.causal.variables import Image
from counterbench.datasets.dataset import Dataset
from counterbench.errors import ConfigError
from counterbench.networks.autoencoder import Autoencoder, standard_normal
from counterbench.runtime.blocks import at_once
from counterbench.runtime.versions import versions
from counterbench.storage.files import require_writable, write_text
from counterbench.storage.weights import save_weights
from counterbench.training import loop
from counterbench.training.batches import fitted_to
from counterbench.training.hardware import Hardware
from counterbench.training.judge_images import joined_images
from counterbench.training.objectives.base import Circumstances, Moment, Objective

FIT = Fit(
    epochs=30,
    batch_size=128,
    learning_rate=2e-3,
    weight_decay=0.01,
    warmup_steps=200,
    cosine=True,
    gradient_clip=200,
    patience=30,
    ema_decay=0.995,
)


def size_for(shape: Sequence[int]) -> dict[str, Any]:
    """Latents and channels of an autoencoder that suits images (C, *sides): down to maps some 4 pixels wide, as far as all sides
    can be halved, and a latent per two pixels of the side."""
    stages = 1
    while all(side % 2 ** (stages + 1) == 0 and side // 2 ** (stages + 1) >= 4 for side in shape[1:]):
        stages += 1
    return {"latent": shape[1] // 2, "channels": [min(16 * 2**stage, 64) for stage in range(stages)], "hidden": 128}


class AutoencoderObjective(Objective):
    """Evidence lower bound of images.

    Args:
        network: the autoencoder.
        fit: how.
        image: name of the image.
    """

    def __init__(self, network: Autoencoder, fit: Fit, *, image: str):
        super().__init__(network, fit)
        self.network, self.image = network, image

    def losses(self, batch: dict[str, Tensor], moment: Moment) -> Tensor:
        images = batch[self.image].float() / 127.5 - 1
        return self.network.loss(images, standard_normal(len(images), self.network.latent, moment.generator))


def train_posterior(
    datasets: Sequence[Dataset], output: Path, *, hardware: Hardware, seed: int = 8001, epochs: int | None = None
) -> dict[str, Any]:
    """Train the unconditional autoencoder on the judge splits of one or several sources together.

    Args:
        datasets: sources of one card.
        output: folder for `posterior.safetensors` (the recogniser alone) and `posterior.json`.
        hardware: where.
        seed: of weights and noise.
        epochs: at most; None for the default.

    Returns:
        What the card should say: options, file, SHA-256, and the negative evidence lower bound per source on real test images, in nats.
    """
    card = datasets[0].card
    if not card.image:
        raise ConfigError(f"{card.name} has no images; an autoencoder of images is of no use there.")
    require_writable(output)
    image = datasets[0].variables[card.image]
    assert isinstance(image, Image)  # of the card, so of its kind
    shape = image.shape
    size = size_for(shape)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = Autoencoder(shape, **size)
    train, validation = (joined_images(datasets, split, card.image) for split in ("judge", "validation"))
    fit = fitted_to(FIT, train[card.image], epochs=epochs)
    folder = output / "unfinished" / "posterior"
    circumstances = Circumstances(train=train, validation=validation, folder=folder, hardware=hardware, seed=seed)
    loop.run(AutoencoderObjective(network, fit, image=card.image), circumstances)
    network = network.cpu().eval()
    path = output / "posterior.safetensors"
    report = {
        "options": size,
        "weights": path.name,
        "sha256": save_weights(network.recogniser, path),
        "quality": {dataset.source: {"negative_elbo": _quality(network, dataset, seed)} for dataset in datasets},
    }
    shutil.rmtree(output / "unfinished", ignore_errors=True)
    text = json.dumps(
        {"features": {"posterior": report}, "seed": seed, "fit": fit.model_dump(), "versions": versions()}, indent=1
    )
    write_text(output / "posterior.json", text)
    return report


def _quality(network: Autoencoder, dataset: Dataset, seed: int) -> float:
    images = dataset.split("test").values[dataset.card.image]
    generator = torch.Generator().manual_seed(seed)
    with torch.inference_mode():
        losses = [
            network.loss(part.float() / 127.5 - 1, standard_normal(len(part), network.latent, generator))
            for part in images.split(at_once(images[0].numel(), 500))
        ]
    return round(float(torch.cat(losses).mean()), 1)
