"""Training a segmenter from a handful of labels: on images that no model sees, with or without unlabelled ones beside them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor, nn
from torch.nn import functional

from counterbench.catalog.recipes import Fit
from counterbench.datasets.dataset import UNSEEN, Dataset
from counterbench.datasets.selection import domains
from counterbench.errors import ConfigError, suggestion
from counterbench.judges.network import normalised
from counterbench.metrics.statistics.maps import dice
from counterbench.networks.segmentation import Compositional, fit_mixture
from counterbench.networks.spatial import everywhere
from counterbench.plugins import registry
from counterbench.runtime import progress
from counterbench.runtime.blocks import at_once
from counterbench.runtime.versions import versions
from counterbench.storage.files import require_writable, write_text
from counterbench.storage.weights import save_weights
from counterbench.training import loop
from counterbench.training.hardware import Hardware
from counterbench.training.objectives.base import Circumstances, Moment, Objective

SEGMENTERS = "segmenters.json"
"""What `train_segmenter` writes for the card."""
BATCH, STEPS, WARM_UP = 8, 800, 200
"""Images with labels in a batch, and as many without; steps of the training, and those before it that learn to recompose images."""
POOL = 1_000
"""Images without labels."""
_VECTORS = 5_000
"""Features that the kernels are fitted to at first."""
_FAR = 95
"""Percentile of the distances that Hausdorff's takes."""
_TESTED = 500
"""Test images that the figures of a card are measured on."""


def fit_of(steps: int) -> Fit:
    """How a segmenter is fitted.

    Args:
        steps: of the optimiser.

    Examples:
        >>> fit_of(100).keep
        'last'
    """
    return Fit(
        steps=steps,
        epochs=10 * steps,
        batch_size=BATCH,
        learning_rate=2e-3,
        weight_decay=1e-4,
        warmup_steps=min(50, steps // 4),
        cosine=True,
        patience=10 * steps,
        keep="last",
        gradient_clip=1.0,
    )


def varied(images: Tensor, generator: torch.Generator) -> Tensor:
    """Images as another scanner might show them: gain, contrast, a smooth field, noise; nothing moves.

    Args:
        images: (N, C, *sides), grey levels 0-255.
        generator: of all draws.
    """
    count, device = len(images), images.device

    def drawn(*shape: int) -> Tensor:
        return torch.randn(count, *shape, generator=generator, device=device)

    gain, contrast = ((0.15 * drawn(1)).exp(), (0.2 * drawn(1)).exp())
    axes = [torch.linspace(-1, 1, side, device=device) for side in images.shape[2:]]
    field = sum(everywhere(0.1 * drawn(1), images) * place for place in torch.meshgrid(*axes, indexing="ij"))
    signal = (
        (images.float() / 255).clamp(0, 1).pow(everywhere(contrast, images)) * everywhere(gain, images) * (1 + field)
    )
    noise = everywhere(0.04 * torch.rand(count, 1, generator=generator, device=device), images)
    return (255 * (signal + noise * torch.randn(images.shape, generator=generator, device=device))).clamp(0, 255)


class Recomposing(Objective):
    """Images from the encoder's features, before there are kernels: their mean absolute error.

    Args:
        module: a compositional network.
        fit: how.
    """

    selects = False
    module: Compositional

    def losses(self, batch: dict[str, Tensor], moment: Moment) -> Tensor:
        images = normalised(varied(batch["image"], moment.generator) if moment.training else batch["image"].float())
        recomposed: Tensor = self.module.decoder(self.module.encoder(images))
        return _error(recomposed, images)


class Segmenting(Objective):
    """Parts of labelled images, by cross-entropy and Dice; a compositional network also recomposes images, with and without labels.

    Args:
        module: images -> logits.
        fit: how.
        images: (M, C, *sides), those with labels.
        masks: (M, *sides), their parts.
        unlabelled: whether the batch, which has no labels, is recomposed too.
    """

    selects = False

    def __init__(self, module: nn.Module, fit: Fit, *, images: Tensor, masks: Tensor, unlabelled: bool):
        super().__init__(module, fit)
        self.images, self.masks, self.unlabelled = images, masks.long(), unlabelled

    def losses(self, batch: dict[str, Tensor], moment: Moment) -> Tensor:
        pool = batch["image"]
        rows = torch.randint(len(self.images), (len(pool),), generator=moment.generator, device=moment.generator.device)
        images, masks = self.images[rows.cpu()].to(pool.device), self.masks[rows.cpu()].to(pool.device)
        seen = normalised(varied(images, moment.generator) if moment.training else images.float())
        if not isinstance(self.module, Compositional):
            return segmentation_loss(self.module(seen), masks)
        logits, recomposed, nearest = self.module.explained(seen)
        losses = segmentation_loss(logits, masks) + _error(recomposed, seen) + nearest
        if not self.unlabelled:
            return losses
        others = normalised(varied(pool, moment.generator) if moment.training else pool.float())
        _, recomposed, nearest = self.module.explained(others)
        return losses + _error(recomposed, others) + nearest


def _error(recomposed: Tensor, images: Tensor) -> Tensor:
    return (recomposed - images).abs().flatten(1).mean(1)


def segmentation_loss(logits: Tensor, masks: Tensor) -> Tensor:
    """Cross-entropy and 1 - Dice of the probabilities, mean over the parts, (N,).

    Args:
        logits: (N, parts, *sides).
        masks: (N, *sides), long.

    Examples:
        >>> masks = torch.tensor([[[0, 1]]])
        >>> sure = 20.0 * functional.one_hot(masks, 2).movedim(-1, 1).float()
        >>> round(float(segmentation_loss(sure, masks)), 4)
        0.0
    """
    entropy = functional.cross_entropy(logits, masks, reduction="none").flatten(1).mean(1)
    wanted = functional.one_hot(masks, logits.shape[1]).movedim(-1, 1).to(logits)
    shares = logits.softmax(1)
    both = (shares * wanted).flatten(2).sum(2)
    size = (shares + wanted).flatten(2).sum(2)
    return entropy + 1 - ((2 * both + 1) / (size + 1)).mean(1)


def hausdorff(first: Tensor, second: Tensor) -> Tensor:
    """The 95th percentile of the distances between the edges of two regions, both ways, in pixels.

    Args:
        first: (N, *sides), bool.
        second: the same shape.

    Returns:
        (N,), float64; NaN where either is empty.

    Examples:
        >>> one, other = torch.zeros(1, 5, 5, dtype=torch.bool), torch.zeros(1, 5, 5, dtype=torch.bool)
        >>> one[0, 2, 1] = other[0, 2, 4] = True
        >>> hausdorff(one, other).tolist()
        [3.0]
    """
    found = []
    for a, b in zip(first.numpy(), second.numpy(), strict=True):
        if not a.any() or not b.any():
            found.append(np.nan)
            continue
        edges = [region & ~ndimage.binary_erosion(region) for region in (a, b)]
        away = [
            ndimage.distance_transform_edt(~other)[edge] for edge, other in zip(edges, reversed(edges), strict=True)
        ]
        found.append(max(np.percentile(distances, _FAR) for distances in away))
    return torch.tensor(found, dtype=torch.float64)


def train_segmenter(
    dataset: Dataset,
    kind: str,
    output: Path,
    *,
    hardware: Hardware,
    labels: int = 10,
    without: Sequence[str] = (),
    unlabelled: bool = True,
    steps: int = STEPS,
    seed: int = 7001,
) -> dict[str, Any]:
    """Train a segmenter on the judge split.

    Args:
        dataset: with the role `mask`.
        kind: of the segmenter, a name of the registry.
        output: folder for `KIND.safetensors` and `segmenters.json`.
        hardware: where.
        labels: images with labels, of each domain; of all together where there are no domains.
        without: domains of which no image is seen.
        unlabelled: whether images without labels are learnt from, where the kind can.
        steps: of the optimiser.
        seed: of weights and of every draw.

    Returns:
        What the card should say under `segmenters`. Figures on test images: Dice and the 95 % Hausdorff distance in pixels, means over the parts
        but the background, then Dice of every part, and of every domain.

    Raises:
        ConfigError: for a dataset without masks, a kind or domain that there is not, or too few images.
    """
    require_writable(output)
    family = registry.segmenters.get(kind)
    _require_masks(dataset)
    card, (channels, *sides) = dataset.card, dataset.card.image_shape
    images, (labelled, pool) = dataset.split(UNSEEN).values[card.image], _chosen(dataset, labels, without, seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network: nn.Module = family.build(len(card.parts), channels=channels, dimensions=len(sides))
    masks = dataset.role("mask", UNSEEN, labelled)
    assert isinstance(masks, Tensor)
    learns = unlabelled and family.semi_supervised
    shown = (
        images[pool] if learns else images[labelled].repeat(-(-4 * BATCH // len(labelled)), *[1] * (images.ndim - 1))
    )
    values = {"image": shown}
    progress.say(
        f"segmenter: {kind}, {len(labelled)} images with labels" + (f", {len(pool)} without" if learns else "")
    )

    def run(objective: Objective, name: str) -> None:
        folder = output / "unfinished" / name
        few = {"image": shown[:BATCH]}
        loop.run(objective, Circumstances(train=values, validation=few, folder=folder, hardware=hardware, seed=seed))

    if isinstance(network, Compositional):
        run(Recomposing(network, fit_of(max(1, min(WARM_UP, steps)))), "recomposing")
        network = network.cpu()
        _place_kernels(network, shown, seed)
    fit = fit_of(steps)
    run(Segmenting(network, fit, images=images[labelled], masks=masks, unlabelled=learns), kind)
    network = network.cpu().eval()
    path = output / f"{kind}.safetensors"
    report = {
        "segmenter": kind,
        "sources": [dataset.source],
        "weights": path.name,
        "sha256": save_weights(network, path),
        "quality": {dataset.source: quality(network, dataset)},
    }
    shutil.rmtree(output / "unfinished", ignore_errors=True)
    about = {
        "dataset": card.name,
        "seed": seed,
        "labels": len(labelled),
        "without": list(without),
        "unlabelled": len(pool) * learns,
    }
    write_text(
        output / SEGMENTERS,
        json.dumps({"segmenters": [report], **about, "fit": fit.model_dump(), "versions": versions()}, indent=1),
    )
    return report


def _require_masks(dataset: Dataset) -> None:
    entry = dataset.card.carried(dataset.source).get("mask")
    if entry is None or not entry.classes:
        raise ConfigError(
            f"{dataset.card.name}/{dataset.source} carries no masks of parts, so no segmenter can be trained; declare the role `mask` with its "
            "classes on the card."
        )


def _chosen(dataset: Dataset, labels: int, without: Sequence[str], seed: int) -> tuple[Tensor, Tensor]:
    """(rows with labels, as many of each domain and each of another individual; rows without labels) of the judge split."""
    content = dataset.split(UNSEEN)
    entry, domain = dataset.card.carried(dataset.source).get("domain"), domains(dataset, UNSEEN)
    known = () if entry is None else entry.classes
    for name in without:
        if name not in known:
            raise ConfigError(f"{dataset.card.name} has no domain {name!r}.{suggestion(name, known)}")
    hidden = torch.tensor([known.index(name) for name in without], dtype=torch.long)
    rng = np.random.default_rng([seed, labels])
    order = torch.from_numpy(rng.permutation(len(domain)))
    order = order[~torch.isin(domain[order], hidden)]
    if not len(order):
        raise ConfigError(
            f"--without {', '.join(without)} leaves no image of {dataset.card.name} to learn from; name fewer domains."
        )
    picked: list[int] = []
    taken: set[int] = set()
    for number in domain[order].unique().tolist():
        found: list[int] = []
        for row in order[domain[order] == number].tolist():
            if int(content.group[row]) not in taken:
                found.append(row)
                taken.add(int(content.group[row]))
            if len(found) == labels:
                break
        if len(found) < labels:
            raise ConfigError(
                f"--labels {labels}: there are only {len(found)} individuals in a domain of {dataset.card.name}."
            )
        picked += found
    labelled = torch.tensor(picked)
    pool = order[~torch.isin(order, labelled)][:POOL]
    return labelled, pool.sort().values


@torch.no_grad()
def _place_kernels(network: Compositional, images: Tensor, seed: int) -> None:
    """Put the kernels where the features of images are."""
    generator = torch.Generator().manual_seed(seed)
    features = network.encoder(normalised(images[: 4 * BATCH].float())).movedim(1, -1).flatten(0, -2)
    some = features[torch.randperm(len(features), generator=generator)[:_VECTORS]]
    directions = network.kernels.directions
    directions.copy_(fit_mixture(some, len(directions), kappa=network.kernels.kappa, generator=generator))


@torch.no_grad()
def quality(network: nn.Module, dataset: Dataset) -> dict[str, float]:
    """How well the parts of test images are found: see :func:`train_segmenter`."""
    content = dataset.split("test")
    rows = torch.arange(len(content.group))[:_TESTED]
    images = content.values[dataset.card.image][rows]
    found = torch.cat(
        [network(normalised(part.float())).argmax(1) for part in images.split(at_once(images[0].numel(), 100))]
    )
    mask = dataset.role("mask", "test", rows)
    assert isinstance(mask, Tensor)
    parts = dataset.card.parts
    scores = dice(found, mask.long(), len(parts))[:, 1:]
    far = torch.stack([hausdorff(found == number, mask == number) for number in range(1, len(parts))], 1)
    figures = {"dice": scores.nanmean(), "hausdorff": far.nanmean()}
    figures |= {f"dice_{name}": scores[:, number].nanmean() for number, name in enumerate(parts[1:])}
    entry = dataset.card.carried(dataset.source).get("domain")
    if entry is not None:
        domain = domains(dataset, "test")[rows]
        figures |= {f"dice_{name}": scores[domain == number].nanmean() for number, name in enumerate(entry.classes)}
    return {name: round(float(value), 4) for name, value in figures.items()}
