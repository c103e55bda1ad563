"""Training the judges of a dataset: on the split that no model sees, with seeds that no model uses."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from counterbench.catalog.recipes import Fit
from counterbench.causal.variables import Binary, Categorical
from counterbench.datasets.dataset import Dataset
from counterbench.judges.classifier import build, columns, normalised, reduction
from counterbench.networks.classifiers import ARCHITECTURES
from counterbench.runtime.versions import versions
from counterbench.storage.files import require_writable, write_text
from counterbench.storage.weights import save_weights
from counterbench.training import loop
from counterbench.training.batches import require_samples
from counterbench.training.hardware import Hardware
from counterbench.training.objectives.base import Circumstances, Moment, Objective

FIT = Fit(
    epochs=25,
    batch_size=128,
    learning_rate=3e-3,
    weight_decay=0.02,
    warmup_steps=200,
    cosine=True,
    patience=40,
    ema_decay=0.98,  # longer than that, and the statistics of batch normalisation are those of other weights
)


class JudgeObjective(Objective):
    """Cross-entropy, summed over variables, on images that are shifted and dimmed at random.

    Args:
        network: images -> logits, the classes of one variable after those of another.
        fit: how.
        image: name of the image.
        heads: variable -> number of its classes.
        weights: variable -> weights of its classes, (classes,).
    """

    def __init__(
        self,
        network: torch.nn.Module,
        fit: Fit,
        *,
        image: str,
        heads: Mapping[str, int],
        weights: Mapping[str, Tensor],
    ):
        super().__init__(network, fit)
        self.image, self.columns, self.weights = image, columns(heads), weights

    def losses(self, batch: dict[str, Tensor], moment: Moment) -> Tensor:
        images = batch[self.image].float()
        if moment.training:
            images = augmented(images, moment.generator)
        smoothing = 0.02 if moment.training else 0.0
        logits = self.module(normalised(images))
        return torch.stack(
            [
                functional.cross_entropy(
                    logits[:, part],
                    batch[name],
                    self.weights[name].to(logits),
                    reduction="none",
                    label_smoothing=smoothing,
                )
                for name, part in self.columns.items()
            ]
        ).sum(0)


def augmented(images: Tensor, generator: torch.Generator) -> Tensor:
    """Rotate, slant, scale and shift a little, and change the contrast: (N, C, H, W) -> the same shape."""
    count, device = len(images), images.device
    draw = torch.randn(count, 6, generator=generator, device=device)
    rotation, slant, size = 0.12 * draw[:, 0], 0.12 * draw[:, 1], (0.08 * draw[:, 2]).exp()
    shift = 2 * 1.0 / images.shape[-1] * draw[:, 3:5]
    cosine, sine = rotation.cos() * size, rotation.sin() * size
    matrix = torch.stack(
        [torch.stack([cosine, slant - sine, shift[:, 0]], 1), torch.stack([sine, cosine, shift[:, 1]], 1)], 1
    )
    grid = functional.affine_grid(matrix, list(images.shape), align_corners=False)
    # What comes in at the edges continues the picture: black wedges would be cues on anything but black paper.
    moved = functional.grid_sample(images, grid, padding_mode="border", align_corners=False)
    return (moved * (0.15 * draw[:, 5]).exp()[:, None, None, None]).clamp(0, 255)


def train_judges(
    datasets: Sequence[Dataset],
    labels: Sequence[str],
    *,
    output: Path,
    hardware: Hardware,
    seed: int = 7001,
    epochs: int | None = None,
) -> dict[str, Any]:
    """Train one classifier per architecture on the judge splits of one or several sources together.

    Args:
        datasets: sources of one card.
        labels: the binary or categorical variables to predict: one network has a head for each of them.
        output: folder for `<labels>-<architecture>.safetensors` and `judges.json`.
        hardware: where.
        seed: of the first architecture; the others follow.
        epochs: at most; None for the default.

    Returns:
        Architecture -> what the card should say: options, SHA-256, and per source and variable accuracy, balanced accuracy and
        calibration error on real test images.
    """
    require_writable(output)
    heads = _heads(datasets[0], labels)
    names = (datasets[0].card.image, *heads)
    train, validation = (joined_images(datasets, split, *names) for split in ("judge", "validation"))
    fit = FIT.model_copy(update={"epochs": epochs}) if epochs else FIT
    report: dict[str, Any] = {}
    for position, architecture in enumerate(ARCHITECTURES):
        circumstances = Circumstances(
            train=train,
            validation=validation,
            folder=output / "unfinished" / architecture,
            hardware=hardware,
            seed=seed + position,
        )
        network, options = _trained(architecture, datasets[0].card.image, heads, fit, circumstances)
        path = output / f"{'-'.join(heads)}-{architecture}.safetensors"
        report[architecture] = {
            "options": options,
            "weights": path.name,
            "sha256": save_weights(network, path),
            "quality": {dataset.source: _quality(network, dataset, heads) for dataset in datasets},
        }
    shutil.rmtree(output / "unfinished", ignore_errors=True)
    content = {"judges": _for_card(report), "seed": seed, "fit": fit.model_dump(), "versions": versions()}
    write_text(output / "judges.json", json.dumps(content, indent=1))
    return report


def _trained(
    architecture: str, image: str, heads: Mapping[str, int], fit: Fit, circumstances: Circumstances
) -> tuple[torch.nn.Module, dict[str, Any]]:
    """(a trained classifier, the options that a card must give to build it)."""
    channels, width = (int(circumstances.train[image].shape[axis]) for axis in (1, -1))
    smaller = reduction(width)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(circumstances.seed)
        network = build(architecture, channels, sum(heads.values()), **smaller)
    weights = {name: _balance(circumstances.train[name], count) for name, count in heads.items()}
    loop.run(JudgeObjective(network, fit, image=image, heads=heads, weights=weights), circumstances)
    options = {"architecture": architecture, **{name: number for name, number in smaller.items() if number > 1}}
    return network.cpu().eval(), options | ({"heads": heads} if len(heads) > 1 else {})


def _for_card(report: Mapping[str, Any]) -> dict[str, list[dict[str, Any]]]:
    """The same as the key `judges` of a card: variable -> its judges, with their own figures."""
    variables = dict.fromkeys(
        name for entry in report.values() for figures in entry["quality"].values() for name in figures
    )
    return {
        name: [
            {
                "judge": "classifier",
                **entry,
                "sources": list(entry["quality"]),
                "quality": {source: figures[name] for source, figures in entry["quality"].items()},
            }
            for entry in report.values()
        ]
        for name in variables
    }


def joined_images(datasets: Sequence[Dataset], split: str, *names: str) -> dict[str, Tensor]:
    """Some variables of a split, from all sources together.

    Raises:
        DataError: if there are too few samples to train on.
    """
    parts = [dataset.split(split).values for dataset in datasets]
    values = {name: torch.cat([part[name] for part in parts]) for name in names}
    require_samples(values, split)
    return values


def _heads(dataset: Dataset, labels: Sequence[str]) -> dict[str, int]:
    heads = {}
    for label in labels:
        variable = dataset.variables[label]
        assert isinstance(variable, (Binary, Categorical))
        heads[label] = variable.cardinality
    return heads


def _balance(labels: Tensor, classes: int) -> Tensor:
    """Weights that make all classes count the same, (classes,): questions ask for rare ones as often as for common ones, and a
    judge that expects what is common would not see what is there."""
    shares = labels.bincount(minlength=classes).double().clamp(min=1) / len(labels)
    return (1 / (classes * shares)).float()


def _quality(network: torch.nn.Module, dataset: Dataset, heads: Mapping[str, int]) -> dict[str, dict[str, float]]:
    """Per variable, figures on real test images."""
    values: Mapping[str, Tensor] = dataset.split("test").values
    with torch.inference_mode():
        logits = torch.cat([network(normalised(part.float())) for part in values[dataset.card.image].split(500)])
    return {name: _figures(logits[:, part].softmax(1), values[name]) for name, part in columns(heads).items()}


def _figures(probabilities: Tensor, truth: Tensor) -> dict[str, float]:
    """Accuracy, balanced accuracy and expected calibration error (15 equal bins)."""
    confidence, predicted = probabilities.max(1)
    right = (predicted == truth).float()
    bins = (confidence * 15).long().clamp(max=14)
    gaps = [
        abs(float(confidence[bins == b].mean() - right[bins == b].mean())) * float((bins == b).float().mean())
        for b in bins.unique()
    ]
    balanced = torch.stack([right[truth == label].mean() for label in truth.unique()]).mean()
    return {
        "accuracy": round(float(right.mean()), 4),
        "balanced_accuracy": round(float(balanced), 4),
        "calibration_error": round(sum(gaps), 4),
    }
