"""How much faster the renderer is than a scikit-image implementation of the same recipe, measured in one run.

The reference does, image by image, what the published generator does: 16x upsampling, medial axis, dilation or erosion by a
disk, downsampling, intensity. Both render the same glyphs with the same attributes; the mean absolute difference says how
much they agree.

    python benchmarks/speed/rendering.py [--data-dir FOLDER_WITH_MNIST] [--images 40]
"""

from __future__ import annotations

import argparse
import time
import warnings
from pathlib import Path

import numpy as np
import torch
from skimage import morphology, transform

from counterbench.datasets.files import glyphs
from counterbench.datasets.morphomnist import intensity_of
from counterbench.processes import strokes

SCALE = 16


def reference(image: np.ndarray, thickness: float, intensity: float) -> np.ndarray:
    """One image by the published recipe, in scikit-image."""
    fine = (255 * transform.pyramid_expand(image, upscale=SCALE, order=3)).astype(np.uint8)
    inside = fine >= 0.5 * (int(fine.max()) + int(fine.min()))
    skeleton, depth = morphology.medial_axis(inside, return_distance=True)
    change = thickness - 2 * depth[skeleton].mean() / SCALE
    disk = morphology.disk(int(SCALE * abs(change) / 2))
    moved = morphology.dilation(inside, disk) if change >= 0 else morphology.erosion(inside, disk)
    coarse = (255 * transform.pyramid_reduce(moved.astype(np.float32), downscale=SCALE, order=3)).astype(np.uint8)
    bright = np.median(coarse[coarse >= 0.5 * coarse.max()])
    return np.clip(coarse * (intensity / bright), 0, 255).astype(np.uint8)


def drawn(data_dir: Path | None, count: int) -> torch.Tensor:
    """28 x 28 glyphs: MNIST test images where they are at hand, else traced digits of scikit-learn."""
    if data_dir is not None:
        return glyphs.mnist(data_dir, train=False).images[:count]
    traced = glyphs.posed(glyphs.trace(glyphs.optical_digits().images[:count]), torch.zeros(count, 5))
    return strokes.render(traced, torch.full((count,), 2.4), torch.full((count,), 255.0))


def ours(images: torch.Tensor, thickness: torch.Tensor, intensity: torch.Tensor) -> torch.Tensor:
    return strokes.render(strokes.upsample(images.double() / 255), thickness, intensity)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--images", type=int, default=40)
    options = parser.parse_args()
    warnings.filterwarnings("ignore")
    count = max(options.images, 600)
    images = drawn(options.data_dir, count)
    rng = np.random.default_rng(0)
    thickness = torch.from_numpy(0.5 + rng.gamma(10, 1 / 5, count)).float()
    intensity = intensity_of(thickness, torch.from_numpy(rng.standard_normal(count))).float()

    begun = time.perf_counter()
    slow = [reference(images[i].numpy(), float(thickness[i]), float(intensity[i])) for i in range(options.images)]
    slow_seconds = (time.perf_counter() - begun) / options.images
    print(f"scikit-image, one image at a time    {1 / slow_seconds:8.1f} images/s")
    for threads in sorted({1, torch.get_num_threads()}):
        torch.set_num_threads(threads)
        ours(images[:64], thickness[:64], intensity[:64])
        begun = time.perf_counter()
        fast = ours(images, thickness, intensity)
        seconds = (time.perf_counter() - begun) / count
        print(
            f"counterbench, {threads} thread(s){'':13}{1 / seconds:8.1f} images/s   ratio {slow_seconds / seconds:5.1f}"
        )
    difference = np.abs(fast[: options.images].numpy().astype(float) - np.stack(slow)).mean()
    print(f"mean absolute difference {difference:.2f} grey levels (28 x 28 pixels)")


if __name__ == "__main__":
    main()
