"""Training steps of shipped models with freed memory kept for the next step, against the allocator as it is, in one run, on this machine.

    python benchmarks/speed/training.py [--steps 20]

Printed: seconds of the processor per step (user and system), pages that the system hands out, and the ratio of seconds.
"""

from __future__ import annotations

import argparse
import resource
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import nn

from counterbench import datasets, models
from counterbench.runtime.memory import freed_kept

CASES = (("vae", "morphomnist"), ("flow-matching", "morphomnist"), ("vae", "adni"), ("hvae", "adni"))
BATCH = 96
WARM = 3


def spent(mechanism: nn.Module, batch: tuple[torch.Tensor, dict[str, torch.Tensor]], steps: int) -> tuple[float, int]:
    """(seconds of the processor, pages) of some training steps."""
    optimizer = torch.optim.AdamW(mechanism.parameters(), 1e-5)
    before = resource.getrusage(resource.RUSAGE_SELF)
    for step in range(WARM + steps):
        if step == WARM:
            before = resource.getrusage(resource.RUSAGE_SELF)
        optimizer.zero_grad()
        mechanism.loss(*batch, torch.Generator().manual_seed(step)).mean().backward()  # type: ignore[operator]
        optimizer.step()
    after = resource.getrusage(resource.RUSAGE_SELF)
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return seconds / steps, (after.ru_minflt - before.ru_minflt) // steps


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=20)
    steps = parser.parse_args().steps
    torch.set_num_threads(1)
    for name, card in CASES:
        dataset = datasets.load(card)
        samples, image = dataset.split("train").take(torch.arange(BATCH)), dataset.variables["image"]
        mechanism = models.load(name, dataset).model.mechanisms["image"].train().requires_grad_()  # type: ignore[attr-defined]
        parents = {part.name: part.encode(samples[part.name]) for part in mechanism.parents}
        batch = image.encode(samples["image"]), parents
        told = []
        ways: tuple[AbstractContextManager[None], ...] = (nullcontext(), freed_kept())
        for way in ways:
            with way:
                told.append(spent(mechanism, batch, steps))
        (as_it_is, pages), (kept, kept_pages) = told
        print(
            f"{name} on {card}: {1e3 * as_it_is:.0f} ms and {pages:,} pages a step as it is, {1e3 * kept:.0f} ms and "
            f"{kept_pages:,} pages with freed memory kept: {as_it_is / kept:.2f} times as fast"
        )


if __name__ == "__main__":
    main()
