"""Matching loss of this package's U-Net and of MONAI's at matched size, on the same data with the same steps; no test, and slow.

    python benchmarks/denoising.py [--steps 1000] [--seeds 3] [--batch 16]

Both are the network of one mechanism of `morphomnist` (source digits, 32 x 32 pixels), on the cosine path, predict the velocity, and see the same batches,
noises and times; learning rate 0.001 falling along a cosine, AdamW. Printed for each seed and network: parameters, the mean squared error of the
velocity on 500 validation images (four fixed noises and times each), seconds; then the ratio of the two errors.
"""

from __future__ import annotations

import argparse
import math
import time

import torch
from torch import Tensor

from counterbench import datasets
from counterbench.datasets.dataset import Dataset
from counterbench.mechanisms.diffusion import Diffusion
from counterbench.mechanisms.generative_ode import GenerativeODE
from counterbench.mechanisms.monai_diffusion import MonaiDiffusion

WIDTH, HELD_OUT, REPEATS = 64, 500, 4
Encoded = tuple[Tensor, dict[str, Tensor]]


def made(name: str, dataset: Dataset) -> GenerativeODE:
    """An untrained mechanism of the images; without guidance no condition has to be kept back."""
    image = dataset.variables["image"]
    parents = [dataset.variables[parent] for parent in dataset.graph.parents("image")]
    if name == "ours":
        return Diffusion(
            image, parents, width=WIDTH, channels=[20, 32, 64], patch=1, attention=[2], heads=4, dropout=0.0
        )
    return MonaiDiffusion(
        image,
        parents,
        width=WIDTH,
        channels=[16, 16, 32],
        attention_levels=[False, False, True],
        norm_num_groups=8,
        num_head_channels=16,
        dropout=0.0,
    )


def encoded(dataset: Dataset, split: str, count: int | None = None) -> Encoded:
    """Images of a split and their parents, as mechanisms see them."""
    values = dataset.split(split).take(slice(0, count))
    parents = {name: dataset.variables[name].encode(values[name]) for name in dataset.graph.parents("image")}
    return dataset.variables["image"].encode(values["image"]), parents


def loss_of(mechanism: GenerativeODE, data: Encoded, rows: Tensor, generator: torch.Generator) -> Tensor:
    """Errors of some rows, (N,), with noises and times of the generator."""
    value, parents = data[0][rows], {name: one[rows] for name, one in data[1].items()}
    noise = torch.randn(value.shape, generator=generator)
    moment = torch.rand(len(value), generator=generator)
    return mechanism.matching_loss(value, parents, generator, noise=noise, time=moment)


def trained(name: str, dataset: Dataset, train: Encoded, *, steps: int, batch: int, seed: int) -> GenerativeODE:
    """A mechanism after that many steps."""
    torch.manual_seed(seed)
    mechanism = made(name, dataset).train()
    generator = torch.Generator().manual_seed(1000 + seed)
    optimiser = torch.optim.AdamW(mechanism.parameters(), lr=1e-3)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimiser, lambda step: min(1.0, step / 50) * (1 + math.cos(math.pi * min(1.0, step / steps))) / 2
    )
    for _ in range(steps):
        rows = torch.randint(len(train[0]), (batch,), generator=generator)
        optimiser.zero_grad()
        loss_of(mechanism, train, rows, generator).mean().backward()
        torch.nn.utils.clip_grad_norm_(mechanism.parameters(), 1.0)
        optimiser.step()
        schedule.step()
    return mechanism.eval()


def error(mechanism: GenerativeODE, held_out: Encoded) -> float:
    """On held-out images, the same noises and times for whoever is asked."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        blocks = [rows for _ in range(REPEATS) for rows in torch.arange(len(held_out[0])).split(100)]
        return float(torch.cat([loss_of(mechanism, held_out, rows, generator) for rows in blocks]).mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for option, default in (("--steps", 1000), ("--seeds", 3), ("--batch", 16)):
        parser.add_argument(option, type=int, default=default)
    given = parser.parse_args()
    dataset = datasets.load("morphomnist", "digits")
    train, held_out = encoded(dataset, "train"), encoded(dataset, "validation", HELD_OUT)
    print(f"{'seed':<6}{'network':<9}{'parameters':>11}{'error':>9}{'seconds':>9}")
    for seed in range(given.seeds):
        errors = {}
        for name in ("ours", "monai"):
            started = time.perf_counter()
            mechanism = trained(name, dataset, train, steps=given.steps, batch=given.batch, seed=seed)
            seconds, count = time.perf_counter() - started, sum(weight.numel() for weight in mechanism.parameters())
            errors[name] = error(mechanism, held_out)
            print(f"{seed:<6}{name:<9}{count:>11,}{errors[name]:>9.4f}{seconds:>9.0f}", flush=True)
        print(f"{seed:<6}monai / ours: {errors['monai'] / errors['ours']:.3f}", flush=True)


if __name__ == "__main__":
    main()
