"""How well a slice tells the volumes of a brain: a large network on clean slices, which nobody's judge has to beat.

python docs/slice_bound.py [--device cuda] [--epochs 30]

A ResNet-18 learns the volumes of source `template` of `adni` from 20,000 slices without noise, without a coil's field and with one
contrast, and is tested on as clean slices of other subjects. What it cannot tell, the slice does not show. Every training slice has the
volumes of another one: shown as they are, it learns who somebody is, and is 57 mL off on others. Writes docs/slice_bound.json.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional
from torchvision.models import resnet18

from counterbench import datasets
from counterbench.processes import template
from counterbench.storage.files import write_text

RESULT = Path(__file__).with_name("slice_bound.json")
QUANTITIES = ("brain_volume", "ventricular_volume")


def clean_slices(dataset: datasets.Dataset, split: str, *, shuffled: bool = False) -> tuple[Tensor, Tensor]:
    """(images, volumes) of a split, (N, 1, 64, 64) and (N, 2); with the volumes of other slices, if they are shuffled."""
    draws = dataset.behind.draws(split)
    attributes, generator = dict(draws.attributes), torch.Generator().manual_seed(0)
    if shuffled:
        for name in QUANTITIES:
            attributes[name] = attributes[name][torch.randperm(len(draws), generator=generator)]
    seen = {name: draws.hidden[name] for name in ("traits", "shot", "lesion")}
    return template.clean(attributes, **seen), torch.stack([attributes[name] for name in QUANTITIES], 1)


def moved(images: Tensor, generator: torch.Generator) -> Tensor:
    """Images shifted by up to two pixels and mirrored: a head is as large on the other side."""
    images = functional.pad(images, (2, 2, 2, 2))
    row, column = torch.randint(0, 5, (2,), generator=generator).tolist()
    images = images[:, :, row : row + 64, column : column + 64]
    return images.flip(-1) if torch.rand((), generator=generator) < 0.5 else images


def fitted(images: Tensor, values: Tensor, device: str, epochs: int, seed: int) -> torch.nn.Module:
    """A ResNet-18 for standardised volumes."""
    torch.manual_seed(seed)
    network = resnet18(num_classes=values.shape[1])
    network.conv1 = torch.nn.Conv2d(1, 64, 5, 2, 2, bias=False)
    network.to(device, memory_format=torch.channels_last)
    generator = torch.Generator().manual_seed(seed)
    images, values, batch = images.to(device), values.to(device), 200
    steps = epochs * (len(images) // batch)
    optimiser = torch.optim.AdamW(network.parameters(), 2e-3, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 2e-3, total_steps=steps)
    for _ in range(epochs):
        for rows in torch.randperm(len(images), generator=generator)[: len(images) // batch * batch].split(batch):
            given = moved(images[rows.to(device)].float() / 127.5 - 1, generator)
            loss = functional.smooth_l1_loss(network(given), values[rows.to(device)], beta=0.1)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
    return network.eval()


def main() -> None:
    """Train, test, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--output", type=Path, default=RESULT)
    given = parser.parse_args()
    dataset = datasets.load("adni", "template")
    train, volumes = clean_slices(dataset, "train", shuffled=True)
    mean, deviation = volumes.mean(0), volumes.std(0)
    network = fitted(train, (volumes - mean) / deviation, given.device, given.epochs, 0)
    test, truth = clean_slices(dataset, "test")
    with torch.inference_mode():
        parts = [network(part.to(given.device).float() / 127.5 - 1).cpu() for part in test.split(500)]
    error = (torch.cat(parts) * deviation + mean - truth).abs().mean(0)
    content = {
        "mean_absolute_error": {name: round(float(number), 3) for name, number in zip(QUANTITIES, error, strict=True)},
        "of_the_mean": {
            name: round(float(number), 3) for name, number in zip(QUANTITIES, (truth - mean).abs().mean(0), strict=True)
        },
        "epochs": given.epochs,
    }
    write_text(given.output, json.dumps(content, indent=1) + "\n")
    print(json.dumps(content))


if __name__ == "__main__":
    main()
