"""Training the recogniser of a dataset: on individuals of the split that no model sees."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from counterbench.catalog.recipes import Fit
from counterbench.datasets.dataset import Dataset
from counterbench.errors import DataError
from counterbench.judges.network import normalised, untrained
from counterbench.metrics.statistics.recognition import first_of_each, recognised
from counterbench.plans.drawing import other_value
from counterbench.recognisers.contrastive import Contrastive
from counterbench.recognisers.verifier import Verifier
from counterbench.runtime.blocks import at_once
from counterbench.runtime.versions import versions
from counterbench.storage.files import require_writable, write_text
from counterbench.storage.weights import save_weights
from counterbench.training import loop
from counterbench.training.augmentation import augmented
from counterbench.training.batches import fitted_to, require_samples
from counterbench.training.hardware import Hardware
from counterbench.training.objectives.base import Circumstances, Moment, Objective

RECOGNISER = "recogniser.json"
"""What `train_recogniser` writes for the card."""
ARCHITECTURE, SIZE = "pooled", 64
FIT = Fit(
    epochs=20,
    batch_size=192,
    learning_rate=2e-3,
    weight_decay=0.02,
    warmup_steps=100,
    cosine=True,
    patience=40,
    ema_decay=0.98,
)
_TEMPERATURE = 0.1


class RecogniserObjective(Objective):
    """Two images of an individual shall be nearer to each other than to those of everybody else in the batch (InfoNCE).

    Args:
        network: images -> vectors.
        fit: how.
    """

    verifier: ClassVar[type[Verifier]] = Contrastive

    def losses(self, batch: dict[str, Tensor], moment: Moment) -> Tensor:
        pair = [batch["first"].float(), batch["second"].float()]
        if moment.training:
            pair = [augmented(images, moment.generator, keeps_size=True).images for images in pair]
        first, second = (self.verifier.vectors_of(self.module(normalised(images))) for images in pair)
        # Another pair of the same individual is neither one's own nor a stranger.
        others = (batch["group"][:, None] == batch["group"]).fill_diagonal_(False)
        return self.of_scores(self.verifier.score(first, second), others)

    def of_scores(self, score: Tensor, ignored: Tensor) -> Tensor:
        """(N,): of scores (N, N), whose diagonal holds the pairs of one individual; some others count as nothing."""
        near = (score / _TEMPERATURE).masked_fill(ignored, -torch.inf)
        own = torch.arange(len(near), device=near.device)
        there, back = (functional.cross_entropy(one, own, reduction="none") for one in (near, near.T))
        return 0.5 * (there + back)


def train_recogniser(
    datasets: Sequence[Dataset], output: Path, *, hardware: Hardware, seed: int = 9001, epochs: int | None = None
) -> dict[str, Any]:
    """Train the recogniser on the judge splits of one or several sources together.

    Args:
        datasets: sources of one card.
        output: folder for `recogniser.safetensors` and `recogniser.json`.
        hardware: where.
        seed: of weights, pairs and augmentation.
        epochs: at most; None for the default.

    Returns:
        What the card should say under `recognisers: embedding`; its figures are the share of test individuals that are recognised
        in another image of theirs.

    Raises:
        DataError: where no two images of anybody are known: no groups, and no truth to render one.
    """
    require_writable(output)
    train, validation = (joined_pairs(datasets, split, seed) for split in ("judge", "validation"))
    fit = fitted_to(FIT, train["first"], epochs=epochs)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network, smaller = untrained(ARCHITECTURE, train["first"].shape[1:], SIZE)
    folder = output / "unfinished" / "recogniser"
    circumstances = Circumstances(train=train, validation=validation, folder=folder, hardware=hardware, seed=seed)
    loop.run(RecogniserObjective(network, fit), circumstances)
    network = network.cpu().eval()
    path = output / "recogniser.safetensors"
    report = {
        "options": {"architecture": ARCHITECTURE, "size": SIZE, **{k: v for k, v in smaller.items() if v > 1}},
        "weights": path.name,
        "sha256": save_weights(network, path),
        "sources": [dataset.source for dataset in datasets],
        "quality": {dataset.source: {"recognised": _rate(network, dataset, seed)} for dataset in datasets},
    }
    shutil.rmtree(output / "unfinished", ignore_errors=True)
    about = {"dataset": datasets[0].card.name, "seed": seed, "fit": fit.model_dump(), "versions": versions()}
    write_text(output / RECOGNISER, json.dumps({"recognisers": {"embedding": report}, **about}, indent=1))
    return report


def joined_pairs(datasets: Sequence[Dataset], split: str, seed: int) -> dict[str, Tensor]:
    """Pairs of images of the same individual, from all sources together: `first` and `second`, (N, C, *sides), and `group`, (N,).

    Individuals of different sources are different.
    """
    parts, offset = [], 0
    for dataset in datasets:
        part = pairs_of(dataset, split, seed)
        part["group"] = part["group"] + offset
        offset = int(part["group"].max()) + 1
        parts.append(part)
    values = {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
    require_samples(values, split)
    return values


def pairs_of(dataset: Dataset, split: str, seed: int) -> dict[str, Tensor]:
    """Every image beside another one of the same individual: of its group where that has several, and with another attribute where
    the truth can be rendered."""
    if not dataset.card.image:
        raise DataError(f"{dataset.card.name} has no images by which anybody could be recognised.")
    content, image = dataset.split(split), dataset.card.image
    rng = np.random.default_rng([seed, *split.encode()])
    group = content.group.unique(return_inverse=True)[1]
    partner = _partners(group, rng)
    second = content.values[image][partner].clone()
    known = [name for name in dataset.card.intervenable if _keeps_individual(dataset, name)]
    if not known and bool((partner == torch.arange(len(partner))).all()):
        raise DataError(
            f"{dataset.card.name}/{dataset.source} knows no two images of anybody: its groups have one image each, and no truth can be "
            "rendered, so no recogniser can be trained."
        )
    for name, rows in zip(known, np.array_split(rng.permutation(len(group)), max(1, len(known))), strict=False):
        chosen = torch.from_numpy(rows).sort().values
        values = dataset.attributes(split)[name][partner[chosen]]
        wanted = other_value(dataset.variables[name], values, dataset.attributes("train")[name], rng)
        second[chosen] = dataset.truth(split, partner[chosen], {name: wanted})[image].to(second.dtype)
    # Who is seen once, and of whom no other image can be rendered, would be paired with the very same image.
    kept = torch.arange(len(group)) if known else (partner != torch.arange(len(partner))).nonzero()[:, 0]
    return {"first": content.values[image][kept], "second": second[kept], "group": group[kept]}


def _keeps_individual(dataset: Dataset, name: str) -> bool:
    return dataset.knows_truth([name]) and not dataset.card.variables[name].changes_individual


def _partners(group: Tensor, rng: np.random.Generator) -> Tensor:
    """For every row another row of its group, drawn at random; itself where there is no other."""
    order = torch.from_numpy(rng.permutation(len(group)))
    order = order[group[order].sort(stable=True).indices]  # rows of a group side by side, in random order
    following = order.roll(-1)
    counts = group.bincount()
    last = counts.cumsum(0) - 1
    following[last] = order[last - counts + 1]  # the last of a group is followed by its first
    partner = torch.empty_like(order)
    partner[order] = following
    return partner


def _rate(network: torch.nn.Module, dataset: Dataset, seed: int) -> float:
    """How many test individuals are recognised in another image of theirs, among one image per individual."""
    pair = pairs_of(dataset, "test", seed)
    with torch.inference_mode():
        first, second = (
            torch.cat(
                [
                    functional.normalize(network(normalised(part.float())), dim=1)
                    for part in pair[name].split(at_once(pair[name][0].numel(), 500))
                ]
            )
            for name in ("first", "second")
        )
    gallery = first_of_each(pair["group"])
    found = recognised(second, pair["group"], first[gallery], pair["group"][gallery])
    return round(float(found.double().mean()), 4)
