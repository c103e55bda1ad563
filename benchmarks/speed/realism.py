"""Kernel distance, precision, recall, density and coverage: our blocks against one matrix of all pairs, and how long 10,000 images take.

    python benchmarks/speed/realism.py

Prints processor seconds for 10,000 answers of 1,250 units and the memory that this took beyond the data themselves; then, on few
images, the ratio to formulas that leave out one unit after the other and compute everything anew.
"""

from __future__ import annotations

import resource
import time
from collections.abc import Callable

import torch
from torch import Tensor

from counterbench.metrics.statistics.distributions import kid
from counterbench.metrics.statistics.neighbours import prdc

COUNT, WIDTH, EACH, FEW, K = 10_000, 64, 8, 240, 5


def peak() -> float:
    """Largest resident memory so far, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def timed(call: Callable[[], object]) -> float:
    """Processor seconds."""
    begun = time.process_time()
    call()
    return time.process_time() - begun


def anew(answered: Tensor, real: Tensor, unit: Tensor) -> list[Tensor]:
    """Density without each unit, one after the other, on matrices of all pairs."""
    found = []
    for left in unit.unique():
        x, y = answered[unit != left], real[unit != left]
        radii = torch.cdist(y, y).topk(K + 1, largest=False).values[:, K]
        found.append((torch.cdist(x, y) <= radii).double().sum(1).mean() / K)
    return found


def main() -> None:
    """Measure and print."""
    torch.set_num_threads(1)
    x, y = torch.randn(2, COUNT, WIDTH, generator=torch.Generator().manual_seed(0)).double()
    unit = torch.arange(COUNT) // EACH
    for name, call in (("KID", lambda: kid(x, y, unit=unit)), ("PRDC", lambda: prdc(x, y, k=K, unit=unit))):
        before = peak()
        print(f"{name} of {COUNT:,} images, {WIDTH} numbers each: {timed(call):.1f} s, {peak() - before:.0f} MB more")
    print(f"a matrix of all pairs would take {8 * COUNT**2 / 2**20:,.0f} MB")
    few = (x[:FEW], y[:FEW], unit[:FEW])
    ours, literal = timed(lambda: prdc(few[0], few[1], k=K, unit=few[2])), timed(lambda: anew(*few))
    print(
        f"{FEW} images: leaving out units one after the other takes {literal / ours:.0f} times as long for one of four numbers"
    )


if __name__ == "__main__":
    main()
