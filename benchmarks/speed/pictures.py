"""How many portraits and brain slices a second the renderers make, and how much faster that is than one picture at a time.

Both ways make the same pixels, which is checked.

    python benchmarks/speed/pictures.py [--images 2048] [--threads 2]
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import torch
from torch import Tensor

from counterbench.processes import phantom, portraits

ALONE = 40


def drawn_portraits(count: int) -> Callable[[slice], Tensor]:
    """A renderer of the rows of random portraits."""
    generator = torch.Generator().manual_seed(0)
    attributes = {name: torch.randint(2, (count,), generator=generator) for name in portraits.ATTRIBUTES}
    traits = torch.rand(count, len(portraits.TRAITS), generator=generator)
    return lambda rows: portraits.render({name: value[rows] for name, value in attributes.items()}, traits[rows])


def drawn_slices(count: int) -> Callable[[slice], Tensor]:
    """A renderer of the rows of random brain slices."""
    generator = torch.Generator().manual_seed(0)
    attributes = {
        "brain_volume": 800 + 400 * torch.rand(count, generator=generator),
        "ventricular_volume": 15 + 80 * torch.rand(count, generator=generator),
        "slice": torch.randint(10, (count,), generator=generator),
    }
    traits, shot = (torch.rand(count, len(names), generator=generator) for names in (phantom.TRAITS, phantom.SHOT))
    scanner, lesion = (torch.randint(n, (count,), generator=generator) for n in (len(phantom.SCANNERS), 2))
    return lambda rows: phantom.render(
        {name: value[rows] for name, value in attributes.items()},
        traits[rows],
        shot=shot[rows],
        scanner=scanner[rows],
        lesion=lesion[rows],
    )


def seconds(work: Callable[[], Tensor]) -> tuple[float, Tensor]:
    """The fastest of three runs, and what it made."""
    times = []
    for _ in range(3):
        begun = time.perf_counter()
        made = work()
        times.append(time.perf_counter() - begun)
    return min(times), made


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=2048)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    for name, make in (("portraits", drawn_portraits), ("brain slices", drawn_slices)):
        draw = make(options.images)
        draw(slice(0, 64))
        whole, together = seconds(lambda draw=draw: draw(slice(0, options.images)))
        single, apart = seconds(lambda draw=draw: torch.cat([draw(slice(i, i + 1)) for i in range(ALONE)]))
        assert torch.equal(apart, together[:ALONE]), "the batch changes pixels"
        rate, alone = options.images / whole, ALONE / single
        print(f"{name:12} {rate:7.0f} per second on {options.threads} threads, {rate / alone:5.1f} x one at a time")


if __name__ == "__main__":
    main()
